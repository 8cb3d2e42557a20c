//! The connection: one future reads, hands out, and writes.

use crate::{
    HIGH_WATER, MAX_STREAMS, Stream,
    frame::{self, Frame, FrameError, Kind, MAX_PAYLOAD},
    stream::{Closed, State},
};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

/// A Ping is sent this often.
const PING_EVERY: Duration = Duration::from_secs(10);

/// A peer that has sent nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Room for one frame and then some.
const READ_BUFFER: usize = 2 * MAX_PAYLOAD;

/// Reads in one go before the streams get their turn.
const READS_PER_TURN: usize = 16;

/// Answers (to pings, and to streams beyond the bound) that are queued while the peer takes nothing. A peer pings
/// every few seconds.
const MAX_ANSWERS: usize = 64 * 1024;

/// Buffers kept for streams that have something to read.
const SPARE_BUFFERS: usize = 64;

/// A spare buffer that has grown beyond this is given back to the system.
const SPARE_CAPACITY: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// Reading or writing failed.
    #[error("the tunnel's connection failed")]
    Io(#[from] io::Error),
    /// Not frames.
    #[error("the peer broke the tunnel's framing")]
    Frame(#[from] FrameError),
    /// Frames, but not as they may follow each other.
    #[error("the peer broke the tunnel's rules: {0}")]
    Protocol(&'static str),
    /// Nothing came for 30 s.
    #[error("the peer has been silent for too long")]
    Silent,
}

/// Which end of the connection this is.
pub enum Role {
    /// Opens streams (the gateway).
    Opener,
    /// Is handed the streams that the peer opens, with their preambles (the connector).
    Acceptor(mpsc::UnboundedSender<(Stream, Vec<u8>)>),
}

/// What a connection's driver and its streams share.
pub(crate) struct Shared {
    out: RefCell<Vec<u8>>,
    spare: RefCell<Vec<Vec<u8>>>,
    /// By numbers that come one after another: no hash has to withstand anybody.
    streams: RefCell<FxHashMap<u32, Rc<RefCell<State>>>>,
    driver: RefCell<Option<Waker>>,
    /// Streams that wait until what is queued has gone.
    waiting: RefCell<HashSet<u32>>,
    /// Answers queued since something went last.
    answers: Cell<usize>,
    /// The highest stream id so far.
    last: Cell<u32>,
    going_away: Cell<bool>,
    lost: Cell<bool>,
}

impl Shared {
    pub(crate) fn queue(&self, stream: u32, kind: Kind, payload: &[u8]) {
        if self.lost.get() {
            return;
        }
        frame::put(&mut self.out.borrow_mut(), stream, kind, payload);
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.out.borrow().len()
    }

    /// Queues what the peer's frame asks for. A peer that asks for ever more and takes none of it is let go.
    fn answer(&self, stream: u32, kind: Kind) -> Result<(), TunnelError> {
        let answers = self.answers.get() + 1;
        if answers > MAX_ANSWERS {
            return Err(TunnelError::Protocol("it asks for answers and does not take them"));
        }
        self.answers.set(answers);
        self.queue(stream, kind, &[]);
        Ok(())
    }

    /// The stream's writer is woken once what is queued has gone.
    pub(crate) fn wait_for_drain(&self, stream: u32) {
        self.waiting.borrow_mut().insert(stream);
    }

    fn drained(&self) {
        self.answers.set(0);
        for stream in self.waiting.borrow_mut().drain() {
            if let Some(state) = self.get(stream) {
                state.borrow_mut().wake_writer();
            }
        }
    }

    pub(crate) fn forget(&self, stream: u32) {
        self.streams.borrow_mut().remove(&stream);
    }

    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_CAPACITY {
            spare.push(buffer);
        }
    }

    fn get(&self, stream: u32) -> Option<Rc<RefCell<State>>> {
        self.streams.borrow().get(&stream).cloned()
    }

    fn lose(&self) {
        self.lost.set(true);
        for state in self.streams.borrow().values() {
            state.borrow_mut().close(Closed::Lost);
        }
    }
}

/// A handle to a connection. Cheap to clone; the connection lives as long as its driver is polled.
#[derive(Clone)]
pub struct Mux {
    shared: Rc<Shared>,
}

impl Mux {
    /// Opens a stream; the peer gets the preamble first. Only for the [`Role::Opener`].
    ///
    /// # Errors
    /// When the connection is lost, the peer goes away, there are too many streams, or the preamble is over
    /// the longest payload.
    pub fn open(&self, preamble: &[u8]) -> Result<Stream, Closed> {
        let full = self.shared.streams.borrow().len() >= MAX_STREAMS;
        if self.shared.lost.get() || self.shared.going_away.get() || full || preamble.len() > MAX_PAYLOAD {
            return Err(Closed::Lost);
        }
        let id = self.shared.last.get().checked_add(1).ok_or(Closed::Lost)?;
        self.shared.last.set(id);
        let state = Rc::new(RefCell::new(State::new()));
        self.shared.streams.borrow_mut().insert(id, Rc::clone(&state));
        self.shared.queue(id, Kind::Open, preamble);
        Ok(Stream::new(id, state, Rc::clone(&self.shared)))
    }

    /// Tells the peer to open no more streams here.
    pub fn go_away(&self) {
        self.shared.queue(0, Kind::GoAway, &[]);
    }

    /// Whether a stream can be opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.shared.lost.get() && !self.shared.going_away.get()
    }

    /// Streams at the moment.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.streams.borrow().len()
    }
}

