//! The rows of a result as they stream: masked fields are replaced, all other bytes go on as they are.
//!
//! A DataRow's length stands before its fields, so that nothing of a row can go on before its last masked field was
//! seen. Up to there it is held, within [`MOST_HELD`]; what follows streams. Of a masked field no more than
//! [`LONGEST_VALUE`] is ever kept.

pub use crate::fields::{Masked, RowError};
use crate::{
    fields::{Fields, KEPT, Next, length_of, put_field},
    value::{Done, LONGEST_VALUE},
};

/// The most of a row that is held until its last masked field was seen.
pub const MOST_HELD: usize = 16 * 1024 * 1024;

/// Rewrites the rows of one result.
#[derive(Debug)]
pub struct Rows {
    fields: Fields,
    /// Columns up to and with the last masked one.
    held_columns: usize,
    /// Bytes of the current row's body that are still to come.
    remaining: usize,
    held: Vec<u8>,
}

impl Rows {
    /// By the result's columns, in order.
    #[must_use]
    pub fn new(columns: Vec<Option<Masked>>) -> Self {
        let held_columns = columns.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Self { fields: Fields::new(columns, Next::End), held_columns, remaining: 0, held: Vec::new() }
    }

    /// What was done to each column so far.
    pub fn done(&self) -> impl Iterator<Item = Done> + '_ {
        self.fields
            .columns()
            .iter()
            .map(|column| column.as_ref().map(|column| column.masker.done()).unwrap_or_default())
    }

    /// Bytes of the current row's body that are still to come.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Begins a DataRow whose body has so many bytes. Its header is not passed on: the row gets one of its own.
    pub fn begin(&mut self, body: usize) {
        self.remaining = body;
        self.fields.begin();
        self.held.clear();
    }

    /// Takes the next bytes of the row's body and appends to `out` what may go on. What is beyond the row's end is not
    /// looked at. A body of no bytes is to be fed too.
    ///
    /// # Errors
    /// When the row cannot be rewritten; no more of the result can be, then.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        let bytes = bytes.get(..self.remaining).unwrap_or(bytes);
        // Of a longer one the bounds are judged on the way, however much of it came at once.
        if self.fields.is_untouched() && bytes.len() == self.remaining && bytes.len() <= LONGEST_VALUE {
            self.remaining = 0;
            self.fields.end();
            let start = out.len();
            return self.whole(bytes, out).inspect_err(|_| out.truncate(start));
        }
        self.pieces(bytes, out)?;
        if self.remaining == 0 && self.fields.next() != Next::End { Err(RowError::Malformed) } else { Ok(()) }
    }

    /// A row that is all there.
    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        let start = out.len();
        out.extend_from_slice(b"D\0\0\0\0");
        let count = body.first_chunk().ok_or(RowError::Malformed)?;
        self.fields.expect(*count)?;
        // Bytes of the body that `out` has, and bytes that were looked at.
        let (mut copied, mut at) = (0, 2);
        for column in self.fields.columns() {
            let length = body.get(at..).and_then(<[u8]>::first_chunk).ok_or(RowError::Malformed)?;
            let value_at = at + 4;
            let Some(length) = length_of(*length)? else {
                at = value_at;
                continue;
            };
            let value = body.get(value_at..).and_then(|rest| rest.get(..length)).ok_or(RowError::Malformed)?;
            if let Some(masked) = column {
                out.extend_from_slice(body.get(copied..at).unwrap_or_default());
                let _put = put_field(out, |out| masked.masker.put(masked.format, value, out));
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
            let before = bytes.len();
            let is_held = self.fields.column() < self.held_columns || self.fields.next() == Next::Count;
            let more = self.fields.step(&mut bytes, if is_held { &mut self.held } else { out })?;
            self.remaining -= before - bytes.len();
            if let Next::Plain(left) | Next::Seen(left) | Next::Unseen(left) = self.fields.next() {
                if left > self.remaining {
                    return Err(RowError::Malformed);
                }
                let keeps = !matches!(self.fields.next(), Next::Unseen(_));
                if self.fields.column() < self.held_columns && keeps && self.held.len() + left > MOST_HELD {
                    return Err(RowError::TooWide);
                }
            }
            // The last masked field was seen: what was held goes on.
            if self.fields.column() == self.held_columns && !self.held.is_empty() {
                out.push(b'D');
                out.extend_from_slice(&message_length(4 + self.held.len() + self.remaining)?);
                out.extend_from_slice(&self.held);
                self.held.clear();
                self.held.shrink_to(KEPT);
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// A message's length as its header has it. One that PostgreSQL itself could not send is not sent by us.
fn message_length(length: usize) -> Result<[u8; 4], RowError> {
    i32::try_from(length).map(i32::to_be_bytes).map_err(|_| RowError::TooWide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Key, Mask, Masker, Type, fields::NULL};

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
            let count: Vec<_> = rows.done().collect();
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    let mut rows = Rows::new(columns());
                    assert_eq!(rewrite(&mut rows, &body, &[first, second]).unwrap(), expect, "{first} {second}");
                    assert!(rows.done().eq(count.iter().copied()));
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
            assert!(rows.held.capacity() + rows.fields.kept() <= 2 * KEPT);
        }
    }
}
