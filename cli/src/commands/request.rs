//! `postern request` and `postern extend`: asking, and waiting for the answer.

use super::{Context, duration_text, requests::reviewers};
use crate::{client::Client, failure::Failure, output};
use postern_api::access::{CreateRequest, Extend, Request, RequestKind, RequestStatus, Verdict, WaitQuery};
use postern_types::{id::GrantId, time::parse_duration};
use std::{net::IpAddr, time::Duration};
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
  postern request orders-prod --role write --for 1h --reason \"INC-42\" --on-behalf-of alice --wait
  postern request orders-prod --role read --for 1h --reason \"INC-42\" --table public.orders
  postern request orders-prod --role write --for 30m --reason \"orders are stuck\" --break-glass

Where an open grant is all that is asked for, it is the answer, and no second request is made.")]
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
    /// A table or view that is needed, again for each; without it the grant is for whatever the role reaches
    #[arg(long = "table", value_name = "SCHEMA.NAME")]
    tables: Vec<String>,
    /// The address from which clients will come, where the role binds its grants to one
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Access at once, in an emergency, for those whom the role names for it; it is reviewed afterwards
    #[arg(long)]
    break_glass: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Ask that a grant ends later; its sessions go on
///
/// A reviewer decides on it, as on a request.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern extend grt_01k… --for 30m --reason \"the backfill takes longer\" --wait")]
pub struct ExtendArgs {
    /// The grant: see `postern grants`
    id: GrantId,
    /// How much longer than it would last
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    duration: String,
    /// Why: reviewers read it, and it is kept in the audit
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// Whether to wait for the answer.
#[derive(Debug, clap::Args)]
pub struct Waiting {
    /// End only once the request is answered
    #[arg(long)]
    wait: bool,
    /// With --wait: the longest to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "wait", value_parser = duration_text)]
    wait_timeout: String,
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
        relations: args.tables,
        client_address: args.from,
        break_glass: args.break_glass,
    };
    let request: Request = client.post("requests", &body).await?;
    answer(context, &client, request, &args.waiting).await
}

/// Runs `extend`.
pub async fn extend(context: &Context, args: ExtendArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let body = Extend { duration: args.duration, reason: args.reason };
    let request: Request = client.post(&format!("grants/{}/extend", args.id), &body).await?;
    answer(context, &client, request, &args.waiting).await
}

/// Waits where that is wanted, and writes what became of a request.
pub async fn answer(
    context: &Context,
    client: &Client,
    mut request: Request,
    waiting: &Waiting,
) -> Result<(), Failure> {
    if waiting.wait {
        if request.status == RequestStatus::Pending {
            output::remark(format!("Request {} waits for {}.", request.id, reviewers(&request)));
        }
        let longest = parse_duration(&waiting.wait_timeout).map_err(|error| Failure::usage(error.to_string()))?;
        request = until_answered(client, request, longest).await?;
    }
    output::one(context.format, &request, || sentence(&request))?;
    outcome(&request, waiting.wait)
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
    let what = match request.kind {
        RequestKind::Access | RequestKind::BreakGlass => what,
        RequestKind::Extension => format!("{what} more"),
        RequestKind::Standing => format!("{what} at a time"),
    };
    match request.status {
        RequestStatus::Pending => {
            format!(
                "Request {id} ({what}) waits for {}.\nA reviewer answers with: postern approve {id}",
                reviewers(request)
            )
        }
        RequestStatus::Approved => {
            format!("{}\n{}", approved(request, &what), next_step(request))
        }
        RequestStatus::Denied => format!("Request {id} ({what}) was denied."),
        RequestStatus::Expired => format!("Request {id} ({what}) expired."),
        RequestStatus::Withdrawn => format!("Request {id} ({what}) is withdrawn."),
    }
}

fn approved(request: &Request, what: &str) -> String {
    let grant = request.grant_id.as_ref().map(ToString::to_string).unwrap_or_default();
    if request.reused {
        return format!("You have an open grant already ({grant}): no second request was made.");
    }
    match request.kind {
        RequestKind::BreakGlass => {
            format!("You have access in an emergency ({what}); somebody else has to review that: {}", request.id)
        }
        RequestKind::Extension => format!("The grant {grant} ends later ({what})."),
        _ => format!("Request {} ({what}) is approved.", request.id),
    }
}

fn next_step(request: &Request) -> String {
    let (connection, role) = (output::printable(&request.connection), output::printable(&request.role));
    match request.kind {
        RequestKind::Standing => format!("Ask each time with: postern request {connection} --role {role}"),
        RequestKind::Extension => "Its sessions go on.".to_owned(),
        _ => format!("Connect with: postern connect {connection} --role {role}"),
    }
}
