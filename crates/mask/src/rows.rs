//! The rows of a result as they stream: masked fields are replaced, all other bytes go on as they are.
//!
//! A DataRow's length stands before its fields, so that nothing of a row can go on before its last masked field was
//! seen. Up to there it is held, within [`MOST_HELD`]; what follows streams. Of a masked field no more than
//! [`LONGEST_VALUE`] is ever kept.

use crate::value::{Format, LONGEST_VALUE, Masker, Put};

/// The most of a row that is held until its last masked field was seen.
pub const MOST_HELD: usize = 16 * 1024 * 1024;

/// A buffer larger than this is given back once its row has gone on.
const KEPT: usize = 64 * 1024;

/// A length of -1 stands for NULL.
const NULL: [u8; 4] = (-1i32).to_be_bytes();

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
    #[error("a row's fields do not fill its message exactly")]
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
    #[error("more than {} MiB of other columns stand before the last masked column of a row: select the masked columns first", MOST_HELD / 1024 / 1024)]
    TooWide,
}

/// What comes next in a row that comes in pieces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
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

/// Rewrites the rows of one result.
#[derive(Debug)]
pub struct Rows {
    columns: Vec<Option<Masked>>,
    /// Columns up to and with the last masked one.
    held_columns: usize,
    /// Values that were masked so far.
    masked: u64,
    /// Bytes of the current row's body that are still to come.
    remaining: usize,
    next: Next,
    /// The current field.
    column: usize,
    /// A number that is not all there yet.
    number: [u8; 4],
    have: usize,
    held: Vec<u8>,
    value: Vec<u8>,
}

impl Rows {
    /// By the result's columns, in order.
    #[must_use]
    pub fn new(columns: Vec<Option<Masked>>) -> Self {
        let held_columns = columns.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Self {
            columns,
            held_columns,
            masked: 0,
            remaining: 0,
            next: Next::Count,
            column: 0,
            number: [0; 4],
            have: 0,
            held: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Values that were masked so far, NULLs not among them.
    #[must_use]
    pub fn masked(&self) -> u64 {
        self.masked
    }

    /// Bytes of the current row's body that are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Begins a DataRow whose body has so many bytes. Its header is not passed on: the row gets one of its own.
    pub fn begin(&mut self, body: usize) {
        self.remaining = body;
        self.next = Next::Count;
        self.column = 0;
        self.have = 0;
        self.held.clear();
        self.value.clear();
    }

    /// Takes the next bytes of the row's body and appends to `out` what may go on. What is beyond the row's end is not
    /// looked at.
    ///
    /// # Errors
    /// When the row cannot be rewritten; no more of the result can be, then.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        let bytes = bytes.get(..self.remaining).unwrap_or(bytes);
        let untouched = self.next == Next::Count && self.have == 0;
        // Of a longer one the bounds are judged on the way, however much of it came at once.
        if untouched && bytes.len() == self.remaining && bytes.len() <= LONGEST_VALUE {
            self.remaining = 0;
            self.next = Next::End;
            let start = out.len();
            return self.whole(bytes, out).inspect_err(|_| out.truncate(start));
        }
        self.pieces(bytes, out)?;
        if self.remaining == 0 && self.next != Next::End { Err(RowError::Malformed) } else { Ok(()) }
    }

    /// A row that is all there.
    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        let start = out.len();
        out.extend_from_slice(b"D\0\0\0\0");
        let count = body.first_chunk().ok_or(RowError::Malformed)?;
        self.expect(*count)?;
        // Bytes of the body that `out` has, and bytes that were looked at.
        let (mut copied, mut at) = (0, 2);
        for column in &self.columns {
            let length = body.get(at..).and_then(<[u8]>::first_chunk).ok_or(RowError::Malformed)?;
            let value_at = at + 4;
            let Some(length) = length_of(*length)? else {
                at = value_at;
                continue;
            };
            let value = body.get(value_at..).and_then(|rest| rest.get(..length)).ok_or(RowError::Malformed)?;
            if let Some(masked) = column {
                out.extend_from_slice(body.get(copied..at).unwrap_or_default());
                put_field(out, |out| masked.masker.put(masked.format, value, out));
                self.masked += 1;
                copied = value_at + length;
            }
            at = value_at + length;
        }
        if at != body.len() {
            return Err(RowError::Malformed);
        }
        out.extend_from_slice(body.get(copied..).unwrap_or_default());
        let length = message_length(out.len() - start - 1)?;
        if let Some(field) = out.get_mut(start + 1..start + 5) {
            field.copy_from_slice(&length);
        }
        Ok(())
    }

