//! What a string of SQL would do, for whoever tries policies on it. It is understood as in a session of an access role,
//! and none of it is run.
//!
//! The database is asked by that access role's login, since the meaning of names is the login's too: its search path, its
//! settings, its privileges on schemas.

use crate::{
    catalogs::Snapshot,
    pipeline::{
        judge::{
            names::{Answered, QUESTION},
            report,
        },
        policy,
    },
    roles::Bounds,
    session::open,
    worker::Common,
};
use postern_dial::query;
use postern_policy::Deed;
use postern_proto::v1::{
    Analyse, Analysed, AnalysedScript, AnalysedStatement, ClientError, NotUnderstood, Setting, Ticket,
    analysed::Result as Answer, connector_message::Message,
};
use postern_sql::{Analysis, Catalog, Context, analyse_in_full, facts::Refusal, parse::STACK_BYTES, read_only};
use postern_types::{id::SessionId, time::Micros};
use postern_wire::error::Report;
use std::{sync::Arc, thread, time::Duration};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

/// The most that are answered at once: each holds a connection to the database.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// The database lets us in and answers within this.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The longest answer, which one message of the control stream can carry.
const MAX_ANSWER_BYTES: usize = 3 << 20;

/// Answers the control plane.
pub async fn answer(common: Common, asked: Analyse) {
    let id = asked.id;
    let result = match analysed(&common, asked).await {
        Ok(answer) => answer,
        Err(report) => Answer::Failed(error(report)),
    };
    common.control.say(Message::Analysed(Analysed { id, result: Some(result) }));
}

fn failed(error: &dyn std::fmt::Display) -> Report {
    tracing::warn!(%error, "it cannot be told what names mean, for whoever tries policies or masks");
    let again = "Try again; the connector's log says more.";
    Report::new("57P03", "the connector cannot tell what names mean in the database", again)
}

async fn analysed(common: &Common, asked: Analyse) -> Result<Answer, Report> {
    let _one_of_few = AT_ONCE.acquire().await.map_err(|error| failed(&error))?;
    // What a ticket would say, signed by nobody: it lets no client in. A role that is made for it has an id of its own.
    let ticket = Ticket {
        session_id: SessionId::new().to_string(),
        grant_ends_at_us: Micros::now().plus(2 * ANSWER_WITHIN).0,
        connection: asked.connection.clone(),
        role_mode: asked.role_mode,
        database_role: asked.database_role,
        read_only: asked.read_only,
        settings: asked.settings,
        ..Ticket::default()
    };
    let path = asked.search_path.map(|value| Setting { name: "search_path".to_owned(), value });
    let Looked { major, rows, snapshot } = look(common, &ticket, path).await?;
    let answered = rows.first().and_then(Answered::read).ok_or_else(|| failed(&"its answer is not understood"))?;
    let mut context = Context::new(major, "");
    answered.meaning.put(&mut context);
    let catalog = snapshot.catalog.clone();
    let analysis = on_a_deep_stack(asked.sql, catalog, context).await.map_err(|error| failed(&error))?;
    let analysis = match analysis {
        Ok(analysis) => analysis,
        Err(refusal) => return Ok(not_understood(&refusal)),
    };
    let deeds = {
        let rules = common.rules.load();
        let facts = rules.as_ref().and_then(|rules| rules.connections.get(&asked.connection));
        let facts = facts.ok_or_else(|| failed(&"the connection's tags are not known"))?;
        policy::deeds(&analysis, &facts.objects)
    };
    let role = asked.read_only.then_some(asked.access_role.as_str());
    let statements = statements(&analysis, &deeds, role);
    if statements.iter().map(|statement| statement.deed.len()).sum::<usize>() > MAX_ANSWER_BYTES {
        return Err(Report::new("54001", "the statements touch more than can be told", "Try them in parts."));
    }
    Ok(Answer::Script(AnalysedScript { statements }))
}

/// A database as an access role's login sees it.
pub struct Looked {
    /// The server's major version.
    major: u16,
    /// What it answered to [`QUESTION`].
    rows: Vec<query::Row>,
    /// Its catalog.
    pub snapshot: Arc<Snapshot>,
}

/// Looks at the database of a ticket, which nobody need have signed.
///
/// # Errors
/// Which hop failed.
pub async fn look(common: &Common, ticket: &Ticket, path: Option<Setting>) -> Result<Looked, Report> {
    let held = open::target(common, ticket).await?;
    let (mut target, lease) = open::own_login(common, ticket, &held, Bounds::default()).await?;
    target.parameters = open::parameters(ticket, path.as_slice(), "postern", lease.as_ref());
    let asking = async {
        let mut connection = postern_dial::connect(&target).await?;
        let rows = query::rows(&mut connection.io, QUESTION).await?;
        Ok::<_, postern_dial::DialError>((open::major(&connection), rows))
    };
    let (major, rows) = timeout(ANSWER_WITHIN, asking)
        .await
        .map_err(|_| open::unreachable())?
        .map_err(|error| open::dial_report(ticket, error))?;
    drop(lease);
    let major = major.ok_or_else(|| failed(&"the server does not say its version"))?;
    let watched = common.catalogs.watch(&ticket.connection, &held, major);
    let snapshot = watched.fresh().await.map_err(|error| failed(&error))?;
    Ok(Looked { major, rows, snapshot })
}

/// The parser recurses as deep as statements nest.
async fn on_a_deep_stack(
    sql: String,
    catalog: Catalog,
    context: Context,
) -> std::io::Result<Result<Analysis, Refusal>> {
    let (done, analysis) = oneshot::channel();
    thread::Builder::new().name("trial".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        // Nobody waits any more where it cannot be sent.
        let _ = done.send(analyse_in_full(&sql, &catalog, &context));
    })?;
    analysis.await.map_err(std::io::Error::other)
}

/// `role` names an access role that only reads.
fn statements(analysis: &Analysis, deeds: &[Deed], role: Option<&str>) -> Vec<AnalysedStatement> {
    let told = |(statement, deed): (&postern_sql::facts::Statement, &Deed)| {
        let refused = role.and_then(|role| {
            let reason = read_only(statement).err()?;
            Some(error(report::more_than_reading(role, statement, &reason)))
        });
        AnalysedStatement {
            start: statement.span.start as u64,
            end: statement.span.end as u64,
            deed: deed.to_json().into(),
            more_than_reading: refused,
        }
    };
    analysis.script.statements.iter().zip(deeds).map(told).collect()
}

fn not_understood(refusal: &Refusal) -> Answer {
    let position = refusal.position.map(|at| at as u64);
    Answer::NotUnderstood(NotUnderstood { error: Some(error(report::not_understood(refusal))), position })
}

/// As the protocol has it.
pub fn error(report: Report) -> ClientError {
    let Report { sqlstate, message, detail, hint } = report;
    ClientError { sqlstate, message, detail, hint }
}
