//! `postern grants` and `postern revoke`, and finding the grant that a command is to use.

use super::{Context, who};
use crate::{
    client::Client,
    failure::Failure,
    output::{self, Column},
};
use postern_api::access::{
    Account, BecauseOf, CreateCredential, Credential, CredentialUse, Grant, GrantBudget, GrantStatus, GrantsQuery,
    RevokeAll,
};
use postern_types::id::GrantId;

/// List your open grants
#[derive(Debug, clap::Args)]
pub struct GrantsArgs {
    /// Also those that are over; as an admin, everybody's
    #[arg(long)]
    all: bool,
}

/// End a grant and the sessions under it, at once; or all grants of a connection, or of one of its roles
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern revoke grt_01k… --reason \"done\"
  postern revoke --connection orders-prod --role write --reason \"INC-42\"

All that one principal has: `postern stop`.")]
pub struct RevokeArgs {
    /// The grant: see `postern grants`
    #[arg(required_unless_present = "connection", conflicts_with = "connection")]
    id: Option<GrantId>,
    /// Every grant of this connection, whoever has it
    #[arg(long, value_name = "CONN")]
    connection: Option<String>,
    /// Of the connection, those of this role
    #[arg(long, requires = "connection")]
    role: Option<String>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

/// Which grant to use.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// The connection: see `postern grants`
    #[arg(value_name = "CONN")]
    pub connection: String,
    /// The way in; without it the newest open grant for the connection is used
    #[arg(long)]
    pub role: Option<String>,
}

/// Runs `grants`.
pub async fn grants(context: &Context, args: GrantsArgs) -> Result<(), Failure> {
    let grants: Vec<Grant> = context.client()?.query("grants", &GrantsQuery { all: args.all }).await?;
    list(context, &grants, "There are no open grants. Ask with `postern request`.")
}

fn list(context: &Context, grants: &[Grant], none: &str) -> Result<(), Failure> {
    let columns = [
        Column::text("ID", |grant: &Grant| grant.id.to_string()),
        Column::text("STATUS", |grant| status_name(grant.status).to_owned()),
        Column::text("WHO", |grant| who(&grant.principal, grant.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |grant| grant.connection.clone()),
        Column::text("ROLE", |grant| grant.role.clone()),
        Column::text("UNTIL", |grant| output::time(grant.revoked_at.unwrap_or(grant.expires_at))),
        Column::text("LEFT", |grant| grant.budget.as_ref().map(left).unwrap_or_default()),
        Column::text("REASON", |grant| output::shortened(&grant.reason, 50)),
    ];
    output::list(context.format, grants, &columns, none)
}

/// What is left of a budget: `9 of 10 statements`.
fn left(budget: &GrantBudget) -> String {
    let accounts = [
        (budget.statements, "statements"),
        (budget.rows_read, "rows read"),
        (budget.rows_written, "rows written"),
        (budget.bytes_out, "bytes out"),
    ];
    let told = |(account, what): (Option<Account>, &str)| {
        account.map(|account| format!("{} of {} {what}", account.left, account.total))
    };
    accounts.into_iter().filter_map(told).collect::<Vec<_>>().join(", ")
}

/// Runs `revoke`.
pub async fn revoke(context: &Context, args: RevokeArgs) -> Result<(), Failure> {
    let RevokeArgs { id, connection, role, reason } = args;
    if let Some(connection) = connection {
        let grants: Vec<Grant> =
            context.client()?.post("grants/revoke", &RevokeAll { connection, role, reason }).await?;
        return list(context, &grants, "There were no open grants.");
    }
    let id = id.ok_or_else(|| Failure::usage("name a grant, or a connection with --connection".to_owned()))?;
    let grant: Grant = context.client()?.post(&format!("grants/{id}/revoke"), &BecauseOf { reason }).await?;
    output::one(context.format, &grant, || format!("Grant {} is revoked; its sessions have ended.", grant.id))
}

/// A fresh credential of the newest open grant that fits.
pub async fn credential(
    client: &Client,
    selection: &Selection,
    r#use: CredentialUse,
) -> Result<(Grant, Credential), Failure> {
    let grants: Vec<Grant> = client.get("grants").await?;
    let grant = newest(grants, selection).ok_or_else(|| no_grant(selection))?;
    let credential = client.post(&format!("grants/{}/credentials", grant.id), &CreateCredential { r#use }).await?;
    Ok((grant, credential))
}

fn newest(grants: Vec<Grant>, selection: &Selection) -> Option<Grant> {
    // The list is newest first.
    grants.into_iter().find(|grant| {
        grant.status == GrantStatus::Open
            && grant.connection == selection.connection
            && selection.role.as_ref().is_none_or(|role| *role == grant.role)
    })
}

fn no_grant(selection: &Selection) -> Failure {
    let connection = &selection.connection;
    let (what, role) = match &selection.role {
        Some(role) => (format!("role {role} on {connection}"), role.as_str()),
        None => (connection.clone(), "ROLE"),
    };
    Failure::failed(format!("you have no open grant for {what}"))
        .hint(format!("Ask for one: postern request {connection} --role {role} --for 10m --reason \"…\""))
}

fn status_name(status: GrantStatus) -> &'static str {
    match status {
        GrantStatus::Open => "open",
        GrantStatus::Expired => "expired",
        GrantStatus::Revoked => "revoked",
    }
}