    /// A row that comes in pieces, or one that is long.
    fn pieces(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        loop {
            match self.next {
                Next::Count => {
                    let Some(count) = self.number(&mut bytes) else { return Ok(()) };
                    self.expect(count)?;
                    self.held.extend_from_slice(&count);
                    self.next_field(out)?;
                }
                Next::Length => {
                    let Some(length) = self.number(&mut bytes) else { return Ok(()) };
                    self.begin_field(length, out)?;
                }
                Next::Plain(0) | Next::Seen(0) | Next::Unseen(0) => self.end_field(out)?,
                Next::Plain(left) => {
                    let Some(taken) = self.take(left, &mut bytes) else { return Ok(()) };
                    self.sink(out).extend_from_slice(taken);
                    self.next = Next::Plain(left - taken.len());
                }
                Next::Seen(left) => {
                    let Some(taken) = self.take(left, &mut bytes) else { return Ok(()) };
                    self.value.extend_from_slice(taken);
                    self.next = Next::Seen(left - taken.len());
                }
                Next::Unseen(left) => {
                    let Some(taken) = self.take(left, &mut bytes) else { return Ok(()) };
                    self.next = Next::Unseen(left - taken.len());
                }
                Next::End if self.remaining == 0 => return Ok(()),
                Next::End => return Err(RowError::Malformed),
            }
        }
    }

    /// Some of the bytes, as many as there are up to so many; `None` when there are none.
    fn take<'a>(&mut self, most: usize, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(most).unwrap_or((bytes, &[]));
        *bytes = rest;
        self.remaining -= taken.len();
        Some(taken).filter(|taken| !taken.is_empty())
    }

    /// The next number, once it is all there.
    fn number<const LENGTH: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
        let taken = self.take(LENGTH - self.have, bytes)?;
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

    /// Where what goes on as it is goes.
    fn sink<'a>(&'a mut self, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
        if self.column < self.held_columns { &mut self.held } else { out }
    }

    fn begin_field(&mut self, length: [u8; 4], out: &mut Vec<u8>) -> Result<(), RowError> {
        let masked = self.columns.get(self.column).and_then(Option::as_ref);
        let Some(known) = length_of(length)? else {
            self.sink(out).extend_from_slice(&NULL);
            self.column += 1;
            return self.next_field(out);
        };
        if known > self.remaining {
            return Err(RowError::Malformed);
        }
        self.next = match masked {
            Some(masked) if masked.masker.is_blind() || known > LONGEST_VALUE => Next::Unseen(known),
            Some(_) => Next::Seen(known),
            None => Next::Plain(known),
        };
        if self.column < self.held_columns
            && !matches!(self.next, Next::Unseen(_))
            && self.held.len() + known > MOST_HELD
        {
            return Err(RowError::TooWide);
        }
        if masked.is_none() {
            self.sink(out).extend_from_slice(&length);
        }
        Ok(())
    }

    fn end_field(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        if let Some(Some(Masked { masker, format })) = self.columns.get(self.column) {
            match self.next {
                Next::Unseen(_) => put_field(&mut self.held, |out| masker.put_unseen(out)),
                _ => put_field(&mut self.held, |out| masker.put(*format, &self.value, out)),
            }
            self.masked += 1;
            self.value.clear();
        }
        self.column += 1;
        self.next_field(out)
    }

    /// On to the next field. Where the last masked one has been seen, what was held goes on.
    fn next_field(&mut self, out: &mut Vec<u8>) -> Result<(), RowError> {
        self.next = if self.column < self.columns.len() { Next::Length } else { Next::End };
        if self.column == self.held_columns && !self.held.is_empty() {
            out.push(b'D');
            out.extend_from_slice(&message_length(4 + self.held.len() + self.remaining)?);
            out.extend_from_slice(&self.held);
            self.held.clear();
            self.held.shrink_to(KEPT);
            self.value.shrink_to(KEPT);
        }
        Ok(())
    }

    fn expect(&self, count: [u8; 2]) -> Result<(), RowError> {
        let (expected, found) = (self.columns.len(), usize::from(u16::from_be_bytes(count)));
        if expected == found { Ok(()) } else { Err(RowError::Fields { expected, found }) }
    }
}

/// A field's length, `None` for NULL.
fn length_of(length: [u8; 4]) -> Result<Option<usize>, RowError> {
    if length == NULL {
        return Ok(None);
    }
    usize::try_from(i32::from_be_bytes(length)).map(Some).map_err(|_| RowError::Malformed)
}

/// A message's length as its header has it. One that PostgreSQL itself could not send is not sent by us.
fn message_length(length: usize) -> Result<[u8; 4], RowError> {
    i32::try_from(length).map(i32::to_be_bytes).map_err(|_| RowError::TooWide)
}

