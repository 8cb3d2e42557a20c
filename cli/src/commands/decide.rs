//! `postern approve` and `postern deny`.

use super::{Context, duration_text, requests::reviewers, reviews, who};
use crate::{failure::Failure, output};
use postern_api::{
    access::{Approve, Deny, Request, RequestKind, RequestStatus},
    review::{ApproveReview, DenyReview, Review},
};
use postern_types::id::{ParseIdError, RequestId, ReviewId};
use std::{path::PathBuf, str::FromStr};

/// What is answered.
#[derive(Clone, Debug)]
enum Id {
    Request(RequestId),
    Review(ReviewId),
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(ReviewId::PREFIX) {
            return text.parse().map(Self::Review).map_err(|error: ParseIdError| error.to_string());
        }
        text.parse().map(Self::Request).map_err(|error: ParseIdError| error.to_string())
    }
}

/// Approve a request for access, or a statement that waits
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern approve req_01k…
  postern approve req_01k… --for 10m --reason \"enough for a look\"
  postern approve req_01k… --table public.orders
  postern approve rev_01k…
  postern approve rev_01k… --max-rows 500
  postern approve rev_01k… --for-grant --free status")]
pub struct ApproveArgs {
    /// The request or the review: see `postern requests` and `postern reviews`, with `--status pending`
    id: Id,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// A request: less time than was asked for
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    duration: Option<String>,
    /// A request: fewer tables than were asked for: this one, again for each
    #[arg(long = "table", value_name = "SCHEMA.NAME")]
    tables: Vec<String>,
    #[command(flatten)]
    statement: StatementArgs,
}

#[derive(Debug, clap::Args)]
#[group(multiple = true)]
struct StatementArgs {
    /// A statement: the most rows that it may change [default: those of its preview, where they were counted]
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// A statement: the text that runs in its place
    #[arg(long, value_name = "SQL")]
    edit: Option<String>,
    /// The same, from a file
    #[arg(long, value_name = "FILE", conflicts_with = "edit")]
    edit_file: Option<PathBuf>,
    /// A statement: for as long as its grant is open, and not for once
    #[arg(long, conflicts_with_all = ["edit", "edit_file"])]
    for_grant: bool,
    /// With --for-grant: the names of the literals that may be others
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "for_grant")]
    free: Vec<String>,
}

impl StatementArgs {
    fn is_empty(&self) -> bool {
        self.max_rows.is_none() && self.edit.is_none() && self.edit_file.is_none() && !self.for_grant
    }

    fn body(self, reason: Option<String>) -> Result<ApproveReview, Failure> {
        let edited_sql = match &self.edit_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?,
            ),
            None => self.edit,
        };
        Ok(ApproveReview { reason, max_rows: self.max_rows, edited_sql, for_grant: self.for_grant, free: self.free })
    }
}

/// Deny a request for access, or a statement that waits
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern deny req_01k… --reason \"use the replica\"
  postern deny rev_01k… --reason \"these orders are open still\"")]
pub struct DenyArgs {
    /// The request or the review: see `postern requests` and `postern reviews`, with `--status pending`
    id: Id,
    /// Why: whoever asks reads it
    #[arg(long)]
    reason: String,
}

/// Runs `approve`.
pub async fn approve(context: &Context, args: ApproveArgs) -> Result<(), Failure> {
    match args.id {
        Id::Request(id) => {
            if !args.statement.is_empty() {
                return Err(Failure::usage("--max-rows, --edit and --for-grant are for statements (rev_…)"));
            }
            let body = Approve { reason: args.reason, duration: args.duration, relations: args.tables };
            let request: Request = context.client()?.post(&format!("requests/{id}/approve"), &body).await?;
            output::one(context.format, &request, || approved(&request))
        }
        Id::Review(id) => {
            if args.duration.is_some() || !args.tables.is_empty() {
                return Err(Failure::usage("--for and --table are for requests (req_…)"));
            }
            let body = args.statement.body(args.reason)?;
            let review: Review = context.client()?.post(&format!("reviews/{id}/approve"), &body).await?;
            output::one(context.format, &review, || reviews::approved(&review))
        }
    }
}

/// Runs `deny`.
pub async fn deny(context: &Context, args: DenyArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.id {
        Id::Request(id) => {
            let body = Deny { reason: args.reason };
            let request: Request = client.post(&format!("requests/{id}/deny"), &body).await?;
            output::one(context.format, &request, || {
                let who = output::printable(&who(&request.requester, request.on_behalf_of.as_ref()));
                format!(
                    "Denied: {who} gets no {} on {}.",
                    output::printable(&request.role),
                    output::printable(&request.connection)
                )
            })
        }
        Id::Review(id) => {
            let body = DenyReview { reason: args.reason };
            let review: Review = client.post(&format!("reviews/{id}/deny"), &body).await?;
            output::one(context.format, &review, || {
                let who = output::printable(&who(&review.principal, review.on_behalf_of.as_ref()));
                format!("Denied: the statement of {who} does not run.")
            })
        }
    }
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
