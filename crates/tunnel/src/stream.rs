//! What a session holds of the tunnel.

use crate::{
    HIGH_WATER, WINDOW,
    frame::{Kind, MAX_PAYLOAD},
    mux::Shared,
};
use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use thiserror::Error;

/// The stream is over.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Closed {
    /// The peer sends no more; everything that it sent has been taken.
    #[error("the peer finished the stream")]
    Finished,
    /// The peer gave the stream up.
    #[error("the peer reset the stream")]
    Reset,
    /// The connection is gone.
    #[error("the tunnel connection was lost")]
    Lost,
}

/// Keeps whom to wake, who may be there already.
fn wait(waiting: &mut Option<Waker>, cx: &Context<'_>) {
    match waiting {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waiting = Some(cx.waker().clone()),
    }
}

/// One stream's state, shared between its handle and the connection's driver.
#[derive(Debug)]
pub(crate) struct State {
    inbound: Vec<u8>,
    /// Bytes of `inbound` that have been taken.
    taken: usize,
    /// Bytes that the peer may still send.
    window: u32,
    /// Bytes taken and not yet given back as window.
    owed: u32,
    /// Bytes that we may still send.
    credit: u32,
    finished_by_us: bool,
    closed: Option<Closed>,
    /// Where in `inbound` the newest cancel request that has not been taken came.
    cancels: Option<usize>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            inbound: Vec::new(),
            taken: 0,
            window: WINDOW,
            owed: 0,
            credit: WINDOW,
            finished_by_us: false,
            closed: None,
            cancels: None,
            reader: None,
            writer: None,
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Whether the peer may say this, after what it has said before.
    pub(crate) fn may_come(&self, kind: Kind) -> bool {
        match self.closed {
            None | Some(Closed::Lost) => true,
            Some(Closed::Finished) => !matches!(kind, Kind::Data | Kind::Finish),
            Some(Closed::Reset) => false,
        }
    }

    /// Bytes came. False when the peer had no window for them.
    pub(crate) fn push(&mut self, bytes: &[u8], spare: &mut Vec<Vec<u8>>) -> bool {
        let Some(left) = u32::try_from(bytes.len()).ok().and_then(|n| self.window.checked_sub(n)) else {
            return false;
        };
        self.window = left;
        if self.inbound.capacity() == 0
            && let Some(buffer) = spare.pop()
        {
            self.inbound = buffer;
        }
        self.inbound.extend_from_slice(bytes);
        self.wake_reader();
        true
    }

    /// The peer gave window. False when it gave more than there can be.
    pub(crate) fn give(&mut self, bytes: u32) -> bool {
        match self.credit.checked_add(bytes).filter(|credit| *credit <= WINDOW) {
            Some(credit) => {
                self.credit = credit;
                self.wake_writer();
                true
            }
            None => false,
        }
    }

    pub(crate) fn close(&mut self, why: Closed) {
        self.closed = match self.closed {
            None | Some(Closed::Finished) => Some(why),
            already => already,
        };
        self.wake_reader();
        self.wake_writer();
    }

    pub(crate) fn cancel(&mut self) {
        self.cancels = Some(self.inbound.len());
        self.wake_reader();
    }
}

/// A session's stream. Dropping it resets it, unless both sides have finished.
pub struct Stream {
    id: u32,
    state: Rc<RefCell<State>>,
    shared: Rc<Shared>,
}

impl Stream {
    pub(crate) fn new(id: u32, state: Rc<RefCell<State>>, shared: Rc<Shared>) -> Self {
        Self { id, state, shared }
    }

