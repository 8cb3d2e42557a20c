//! `postern requests`, `postern withdraw`, `postern comment` and `postern close`.

use super::{Context, proof, request::sentence, who};
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::{
    access::{Close, CreateComment, Request, RequestKind, RequestStatus, RequestsQuery, Verdict},
    quorum::{Need, QuorumMode},
};
use postern_types::id::RequestId;

/// List requests: yours and those that you may answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern requests --status pending
  postern requests --to-review
  postern requests show req_01k…")]
pub struct RequestsArgs {
    #[command(subcommand)]
    command: Option<RequestsCommand>,
    /// Only those that stand so
    #[arg(long, value_name = "STATUS", value_parser = parse_status)]
    status: Option<RequestStatus>,
    /// Only your own
    #[arg(long)]
    mine: bool,
    /// Only break-glass that somebody has to review still
    #[arg(long)]
    to_review: bool,
}

#[derive(Debug, clap::Subcommand)]
enum RequestsCommand {
    /// Show one request with its votes and comments
    Show {
        /// The request
        id: RequestId,
    },
}

/// Take back a request that nobody has answered yet
#[derive(Debug, clap::Args)]
pub struct WithdrawArgs {
    /// The request
    id: RequestId,
}

/// Say something about a request, to whoever asks or reviews
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern comment req_01k… \"which orders?\"")]
pub struct CommentArgs {
    /// The request
    id: RequestId,
    /// What to say
    text: String,
}

/// Close the review of break-glass: somebody else has looked at what was done
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern close req_01k… --reason \"the failover was needed; nothing else was touched\"")]
pub struct CloseArgs {
    /// The request: see `postern requests --to-review`
    id: RequestId,
    /// What you found
    #[arg(long)]
    reason: String,
}

/// Runs `requests`.
pub async fn requests(context: &Context, args: RequestsArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if let Some(RequestsCommand::Show { id }) = args.command {
        let request: Request = client.get(&format!("requests/{id}")).await?;
        return output::one(context.format, &request, || details(&request));
    }
    let query = RequestsQuery { status: args.status, mine: args.mine, kind: None, to_review: args.to_review };
    let requests: Vec<Request> = client.query("requests", &query).await?;
    let columns = [
        Column::text("ID", |request: &Request| request.id.to_string()),
        Column::text("STATUS", |request| status_text(request).to_owned()),
        Column::text("WHO", |request| who(&request.requester, request.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |request| request.connection.clone()),
        Column::text("ROLE", |request| request.role.clone()),
        Column::text("FOR", length),
        Column::text("REASON", |request| output::shortened(&request.reason, 50)),
        Column::text("MADE", |request| output::time(request.created_at)),
    ];
    output::list(context.format, &requests, &columns, "There are no requests.")
}

/// Runs `withdraw`.
pub async fn withdraw(context: &Context, args: WithdrawArgs) -> Result<(), Failure> {
    let path = format!("requests/{}/withdraw", args.id);
    let request: Request = context.client()?.post(&path, &serde_json::json!({})).await?;
    output::one(context.format, &request, || sentence(&request))
}

/// Runs `comment`.
pub async fn comment(context: &Context, args: CommentArgs) -> Result<(), Failure> {
    let path = format!("requests/{}/comments", args.id);
    let request: Request = context.client()?.post(&path, &CreateComment { text: args.text }).await?;
    output::one(context.format, &request, || format!("Noted on request {}.", request.id))
}

/// Runs `close`.
pub async fn close(context: &Context, args: CloseArgs) -> Result<(), Failure> {
    let path = format!("requests/{}/close", args.id);
    let request: Request = context.client()?.post(&path, &Close { reason: args.reason }).await?;
    output::one(context.format, &request, || format!("The review of {} is closed.", request.id))
}

/// How long, as a list shows it.
fn length(request: &Request) -> String {
    let duration = &request.duration;
    match request.kind {
        RequestKind::Access | RequestKind::BreakGlass => duration.clone(),
        RequestKind::Extension => format!("{duration} more"),
        RequestKind::Standing => format!("{duration} at a time"),
    }
}

/// What is still needed for a request.
pub fn reviewers(request: &Request) -> String {
    let between = match request.quorum.mode {
        QuorumMode::All => " and ",
        QuorumMode::Any => " or ",
    };
    let need = |need: &Need| match (need.count, need.groups.as_slice()) {
        (1, []) => "an admin".to_owned(),
        (count, []) => format!("{count} admins"),
        (1, groups) => format!("a reviewer of {}", groups.join(" or ")),
        (count, groups) => format!("{count} reviewers of {}", groups.join(" or ")),
    };
    output::printable(&request.missing.iter().map(need).collect::<Vec<_>>().join(between))
}

fn details(request: &Request) -> String {
    let mut lines = vec![
        format!("request     {}", request.id),
        format!("status      {}", status_text(request)),
        format!("who         {} {}", request.requester.kind, who(&request.requester, request.on_behalf_of.as_ref())),
        format!("access      {} on {} for {}", request.role, request.connection, length(request)),
        format!("reason      {}", request.reason),
        format!("made        {}", output::time(request.created_at)),
    ];
    lines.extend(proof(request.on_behalf_of.as_ref(), request.behalf_proof.as_ref()));
    lines.extend(request.relations.iter().map(|relation| format!("table       {relation}")));
    lines.extend(request.client_address.iter().map(|address| format!("from        {address}")));
    if let Some(recurring) = &request.recurring {
        lines.push(format!("until       {}", output::time(recurring.until)));
        lines.extend(recurring.windows.iter().map(|window| format!("when        {window}")));
    }
    lines.extend(request.ticket.iter().map(|ticket| format!("ticket      {ticket}")));
    if request.status == RequestStatus::Pending {
        lines.push(format!("expires     {}", output::time(request.expires_at)));
        lines.push(format!("waits for   {}", reviewers(request)));
    }
    lines.extend(request.decided_at.iter().map(|at| format!("decided     {}", output::time(*at))));
    lines.push(format!("rule        {}", request.policy_reason));
    lines.extend(request.grant_id.iter().map(|grant| format!("grant       {grant}")));
    for vote in &request.votes {
        let verdict = match vote.verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
        };
        let reason = vote.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("vote        {} {verdict} {}{reason}", vote.reviewer.name, output::time(vote.at)));
    }
    for comment in &request.comments {
        lines.push(format!("comment     {} {}: {}", comment.author.name, output::time(comment.at), comment.text));
    }
    if let Some(closed) = &request.closed {
        let by = closed.by.as_ref().map(|by| format!("{} ", by.name)).unwrap_or_default();
        let reason = closed.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("closed      {by}{}{reason}", output::time(closed.at)));
    }
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}

fn status_text(request: &Request) -> &'static str {
    match request.kind {
        RequestKind::BreakGlass if request.to_review => "to review",
        RequestKind::BreakGlass => "reviewed",
        RequestKind::Standing if request.closed.is_some() => "ended",
        _ => status_name(request.status),
    }
}

fn status_name(status: RequestStatus) -> &'static str {
    match status {
        RequestStatus::Pending => "pending",
        RequestStatus::Approved => "approved",
        RequestStatus::Denied => "denied",
        RequestStatus::Expired => "expired",
        RequestStatus::Withdrawn => "withdrawn",
    }
}

fn parse_status(text: &str) -> Result<RequestStatus, String> {
    serde_json::from_value(serde_json::Value::from(text))
        .map_err(|_| "one of pending, approved, denied, expired, withdrawn".to_owned())
}
