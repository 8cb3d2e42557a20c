//! Statements of ours, several at once, and what the server answers to them. What it answers is bounded, whatever it says.

use crate::pipeline::question::{NAME, put_close};
use postern_wire::{
    ProtocolError,
    frame::{self, HEADER_BYTES, put_cstr, put_message},
};
use std::collections::BTreeMap;

/// Of a longer message nothing is kept.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// What is kept of the answers to one batch.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// A statement of ours, or the client's own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask<'a> {
    pub sql: &'a [u8],
    /// The types of its parameters.
    pub types: &'a [u32],
    /// The formats and the values of these, as a Bind has them; none where it has no parameters.
    pub values: Option<&'a [u8]>,
    /// The most rows that it is to return; 0: all.
    pub rows: u32,
}

impl<'a> Ask<'a> {
    pub fn of(sql: &'a str) -> Self {
        Self { sql: sql.as_bytes(), ..Self::default() }
    }

    /// Appends it as messages that touch nothing of the session's own.
    pub fn put(self, out: &mut Vec<u8>) {
        self.put_parse(out);
        put_message(out, b'B', |out| {
            put_cstr(out, NAME);
            put_cstr(out, NAME);
            out.extend_from_slice(self.values.unwrap_or(&[0; 4]));
            // Results as text.
            out.extend_from_slice(&[0; 2]);
        });
        put_describe(b'P', out);
        put_message(out, b'E', |out| {
            put_cstr(out, NAME);
            out.extend_from_slice(&self.rows.to_be_bytes());
        });
    }

    /// Appends it so that the server only says which parameters it has.
    pub fn put_described(self, out: &mut Vec<u8>) {
        self.put_parse(out);
        put_describe(b'S', out);
    }

    fn put_parse(self, out: &mut Vec<u8>) {
        put_close(out);
        put_message(out, b'P', |out| {
            put_cstr(out, NAME);
            put_cstr(out, self.sql);
            let count = u16::try_from(self.types.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_be_bytes());
            self.types.iter().take(count.into()).for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
        });
    }
}

fn put_describe(kind: u8, out: &mut Vec<u8>) {
    put_message(out, b'D', |out| {
        out.push(kind);
        put_cstr(out, NAME);
    });
}

/// Ends a batch.
pub(super) fn put_end(out: &mut Vec<u8>) {
    put_close(out);
    put_message(out, b'S', |_| {});
}

/// The answer to one statement.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The RowDescription's body.
    pub described: Option<Vec<u8>>,
    /// The DataRows' bodies.
    pub rows: Vec<Vec<u8>>,
}

/// The answer to one batch.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Of each statement that has run.
    pub replies: Vec<Reply>,
    /// The types of the parameters of what was described.
    pub parameters: Option<Vec<u32>>,
    /// The ErrorResponse's body.
    pub error: Option<Vec<u8>>,
    /// The transaction's state.
    pub status: u8,
}