    /// Waits until there is something to take, or the peer has asked to cancel.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When nothing more will come: all that came before has then been taken.
    pub async fn readable(&self) -> Result<(), Closed> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// See [`readable`](Self::readable).
    ///
    /// # Errors
    /// Likewise.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.state.borrow_mut();
        if state.taken < state.inbound.len() || state.cancels.is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = state.closed {
            return Poll::Ready(Err(why));
        }
        wait(&mut state.reader, cx);
        Poll::Pending
    }

    /// Waits until nothing more will come, whether or not what came before has been taken.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Closed> {
        let mut state = self.state.borrow_mut();
        if let Some(why) = state.closed {
            return Poll::Ready(why);
        }
        wait(&mut state.reader, cx);
        Poll::Pending
    }

    /// Lends what has come to `take`, which says how much of it is done with. That much window goes back to the
    /// peer. `take` must not use this stream. What came after a cancel request is lent once that has been taken.
    pub fn consume<R>(&self, take: impl FnOnce(&[u8]) -> (usize, R)) -> R {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let end = state.cancels.unwrap_or(state.inbound.len());
        let available = state.inbound.get(state.taken..end).unwrap_or_default();
        let most = available.len();
        let (count, result) = take(available);
        let count = count.min(most);
        state.taken += count;
        // INVARIANT: count ≤ what the peer had window for, so it fits.
        state.owed += u32::try_from(count).unwrap_or(0);
        if state.taken == state.inbound.len() && state.inbound.capacity() > 0 {
            let mut buffer = std::mem::take(&mut state.inbound);
            buffer.clear();
            state.taken = 0;
            state.cancels = state.cancels.map(|_| 0);
            self.shared.recycle(buffer);
        } else if state.taken >= MAX_PAYLOAD {
            state.inbound.drain(..state.taken);
            // INVARIANT: nothing is lent beyond a cancel request, so it is not before `taken`.
            state.cancels = state.cancels.map(|at| at.saturating_sub(state.taken));
            state.taken = 0;
        }
        if state.owed >= WINDOW / 2 && state.closed.is_none() {
            state.window += state.owed;
            let owed = std::mem::take(&mut state.owed);
            self.shared.queue(self.id, Kind::Window, &owed.to_be_bytes());
        }
        result
    }

    /// Waits until the peer asks to cancel what runs, whether or not what it sent before has been taken.
    pub fn poll_cancel(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.cancels.take().is_some() {
            return Poll::Ready(());
        }
        wait(&mut state.reader, cx);
        Poll::Pending
    }

    /// Whether the peer asked, since the last call, to cancel what runs.
    #[must_use]
    pub fn take_cancel(&self) -> bool {
        self.state.borrow_mut().cancels.take().is_some()
    }

    /// Waits until something may be sent, and says how much.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// When the stream is over. A peer that has finished sending still receives.
    pub async fn writable(&self) -> Result<usize, Closed> {
        poll_fn(|cx| self.poll_writable(cx)).await
    }

    /// See [`writable`](Self::writable).
    ///
    /// # Errors
    /// Likewise.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Closed>> {
        let mut state = self.state.borrow_mut();
        if let Some(why) = state.closed.filter(|why| *why != Closed::Finished) {
            return Poll::Ready(Err(why));
        }
        if state.credit > 0 {
            if self.shared.queued() < HIGH_WATER {
                return Poll::Ready(Ok(usize::try_from(state.credit).unwrap_or(0)));
            }
            self.shared.wait_for_drain(self.id);
        }
        wait(&mut state.writer, cx);
        Poll::Pending
    }

    /// How much may be sent without waiting.
    #[must_use]
    pub fn credit(&self) -> usize {
        let state = self.state.borrow();
        if state.finished_by_us || state.closed.is_some_and(|why| why != Closed::Finished) {
            return 0;
        }
        usize::try_from(state.credit).unwrap_or(0)
    }

    /// Queues as much of `bytes` as there is credit for, and says how much that was.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.credit());
        let bytes = bytes.get(..count).unwrap_or_default();
        for chunk in bytes.chunks(MAX_PAYLOAD) {
            self.shared.queue(self.id, Kind::Data, chunk);
        }
        let mut state = self.state.borrow_mut();
        state.credit -= u32::try_from(count).unwrap_or(0);
        count
    }

    /// Says that no more will be sent.
    pub fn finish(&self) {
        let mut state = self.state.borrow_mut();
        if !state.finished_by_us && !matches!(state.closed, Some(Closed::Reset | Closed::Lost)) {
            state.finished_by_us = true;
            self.shared.queue(self.id, Kind::Finish, &[]);
        }
    }

    /// Asks the peer to cancel what runs in this session.
    pub fn cancel(&self) {
        if self.state.borrow().closed.is_none() {
            self.shared.queue(self.id, Kind::Cancel, &[]);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let state = self.state.borrow();
        let over = match state.closed {
            None => false,
            Some(Closed::Finished) => state.finished_by_us,
            Some(Closed::Reset | Closed::Lost) => true,
        };
        if !over {
            self.shared.queue(self.id, Kind::Reset, &[]);
        }
        self.shared.forget(self.id);
    }
}
