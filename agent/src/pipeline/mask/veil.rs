//! The results of the statement that is watched, one after the other: each is described before its first row, and its rows
//! are rewritten as they come.

use super::{
    super::down::MAX_AWAITED,
    Masked, Masks,
    copied::Copied,
    expected::{Column, disagrees},
};
use postern_mask::{
    Done, Format, Type,
    copy::Unsupported,
    rows::{self, RowError, Rows},
};
use postern_wire::{
    ProtocolError,
    backend::{self, row_description},
    error::Report,
};
use std::rc::Rc;

/// What the server shows now.
#[derive(Debug)]
enum Showing {
    /// Nothing that was described.
    Nothing,
    /// Rows that go on as they are.
    AsItIs,
    /// Rows with masked columns.
    Rows(Box<Rows>),
    /// COPY data with masked columns.
    Copy(Box<Copied>),
}

/// What hides the results of one string.
#[derive(Debug)]
pub struct Veil {
    masks: Rc<Masks>,
    /// The statement whose result comes.
    at: usize,
    showing: Showing,
    /// What was done in the results before this one.
    done: Vec<Vec<Done>>,
}

/// What becomes of the rest of a row that does not go on.
#[derive(Debug)]
pub enum Torn {
    /// The client has seen none of it: the statement is ended with this.
    Report(Report),
    /// The session has to end.
    Session(ProtocolError),
}

impl Veil {
    /// Before the first result.
    #[must_use]
    pub fn new(masks: Rc<Masks>) -> Self {
        Self { masks, at: 0, showing: Showing::Nothing, done: Vec::new() }
    }

    /// How the results are shown.
    #[must_use]
    pub fn masks(&self) -> &Rc<Masks> {
        &self.masks
    }

    /// What was done to each column of each result so far.
    #[must_use]
    pub fn done(mut self) -> Vec<Vec<Done>> {
        self.completed();
        self.done
    }

    /// The server describes the result that comes; with nothing where that is too long to be looked at.
    ///
    /// # Errors
    /// When it is not what was expected: nothing of it may be shown.
    pub fn described(&mut self, body: &[u8]) -> Result<(), Report> {
        if body.is_empty() {
            let message = format!("the description of a result with masked columns is longer than {MAX_AWAITED} bytes");
            return Err(Report::new("54000", message, "Select fewer columns at once."));
        }
        let described = row_description(body).map_err(|_| disagrees())?;
        // One statement has one result, but for what rules of a table may add.
        if !matches!(self.showing, Showing::Nothing) {
            return Err(disagrees());
        }
        let masked = self.masks.statements.get(self.at).ok_or_else(disagrees)?;
        let mut expected: &[Column] = &[];
        match masked {
            Some(masked) if masked.strict => {
                masked.result.agree(&described)?;
                expected = &masked.result.columns;
            }
            _ if described.iter().any(|it| self.masks.places.contains(&(it.table_oid, it.attribute))) => {
                return Err(disagrees());
            }
            Some(masked) if masked.result.columns.len() == described.len() => expected = &masked.result.columns,
            _ => {}
        }
        let columns = described.iter().enumerate().map(|(at, described)| self.row(expected.get(at), described));
        let columns: Vec<_> = columns.collect();
        self.showing = if columns.iter().any(Option::is_some) {
            Showing::Rows(Box::new(Rows::new(columns)))
        } else {
            Showing::AsItIs
        };
        Ok(())
    }

    fn row(&self, column: Option<&Column>, described: &backend::Column) -> Option<rows::Masked> {
        let (oid, modifier) = (described.type_oid, described.modifier);
        let masker = match column {
            Some(Column { cover: Some(cover), .. }) => self.masks.masker(cover, || Type::of(oid, modifier)),
            Some(Column { exempt: true, .. }) => return None,
            _ => self.masks.looker(oid, modifier)?,
        };
        let format = if described.format == 0 { Format::Text } else { Format::Binary };
        Some(rows::Masked { masker, format })
    }

    /// COPY data comes, as its first message says. Of its columns the server says no more than how many there are.
    ///
    /// # Errors
    /// When it is not what was expected: nothing of it may be shown.
    pub fn copies(&mut self, body: &[u8]) -> Result<(), Report> {
        let count = body.get(1..).and_then(<[u8]>::first_chunk).map(|count| usize::from(u16::from_be_bytes(*count)));
        self.showing = match self.masks.statements.get(self.at).ok_or_else(disagrees)? {
            None if self.masks.detectors.is_empty() || count == Some(0) => Showing::AsItIs,
            None => return Err(disagrees()),
            Some(Masked { result, .. }) => {
                let copy =
                    result.copy.as_ref().filter(|_| count == Some(result.columns.len())).ok_or_else(disagrees)?;
                match Copied::new(result, copy, &self.masks).map_err(unsupported)? {
                    Some(copied) => Showing::Copy(Box::new(copied)),
                    None => Showing::AsItIs,
                }
            }
        };
        Ok(())
    }

    /// Whether such a message of rows may come now.
    ///
    /// # Errors
    /// When nothing of them was described.
    pub fn admit_row(&self, tag: u8) -> Result<(), Report> {
        match (&self.showing, tag) {
            (Showing::AsItIs, _) | (Showing::Rows(_), b'D') | (Showing::Copy(_), b'd') => Ok(()),
            _ => Err(disagrees()),
        }
    }

    /// The statement is complete; the next one's result follows.
    pub fn completed(&mut self) {
        let done = match std::mem::replace(&mut self.showing, Showing::Nothing) {
            Showing::Rows(rows) => rows.done().collect(),
            Showing::Copy(copied) => copied.done(),
            Showing::Nothing | Showing::AsItIs => Vec::new(),
        };
        self.done.push(done);
        self.at += 1;
    }

    /// Whether rows are rewritten.
    #[must_use]
    pub fn rewrites(&self) -> bool {
        matches!(self.showing, Showing::Rows(_) | Showing::Copy(_))
    }

    /// A row begins whose body has so many bytes.
    pub fn begin(&mut self, body: usize) {
        match &mut self.showing {
            Showing::Rows(rows) => rows.begin(body),
            Showing::Copy(copied) => copied.begin(body),
            Showing::Nothing | Showing::AsItIs => {}
        }
    }

    /// Takes the next bytes of the row, and appends what goes on.
    ///
    /// # Errors
    /// When the row cannot be rewritten.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Torn> {
        let (fed, tag) = match &mut self.showing {
            Showing::Rows(rows) => (rows.feed(bytes, out), b'D'),
            Showing::Copy(copied) => (copied.feed(bytes, out), b'd'),
            Showing::Nothing | Showing::AsItIs => return Ok(()),
        };
        fed.map_err(|error| match error {
            RowError::TooWide => {
                let hint = "Select the masked columns first, or without the others.";
                Torn::Report(Report::new("54000", error.to_string(), hint))
            }
            RowError::Malformed | RowError::Fields { .. } => Torn::Session(ProtocolError::Malformed { tag }),
        })
    }
}

fn unsupported(why: Unsupported) -> Report {
    Report::new("0A000", why.to_string(), "Use COPY's defaults, or SELECT.")
}
