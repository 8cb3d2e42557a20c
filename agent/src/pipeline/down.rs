//! The server's messages: followed by their headers, looked into where they end something, passed on as they
//! come.

use super::{
    Asked, Pipeline, ended,
    guard::{Fate, told},
    mask::errors,
};
use postern_wire::{
    ProtocolError,
    error::Severity,
    frame::{self, HEADER_BYTES, Header, put_message},
    tracker::Sent,
};

/// A message that ends something is awaited whole up to this size. Of a longer error the start is enough, and no
/// other message that long is looked into.
pub const MAX_AWAITED: usize = 32 * 1024;

/// An idle session keeps no buffer of rewritten rows that is larger.
const KEPT_CAPACITY: usize = 1024;

/// Where in the server's stream we are.
#[derive(Debug, Default)]
pub struct Down {
    /// Bytes of the current message's body still to be passed on.
    passing: usize,
    /// Bytes of a row still to come that is rewritten.
    rewriting: usize,
    /// Bytes of a message still to come of which the client sees nothing.
    dropping: usize,
    /// The last message was a FATAL error: the server says nothing more.
    fatal: bool,
}

impl Down {
    /// Between two messages.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.remaining() == 0
    }

    /// Bytes to the end of the current message.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.passing + self.rewriting
    }

    /// Whether the server has said its last word.
    #[must_use]
    pub fn saw_fatal(&self) -> bool {
        self.fatal
    }
}

/// Gives `out` a message that was held back.
fn put(tag: u8, body: &[u8], out: &mut impl FnMut(&[u8])) {
    let mut message = Vec::new();
    put_message(&mut message, tag, |out| out.extend_from_slice(body));
    out(&message);
}

/// A row of a result, or a part of COPY data.
fn is_row(header: Header) -> bool {
    matches!(header.tag, b'D' | b'd')
}

/// As much of a message's body as is looked into, which depends on nothing but the message, or `None` while that is
/// not there.
fn looked_into(header: Header, bytes: &[u8]) -> Option<&[u8]> {
    let end = match header.tag {
        b'E' | b'N' => header.total().min(MAX_AWAITED),
        _ if header.total() > MAX_AWAITED => HEADER_BYTES,
        _ => header.total(),
    };
    bytes.get(HEADER_BYTES..end)
}

