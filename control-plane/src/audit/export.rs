//! Everything that a search finds, as a file: it is read and written piece by piece, and never held as a whole.

use super::{
    Event, append_control,
    search::{Reading, Search},
};
use crate::{identity::Actor, problem::Problem, store::Store};
use bytes::Bytes;
use postern_api::audit::{AuditEvent, AuditQuery};
use postern_types::time::Micros;
use serde_json::Value;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

/// Exports at once, of one replica: each reads as fast as its client does.
pub(crate) const MAX_EXPORTS: usize = 4;

/// Pieces that wait for the client to read them.
const QUEUE: usize = 4;

/// About how large a piece is.
const PIECE_BYTES: usize = 64 << 10;

/// How long a client may leave the queue full before it is cut off.
const PATIENCE: Duration = Duration::from_secs(60);

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a line of names; what lists and trees hold is left out.
    Csv,
    /// An event a line, as the API gives it.
    JsonLines,
}

/// The columns of CSV, by the names of an event's fields.
const COLUMNS: [&str; 22] = [
    "id",
    "at",
    "type",
    "principal",
    "on_behalf_of",
    "connection",
    "role",
    "database_role",
    "client_address",
    "grant",
    "session",
    "seq",
    "decision",
    "policies",
    "outcome",
    "rows",
    "bytes",
    "duration_ms",
    "sqlstate",
    "action",
    "subject",
    "sql",
];

/// What is on its way to a client. One that breaks off ends with an error, so that half a file is not taken for all of it.
pub type Pieces = mpsc::Receiver<Result<Bytes, io::Error>>;

/// Begins to write everything that matches and that the caller may see, newest first. That somebody exports is itself
/// recorded, before they see anything.
///
/// # Errors
/// When a filter is wrong, or too many are under way.
pub async fn begin(
    store: &Store,
    room: &Arc<Semaphore>,
    actor: &Actor,
    (query, format): (AuditQuery, Format),
    now: Micros,
) -> Result<Pieces, Problem> {
    if query.limit.is_some() {
        return Err(Problem::invalid("limit", "an export is of all that matches")
            .hint("narrow it with `since` and `until`, or search"));
    }
    let permit = Arc::clone(room).try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("{MAX_EXPORTS} exports are under way already")).hint("try again shortly")
    })?;
    let mut detail = serde_json::to_value(&query).map_err(Problem::fault)?;
    if let Some(fields) = detail.as_object_mut() {
        fields.insert("format".to_owned(), if format == Format::Csv { "csv" } else { "jsonl" }.into());
    }
    let reading = Reading::new(Search::whole(actor, query)?);
    let mut tx = store.begin().await?;
    append_control(&mut tx, Event::new(now, "audit.exported", Some(&actor.principal), "audit", &detail)).await?;
    tx.commit().await?;
    let (out, pieces) = mpsc::channel(QUEUE);
    tokio::spawn(run(store.clone(), reading, format, out, permit));
    Ok(pieces)
}

type Out = mpsc::Sender<Result<Bytes, io::Error>>;

/// Ends when all is written, the client goes or does not read, or reading fails.
async fn run(store: Store, mut reading: Reading, format: Format, out: Out, _permit: OwnedSemaphorePermit) {
    let mut written = if format == Format::Csv { format!("{}\r\n", COLUMNS.join(",")) } else { String::new() };
    loop {
        let (events, done) = match next(&store, reading).await {
            Ok((rest, events, done)) => {
                reading = rest;
                (events, done)
            }
            Err(error) => {
                tracing::warn!(%error, "an export of the audit broke off");
                let _ = send(&out, Err(io::Error::other("the audit cannot be read"))).await;
                return;
            }
        };
        for event in &events {
            write(&mut written, event, format);
            if written.len() >= PIECE_BYTES && !send(&out, Ok(std::mem::take(&mut written).into())).await {
                return;
            }
        }
        if done {
            break;
        }
    }
    if !written.is_empty() {
        send(&out, Ok(written.into())).await;
    }
}

async fn send(out: &Out, piece: Result<Bytes, io::Error>) -> bool {
    matches!(timeout(PATIENCE, out.send(piece)).await, Ok(Ok(())))
}

/// Reads on: what is certain by then, and whether that was all.
async fn next(store: &Store, reading: Reading) -> Result<(Reading, Vec<AuditEvent>, bool), Problem> {
    let (mut reading, done) = reading.step(store).await?;
    let then = if done { Micros(i64::MIN) } else { reading.settled_after() };
    let events = reading.take_after(store, then).await?;
    Ok((reading, events, done))
}

fn write(out: &mut String, event: &AuditEvent, format: Format) {
    let Ok(value) = serde_json::to_value(event) else { return };
    match format {
        Format::JsonLines => {
            out.push_str(&value.to_string());
            out.push('\n');
        }
        Format::Csv => {
            let cells: Vec<_> = COLUMNS.iter().map(|column| cell(value.get(*column))).collect();
            out.push_str(&cells.join(","));
            out.push_str("\r\n");
        }
    }
}

/// A value that a spreadsheet would take for a formula is kept from being one.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::cell;
    use serde_json::json;

    #[test]
    fn cells_are_no_formulas_and_stay_one_cell() {
        for (value, expect) in [
            (json!("=1+1"), "'=1+1"),
            (json!("@cmd"), "'@cmd"),
            (json!("select \"a\", 1\n"), "\"select \"\"a\"\", 1\n\""),
            (json!(-3), "-3"),
            (json!(["reads", "writes"]), "reads writes"),
            (json!(null), ""),
        ] {
            assert_eq!(cell(Some(&value)), expect);
        }
        assert_eq!(cell(None), "");
    }
}