/// Appends a field's length and what is put.
pub(crate) fn put_field(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Put) {
    let start = out.len();
    out.extend_from_slice(&NULL);
    let put = put(out);
    let length = i32::try_from(out.len() - start - NULL.len()).ok().filter(|_| put == Put::Value);
    match length.and_then(|length| out.get_mut(start..start + NULL.len()).map(|field| (field, length))) {
        Some((field, length)) => field.copy_from_slice(&length.to_be_bytes()),
        // What a mask may have written before it gave up.
        None => out.truncate(start + NULL.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Mask, Type};

    fn masked(mask: Mask) -> Option<Masked> {
        Some(Masked { masker: Masker::new(Some(mask), Type::text(), &Key::new(&[7; 32])), format: Format::Text })
    }

    fn body(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = u16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for field in fields {
            match field {
                None => body.extend_from_slice(&NULL),
                Some(value) => {
                    body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        body
    }

    fn message(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let body = body(fields);
        let mut message = b"D".to_vec();
        message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend_from_slice(&body);
        message
    }

    fn rewrite(rows: &mut Rows, body: &[u8], cuts: &[usize]) -> Result<Vec<u8>, RowError> {
        let mut out = Vec::new();
        rows.begin(body.len());
        let ends = cuts.iter().copied().chain([body.len()]);
        let mut start = 0;
        for end in ends {
            rows.feed(&body[start..end], &mut out)?;
            start = end;
        }
        assert_eq!(rows.remaining(), 0);
        Ok(out)
    }

    #[test]
    fn split_at_every_two_bytes() {
        let columns = || vec![None, masked(Mask::Redact), None, masked(Mask::Null), None];
        let cases: [[Option<&[u8]>; 5]; 4] = [
            [Some(b"1"), Some(b"secret"), Some(b""), Some(b"secret"), Some(b"end")],
            [None, None, None, None, None],
            [Some(b""), Some(b""), Some(b""), Some(b""), Some(b"")],
            [None, Some(b"secret"), Some(b"plain"), None, Some(b"end")],
        ];
        for fields in cases {
            let redacted = |value: Option<&[u8]>| value.map(|_| &b"[redacted]"[..]);
            let expect = message(&[fields[0], redacted(fields[1]), fields[2], None, fields[4]]);
            let body = body(&fields);
            let mut rows = Rows::new(columns());
            assert_eq!(rewrite(&mut rows, &body, &[]).unwrap(), expect);
            let count = rows.masked();
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    let mut rows = Rows::new(columns());
                    assert_eq!(rewrite(&mut rows, &body, &[first, second]).unwrap(), expect, "{first} {second}");
                    assert_eq!(rows.masked(), count);
                }
            }
        }
    }

    #[test]
    fn malformed_rows_end() {
        let good = body(&[Some(b"plain"), Some(b"secret")]);
        let columns = || vec![None, masked(Mask::Redact)];
        let check = |body: &[u8], expect| {
            for cut in 0..=body.len() {
                assert_eq!(rewrite(&mut Rows::new(columns()), body, &[cut]), Err(expect), "{cut}");
            }
        };
        check(&good[..good.len() - 1], RowError::Malformed);
        check(&[&good[..], b"x"].concat(), RowError::Malformed);
        check(b"", RowError::Malformed);
        check(b"\0", RowError::Malformed);
        check(b"\0\x02\0\0\0\x01a", RowError::Malformed);
        check(b"\0\x02\xff\xff\xff\xfe\xff\xff\xff\xff", RowError::Malformed);
        check(&body(&[Some(b"secret")]), RowError::Fields { expected: 2, found: 1 });
    }

    #[test]
    fn what_is_held_is_bounded() {
        let wide = vec![b'x'; MOST_HELD];
        let mut rows = Rows::new(vec![None, masked(Mask::Redact), None]);
        let fields = body(&[Some(&wide), Some(b"secret"), None]);
        for cut in [0, 100, fields.len() - 3] {
            assert_eq!(rewrite(&mut rows, &fields, &[cut]), Err(RowError::TooWide));
        }
        // As wide, in the places where it costs nothing.
        let fields = body(&[None, Some(&wide), Some(&wide)]);
        let expect = message(&[None, Some(b"[redacted]"), Some(&wide)]);
        for cut in [0, 100, fields.len() - 3] {
            assert!(rewrite(&mut rows, &fields, &[cut]).unwrap() == expect);
            assert!(rows.held.capacity() + rows.value.capacity() <= 2 * KEPT);
        }
    }
}
