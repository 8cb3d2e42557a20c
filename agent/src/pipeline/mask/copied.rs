//! The data of COPY TO STDOUT, message by message. The server puts each row into one of its own, so that each message of it
//! becomes one of ours.

use super::{Expected, Masks, expected::Column};
use postern_mask::{
    Done, Encoding, Masker, Type,
    copy::{Copy, RowError, Unsupported},
};
use postern_sql::facts::{self, CopyFormat};
use postern_wire::frame::put_message;

/// Of a longer message the client gets parts, each in one of its own.
const MAX_KEPT: usize = 1 << 20;

/// The object id of `text`.
const TEXT: u32 = 25;

/// Rewrites the data of one COPY.
#[derive(Debug)]
pub struct Copied {
    copy: Copy,
    /// Bytes of the current message that are still to come.
    remaining: usize,
    /// What of it may go on.
    data: Vec<u8>,
}

impl Copied {
    /// The data of a COPY that is to have this result; nothing where it goes on as it is.
    ///
    /// # Errors
    /// When data of such a form cannot be masked.
    pub fn new(result: &Expected, copy: &facts::CopyOut, masks: &Masks) -> Result<Option<Self>, Unsupported> {
        let encoding = copy.encoding.as_deref().map_or(masks.encoding, Encoding::named);
        let columns: Vec<_> = result.columns.iter().map(|column| masker(column, copy, masks)).collect();
        if columns.iter().all(Option::is_none) {
            return Ok(None);
        }
        let copy = Copy::new(copy.clone(), encoding, columns)?;
        Ok(Some(Self { copy, remaining: 0, data: Vec::new() }))
    }

    /// What was done to each column so far.
    #[must_use]
    pub fn done(&self) -> Vec<Done> {
        self.copy.done()
    }

    /// A message begins that has so many bytes of data.
    pub fn begin(&mut self, bytes: usize) {
        self.remaining = bytes;
    }

    /// Takes the next of them, and appends what goes on.
    ///
    /// # Errors
    /// When they are not what was expected.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        self.remaining = self.remaining.saturating_sub(bytes.len());
        if self.remaining == 0 && self.data.is_empty() {
            let mut fed = Ok(());
            put_message(out, b'd', |out| fed = self.copy.feed(bytes, out));
            return fed;
        }
        self.copy.feed(bytes, &mut self.data)?;
        if self.remaining == 0 || self.data.len() > MAX_KEPT {
            put_message(out, b'd', |out| out.append(&mut self.data));
            self.data = Vec::new();
        }
        Ok(())
    }
}

fn masker(column: &Column, copy: &facts::CopyOut, masks: &Masks) -> Option<Masker> {
    match column.cover.as_ref() {
        Some(cover) => Some(masks.masker(cover, || column.ty.map_or(Type::Other, |ty| Type::of(ty, -1)))),
        None if column.exempt => None,
        // Whatever its type may be, it is written as text.
        None if column.ty.is_none() && copy.format != CopyFormat::Binary => masks.looker(TEXT, -1),
        None => masks.looker(column.ty?, -1),
    }
}
