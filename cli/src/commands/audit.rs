//! `postern audit search`.

use super::{Context, moment};
use crate::{
    failure::Failure,
    output::{self, Column},
};
use clap::ValueEnum;
use postern_api::{
    Micros,
    audit::{AuditEvent, AuditQuery, EventType, EventTypes, MAX_LIMIT},
};

/// Read who did what
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Search the audit: without filters, the newest 100 statements
    ///
    /// Filters are joined by `and`. An auditor sees everything, everybody else their own.
    #[command(after_help = "Examples:
  postern audit search
  postern audit search --agent ci --since 1h --text customers
  postern audit search --table orders --action delete --decision deny
  postern audit search --type control --action request. --json")]
    Search(Box<SearchArgs>),
}

#[derive(Debug, clap::Args)]
struct SearchArgs {
    /// Which events
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    r#type: Types,
    /// Whose: a name or an id
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Which agent's
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// On behalf of which user
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// On which connection
    #[arg(long, value_name = "CONN")]
    connection: Option<String>,
    /// In which session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Under which grant
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
    /// With this text in the statement, whatever its case
    #[arg(long)]
    text: Option<String>,
    /// That failed with this code
    #[arg(long, value_name = "CODE")]
    sqlstate: Option<String>,
    /// That ended so
    #[arg(long, value_parser = ["ok", "error", "skipped", "prepared", "unknown", "running"])]
    outcome: Option<String>,
    /// How the statement came
    #[arg(long, value_parser = ["query", "parse", "execute", "function_call"])]
    kind: Option<String>,
    /// That were decided so
    #[arg(long, value_parser = ["allow", "deny"])]
    decision: Option<String>,
    /// Statements that use this table: `public.orders`, or `orders` of any schema
    #[arg(long)]
    table: Option<String>,
    /// What statements do, as `delete`; for events of the control plane and connectors what happened, as `request.approved`, or all of `request.`
    #[arg(long)]
    action: Option<String>,
    /// From then on: a time (RFC 3339), or how long ago (`1h`)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Micros>,
    /// Before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Micros>,
    /// The newest so many [default: 100]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    limit: Option<u32>,
    /// With --json: also what policies decided by
    #[arg(long)]
    facts: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Types {
    #[default]
    Statement,
    Session,
    Control,
    Connector,
    All,
}

/// Runs `audit`.
pub async fn run(context: &Context, args: AuditArgs) -> Result<(), Failure> {
    let AuditCommand::Search(search) = args.command;
    let events: Vec<AuditEvent> = context.client()?.query("audit/events", &query(*search)).await?;
    let columns = [
        Column::text("AT", |event: &AuditEvent| output::time(event.at)),
        Column::text("WHO", who),
        Column::text("CONNECTION", |event| text(event.connection.as_ref())),
        Column::text("ROLE", |event| text(event.role.as_ref())),
        Column::text("OUTCOME", outcome),
        Column::number("ROWS", |event| event.rows.map(|rows| rows.to_string()).unwrap_or_default()),
        Column::number("MS", |event| event.duration_ms.map(|ms| format!("{ms:.1}")).unwrap_or_default()),
        Column::text("WHAT", what),
    ];
    output::list(context.format, &events, &columns, "Nothing in the audit fits.")
}

fn query(search: SearchArgs) -> AuditQuery {
    AuditQuery {
        limit: search.limit,
        r#type: match search.r#type {
            Types::Statement => EventTypes::Statement,
            Types::Session => EventTypes::Session,
            Types::Control => EventTypes::Control,
            Types::Connector => EventTypes::Connector,
            Types::All => EventTypes::All,
        },
        principal: search.principal,
        agent: search.agent,
        on_behalf_of: search.on_behalf_of,
        connection: search.connection,
        session: search.session,
        grant: search.grant,
        text: search.text,
        sqlstate: search.sqlstate,
        outcome: search.outcome,
        kind: search.kind,
        since: search.since,
        until: search.until,
        decision: search.decision,
        table: search.table,
        action: search.action,
        facts: search.facts,
    }
}

fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

fn who(event: &AuditEvent) -> String {
    let name = event.principal.clone().or_else(|| event.actor.as_ref().map(|actor| actor.name.clone()));
    match (name, &event.on_behalf_of) {
        (Some(name), Some(user)) => format!("{name} for {user}"),
        (Some(name), None) => name,
        (None, _) => "postern".to_owned(),
    }
}

fn outcome(event: &AuditEvent) -> String {
    let outcome = match (&event.outcome, &event.decision, event.r#type) {
        (_, Some(decision), _) if decision == "deny" => "denied",
        (Some(outcome), _, _) => outcome,
        (None, _, EventType::Statement) => "running",
        (None, _, _) => "",
    };
    let code = event.sqlstate.as_deref().filter(|code| !code.is_empty()).map(|code| format!(" {code}"));
    let by = match &event.policies {
        Some(policies) if outcome == "denied" && !policies.is_empty() => format!(" by {}", policies.join(", ")),
        _ => String::new(),
    };
    format!("{outcome}{}{by}", code.unwrap_or_default())
}

fn what(event: &AuditEvent) -> String {
    const WIDTH: usize = 100;
    match (&event.sql, &event.action) {
        (Some(sql), _) => output::shortened(sql, WIDTH),
        (None, Some(action)) => output::shortened(&format!("{action} {}", text(event.subject.as_ref())), WIDTH),
        (None, None) => String::new(),
    }
}
