//! `postern sessions`.

use super::{Context, who};
use crate::{
    failure::Failure,
    output::{self, Column},
};
use clap::ValueEnum;
use postern_api::{
    access::BecauseOf,
    session::{Session, SessionFilter, SessionStatus, SessionsQuery},
};
use postern_types::id::SessionId;

/// List clients' sessions, show one, end one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern sessions
  postern sessions --status all
  postern sessions kill ses_01k… --reason \"runaway\"")]
pub struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    /// Which sessions
    #[arg(long, value_enum, default_value_t)]
    status: Which,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Which {
    #[default]
    Active,
    Ended,
    All,
}

#[derive(Debug, clap::Subcommand)]
enum SessionsCommand {
    /// Show one session
    Show {
        /// The session
        id: SessionId,
    },
    /// End a session at once, with what the database runs for it
    Kill {
        /// The session
        id: SessionId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Runs `sessions`.
pub async fn run(context: &Context, args: SessionsArgs) -> Result<(), Failure> {
    match args.command {
        None => list(context, args.status).await,
        Some(SessionsCommand::Show { id }) => {
            let session: Session = context.client()?.get(&format!("sessions/{id}")).await?;
            output::one(context.format, &session, || details(&session))
        }
        Some(SessionsCommand::Kill { id, reason }) => {
            let path = format!("sessions/{id}/kill");
            let session: Session = context.client()?.post(&path, &BecauseOf { reason }).await?;
            output::one(context.format, &session, || format!("Session {id} is ended."))
        }
    }
}

async fn list(context: &Context, which: Which) -> Result<(), Failure> {
    let status = match which {
        Which::Active => SessionFilter::Active,
        Which::Ended => SessionFilter::Ended,
        Which::All => SessionFilter::All,
    };
    let sessions: Vec<Session> = context.client()?.query("sessions", &SessionsQuery { status }).await?;
    let columns = [
        Column::text("ID", |session: &Session| session.id.to_string()),
        Column::text("STATUS", state),
        Column::text("WHO", |session| who(&session.principal, session.on_behalf_of.as_ref())),
        Column::text("CONNECTION", |session| session.connection.clone()),
        Column::text("ROLE", |session| session.role.clone()),
        Column::number("PID", |session| session.backend_pid.map(|pid| pid.to_string()).unwrap_or_default()),
        Column::text("FROM", |session| session.client_address.clone()),
        Column::text("SINCE", |session| output::time(session.started_at)),
    ];
    output::list(context.format, &sessions, &columns, "There are no such sessions.")
}

fn state(session: &Session) -> String {
    match (session.status, &session.end_reason) {
        (SessionStatus::Authorized, _) => "opening".to_owned(),
        (SessionStatus::Active, _) => "active".to_owned(),
        (SessionStatus::Ended, Some(reason)) => format!("ended ({reason})"),
        (SessionStatus::Ended, None) => "ended".to_owned(),
    }
}

fn details(session: &Session) -> String {
    let mut lines = vec![
        format!("session        {}", session.id),
        format!("status         {}", state(session)),
        format!("who            {} {}", session.principal.kind, who(&session.principal, session.on_behalf_of.as_ref())),
        format!("access         {} on {} (grant {})", session.role, session.connection, session.grant_id),
        format!("proved by      {}", session.auth_method),
        format!("from           {}", session.client_address),
        format!("through        {}, {}", session.gateway_id, session.connector_id),
        format!("since          {}", output::time(session.started_at)),
    ];
    lines.extend(session.ended_at.iter().map(|at| format!("ended          {}", output::time(*at))));
    lines.extend(session.database_role.iter().map(|role| format!("database role  {role}")));
    lines.extend(session.backend_pid.iter().map(|pid| format!("backend        {pid}")));
    lines.extend(session.application_name.iter().map(|name| format!("application    {name}")));
    lines.iter().map(|line| output::printable(line)).collect::<Vec<_>>().join("\n")
}