/// Listens to the answers.
#[derive(Debug, Default)]
pub(super) struct Talk {
    heard: Heard,
    reply: Reply,
    /// The next description is that of a statement, not of a portal.
    of_statement: bool,
    kept: usize,
    /// The start of a message that is not all there.
    partial: Vec<u8>,
    /// Bytes still to come of a message of which nothing is kept.
    skipping: usize,
    /// What the server has told of settings meanwhile, the newest of each.
    settings: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Talk {
    /// Takes the server's next bytes, and passes on what it says unasked. Says how many of them are done with, and what
    /// was heard once the batch is over.
    pub fn hear(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(usize, Option<Heard>), ProtocolError> {
        let before = self.partial.len();
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = all.get(at..).unwrap_or_default();
            let skipped = self.skipping.min(rest.len());
            if skipped > 0 {
                self.skipping -= skipped;
                at += skipped;
                continue;
            }
            let Some(header) = frame::header(rest)? else { break };
            if header.total() > MAX_MESSAGE_BYTES {
                self.message(header.tag, &[], out)?;
                self.skipping = header.total();
                continue;
            }
            let Some(message) = rest.get(..header.total()) else { break };
            self.message(header.tag, message, out)?;
            at += header.total();
            if header.tag == b'Z' {
                self.reply = Reply::default();
                self.kept = 0;
                return Ok((at - before, Some(std::mem::take(&mut self.heard))));
            }
        }
        all.drain(..at);
        self.partial = all;
        Ok((bytes.len(), None))
    }

    /// One message; without a body where that is too long.
    fn message(&mut self, tag: u8, message: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(), ProtocolError> {
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        match tag {
            b'A' => out(message),
            b'S' => {
                let name = body.split(|byte| *byte == 0).next().unwrap_or_default();
                self.settings.insert(name.to_vec(), message.to_vec());
            }
            b'E' => self.heard.error = Some(body.to_vec()),
            b't' => {
                let types = body.get(2..).unwrap_or_default().chunks_exact(4);
                self.heard.parameters =
                    Some(types.map(|oid| oid.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))).collect());
                self.of_statement = true;
            }
            b'T' | b'n' if std::mem::take(&mut self.of_statement) => {}
            b'T' => self.reply.described = Some(body.to_vec()),
            b'D' if !body.is_empty() && self.kept + body.len() <= MAX_KEPT_BYTES => {
                self.kept += body.len();
                self.reply.rows.push(body.to_vec());
            }
            b'C' | b's' | b'I' => self.heard.replies.push(std::mem::take(&mut self.reply)),
            // Nothing of ours copies.
            b'G' | b'H' | b'W' => return Err(ProtocolError::Unexpected { tag }),
            b'Z' => self.heard.status = body.first().copied().unwrap_or(b'I'),
            _ => {}
        }
        Ok(())
    }

    /// Passes on what the server has told of settings, as they are now.
    pub fn tell_settings(&mut self, out: &mut impl FnMut(&[u8])) {
        for message in std::mem::take(&mut self.settings).into_values() {
            out(&message);
        }
    }
}

/// The values of a row as text.
pub(super) fn texts(row: &[u8]) -> Vec<Option<String>> {
    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    postern_wire::backend::data_row(row).unwrap_or_default().into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, tag, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn answers_are_taken_in_pieces_and_kept_within_bounds() {
        let row = |value: &[u8]| {
            let length = u32::try_from(value.len()).unwrap().to_be_bytes();
            message(b'D', &[&[0, 1][..], &length, value].concat())
        };
        let all = [
            message(b'1', b""),
            message(b't', &[0, 1, 0, 0, 0, 23]),
            message(b'T', b"of the statement"),
            message(b'T', b"\0\0"),
            row(b"a"),
            row(&vec![b'x'; MAX_MESSAGE_BYTES]),
            message(b'S', b"search_path\0a\0"),
            message(b'N', b"SNOTICE\0\0"),
            message(b'S', b"search_path\0b\0"),
            message(b'A', b"told"),
            message(b's', b""),
            message(b'E', b"C22012\0\0"),
            message(b'Z', b"E"),
        ]
        .concat();
        for size in [1, 7, 4096, all.len()] {
            let (mut talk, mut told, mut heard) = (Talk::default(), Vec::new(), None);
            for piece in all.chunks(size) {
                let (done, over) = talk.hear(piece, &mut |bytes| told.extend_from_slice(bytes)).unwrap();
                assert_eq!(done, piece.len());
                assert!(talk.partial.len() <= MAX_MESSAGE_BYTES);
                heard = heard.or(over);
            }
            let Heard { replies, parameters, error, status } = heard.unwrap();
            assert_eq!((parameters, error, status), (Some(vec![23]), Some(b"C22012\0\0".to_vec()), b'E'));
            let [reply] = replies.as_slice() else { panic!("{replies:?}") };
            assert_eq!(reply.described.as_deref(), Some(&b"\0\0"[..]));
            assert_eq!(reply.rows.iter().map(|row| texts(row)).collect::<Vec<_>>(), [[Some("a".to_owned())]]);
            assert_eq!(told, message(b'A', b"told"));
            talk.tell_settings(&mut |bytes| told = bytes.to_vec());
            assert_eq!(told, message(b'S', b"search_path\0b\0"));
        }
    }
}
