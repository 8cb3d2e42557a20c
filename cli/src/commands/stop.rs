//! `postern stop`: nobody gets or uses access as somebody any more.

use super::{Context, principal};
use crate::{failure::Failure, output};
use postern_api::{
    access::BecauseOf,
    identity::{PrincipalName, Stopped},
};

/// Stop an agent or a user everywhere: grants and sessions end, requests are withdrawn, and there is nothing new
///
/// It stays so, whatever files are applied, until an admin lifts it with --off. Of a user this includes what agents do
/// on their behalf. The user who answers for an agent may stop it, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern stop agent:ci --reason \"it deletes what it should not\"
  postern stop agent:ci --off")]
pub struct StopArgs {
    /// `agent:NAME` or `user:NAME`
    #[arg(value_name = "PRINCIPAL", value_parser = principal)]
    principal: PrincipalName,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Let it ask again; what it had stays ended
    #[arg(long)]
    off: bool,
}

/// Runs `stop`.
pub async fn run(context: &Context, args: StopArgs) -> Result<(), Failure> {
    let StopArgs { principal: PrincipalName { kind, name }, reason, off } = args;
    let path = format!("principals/{kind}:{name}/{}", if off { "resume" } else { "stop" });
    let stopped: Stopped = context.client()?.post(&path, &BecauseOf { reason }).await?;
    output::one(context.format, &stopped, || {
        let who = output::printable(&format!("{} {}", stopped.principal.kind, stopped.principal.name));
        match &stopped.stop {
            None => format!("{who} may ask for access again."),
            Some(_) => format!(
                "{who} is stopped: {} grants ended, {} requests withdrawn.\nLift it with: postern stop {kind}:{} --off",
                stopped.grants,
                stopped.requests,
                output::printable(&name)
            ),
        }
    })
}
