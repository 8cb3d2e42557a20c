//! `postern standing`: needs that come again and again, approved until a date.

use super::{Context, duration_text, request, who};
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::{
    Micros,
    access::{BecauseOf, Request, RequestKind, RequestStatus, RequestsQuery},
    standing::{CreateStanding, Window},
};
use postern_types::id::RequestId;

/// Recurring needs, approved once and granted by rule until a date
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern standing add orders-prod --role read --for 30m --until 2026-12-31 --reason \"the nightly report\" \\
      --window \"mon-fri 22:00-06:00 Europe/Berlin\"
  postern standing list
  postern standing end req_01k… --reason \"the report is gone\"")]
pub struct StandingArgs {
    #[command(subcommand)]
    command: StandingCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StandingCommand {
    /// Ask for one; reviewers decide as on a request
    Add(AddArgs),
    /// List those that hold
    List,
    /// End one; grants that it gave last as long as they do
    End {
        /// The request that it was: see `postern standing list`
        id: RequestId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The connection: see `postern connections`
    #[arg(value_name = "CONN")]
    connection: String,
    /// The way in, for example `read`
    #[arg(long)]
    role: String,
    /// The longest that one grant lasts
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    duration: String,
    /// The last day (UTC) on which it holds, or a time
    #[arg(long, value_name = "DATE", value_parser = until)]
    until: Micros,
    /// A time of the week at which it holds, again for each; without it, it holds always
    #[arg(long = "window", value_name = "\"DAYS FROM-TO ZONE\"")]
    windows: Vec<Window>,
    /// A table or view that is needed, again for each
    #[arg(long = "table", value_name = "SCHEMA.NAME")]
    tables: Vec<String>,
    /// Why: reviewers read it, and it is kept in the audit
    #[arg(long)]
    reason: String,
    /// The user for whom an agent asks
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    /// The ticket behind it
    #[arg(long)]
    ticket: Option<String>,
    #[command(flatten)]
    waiting: request::Waiting,
}

/// Runs `standing`.
pub async fn run(context: &Context, args: StandingArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.command {
        StandingCommand::Add(args) => {
            let body = CreateStanding {
                connection: args.connection,
                role: args.role,
                duration: args.duration,
                until: args.until,
                windows: args.windows,
                reason: args.reason,
                on_behalf_of: args.on_behalf_of,
                ticket: args.ticket,
                relations: args.tables,
            };
            let request: Request = client.post("standing", &body).await?;
            request::answer(context, &client, request, &args.waiting).await
        }
        StandingCommand::List => list(context).await,
        StandingCommand::End { id, reason } => {
            let request: Request = client.post(&format!("standing/{id}/end"), &BecauseOf { reason }).await?;
            output::one(context.format, &request, || format!("The standing approval {} has ended.", request.id))
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let (kind, status) = (Some(RequestKind::Standing), Some(RequestStatus::Approved));
    let query = RequestsQuery { kind, status, ..RequestsQuery::default() };
    let mut standing: Vec<Request> = context.client()?.query("requests", &query).await?;
    let now = Micros::now();
    standing.retain(|request| {
        request.closed.is_none() && request.recurring.as_ref().is_some_and(|recurring| recurring.until > now)
    });
    let columns = [
        Column::text("ID", |request: &Request| request.id.to_string()),
        Column::text("WHO", |request| who(&request.requester, request.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |request| request.connection.clone()),
        Column::text("ROLE", |request| request.role.clone()),
        Column::text("AT A TIME", |request| request.duration.clone()),
        Column::text("UNTIL", |request| {
            request.recurring.as_ref().map(|of| output::time(of.until)).unwrap_or_default()
        }),
        Column::text("WHEN", |request| {
            let windows = request.recurring.iter().flat_map(|recurring| &recurring.windows);
            windows.map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }),
        Column::text("REASON", |request| output::shortened(&request.reason, 50)),
    ];
    output::list(context.format, &standing, &columns, "There are no standing approvals.")
}

/// A time, or the end of a day.
fn until(text: &str) -> Result<Micros, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.into());
    }
    let day =
        text.parse::<jiff::civil::Date>().and_then(|day| day.tomorrow()?.to_zoned_datetime(jiff::tz::TimeZone::UTC));
    let day = day.map_err(|_| "write a day as 2026-12-31, or a time as 2026-12-31T18:00:00Z".to_owned())?;
    Ok(day.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::until;

    #[test]
    fn days_end_with_their_last_moment() {
        assert_eq!(until("2026-12-31").unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(until("2026-12-31T18:00:00Z").unwrap().to_string(), "2026-12-31T18:00:00Z");
        assert!(until("tomorrow").is_err() && until("2026-02-30").is_err());
    }
}
