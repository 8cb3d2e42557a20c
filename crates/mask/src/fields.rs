//! The fields of rows that come in pieces: each a length and bytes, as in a DataRow and in COPY's binary form.

use crate::value::{Format, LONGEST_VALUE, Masker, Put};

/// A length of -1 stands for NULL.
pub(crate) const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// In place of a count of fields: COPY's data ends.
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

/// A buffer larger than this is given back once its row has gone on.
pub(crate) const KEPT: usize = 64 * 1024;

/// A column whose values are masked.
#[derive(Clone, Debug)]
pub struct Masked {
    /// How.
    pub masker: Masker,
    /// How the result writes it.
    pub format: Format,
}

/// Why a row does not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RowError {
    /// The server and we are not in step: the session has to end.
    #[error("a row is not of the form that its format asks for")]
    Malformed,
    /// The result is not the one that was understood: the session has to end.
    #[error("a row has {found} fields where {expected} were expected")]
    Fields {
        /// By the description of the result.
        expected: usize,
        /// By the row.
        found: usize,
    },
    /// Nothing of the row was given out. SQLSTATE 54000.
    #[error(
        "more than {} MiB of other columns stand before the last masked column of a row: select the masked columns first",
        crate::rows::MOST_HELD / 1024 / 1024
    )]
    TooWide,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// How many fields there are.
    Count,
    /// A field's length.
    Length,
    /// So many bytes of a field that goes on as it is.
    Plain(usize),
    /// So many bytes of a field that its mask looks at.
    Seen(usize),
    /// So many bytes of a field that its mask does not look at.
    Unseen(usize),
    /// Nothing.
    End,
}

/// Follows fields and masks them.
#[derive(Debug)]
pub(crate) struct Fields {
    columns: Vec<Option<Masked>>,
    /// What comes after a row: nothing, or the next one.
    after: Next,
    next: Next,
    column: usize,
    /// A number that is not all there yet.
    number: [u8; 4],
    have: usize,
    /// What has come of a field that its mask looks at.
    value: Vec<u8>,
}

impl Fields {
    /// Of one row at a time, or of rows that follow each other up to a trailer.
    pub(crate) fn new(columns: Vec<Option<Masked>>, after: Next) -> Self {
        Self { columns, after, next: Next::Count, column: 0, number: [0; 4], have: 0, value: Vec::new() }
    }

    pub(crate) fn columns(&self) -> &[Option<Masked>] {
        &self.columns
    }

    pub(crate) fn next(&self) -> Next {
        self.next
    }

    /// The current field's place.
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.value.capacity()
    }

    pub(crate) fn begin(&mut self) {
        (self.next, self.column, self.have) = (Next::Count, 0, 0);
        self.value.clear();
    }

    /// A row went another way.
    pub(crate) fn end(&mut self) {
        self.next = Next::End;
    }

    /// Whether nothing of a row has been seen.
    pub(crate) fn is_untouched(&self) -> bool {
        self.next == Next::Count && self.have == 0
    }

    /// Takes some of the bytes and appends what they become. Whether there is more to do.
    pub(crate) fn step(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, RowError> {
        match self.next {
            Next::Count => {
                let Some(count) = self.number(bytes) else { return Ok(false) };
                out.extend_from_slice(&count);
                if count == TRAILER && self.after == Next::Count {
                    self.next = Next::End;
                } else {
                    self.expect(count)?;
                    self.next_field();
                }
            }
            Next::Length => {
                let Some(length) = self.number(bytes) else { return Ok(false) };
                self.begin_field(length, out)?;
            }
            Next::Plain(0) | Next::Seen(0) | Next::Unseen(0) => self.end_field(out),
            Next::Plain(left) => {
                let taken = take(left, bytes);
                out.extend_from_slice(taken);
                self.next = Next::Plain(left - taken.len());
                return Ok(!taken.is_empty());
            }
            Next::Seen(left) => {
                let taken = take(left, bytes);
                self.value.extend_from_slice(taken);
                self.next = Next::Seen(left - taken.len());
                return Ok(!taken.is_empty());
            }
            Next::Unseen(left) => {
                let taken = take(left, bytes);
                self.next = Next::Unseen(left - taken.len());
                return Ok(!taken.is_empty());
            }
            Next::End if bytes.is_empty() => return Ok(false),
            Next::End => return Err(RowError::Malformed),
        }
        Ok(true)
    }

    /// The next number, once it is all there.
    fn number<const LENGTH: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
        let taken = take(LENGTH - self.have, bytes);
        for (to, from) in self.number.iter_mut().skip(self.have).zip(taken) {
            *to = *from;
        }
        self.have += taken.len();
        if self.have < LENGTH {
            return None;
        }
        self.have = 0;
        self.number.first_chunk().copied()
    }

    /// Requires that a row has as many fields as there are columns.
    pub(crate) fn expect(&self, count: [u8; 2]) -> Result<(), RowError> {
        let (expected, found) = (self.columns.len(), usize::from(u16::from_be_bytes(count)));
        if expected == found { Ok(()) } else { Err(RowError::Fields { expected, found }) }
    }

    fn begin_field(&mut self, length: [u8; 4], out: &mut Vec<u8>) -> Result<(), RowError> {
        let masked = self.columns.get(self.column).and_then(Option::as_ref);
        let Some(known) = length_of(length)? else {
            out.extend_from_slice(&NULL);
            self.column += 1;
            self.next_field();
            return Ok(());
        };
        self.next = match masked {
            Some(masked) if masked.masker.is_blind() || known > LONGEST_VALUE => Next::Unseen(known),
            Some(_) => Next::Seen(known),
            None => Next::Plain(known),
        };
        if masked.is_none() {
            out.extend_from_slice(&length);
        }
        Ok(())
    }

    fn end_field(&mut self, out: &mut Vec<u8>) {
        if let Some(Some(Masked { masker, format })) = self.columns.get(self.column) {
            let _put = match self.next {
                Next::Unseen(_) => put_field(out, |out| masker.put_unseen(out)),
                _ => put_field(out, |out| masker.put(*format, &self.value, out)),
            };
            self.value.clear();
            self.value.shrink_to(KEPT);
        }
        self.column += 1;
        self.next_field();
    }

    fn next_field(&mut self) {
        self.next = if self.column < self.columns.len() { Next::Length } else { self.after };
        if self.next == Next::Count {
            self.column = 0;
        }
    }
}

/// As many of the bytes as there are, up to so many.
fn take<'a>(most: usize, bytes: &mut &'a [u8]) -> &'a [u8] {
    let (taken, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
    *bytes = rest;
    taken
}

/// A field's length, `None` for NULL.
pub(crate) fn length_of(length: [u8; 4]) -> Result<Option<usize>, RowError> {
    if length == NULL {
        return Ok(None);
    }
    usize::try_from(i32::from_be_bytes(length)).map(Some).map_err(|_| RowError::Malformed)
}

/// Appends a field's length and what is put, and says what that was.
pub(crate) fn put_field(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Put) -> Put {
    let start = out.len();
    out.extend_from_slice(&NULL);
    let put = put(out);
    let length = i32::try_from(out.len() - start - NULL.len()).ok().filter(|_| put != Put::Null);
    match length.and_then(|length| out.get_mut(start..start + NULL.len()).map(|field| (field, length))) {
        Some((field, length)) => field.copy_from_slice(&length.to_be_bytes()),
        // What a mask may have written before it gave up.
        None => out.truncate(start + NULL.len()),
    }
    put
}
