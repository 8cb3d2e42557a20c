//! Which columns of a database seem to hold personal or payment data, for whoever is to tag them: names, and what detectors
//! find in samples of values. What is told is counts; no value leaves.
//!
//! The database is read by an access role's login, in transactions that only read, and with short time-outs.

mod columns;
mod document;
mod names;
mod sample;

use crate::{journal::Journal, roles::Bounds, session::open, trial, worker::Common};
use columns::{Class, Column, Relation};
use postern_dial::{Connection, DialError, Target, query};
use postern_mask::detect::Detector;
use postern_proto::v1::{
    NotSampled, Purpose, Scan, Scanned, ScannedColumn, ScannedColumns, Ticket, connector_message::Message,
    scanned::Result as Answer,
};
use postern_types::{id::SessionId, time::Micros};
use postern_wire::error::Report;
use sample::{Tally, Trying};
use std::time::Duration;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

/// The most that are answered at once: each holds a connection to the database.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// Values are read for so long; of what is left then, names alone are told.
const READ_FOR: Duration = Duration::from_secs(25);

/// The database lets us in, or answers one question, within this. Its own time-outs are shorter.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// The most relations of which values are read.
const MAX_RELATIONS: usize = 1_000;

/// The most columns that are told, and the most relations of which it is told that no values were read: one message of the
/// control stream has to carry them.
const MAX_TOLD: usize = 5_000;

/// Our own, after the access role's: the last one counts.
const SETTINGS: [(&str, &str); 6] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "5s"),
    ("lock_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
];

/// Answers the control plane.
pub async fn answer(common: Common, asked: Scan) {
    let id = asked.id;
    let result = match scanned(&common, asked).await {
        Ok(columns) => Answer::Columns(columns),
        Err(report) => Answer::Failed(trial::error(report)),
    };
    common.control.say(Message::Scanned(Scanned { id, result: Some(result) }));
}

async fn scanned(common: &Common, asked: Scan) -> Result<ScannedColumns, Report> {
    let trying = trying(&asked.detector)?;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, connection = asked.connection, "a connection cannot be scanned");
        Report::new(
            "57P03",
            "the connector cannot read the names of the database's columns",
            "Try again; the connector's log says more.",
        )
    };
    let _one_of_few = AT_ONCE.acquire().await.map_err(|error| failed(&error))?;
    // What a ticket would say, signed by nobody: it lets no client in. A role that is made for it has an id of its own.
    let ticket = Ticket {
        session_id: SessionId::new().to_string(),
        grant_ends_at_us: Micros::now().plus(2 * READ_FOR).0,
        connection: asked.connection.clone(),
        role_mode: asked.role_mode,
        database_role: asked.database_role.clone(),
        read_only: true,
        settings: asked.settings.clone(),
        ..Ticket::default()
    };
    let held = open::target(common, &ticket).await?;
    let (mut target, lease) = open::own_login(common, &ticket, &held, Bounds::default()).await?;
    target.parameters = open::parameters(&ticket, &[], "postern", lease.as_ref());
    target.parameters.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut database = timeout(ANSWER_WITHIN, postern_dial::connect(&target))
        .await
        .map_err(|_| open::unreachable())?
        .map_err(|error| open::dial_report(&ticket, error))?;
    let until = Instant::now() + READ_FOR;
    let rows = ask(&mut database, &columns::question(&asked)).await.map_err(|error| failed(&error))?;
    let (relations, cut) = columns::read(rows);
    let mut told = ScannedColumns {
        login: if lease.is_some() { ticket.database_role } else { target.user.clone() },
        relations: u32::try_from(relations.len()).unwrap_or(u32::MAX),
        cut,
        ..ScannedColumns::default()
    };
    let noted = (common.journal.clone(), ticket.connection);
    let mut reader = Reader { noted, target, database: Some(database), rows: asked.sample as usize, trying, until };
    for (index, relation) in relations.into_iter().enumerate() {
        let sampled = if index < MAX_RELATIONS { reader.read(&relation).await } else { Err(Why::NoTime) };
        put(&mut told, relation, sampled, !asked.column.is_empty());
    }
    Ok(told)
}

fn trying(detector: &str) -> Result<Trying, Report> {
    if detector.is_empty() {
        return Ok(Trying::All);
    }
    let known = Detector::ALL.into_iter().find(|known| known.as_str() == detector);
    known.map(Trying::One).ok_or_else(|| {
        let names = Detector::ALL.map(Detector::as_str).join(", ");
        Report::new("22023", "there is no detector of that name", format!("There are {names}."))
    })
}

/// Why no values of a relation were read.
enum Why {
    NotReadable,
    Foreign,
    NoTime,
    TooSlow,
    Locked,
    /// The server's code: its words may quote a value.
    Refused(String),
    Unreadable,
    Unrecorded,
}

