//! COPY data as text and as CSV.
//!
//! INVARIANT: each line has the columns that were announced, told apart as the server writes them. What would make a
//! value pass for the next column's is an error, before anything of it goes on.

use super::{CopyFormat, CopyOut, RowError, Unsupported};
use crate::{
    fields::KEPT,
    value::{Encoding, Format, LONGEST_VALUE, Masker, Put},
};

/// What the next byte is to be read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing of the value has come yet.
    Start,
    /// In a value without quotes.
    Bare,
    /// After a backslash.
    Escaped,
    /// Inside quotes.
    Quoted,
    /// Inside quotes, after an escape that is not itself the quote.
    QuotedEscape,
    /// After a quote inside quotes: it ends the value, or it is doubled and stands for itself.
    Closing,
}

#[derive(Debug)]
pub(super) struct Lines {
    written: CopyOut,
    columns: Vec<Option<Masker>>,
    /// The line of names.
    is_header: bool,
    column: usize,
    state: State,
    /// The current value was in quotes, so that it is not NULL.
    was_quoted: bool,
    /// As it was written, as far as has to be known to tell NULL.
    raw: Vec<u8>,
    /// What it is, up to one byte more than is looked at.
    value: Vec<u8>,
    /// What takes its place.
    replacement: Vec<u8>,
}

impl Lines {
    pub(super) fn new(written: CopyOut, encoding: Encoding, columns: Vec<Option<Masker>>) -> Result<Self, Unsupported> {
        let CopyOut { format, delimiter, null, quote, escape, .. } = &written;
        if encoding == Encoding::AsciiInside {
            return Err(Unsupported::Encoding);
        }
        let (is_csv, null) = (*format == CopyFormat::Csv, null.as_bytes());
        if !is_csv && null.contains(&b'\\') && null != b"\\N" {
            return Err(Unsupported::Null);
        }
        // As the server has it, but for what only COPY FROM could misunderstand.
        let ends_line = |byte: u8| matches!(byte, b'\n' | b'\r') || !byte.is_ascii();
        let wrong = ends_line(*delimiter)
            || null.iter().any(|byte| byte == delimiter || matches!(byte, b'\n' | b'\r'))
            || (is_csv && (ends_line(*quote) || ends_line(*escape) || quote == delimiter || null.contains(quote)))
            || (!is_csv
                && (delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit() || b"\\.".contains(delimiter)));
        if wrong {
            return Err(Unsupported::Delimiters);
        }
        Ok(Self {
            is_header: written.header,
            written,
            columns,
            column: 0,
            state: State::Start,
            was_quoted: false,
            raw: Vec::new(),
            value: Vec::new(),
            replacement: Vec::new(),
        })
    }

