//! Writes one thread's records. A decision is in the file before the statement is passed on; ends ride along
//! with the next write. What sessions record that were woken together is written together: a write costs more than
//! everything else that is done to record a statement.

use super::Outbox;
use crate::config::Durability;
use postern_audit::segment::{self, SegmentError};
use postern_proto::v1::{AuditRecord, DecisionBasis, SessionFacts, StatementText, audit_record::Record};
use postern_types::id::SegmentId;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::{File, OpenOptions},
    future::poll_fn,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use thiserror::Error;

/// How often [`Recorder::tick`] is to be called: the bound on what a power cut can lose.
pub const TICK: Duration = Duration::from_millis(50);

/// A segment is shipped after this long.
const MAX_AGE: Duration = Duration::from_millis(200);

/// A segment is shipped when it has this many bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Bytes of a statement's text that are recorded.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Texts that a segment remembers to refer to. Beyond, a text is simply defined again.
const MAX_TEXTS: usize = 4_096;

/// A record could not be written: nothing may run.
#[derive(Debug, Error)]
pub enum OutboxError {
    /// The bound of the configuration is reached.
    #[error("the audit outbox is full: the control plane has not taken its records")]
    Full,
    /// The disk.
    #[error("the audit outbox cannot be written")]
    Io(#[from] io::Error),
    /// A record that is too large, which the bounds on its parts exclude.
    #[error("an audit record cannot be written")]
    Record(#[from] SegmentError),
}

/// Where the current segment has what records refer to: the segment's number, and the reference there.
#[derive(Debug, Default)]
struct Place(Cell<(u64, u32)>);

impl Place {
    /// The reference, if it is of this segment.
    fn within(&self, segment: u64) -> Option<u32> {
        let (number, reference) = self.0.get();
        (number == segment).then_some(reference)
    }
}

/// What records refer to: a statement's text, or what a decision rests on. With it, where the current segment has it.
#[derive(Debug)]
pub struct Text {
    bytes: Rc<[u8]>,
    place: Place,
}

impl Text {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), place: Place::default() }
    }

    /// The text itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The session that records refer to. With it, where the current segment has its facts.
#[derive(Debug)]
pub struct Session {
    facts: SessionFacts,
    place: Place,
}

impl Session {
    /// Of these facts.
    #[must_use]
    pub fn new(facts: SessionFacts) -> Self {
        Self { facts, place: Place::default() }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.facts.session_id
    }
}

/// What a text is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    Statement,
    Basis,
}

/// What a record refers to besides its session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refers<'a> {
    /// A statement's text.
    pub text: Option<&'a Text>,
    /// What a decision rests on.
    pub basis: Option<&'a Text>,
}

/// By which numbers the segment knows it; 0: nothing.
#[derive(Clone, Copy, Debug)]
pub struct References {
    /// The session.
    pub session: u32,
    /// The statement's text.
    pub text: u32,
    /// What the decision rests on.
    pub basis: u32,
}

/// Writes records of the sessions of one thread.
pub struct Recorder {
    outbox: Outbox,
    segment: RefCell<Option<Segment>>,
    /// Counts this thread's segments, from 1.
    segments: Cell<u64>,
    /// Counts records.
    appended: Cell<u64>,
    /// How many of them are written.
    flushed: Cell<u64>,
    /// Sessions that wait until theirs are.
    waiting: RefCell<Vec<Waker>>,
    /// The last write for those failed.
    failing: Cell<bool>,
    committer: RefCell<Option<Waker>>,
    /// The disk has lost something, once: what it says from then on is not believed.
    failed: Cell<bool>,
    /// Records nothing, so that the cost of recording can be measured. Not in any binary.
    #[cfg(test)]
    pub off: Cell<bool>,
}

/// What is written and not on the disk yet.
pub struct Unsynced {
    file: File,
    /// The folder, whose entry for the file is not on the disk yet either.
    folder: Option<PathBuf>,
}