impl Why {
    fn text(self) -> String {
        match self {
            Self::NotReadable => "the login may not read it".to_owned(),
            Self::Foreign => "it is a foreign table".to_owned(),
            Self::NoTime => "there was no time for it: scan it alone".to_owned(),
            Self::TooSlow => "reading it took too long".to_owned(),
            Self::Locked => "it is locked".to_owned(),
            Self::Refused(code) => format!("the database refused to read it ({code})"),
            Self::Unrecorded => "the audit outbox cannot be written".to_owned(),
            Self::Unreadable => "its values are not text in UTF-8, or the connection failed".to_owned(),
        }
    }
}

/// Reads samples, one relation after the other.
struct Reader {
    /// Where what is read is recorded, and as whose.
    noted: (Journal, String),
    target: Target,
    /// None after a failure: what it would say next is not known.
    database: Option<Connection>,
    rows: usize,
    trying: Trying,
    until: Instant,
}

impl Reader {
    /// What was counted in each of a relation's columns. Not cancel safe.
    async fn read(&mut self, relation: &Relation) -> Result<Vec<Tally>, Why> {
        let sampled: Vec<usize> =
            (0..).zip(&relation.columns).filter(|(_, column)| sample::is_sampled(column)).map(|(at, _)| at).collect();
        let mut tallies: Vec<Tally> = relation.columns.iter().map(|_| Tally::default()).collect();
        if relation.foreign {
            return Err(Why::Foreign);
        }
        if relation.columns.iter().any(|column| !column.readable) && sampled.is_empty() {
            return Err(Why::NotReadable);
        }
        let columns: Vec<&Column> = sampled.iter().filter_map(|at| relation.columns.get(*at)).collect();
        if columns.is_empty() {
            return Ok(tallies);
        }
        if Instant::now() >= self.until {
            return Err(Why::NoTime);
        }
        let drawn = sample::is_drawn(relation, self.rows);
        let mut rows = self.ask(&sample::question(relation, &columns, self.rows, drawn)).await?;
        if drawn && rows.is_empty() {
            // What the server believes of its size is old.
            rows = self.ask(&sample::question(relation, &columns, self.rows, false)).await?;
        }
        let classes: Vec<(Class, bool)> = columns.iter().map(|column| (column.class, column.array)).collect();
        let trying = self.trying;
        // Detectors take a while: not on a thread that serves others.
        let counted = spawn_blocking(move || sample::count(&classes, &rows, trying)).await;
        for (at, tally) in sampled.into_iter().zip(counted.map_err(|_| Why::Unreadable)?) {
            if let Some(place) = tallies.get_mut(at) {
                *place = tally;
            }
        }
        Ok(tallies)
    }

    async fn ask(&mut self, question: &str) -> Result<Vec<query::Row>, Why> {
        let mut database = match self.database.take() {
            Some(database) => database,
            None => {
                let connected = timeout(ANSWER_WITHIN, postern_dial::connect(&self.target)).await;
                connected.ok().and_then(Result::ok).ok_or(Why::Unreadable)?
            }
        };
        let (journal, connection) = &self.noted;
        journal.write(connection, Purpose::Scan, question).await.map_err(|_| Why::Unrecorded)?;
        let answer = ask(&mut database, question).await;
        if matches!(answer, Ok(_) | Err(DialError::Server { .. })) {
            self.database = Some(database);
        }
        answer.map_err(|error| match error {
            DialError::Server { sqlstate, .. } => match &*sqlstate {
                "57014" => Why::TooSlow,
                "55P03" => Why::Locked,
                "42501" => Why::NotReadable,
                _ => Why::Refused(sqlstate),
            },
            _ => Why::Unreadable,
        })
    }
}

async fn ask(database: &mut Connection, question: &str) -> Result<Vec<query::Row>, DialError> {
    timeout(ANSWER_WITHIN, query::rows(&mut database.io, question)).await.map_err(std::io::Error::from)?
}

/// Adds a relation to what is told. Of a column that was named something is told whatever was seen.
fn put(told: &mut ScannedColumns, relation: Relation, sampled: Result<Vec<Tally>, Why>, named: bool) {
    let mut tallies = match sampled {
        Ok(tallies) => tallies,
        Err(why) => {
            if told.not_sampled.len() < MAX_TOLD {
                let (schema, name) = (relation.schema.clone(), relation.name.clone());
                told.not_sampled.push(NotSampled { schema, relation: name, why: why.text() });
            }
            Vec::new()
        }
    }
    .into_iter();
    for column in &relation.columns {
        let seen = tallies.next().unwrap_or_default().told(&relation, column);
        let ScannedColumn { named: by_name, found, .. } = &seen;
        if named || !by_name.is_empty() || !found.is_empty() {
            if told.columns.len() < MAX_TOLD {
                told.columns.push(seen);
            } else {
                told.cut = true;
            }
        }
    }
}
