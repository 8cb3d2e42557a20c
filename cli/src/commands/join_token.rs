//! `postern join-token`.

use super::{Context, duration_text};
use crate::{failure::Failure, output};
use postern_api::fleet::{CreateJoinToken, CreatedJoinToken, PartKind};

/// Make a token with which one connector or gateway can join
///
/// It is good once and for a limited time. Only the token is printed, so that it can be written to a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern join-token connector orders > join-token
  postern join-token gateway eu-1 --expires 15m")]
pub struct JoinTokenArgs {
    /// What joins
    #[arg(value_parser = parse_kind, value_name = "connector|gateway")]
    kind: PartKind,
    /// Under which name: connections name their connector by it
    name: String,
    /// How long the token is good [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = duration_text)]
    expires: Option<String>,
}

/// Runs `join-token`.
pub async fn run(context: &Context, args: JoinTokenArgs) -> Result<(), Failure> {
    let body = CreateJoinToken { kind: args.kind, name: args.name, expires: args.expires };
    let created: CreatedJoinToken = context.client()?.post("join-tokens", &body).await?;
    output::remark(format!(
        "Good once, until {}, for the {} {}.",
        output::time(created.expires_at),
        created.kind.as_str(),
        created.name
    ));
    output::one(context.format, &created, || created.token.clone())
}

fn parse_kind(text: &str) -> Result<PartKind, String> {
    match text {
        "connector" => Ok(PartKind::Connector),
        "gateway" => Ok(PartKind::Gateway),
        _ => Err("`connector` or `gateway`".to_owned()),
    }
}
