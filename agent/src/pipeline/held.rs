//! Which message has to wait until it can be judged, and what gets it on.

use super::{Asked, Fatal, Pipeline, inspect, judge::Obstacle};
use postern_proto::v1::OwnQuery;
use postern_wire::{
    ProtocolError,
    frame::{self, HEADER_BYTES, Header},
    frontend,
};
use std::task::{Context, Poll, ready};

/// Of a message that is no longer the whole is looked at before it is known whether it has to wait.
const MAX_SHORT_BYTES: usize = 64;

impl Pipeline {
    /// Whether a message cannot be judged yet. While the server answers a question of ours, everything waits; while a
    /// statement is watched, everything but the data that it takes.
    pub(super) fn is_to_wait(&mut self, header: Header, bytes: &[u8]) -> Result<bool, ProtocolError> {
        if self.question.is_some() || self.waits_for_outcome() {
            return Ok(true);
        }
        if !matches!(header.tag, b'Q' | b'P' | b'B' | b'E') || !self.begin() {
            return Ok(false);
        }
        let body = bytes.get(HEADER_BYTES..header.total()).or(bytes.get(HEADER_BYTES..)).unwrap_or_default();
        if self.awaits_parse(header.tag, body)? {
            return Ok(true);
        }
        let stands = self.judge.obstacle(self.status, self.is_failed()).is_some();
        let is_short = header.tag == b'B' || header.body <= MAX_SHORT_BYTES;
        Ok(stands && !(is_short && self.judge.needs_no_names(self.text_of(header.tag, body)?)))
    }

    /// Takes the policies in force. Whether statements have to be understood.
    fn begin(&mut self) -> bool {
        let rested = self.judge.is_resting();
        let judges = self.judge.begin();
        if judges && rested {
            self.inspector.forget_portals();
        }
        judges
    }

    /// Whether a Bind is for a name of which it is not known yet what it stands for.
    fn awaits_parse(&self, tag: u8, body: &[u8]) -> Result<bool, ProtocolError> {
        if tag != b'B' || self.tracker.is_idle() {
            return Ok(false);
        }
        Ok(inspect::bind_names(body)?.is_some_and(|bind| self.inspector.awaits(bind.statement)))
    }

    /// What a short message would run; nothing where that is not known.
    pub(super) fn text_of<'a>(&'a self, tag: u8, body: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let text = match tag {
            b'Q' => Some(frontend::query(body)?),
            b'P' => Some(frontend::parse(body)?.text),
            b'B' => inspect::bind_names(body)?.and_then(|bind| self.inspector.text_of_statement(bind.statement)),
            _ => self.inspector.text_of_portal(frontend::execute(body)?.0),
        };
        Ok(text.unwrap_or_default())
    }

    /// Whether a statement waits until it can be judged. No more of the client is to be taken then.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether something has come since the last call for which a held statement may have waited.
    pub fn may_go_on(&mut self) -> bool {
        std::mem::take(&mut self.may_go_on) && self.held
    }

    /// Gets what stands in the way of a held statement out of it. Ready once something is to be sent, or nothing is held
    /// any more.
    ///
    /// # Errors
    /// When the session has to end.
    pub fn poll_held(&mut self, cx: &mut Context<'_>, to_server: &mut Vec<u8>) -> Poll<Result<(), Fatal>> {
        // Its outcome comes from the server.
        if self.waits_for_outcome() {
            return Poll::Pending;
        }
        if self.question.is_none() && self.waits_for_people() {
            let done = self.poll_hold(cx, to_server);
            if self.waits_for_people() || !done.is_ready() {
                return done;
            }
        }
        let failed = self.is_failed();
        // What waited for an outcome need not be a statement.
        let is_judged = matches!(self.partial.first(), Some(b'Q' | b'P' | b'B' | b'E'));
        while self.question.is_none() && is_judged {
            match self.judge.obstacle(self.status, failed) {
                None => break,
                Some(Obstacle::Catalog) => {
                    if ready!(self.judge.poll_catalog(self.status, cx)).is_err() {
                        return Poll::Ready(Err(Fatal::Names));
                    }
                }
                Some(Obstacle::Ask) if self.tracker.is_idle() && !self.in_batch => {
                    self.journal.asks(OwnQuery::Names);
                    self.question = Some(Asked::OfNames(self.judge.ask(to_server)));
                    return Poll::Ready(Ok(()));
                }
                // Its outcome comes with the ReadyForQuery that is under way.
                Some(Obstacle::Ask) if self.tracker.will_be_ready() => return Poll::Pending,
                // The client would wait for ever: the server says nothing before a Sync.
                Some(Obstacle::Ask) => {
                    self.judge.give_up_names();
                    break;
                }
            }
        }
        if self.question.is_some() || self.held_awaits_parse()? {
            return Poll::Pending;
        }
        self.held = false;
        Poll::Ready(self.client(&[], to_server))
    }

    fn held_awaits_parse(&self) -> Result<bool, ProtocolError> {
        match frame::header(&self.partial)? {
            Some(header) => self.awaits_parse(header.tag, self.partial.get(HEADER_BYTES..).unwrap_or_default()),
            None => Ok(false),
        }
    }
}

/// Whether more of a message has to come before it is known whether it has to wait.
pub(super) fn is_awaited(header: Header, bytes: &[u8]) -> Result<bool, ProtocolError> {
    match header.tag {
        b'B' => Ok(inspect::bind_names(bytes.get(HEADER_BYTES..).unwrap_or_default())?.is_none()),
        b'Q' | b'P' | b'E' => Ok(header.body <= MAX_SHORT_BYTES),
        _ => Ok(false),
    }
}