/// A connection over `io`: a handle, and the future that drives it until it ends. `Ok` means that the peer
/// closed it.
pub fn connect<IO>(io: IO, role: Role) -> (Mux, impl Future<Output = Result<(), TunnelError>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let shared = Rc::new(Shared {
        out: RefCell::default(),
        spare: RefCell::default(),
        streams: RefCell::default(),
        driver: RefCell::default(),
        waiting: RefCell::default(),
        answers: Cell::new(0),
        last: Cell::new(0),
        going_away: Cell::new(false),
        lost: Cell::new(false),
    });
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let driver = Driver {
        io,
        role,
        shared: Rc::clone(&shared),
        read: vec![0; READ_BUFFER],
        filled: 0,
        write: Vec::new(),
        written: 0,
        flushing: false,
        gathering: false,
        ping,
        heard: Instant::now(),
    };
    (Mux { shared }, driver)
}

struct Driver<IO> {
    io: IO,
    role: Role,
    shared: Rc<Shared>,
    read: Vec<u8>,
    filled: usize,
    write: Vec<u8>,
    written: usize,
    flushing: bool,
    /// What is queued is written with the next poll.
    gathering: bool,
    ping: Interval,
    heard: Instant,
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        self.shared.lose();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = Result<(), TunnelError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        *this.shared.driver.borrow_mut() = Some(cx.waker().clone());
        this.keep_alive(cx)?;
        let mut open = true;
        let mut turns = 0;
        while turns < READS_PER_TURN {
            match this.poll_read(cx)? {
                Poll::Ready(true) => turns += 1,
                Poll::Ready(false) => {
                    open = false;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if turns == READS_PER_TURN {
            cx.waker().wake_by_ref();
        }
        if !open {
            return Poll::Ready(Ok(()));
        }
        // Others were woken together with this, and their turn is still to come: what they queue goes with it. Once,
        // so that a peer which sends ever more does not keep anything from being written.
        this.gathering = turns > 0 && !this.gathering && this.shared.queued() > 0;
        if this.gathering {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match this.poll_write(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ => Poll::Pending,
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    fn keep_alive(&mut self, cx: &mut Context<'_>) -> Result<(), TunnelError> {
        while self.ping.poll_tick(cx).is_ready() {
            if self.heard.elapsed() > SILENCE {
                return Err(TunnelError::Silent);
            }
            frame::put(&mut self.shared.out.borrow_mut(), 0, Kind::Ping, &[]);
        }
        Ok(())
    }

    /// Reads once and hands out what is whole. `Ready(false)` at the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TunnelError>> {
        // INVARIANT: a whole frame fits, so there is always room after `dispatch` has moved the rest to the front.
        let mut buffer = ReadBuf::new(self.read.get_mut(self.filled..).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(false));
        }
        self.heard = Instant::now();
        self.filled += count;
        let mut at = 0;
        while let Some((frame, length)) = frame::parse(self.read.get(at..self.filled).unwrap_or_default())? {
            dispatch(&self.shared, &self.role, frame)?;
            at += length;
        }
        self.read.copy_within(at..self.filled, 0);
        self.filled -= at;
        Poll::Ready(Ok(true))
    }

    /// Writes everything that is queued, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.write.len() {
                self.write.clear();
                self.written = 0;
                std::mem::swap(&mut self.write, &mut self.shared.out.borrow_mut());
                self.shared.drained();
                if self.write.is_empty() {
                    break;
                }
            }
            let rest = self.write.get(self.written..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.flushing = true;
        }
        if self.write.capacity() > HIGH_WATER {
            self.write = Vec::new();
        }
        if self.flushing {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn dispatch(shared: &Rc<Shared>, role: &Role, frame: Frame<'_>) -> Result<(), TunnelError> {
    match frame.kind {
        Kind::Open => return open(shared, role, frame),
        Kind::Ping => return shared.answer(0, Kind::Pong),
        Kind::Pong => {}
        Kind::GoAway => shared.going_away.set(true),
        Kind::Cancel if matches!(role, Role::Opener) => {
            return Err(TunnelError::Protocol("only the gateway asks to cancel"));
        }
        _ => {
            if frame.stream == 0 || frame.stream > shared.last.get() {
                return Err(TunnelError::Protocol("a frame for a stream that was never opened"));
            }
            // A stream that is already forgotten: what was under way to it means nothing any more.
            let Some(state) = shared.get(frame.stream) else {
                return Ok(());
            };
            let mut state = state.borrow_mut();
            if !state.may_come(frame.kind) {
                return Err(TunnelError::Protocol("a frame after the stream's end"));
            }
            match frame.kind {
                Kind::Data if !state.push(frame.payload, &mut shared.spare.borrow_mut()) => {
                    return Err(TunnelError::Protocol("more data than there was window for"));
                }
                Kind::Window => {
                    let more = frame.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                    if !state.give(more) {
                        return Err(TunnelError::Protocol("more window than there can be"));
                    }
                }
                Kind::Finish => state.close(Closed::Finished),
                Kind::Reset => state.close(Closed::Reset),
                Kind::Cancel => state.cancel(),
                _ => {}
            }
        }
    }
    Ok(())
}

fn open(shared: &Rc<Shared>, role: &Role, frame: Frame<'_>) -> Result<(), TunnelError> {
    let Role::Acceptor(accept) = role else {
        return Err(TunnelError::Protocol("only the gateway opens streams"));
    };
    if frame.stream <= shared.last.get() {
        return Err(TunnelError::Protocol("a stream's number was used before"));
    }
    shared.last.set(frame.stream);
    if shared.streams.borrow().len() >= MAX_STREAMS {
        return shared.answer(frame.stream, Kind::Reset);
    }
    let state = Rc::new(RefCell::new(State::new()));
    shared.streams.borrow_mut().insert(frame.stream, Rc::clone(&state));
    let stream = Stream::new(frame.stream, state, Rc::clone(shared));
    // Nobody accepts any more: the stream is dropped, and thereby reset.
    let _ = accept.send((stream, frame.payload.to_vec()));
    Ok(())
}