impl Pipeline {
    /// Takes the server's next bytes, gives `out` what goes on to the client, and says how many of them are done
    /// with. The rest, the start of a message, is to be offered again with more.
    ///
    /// # Errors
    /// When something is not the protocol. What came before it has gone on by then.
    pub fn server(
        &mut self,
        down: &mut Down,
        bytes: &[u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<usize, ProtocolError> {
        let mut done = 0;
        loop {
            let dropped = down.dropping.min(bytes.len() - done);
            down.dropping -= dropped;
            done += dropped;
            let rest = bytes.get(done..).unwrap_or_default();
            if let Some(asked) = &mut self.question {
                if rest.is_empty() {
                    return Ok(done);
                }
                let (heard, status) = match asked {
                    Asked::OfNames(question) | Asked::OfHold(question) => question.hear(rest, &mut out)?,
                    Asked::Preview(preview, _) => {
                        // It may have more to say.
                        self.may_go_on = true;
                        preview.hear(rest, &mut out)?
                    }
                };
                done += heard;
                if let Some(status) = status {
                    self.answered(status);
                }
                continue;
            }
            if down.passing == 0 && self.is_looked_at() {
                match self.guarded(down, rest, &mut out)? {
                    0 => return Ok(done),
                    met => done += met,
                }
                continue;
            }
            let mut rewritten = Vec::new();
            let passed = self.pass(down, rest, &mut rewritten)?;
            if passed == 0 {
                return Ok(done);
            }
            out(if rewritten.is_empty() { rest.get(..passed).unwrap_or_default() } else { &rewritten });
            done += passed;
        }
    }

    /// Says how many bytes may go on. Where something is rewritten, `rewritten` gets everything that is to be sent
    /// instead of those bytes.
    fn pass(&mut self, down: &mut Down, bytes: &[u8], rewritten: &mut Vec<u8>) -> Result<usize, ProtocolError> {
        let mut at = 0;
        // Start of what is not in `rewritten` yet, once anything was rewritten.
        let mut copied = None;
        loop {
            let skip = down.passing.min(bytes.len() - at);
            at += skip;
            down.passing -= skip;
            if self.is_looked_at() {
                break;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let header = match self.next_header(rest) {
                Ok(Some(header)) => header,
                // What is before it goes on first; offered again, it fails.
                Err(error) if at == 0 => return Err(error),
                Ok(None) | Err(_) => break,
            };
            if is_row(header) {
                self.tracker.data(header.tag == b'D', header.total());
                at += HEADER_BYTES;
                down.passing = header.body;
                continue;
            }
            let Some(body) = looked_into(header, rest) else {
                break;
            };
            if header.tag == b'E'
                && let Some(report) = self.refusal()
            {
                let from = copied.unwrap_or(0);
                rewritten.extend_from_slice(bytes.get(from..at).unwrap_or_default());
                report.put(rewritten, Severity::Error);
                copied = Some(at + header.total());
            }
            self.took(down, header.tag, body);
            at += HEADER_BYTES;
            down.passing = header.body;
        }
        if let Some(from) = copied {
            rewritten.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        }
        Ok(at)
    }

    /// Whether each message is looked at before it goes on: it answers the statement that is watched, or one of those in
    /// which the server may run something besides, where anything is masked.
    fn is_looked_at(&self) -> bool {
        self.is_guarded_now()
            || (matches!(self.tracker.front(), Some(Sent::Bind | Sent::Sync)) && self.judge.masks_anything())
    }

    /// Takes one message, or some rows, of the answer to the statement that is watched. Says how many bytes are done with.
    fn guarded(&mut self, down: &mut Down, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<usize, ProtocolError> {
        if down.rewriting > 0 {
            return self.rewrite_rows(down, bytes, out);
        }
        let Some(header) = self.next_header(bytes)? else { return Ok(0) };
        if !self.is_guarded_now() {
            return Ok(self.beside(down, header, bytes, out));
        }
        if self.guard.is_asking() {
            let Some(body) = looked_into(header, bytes) else { return Ok(0) };
            let fate = self.guard.meet(header.tag, body);
            return Ok(self.meets(down, header, (bytes, body), fate, out));
        }
        if let Some(description) = self.guard.take_description(header.tag) {
            put(b'T', &description, out);
        }
        if is_row(header) && self.guard.rewrites() {
            let rows = self.rewrite_rows(down, bytes, out)?;
            if rows > 0 {
                return Ok(rows);
            }
        }
        let rows = self.rows_within(down, bytes);
        if rows > 0 {
            out(bytes.get(..rows).unwrap_or_default());
            return Ok(rows);
        }
        if is_row(header) {
            down.dropping = header.body;
            return Ok(HEADER_BYTES);
        }
        let Some(body) = looked_into(header, bytes) else { return Ok(0) };
        let fate = self.guard.meet(header.tag, body);
        Ok(self.meets(down, header, (bytes, body), fate, out))
    }

    /// Takes one message of what the server does besides executing: for a Sync it commits, so that deferred constraints and
    /// triggers speak up; for a Bind it plans, so that functions do that call themselves immutable.
    fn beside(&mut self, down: &mut Down, header: Header, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> usize {
        let Some(body) = looked_into(header, bytes) else { return 0 };
        let binds = matches!(self.tracker.front(), Some(Sent::Bind));
        let fate = if binds && errors::is_of_parameters(body) { Fate::Pass } else { told(header.tag, body) };
        self.meets(down, header, (bytes, body), fate, out)
    }

    /// Does with a message what is to become of it. Says how many bytes are done with.
    fn meets(
        &mut self,
        down: &mut Down,
        header: Header,
        (bytes, body): (&[u8], &[u8]),
        fate: Fate,
        out: &mut impl FnMut(&[u8]),
    ) -> usize {
        let seen = HEADER_BYTES + body.len();
        let rest = header.total() - seen;
        if let Fate::After(complete) = &fate {
            self.took(down, b'C', complete);
            put(b'C', complete, out);
        }
        match fate {
            Fate::Drop => down.dropping = rest,
            Fate::Swallow => {
                self.took(down, header.tag, body);
                down.dropping = rest;
            }
            Fate::Instead(tag, complete) => {
                self.took(down, tag, &complete);
                put(tag, &complete, out);
                down.dropping = rest;
            }
            Fate::Replace(report, severity) => {
                let error = report.encode(severity);
                self.took(down, header.tag, error.get(HEADER_BYTES..).unwrap_or_default());
                out(&error);
                down.dropping = rest;
            }
            Fate::Pass | Fate::After(_) => {
                self.took(down, header.tag, body);
                out(bytes.get(..seen).unwrap_or_default());
                down.passing = rest;
            }
        }
        seen
    }

    /// Rewrites rows at the front, and says how many bytes are done with.
    fn rewrite_rows(
        &mut self,
        down: &mut Down,
        bytes: &[u8],
        out: &mut impl FnMut(&[u8]),
    ) -> Result<usize, ProtocolError> {
        let mut rows = std::mem::take(&mut self.rewritten);
        let mut at = 0;
        let mut rewritten = Ok(true);
        while let Ok(true) = rewritten {
            let rest = bytes.get(at..).unwrap_or_default();
            if down.rewriting > 0 {
                let part = rest.get(..down.rewriting).unwrap_or(rest);
                if part.is_empty() {
                    break;
                }
                rewritten = self.guard.rewrite(part, &mut rows);
                down.rewriting -= part.len();
                at += part.len();
                continue;
            }
            let Ok(Some(header)) = frame::header(rest) else { break };
            if !is_row(header) || !self.guard.takes_row(header) {
                break;
            }
            self.tracker.data(header.tag == b'D', header.total());
            self.guard.begin_row(header);
            at += HEADER_BYTES;
            down.rewriting = header.body;
        }
        out(&rows);
        rows.clear();
        self.rewritten = rows;
        if !rewritten? {
            // The client has seen none of this row, and sees no other.
            down.dropping = std::mem::take(&mut down.rewriting);
        }
        Ok(at)
    }

    /// How many bytes at the front are rows that may go on.
    fn rows_within(&mut self, down: &mut Down, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Ok(Some(header)) = frame::header(bytes.get(at..).unwrap_or_default())
            && is_row(header)
            && self.guard.takes_row(header)
        {
            self.tracker.data(header.tag == b'D', header.total());
            let end = at + header.total();
            if end > bytes.len() {
                down.passing = end - bytes.len();
                return bytes.len();
            }
            at = end;
        }
        at
    }

    /// A message that is not a row was taken.
    fn took(&mut self, down: &mut Down, tag: u8, body: &[u8]) {
        if tag == b'E' {
            down.fatal = postern_wire::error::field(body, b'V') == Some(b"FATAL");
        }
        let waited = self.waits_for_outcome();
        self.follow(tag, body);
        self.may_go_on |= (waited && !self.waits_for_outcome()) || self.hold.is_some();
        if tag == b'Z' {
            self.status = body.first().copied().unwrap_or(b'I');
            self.ran = !self.tracker.is_idle();
            self.may_go_on = true;
            self.rewritten.shrink_to(KEPT_CAPACITY);
            if self.status == b'I' {
                self.transaction_ended();
            }
        }
    }

    /// Portals and cursors end with their transaction. Those that have been bound since are in a later one.
    fn transaction_ended(&mut self) {
        self.judge.transaction_ends();
        self.guard.no_portals();
        if self.tracker.is_idle() && !self.in_batch {
            self.binds.clear();
            self.asking.clear();
            self.approved.clear();
        }
    }

    /// The next message's header, once it is there.
    fn next_header(&self, rest: &[u8]) -> Result<Option<Header>, ProtocolError> {
        let Some(header) = frame::header(rest)? else {
            return Ok(None);
        };
        if self.tracker.is_lost() {
            return Err(ProtocolError::Unexpected { tag: b'd' });
        }
        // The answer to a stand-in of ours has a line. It is replaced, so that none of it may have gone on.
        if header.tag == b'E' && header.total() > MAX_AWAITED && self.plays_refusal() {
            return Err(ProtocolError::TooLarge { tag: header.tag, length: header.body, limit: MAX_AWAITED });
        }
        Ok(Some(header))
    }

    fn plays_refusal(&self) -> bool {
        matches!(self.tracker.front(), Some(Sent::Query(seq) | Sent::Parse(seq) | Sent::Execute(seq)) if self.refused.contains_key(&seq))
    }

    /// The refusal that the server has just played, if the error which came is that.
    fn refusal(&mut self) -> Option<postern_wire::error::Report> {
        match self.tracker.front() {
            Some(Sent::Query(seq) | Sent::Parse(seq) | Sent::Execute(seq)) => self.refused.remove(&seq),
            _ => None,
        }
    }

    fn follow(&mut self, tag: u8, body: &[u8]) {
        if let (b'1', Some(Sent::Parse(seq))) = (tag, self.tracker.front()) {
            self.inspector.parsed(seq);
        }
        let Self { tracker, journal, refused, inspector, judge, guard, .. } = self;
        tracker.received(tag, body, |end| ended(end, journal, refused, inspector, judge, guard));
        self.forget_renamed();
    }
}