impl Unsynced {
    /// Waits for the disk. On a thread that may block.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(self) -> io::Result<()> {
        self.file.sync_data()?;
        self.folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

struct Segment {
    id: SegmentId,
    number: u64,
    file: File,
    opened: Instant,
    pending: Vec<u8>,
    written: u64,
    synced: u64,
    texts: HashMap<(Kind, Rc<[u8]>), u32>,
    references: u32,
}

impl Segment {
    fn reference(&mut self) -> u32 {
        self.references += 1;
        self.references
    }

    fn append(&mut self, record: Record) -> Result<(), OutboxError> {
        Ok(segment::append(&mut self.pending, &AuditRecord { record: Some(record) })?)
    }

    fn session(&mut self, session: &Session) -> Result<u32, OutboxError> {
        if let Some(reference) = session.place.within(self.number) {
            return Ok(reference);
        }
        let reference = self.reference();
        self.append(Record::Session(SessionFacts { r#ref: reference, ..session.facts.clone() }))?;
        session.place.0.set((self.number, reference));
        Ok(reference)
    }

    fn text(&mut self, kind: Kind, text: Option<&Text>) -> Result<u32, OutboxError> {
        let Some(text) = text else { return Ok(0) };
        if let Some(reference) = text.place.within(self.number) {
            return Ok(reference);
        }
        let key = (kind, Rc::clone(&text.bytes));
        let known = self.texts.get(&key).copied();
        let reference = match known {
            Some(reference) => reference,
            None => {
                let reference = self.reference();
                self.append(match kind {
                    Kind::Statement => Record::Text(definition(reference, &text.bytes)),
                    Kind::Basis => Record::Basis(DecisionBasis { r#ref: reference, json: text.bytes.to_vec().into() }),
                })?;
                if self.texts.len() < MAX_TEXTS {
                    self.texts.insert(key, reference);
                }
                reference
            }
        };
        text.place.0.set((self.number, reference));
        Ok(reference)
    }

    fn unsynced(&self, outbox: &Outbox) -> io::Result<Unsynced> {
        let folder = (self.synced == 0).then(|| outbox.folder.to_path_buf());
        Ok(Unsynced { file: self.file.try_clone()?, folder })
    }

    fn flush(&mut self, outbox: &Outbox) -> Result<(), OutboxError> {
        if !self.pending.is_empty() {
            if let Err(error) = self.file.write_all(&self.pending) {
                // Half a record would spoil all that follow it.
                self.file.set_len(self.written)?;
                return Err(error.into());
            }
            self.written += self.pending.len() as u64;
            outbox.grow(self.pending.len() as u64);
            self.pending.clear();
        }
        Ok(())
    }
}

fn definition(reference: u32, text: &[u8]) -> StatementText {
    let sha256 = if text.len() > MAX_TEXT_BYTES {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text).as_ref().to_vec()
    } else {
        Vec::new()
    };
    StatementText {
        r#ref: reference,
        text: text.get(..MAX_TEXT_BYTES).unwrap_or(text).to_vec().into(),
        length: text.len() as u64,
        sha256: sha256.into(),
    }
}

impl Recorder {
    /// For one thread.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            segment: RefCell::default(),
            segments: Cell::new(0),
            appended: Cell::new(0),
            flushed: Cell::new(0),
            waiting: RefCell::default(),
            failing: Cell::new(false),
            committer: RefCell::default(),
            failed: Cell::new(false),
            #[cfg(test)]
            off: Cell::new(false),
        }
    }

    /// Appends a record that refers to a session and, where it has some, texts. Durable after [`flush`](Self::flush), or
    /// once [`poll_flushed`](Self::poll_flushed) says so.
    ///
    /// # Errors
    /// When the outbox is full or the disk fails.
    pub fn record(
        &self,
        session: &Session,
        refers: Refers<'_>,
        make: impl FnOnce(References) -> Record,
    ) -> Result<(), OutboxError> {
        #[cfg(test)]
        if self.off.get() {
            return Ok(());
        }
        self.in_segment(|segment| {
            let session = segment.session(session)?;
            let text = segment.text(Kind::Statement, refers.text)?;
            let basis = segment.text(Kind::Basis, refers.basis)?;
            segment.append(make(References { session, text, basis }))
        })
    }

    /// Appends a record that stands by itself. Durable as those of [`record`](Self::record).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn append(&self, record: Record) -> Result<(), OutboxError> {
        self.in_segment(|segment| segment.append(record))
    }

    fn in_segment(&self, append: impl FnOnce(&mut Segment) -> Result<(), OutboxError>) -> Result<(), OutboxError> {
        let mut current = self.segment.borrow_mut();
        let segment = match current.as_mut() {
            Some(segment) => segment,
            None => current.insert(self.begin()?),
        };
        self.appended.set(self.appended.get() + 1);
        append(segment)
    }

    fn begin(&self) -> Result<Segment, OutboxError> {
        let id = SegmentId::new();
        self.segments.set(self.segments.get() + 1);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.outbox.path(&id, "open"))?;
        Ok(Segment {
            id,
            number: self.segments.get(),
            file,
            opened: Instant::now(),
            pending: Vec::new(),
            written: 0,
            synced: 0,
            texts: HashMap::new(),
            references: 0,
        })
    }

