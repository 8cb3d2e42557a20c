//! `postern connectors` and `postern gateways`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::{
    access::BecauseOf,
    fleet::{Part, PartKind},
};
use postern_types::id::{ConnectorId, GatewayId};

/// List connectors, revoke one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern connectors
  postern connectors revoke con_01k… --reason \"host is gone\"")]
pub struct ConnectorsArgs {
    #[command(subcommand)]
    command: Option<ConnectorsCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum ConnectorsCommand {
    /// Make a connector's certificate worthless and end its sessions, at once
    Revoke {
        /// The connector
        id: ConnectorId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// List gateways, revoke one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern gateways
  postern gateways revoke gwy_01k… --reason \"host is gone\"")]
pub struct GatewaysArgs {
    #[command(subcommand)]
    command: Option<GatewaysCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum GatewaysCommand {
    /// Make a gateway's certificate worthless and end its sessions, at once
    Revoke {
        /// The gateway
        id: GatewayId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Runs `connectors`.
pub async fn connectors(context: &Context, args: ConnectorsArgs) -> Result<(), Failure> {
    match args.command {
        None => list(context, PartKind::Connector).await,
        Some(ConnectorsCommand::Revoke { id, reason }) => {
            revoke(context, PartKind::Connector, id.as_str(), reason).await
        }
    }
}

/// Runs `gateways`.
pub async fn gateways(context: &Context, args: GatewaysArgs) -> Result<(), Failure> {
    match args.command {
        None => list(context, PartKind::Gateway).await,
        Some(GatewaysCommand::Revoke { id, reason }) => revoke(context, PartKind::Gateway, id.as_str(), reason).await,
    }
}

fn resource(kind: PartKind) -> String {
    format!("{}s", kind.as_str())
}

async fn list(context: &Context, kind: PartKind) -> Result<(), Failure> {
    let parts: Vec<Part> = context.client()?.get(&resource(kind)).await?;
    let columns = [
        Column::text("ID", |part: &Part| part.id.clone()),
        Column::text("NAME", |part| part.name.clone()),
        Column::text("STATUS", status),
        Column::text("VERSION", |part| part.version.clone().unwrap_or_default()),
        Column::text("ADDRESS", |part| part.client_address.clone().unwrap_or_default()),
        Column::text("ENROLLED", |part| output::time(part.enrolled_at)),
        Column::text("CERTIFICATE UNTIL", |part| output::maybe_time(part.certificate_expires_at)),
    ];
    let nothing = format!("There are no {0}s. Enrol one with `postern join-token {0} NAME`.", kind.as_str());
    output::list(context.format, &parts, &columns, &nothing)
}

fn status(part: &Part) -> String {
    match (part.revoked_at, part.attached) {
        (Some(_), _) => "revoked",
        (None, true) => "attached",
        (None, false) => "away",
    }
    .to_owned()
}

async fn revoke(context: &Context, kind: PartKind, id: &str, reason: Option<String>) -> Result<(), Failure> {
    let path = format!("{}/{id}/revoke", resource(kind));
    let part: Part = context.client()?.post(&path, &BecauseOf { reason }).await?;
    output::one(context.format, &part, || {
        format!("The {} {} ({id}) is revoked.", kind.as_str(), output::printable(&part.name))
    })
}
