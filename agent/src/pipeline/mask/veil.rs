//! The results of the statement that is watched, one after the other: each is described before its first row, and its rows
//! are rewritten as they come.

use super::{
    Cover, Masked, Masks,
    expected::{Column, disagrees},
};
use postern_mask::{
    Format, Masker, Type,
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
}

/// What hides the results of one string.
#[derive(Debug)]
pub struct Veil {
    masks: Rc<Masks>,
    /// The statement whose result comes.
    at: usize,
    showing: Showing,
    /// Values that were masked in the results before this one.
    masked: u64,
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
        Self { masks, at: 0, showing: Showing::Nothing, masked: 0 }
    }

    /// How the results are shown.
    #[must_use]
    pub fn masks(&self) -> &Rc<Masks> {
        &self.masks
    }

    /// Values that were masked so far.
    #[must_use]
    pub fn masked(&self) -> u64 {
        self.masked
            + match &self.showing {
                Showing::Rows(rows) => rows.masked(),
                Showing::Nothing | Showing::AsItIs => 0,
            }
    }

    /// The server describes the result that comes.
    ///
    /// # Errors
    /// When it is not what was expected: nothing of it may be shown.
    pub fn described(&mut self, body: &[u8]) -> Result<(), Report> {
        let described = row_description(body).map_err(|_| disagrees())?;
        // One statement has one result, but for what rules of a table may add.
        if !matches!(self.showing, Showing::Nothing) {
            return Err(disagrees());
        }
        let masked = self.masks.statements.get(self.at).ok_or_else(disagrees)?;
        self.showing = match masked {
            None => Showing::AsItIs,
            Some(masked) => {
                masked.result.agree(&described)?;
                if masked.result.is_masked() {
                    let columns = masked.result.columns.iter().zip(&described);
                    let mut columns: Vec<_> = columns.map(|(column, described)| self.row(column, described)).collect();
                    columns.resize_with(described.len(), || None);
                    Showing::Rows(Box::new(Rows::new(columns)))
                } else {
                    Showing::AsItIs
                }
            }
        };
        Ok(())
    }

    fn row(&self, column: &Column, described: &backend::Column) -> Option<rows::Masked> {
        let Cover { mask, .. } = column.cover.as_ref()?;
        let masker = Masker::new(*mask, Type::of(described.type_oid, described.modifier), &self.masks.key);
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
            None => Showing::AsItIs,
            Some(Masked { result, .. }) if count == Some(result.columns.len()) && !result.is_masked() => {
                Showing::AsItIs
            }
            Some(_) => return Err(disagrees()),
        };
        Ok(())
    }

    /// Whether rows may come now.
    ///
    /// # Errors
    /// When nothing of them was described.
    pub fn admit_row(&self) -> Result<(), Report> {
        if matches!(self.showing, Showing::Nothing) { Err(disagrees()) } else { Ok(()) }
    }

    /// The statement is complete; the next one's result follows.
    pub fn completed(&mut self) {
        self.masked = self.masked();
        self.showing = Showing::Nothing;
        self.at += 1;
    }

    /// Whether rows are rewritten.
    #[must_use]
    pub fn rewrites(&self) -> bool {
        matches!(self.showing, Showing::Rows(_))
    }

    /// A row begins whose body has so many bytes.
    pub fn begin(&mut self, body: usize) {
        if let Showing::Rows(rows) = &mut self.showing {
            rows.begin(body);
        }
    }

    /// Takes the next bytes of the row, and appends what goes on.
    ///
    /// # Errors
    /// When the row cannot be rewritten.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Torn> {
        let Showing::Rows(rows) = &mut self.showing else { return Ok(()) };
        rows.feed(bytes, out).map_err(|error| match error {
            RowError::TooWide => {
                let hint = "Select the masked columns first, or without the others.";
                Torn::Report(Report::new("54000", error.to_string(), hint))
            }
            RowError::Malformed | RowError::Fields { .. } => Torn::Session(ProtocolError::Malformed { tag: b'D' }),
        })
    }
}
