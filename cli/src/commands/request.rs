//! `postern request`, `postern requests` and `postern withdraw`.

use super::{Context, duration_text, who};
use crate::{
    client::Client,
    failure::Failure,
    output::{self, Column},
};
use postern_api::access::{CreateRequest, Request, RequestStatus, RequestsQuery, Verdict, WaitQuery};
use postern_types::{id::RequestId, time::parse_duration};
use std::time::Duration;
use tokio::time::Instant;

/// One long poll, under what the control plane allows (60 s) and what proxies on the way may cut.
const POLL: Duration = Duration::from_secs(25);

/// Ask for access to a database
///
/// Without --wait the request is made and the command is done. With it, the command ends once the request is
/// answered: exit code 0 when it was approved, 3 when it was denied, 4 when nobody answered in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern request demo --role read --for 10m --reason \"why the totals differ\"
  postern request orders-prod --role write --for 1h --reason \"INC-42\" --on-behalf-of alice --wait")]
pub struct RequestArgs {
    /// The connection: see `postern connections`
    #[arg(value_name = "CONN")]
    connection: String,
    /// The way in, for example `read`
    #[arg(long)]
    role: String,
    /// How long, counted from approval
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    duration: String,
    /// Why: reviewers read it, and it is kept in the audit
    #[arg(long)]
    reason: String,
    /// The user for whom an agent asks
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    /// The ticket or incident behind it
    #[arg(long)]
    ticket: Option<String>,
    /// End only once the request is answered
    #[arg(long)]
    wait: bool,
    /// With --wait: the longest to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "wait", value_parser = duration_text)]
    wait_timeout: String,
}

/// List requests: yours and those that you may answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern requests --status pending
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
}

#[derive(Debug, clap::Subcommand)]
enum RequestsCommand {
    /// Show one request with its votes
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

/// Runs `request`.
pub async fn request(context: &Context, args: RequestArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let body = CreateRequest {
        connection: args.connection,
        role: args.role,
        duration: args.duration,
        reason: args.reason,
        on_behalf_of: args.on_behalf_of,
        ticket: args.ticket,
    };
    let mut request: Request = client.post("requests", &body).await?;
    if args.wait {
        if request.status == RequestStatus::Pending {
            output::remark(format!("Request {} waits for {}.", request.id, reviewers(&request)));
        }
        let longest = parse_duration(&args.wait_timeout).map_err(|error| Failure::usage(error.to_string()))?;
        request = until_answered(&client, request, longest).await?;
    }
    output::one(context.format, &request, || sentence(&request))?;
    outcome(&request, args.wait)
}

/// Runs `requests`.
pub async fn requests(context: &Context, args: RequestsArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if let Some(RequestsCommand::Show { id }) = args.command {
        let request: Request = client.get(&format!("requests/{id}")).await?;
        return output::one(context.format, &request, || details(&request));
    }
    let query = RequestsQuery { status: args.status, mine: args.mine };
    let requests: Vec<Request> = client.query("requests", &query).await?;
    let columns = [
        Column::text("ID", |request: &Request| request.id.to_string()),
        Column::text("STATUS", |request| status_name(request.status).to_owned()),
        Column::text("WHO", |request| who(&request.requester, request.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |request| request.connection.clone()),
        Column::text("ROLE", |request| request.role.clone()),
        Column::text("FOR", |request| request.duration.clone()),
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

async fn until_answered(client: &Client, mut request: Request, longest: Duration) -> Result<Request, Failure> {
    let until = Instant::now() + longest;
    let path = format!("requests/{}", request.id);
    while request.status == RequestStatus::Pending {
        let left = until.saturating_duration_since(Instant::now()).min(POLL);
        if left.is_zero() {
            break;
        }
        let seconds = u32::try_from(left.as_secs()).unwrap_or(1).max(1);
        request = client.query(&path, &WaitQuery { wait: Some(seconds) }).await?;
    }
    Ok(request)
}

/// What the exit code is to say, once the request itself has been written.
fn outcome(request: &Request, waited: bool) -> Result<(), Failure> {
    match request.status {
        RequestStatus::Approved => Ok(()),
        RequestStatus::Pending if !waited => Ok(()),
        RequestStatus::Pending => Err(Failure::waited(format!("nobody has answered request {} yet", request.id))
            .hint("It stays open. See `postern requests`.")),
        RequestStatus::Denied => Err(denied(request)),
        RequestStatus::Expired => {
            Err(Failure::waited(format!("request {} expired: nobody answered in time", request.id)))
        }
        RequestStatus::Withdrawn => Err(Failure::denied(format!("request {} was withdrawn", request.id))),
    }
}

fn denied(request: &Request) -> Failure {
    let vote = request.votes.iter().rev().find(|vote| vote.verdict == Verdict::Deny);
    let failure = match vote {
        Some(vote) => Failure::denied(format!("{} denied request {}", vote.reviewer.name, request.id)),
        None => Failure::denied(format!("request {} was denied", request.id)),
    };
    match vote.and_then(|vote| vote.reason.as_ref()) {
        Some(reason) => failure.detail(format!("Reason: {reason}")),
        None => failure,
    }
}

/// What became of a request, and the next step.
pub fn sentence(request: &Request) -> String {
    let id = &request.id;
    let what = output::printable(&format!("{} on {} for {}", request.role, request.connection, request.duration));
    match request.status {
        RequestStatus::Pending => {
            format!(
                "Request {id} ({what}) waits for {}.\nA reviewer answers with: postern approve {id}",
                reviewers(request)
            )
        }
        RequestStatus::Approved => {
            format!(
                "Request {id} ({what}) is approved.\nConnect with: postern connect {} --role {}",
                output::printable(&request.connection),
                output::printable(&request.role)
            )
        }
        RequestStatus::Denied => format!("Request {id} ({what}) was denied."),
        RequestStatus::Expired => format!("Request {id} ({what}) expired."),
        RequestStatus::Withdrawn => format!("Request {id} ({what}) is withdrawn."),
    }
}

fn reviewers(request: &Request) -> String {
    let count = request.approvals_needed;
    let people = if count == 1 { "a reviewer".to_owned() } else { format!("{count} reviewers") };
    match request.reviewer_groups.as_slice() {
        [] => "an admin".to_owned(),
        groups => output::printable(&format!("{people} of {}", groups.join(" or "))),
    }
}

fn details(request: &Request) -> String {
    let mut lines = vec![
        format!("request     {}", request.id),
        format!("status      {}", status_name(request.status)),
        format!("who         {} {}", request.requester.kind, who(&request.requester, request.on_behalf_of.as_ref())),
        format!("access      {} on {} for {}", request.role, request.connection, request.duration),
        format!("reason      {}", request.reason),
        format!("made        {}", output::time(request.created_at)),
    ];
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
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
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