    /// Writes what is pending. After it, the death of the process loses nothing of it.
    ///
    /// # Errors
    /// When the outbox is full or the disk fails: what was to run must not.
    pub fn flush(&self) -> Result<(), OutboxError> {
        if self.outbox.is_full() {
            return Err(OutboxError::Full);
        }
        if self.failed.get() {
            return Err(OutboxError::Io(io::Error::other("the disk has failed before")));
        }
        let mut current = self.segment.borrow_mut();
        let Some(segment) = current.as_mut() else {
            self.flushed.set(self.appended.get());
            return Ok(());
        };
        segment.flush(&self.outbox)?;
        self.flushed.set(self.appended.get());
        if self.outbox.config.durability == Durability::Strict {
            let unsynced = segment.unsynced(&self.outbox)?;
            unsynced.sync().inspect_err(|_| self.fail())?;
            segment.synced = segment.written;
        }
        Ok(())
    }

    /// How many records there were so far.
    pub fn appended(&self) -> u64 {
        self.appended.get()
    }

    /// Ready once that many records are written, by [`commit_forever`](Self::commit_forever).
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn poll_flushed(&self, records: u64, cx: &mut Context<'_>) -> Poll<Result<(), OutboxError>> {
        if self.flushed.get() >= records {
            return Poll::Ready(Ok(()));
        }
        if self.failing.get() {
            return Poll::Ready(self.flush());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        if let Some(waker) = self.committer.borrow_mut().take() {
            waker.wake();
        }
        Poll::Pending
    }

    /// Writes for all sessions that wait. The runtime polls tasks in the order in which they were woken: this one
    /// comes after the sessions that were woken together with the first that waits.
    pub async fn commit_forever(&self) {
        poll_fn(|cx| {
            *self.committer.borrow_mut() = Some(cx.waker().clone());
            self.commit();
            Poll::Pending
        })
        .await
    }

    /// See [`commit_forever`](Self::commit_forever).
    pub fn commit(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            // Each of them tries for itself, and gets an error of its own.
            self.failing.set(self.flush().is_err());
            waiting.drain(..).for_each(Waker::wake);
        }
    }

    /// The disk failed: nothing is let through until the process has started anew.
    pub fn fail(&self) {
        self.failed.set(true);
    }

    /// Writes, hands a segment that is old or large to the shipper, and gives what is to be synced (on a
    /// thread that may block).
    ///
    /// # Errors
    /// When the disk fails.
    pub fn tick(&self) -> Result<Option<Unsynced>, OutboxError> {
        let mut current = self.segment.borrow_mut();
        let Some(segment) = current.as_mut() else {
            return Ok(None);
        };
        segment.flush(&self.outbox)?;
        let sync = if segment.synced < segment.written {
            let unsynced = segment.unsynced(&self.outbox)?;
            segment.synced = segment.written;
            Some(unsynced)
        } else {
            None
        };
        if segment.opened.elapsed() >= MAX_AGE || segment.written >= MAX_BYTES {
            std::fs::rename(self.outbox.path(&segment.id, "open"), self.outbox.path(&segment.id, "seg"))?;
            let _ = self.outbox.done.send(segment.id.clone());
            *current = None;
        }
        Ok(sync)
    }
}