    pub(super) fn columns(&self) -> &[Option<Masker>] {
        &self.columns
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RowError> {
        loop {
            let run = bytes.iter().position(|byte| self.is_special(*byte)).unwrap_or(bytes.len());
            let (plain, rest) = bytes.split_at_checked(run).unwrap_or((bytes, &[]));
            if !plain.is_empty() {
                if self.state == State::Start {
                    self.state = State::Bare;
                }
                self.keep(plain, plain, out);
            }
            let Some((byte, rest)) = rest.split_first() else { return Ok(()) };
            self.special(*byte, out)?;
            bytes = rest;
        }
    }

    /// Whether a byte is more than a part of the value.
    fn is_special(&self, byte: u8) -> bool {
        let CopyOut { delimiter, quote, escape, .. } = &self.written;
        match self.state {
            State::Start | State::Bare => byte == *delimiter || byte == b'\n' || byte == self.opening(),
            State::Quoted => byte == *quote || byte == *escape,
            State::Escaped | State::QuotedEscape | State::Closing => true,
        }
    }

    /// What begins something in a bare value.
    fn opening(&self) -> u8 {
        if self.written.format == CopyFormat::Csv { self.written.quote } else { b'\\' }
    }

    fn special(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), RowError> {
        let CopyOut { format, delimiter, quote, escape, .. } = self.written;
        let is_csv = format == CopyFormat::Csv;
        let (next, value): (State, Option<u8>) = match self.state {
            State::Start | State::Bare | State::Closing if byte == delimiter || byte == b'\n' => {
                return self.end_value(byte, out);
            }
            State::Bare if !is_csv => (State::Escaped, None),
            State::Start if !is_csv => (State::Escaped, None),
            State::Start => {
                self.was_quoted = true;
                (State::Quoted, None)
            }
            State::Escaped => (State::Bare, Some(unescaped(byte))),
            State::Quoted if byte == quote => (State::Closing, None),
            State::Quoted => (State::QuotedEscape, None),
            State::Closing if byte == quote && quote == escape => (State::Quoted, Some(byte)),
            State::QuotedEscape if byte == quote || byte == escape => (State::Quoted, Some(byte)),
            // Not what the server writes.
            State::Bare | State::Closing | State::QuotedEscape => return Err(RowError::Malformed),
        };
        self.state = next;
        let value = value.as_slice();
        self.keep(&[byte], value, out);
        Ok(())
    }

    /// The mask of the current value, if it has one.
    fn masker(&self) -> Option<&Masker> {
        self.columns.get(self.column).and_then(Option::as_ref).filter(|_| !self.is_header)
    }

    /// Passes on a part of a value, or keeps it for its mask.
    fn keep(&mut self, raw: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let Some(masker) = self.masker() else {
            out.extend_from_slice(raw);
            return;
        };
        let room = if masker.is_blind() { 0 } else { LONGEST_VALUE + 1 - self.value.len() };
        self.value.extend_from_slice(value.get(..room).unwrap_or(value));
        let room = self.written.null.len() + 1 - self.raw.len();
        self.raw.extend_from_slice(raw.get(..room).unwrap_or(raw));
    }

    /// At a delimiter or at the end of a line.
    fn end_value(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), RowError> {
        let (expected, found) = (self.columns.len(), self.column + 1);
        let is_last = byte == b'\n';
        if if is_last { found != expected.max(1) } else { found >= expected } {
            return Err(RowError::Fields { expected, found: found + usize::from(!is_last) });
        }
        if self.masker().is_some() {
            let mut replacement = std::mem::take(&mut self.replacement);
            match self.replace(&mut replacement) {
                Put::Null => out.extend_from_slice(self.written.null.as_bytes()),
                _ if self.written.format == CopyFormat::Csv => self.put_csv(&replacement, out),
                _ => self.put_text(&replacement, out),
            }
            for buffer in [&mut replacement, &mut self.raw, &mut self.value] {
                buffer.clear();
                buffer.shrink_to(KEPT);
            }
            self.replacement = replacement;
        }
        out.push(byte);
        self.state = State::Start;
        self.was_quoted = false;
        self.column = if is_last { 0 } else { self.column + 1 };
        self.is_header &= !is_last;
        Ok(())
    }

    /// What takes the place of the current value.
    fn replace(&self, replacement: &mut Vec<u8>) -> Put {
        let is_null = !self.was_quoted && self.raw == self.written.null.as_bytes();
        match self.masker().filter(|_| !is_null) {
            None => Put::Null,
            Some(masker) => masker.put(Format::Text, &self.value, replacement),
        }
    }

    /// As `CopyAttributeOutText` writes it.
    fn put_text(&self, value: &[u8], out: &mut Vec<u8>) {
        for byte in value {
            match byte {
                0x08 => out.extend_from_slice(b"\\b"),
                0x0c => out.extend_from_slice(b"\\f"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x0b => out.extend_from_slice(b"\\v"),
                byte if *byte == b'\\' || *byte == self.written.delimiter => out.extend_from_slice(&[b'\\', *byte]),
                byte => out.push(*byte),
            }
        }
    }

    /// As `CopyAttributeOutCSV` writes it.
    fn put_csv(&self, value: &[u8], out: &mut Vec<u8>) {
        let CopyOut { delimiter, null, quote, escape, force_quote, .. } = &self.written;
        let special = |byte: &u8| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
        let quoted = force_quote.contains(&self.column)
            || value == null.as_bytes()
            || (self.columns.len() == 1 && value == b"\\.")
            || value.iter().any(special);
        if !quoted {
            out.extend_from_slice(value);
            return;
        }
        out.push(*quote);
        for byte in value {
            if byte == quote || byte == escape {
                out.push(*escape);
            }
            out.push(*byte);
        }
        out.push(*quote);
    }
}

/// What a backslash and this byte stand for, as far as COPY TO writes it.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        byte => byte,
    }
}
