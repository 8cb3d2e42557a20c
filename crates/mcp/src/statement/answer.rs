//! What the server answers, within bounds.

use super::protocol;
use crate::{Refusal, gateway};
use postern_types::id::ReviewId;
use postern_wire::{backend, error, frame};
use schemars::JsonSchema;
use serde::Serialize;

/// The most that all results show together, in bytes of their values: about what a model can read at once.
const MAX_SHOWN: usize = 256 << 10;

/// What a row, a value and a result count for besides.
const ROW_BYTES: usize = 8;

/// Notices that are kept, and the characters of each.
const MAX_NOTICES: usize = 20;
const MAX_NOTICE: usize = 1000;

/// The result of one statement.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct ResultSet {
    /// What PostgreSQL says of it, as `SELECT 3` or `UPDATE 1`; absent where not all of it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    /// How many rows it returned or changed; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row_count: Option<u64>,
    /// The columns' names.
    pub(crate) columns: Vec<String>,
    /// Each row's values, in the order of the columns, as PostgreSQL writes them as text; null is NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// There are more rows than these.
    pub(crate) truncated: bool,
}

/// The whole answer.
pub(crate) struct Answered {
    pub(crate) results: Vec<ResultSet>,
    pub(crate) notices: Vec<String>,
}

/// What to do after a message.
pub(super) enum Step {
    Read,
    Tell(String),
    RefuseCopy,
    Done,
}

/// The answer so far.
pub(super) struct Answer {
    max_rows: usize,
    shown: usize,
    results: Vec<ResultSet>,
    open: Option<ResultSet>,
    notices: Vec<String>,
    waits: Option<String>,
    pub(super) failure: Option<Refusal>,
}

impl Answer {
    pub(super) fn new(max_rows: u32) -> Self {
        Self {
            max_rows: usize::try_from(max_rows).unwrap_or(usize::MAX),
            shown: 0,
            results: Vec::new(),
            open: None,
            notices: Vec::new(),
            waits: None,
            failure: None,
        }
    }

    pub(super) fn message(&mut self, message: &[u8]) -> Result<Step, Refusal> {
        let Some((&tag, _)) = message.split_first() else { return Ok(Step::Read) };
        let body = message.get(frame::HEADER_BYTES..).unwrap_or_default();
        match tag {
            b'T' => {
                let columns = backend::row_description(body).map_err(protocol)?;
                self.begin(columns.into_iter().map(|column| column.name).collect());
            }
            b'D' => self.row(&backend::data_row(body).map_err(protocol)?),
            // COPY … TO STDOUT: a line of it.
            b'H' => self.begin(vec!["copy".to_owned()]),
            b'd' => self.row(&[Some(body.strip_suffix(b"\n").unwrap_or(body))]),
            b'G' => return Ok(Step::RefuseCopy),
            b's' => self.complete(None, true),
            b'C' => self.complete(Some(body), false),
            b'E' => self.failure = Some(failure(body)),
            b'N' => return Ok(self.notice(body)),
            b'Z' => return Ok(Step::Done),
            // What was parsed and bound, parameters, notifications and empty statements say nothing to show.
            _ => {}
        }
        Ok(Step::Read)
    }

    fn begin(&mut self, columns: Vec<String>) {
        self.shown += columns.iter().map(|name| name.len() + ROW_BYTES).sum::<usize>();
        self.open = Some(ResultSet { columns, ..ResultSet::default() });
    }

    fn row(&mut self, values: &[Option<&[u8]>]) {
        let bytes = ROW_BYTES + values.iter().map(|value| ROW_BYTES + value.map_or(0, <[u8]>::len)).sum::<usize>();
        let fits = self.shown + bytes <= MAX_SHOWN;
        let Some(open) = &mut self.open else { return };
        if open.truncated || open.rows.len() >= self.max_rows || !fits {
            open.truncated = true;
            return;
        }
        self.shown += bytes;
        let text = |value: &Option<&[u8]>| value.map(|text| String::from_utf8_lossy(text).into_owned());
        open.rows.push(values.iter().map(text).collect());
    }

    /// A statement is done, or as much of it as was asked for.
    fn complete(&mut self, tag: Option<&[u8]>, more: bool) {
        let mut result = self.open.take().unwrap_or_default();
        self.shown += ROW_BYTES * 8;
        result.truncated |= more;
        let text = |tag: &[u8]| String::from_utf8_lossy(tag.strip_suffix(&[0]).unwrap_or(tag)).into_owned();
        result.command = tag.map(text);
        result.row_count = tag.and_then(backend::tag_rows);
        // Of a script of very many statements the first are shown, and that there were more.
        match self.results.last_mut() {
            Some(last) if self.shown > MAX_SHOWN => last.truncated = true,
            _ => self.results.push(result),
        }
    }

    fn notice(&mut self, body: &[u8]) -> Step {
        let text = |code: u8| error::field(body, code).map(String::from_utf8_lossy).unwrap_or_default();
        let mut said = [text(b'M'), text(b'D')].join("\n");
        said = said.trim_end().chars().take(MAX_NOTICE).collect();
        if review(&said).is_some() {
            self.waits = Some(said.clone());
        }
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(said.clone());
        }
        Step::Tell(said)
    }

    /// What a client that waits is told.
    pub(super) fn doing(&self) -> &str {
        self.waits.as_deref().unwrap_or("the statement runs")
    }

    pub(super) fn end(self) -> Result<Answered, Refusal> {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Answered { results: self.results, notices: self.notices }),
        }
    }
}

fn failure(body: &[u8]) -> Refusal {
    let refusal = gateway::refused(body);
    let review = review(&refusal.message).or_else(|| review(refusal.detail.as_deref().unwrap_or_default()));
    Refusal { review: review.map(Into::into), ..refusal }
}

/// The review that a text names.
fn review(text: &str) -> Option<String> {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find_map(|word| word.parse::<ReviewId>().ok()).map(|id| id.to_string())
}
