//! `postern approve` and `postern deny`.

use super::{Context, duration_text, requests::reviewers, who};
use crate::{failure::Failure, output};
use postern_api::access::{Approve, Deny, Request, RequestKind, RequestStatus};
use postern_types::id::RequestId;

/// Approve a request
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern approve req_01k…
  postern approve req_01k… --for 10m --reason \"enough for a look\"
  postern approve req_01k… --table public.orders")]
pub struct ApproveArgs {
    /// The request: see `postern requests --status pending`
    id: RequestId,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Less time than was asked for
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    duration: Option<String>,
    /// Fewer tables than were asked for: this one, again for each
    #[arg(long = "table", value_name = "SCHEMA.NAME")]
    tables: Vec<String>,
}

/// Deny a request
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern deny req_01k… --reason \"use the replica\"")]
pub struct DenyArgs {
    /// The request: see `postern requests --status pending`
    id: RequestId,
    /// Why: the requester reads it
    #[arg(long)]
    reason: String,
}

/// Runs `approve`.
pub async fn approve(context: &Context, args: ApproveArgs) -> Result<(), Failure> {
    let body = Approve { reason: args.reason, duration: args.duration, relations: args.tables };
    let request: Request = context.client()?.post(&format!("requests/{}/approve", args.id), &body).await?;
    output::one(context.format, &request, || approved(&request))
}

/// Runs `deny`.
pub async fn deny(context: &Context, args: DenyArgs) -> Result<(), Failure> {
    let body = Deny { reason: args.reason };
    let request: Request = context.client()?.post(&format!("requests/{}/deny", args.id), &body).await?;
    output::one(context.format, &request, || {
        let who = output::printable(&who(&request.requester, request.on_behalf_of.as_ref()));
        format!(
            "Denied: {who} gets no {} on {}.",
            output::printable(&request.role),
            output::printable(&request.connection)
        )
    })
}

fn approved(request: &Request) -> String {
    let who = output::printable(&who(&request.requester, request.on_behalf_of.as_ref()));
    let what = output::printable(&format!("{} on {}", request.role, request.connection));
    match (request.status, &request.grant_id) {
        (RequestStatus::Approved, Some(grant)) if request.kind == RequestKind::Extension => {
            format!("Approved: {who} has {what} for {} more (grant {grant}).", request.duration)
        }
        (RequestStatus::Approved, None) => {
            format!(
                "Approved: {who} gets {what} for {} at a time when asked.\nEnd it with: postern standing end {}",
                request.duration, request.id
            )
        }
        (RequestStatus::Approved, Some(grant)) => {
            format!(
                "Approved: {who} has {what} for {} (grant {grant}).\nEnd it early with: postern revoke {grant}",
                request.duration
            )
        }
        _ => format!("Your approval is noted: {who} still needs {} for {what}.", reviewers(request)),
    }
}
