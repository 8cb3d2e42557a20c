//! Two ends of a tunnel against a model of what a stream is: bytes in order, a window, an end. Nothing here waits:
//! the two drivers are polled by hand, so that each interleaving is one that the input chose.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{proptest, target};
use postern_tunnel::{Closed, Mux, Role, Stream, TunnelError, WINDOW, connect};
use proptest::{collection::vec, prelude::*};
use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// The gateway's end, which opens, and the connector's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Opener,
    Acceptor,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Send(usize, End, usize),
    Take(usize, End, usize),
    Finish(usize, End),
    Drop(usize, End),
    Cancel(usize),
    Drive(End),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0usize..4;
    let end = prop_oneof![Just(End::Opener), Just(End::Acceptor)];
    let size = prop_oneof![4 => 0usize..5_000, 2 => 60_000usize..70_000, 1 => 200_000usize..300_000];
    let at = (stream, end.clone());
    prop_oneof![
        2 => Just(Step::Open),
        6 => (at.clone(), size.clone()).prop_map(|((stream, end), size)| Step::Send(stream, end, size)),
        6 => (at.clone(), size).prop_map(|((stream, end), size)| Step::Take(stream, end, size)),
        1 => at.clone().prop_map(|(stream, end)| Step::Finish(stream, end)),
        1 => at.clone().prop_map(|(stream, end)| Step::Drop(stream, end)),
        1 => (0usize..4).prop_map(Step::Cancel),
        12 => end.prop_map(Step::Drive),
    ]
}

/// One direction of a stream.
#[derive(Default)]
struct Direction {
    sent: usize,
    taken: usize,
    finished: bool,
    dropped: bool,
}

struct Pair {
    id: usize,
    opener: Option<Stream>,
    acceptor: Option<Stream>,
    accepted: bool,
    /// From the opener, and to it.
    up: Direction,
    down: Direction,
    cancels: usize,
}

impl Pair {
    fn at(&mut self, end: End) -> (Option<&Stream>, &mut Direction, &mut Direction) {
        match end {
            End::Opener => (self.opener.as_ref(), &mut self.up, &mut self.down),
            End::Acceptor => (self.acceptor.as_ref(), &mut self.down, &mut self.up),
        }
    }
}

/// Bytes from this place of a stream's direction on: no two directions look alike for long.
fn bytes_of(id: usize, end: End, at: usize, count: usize) -> &'static [u8] {
    const PERIOD: usize = 65_521;
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..1 << 20).map(|at: usize| ((at % PERIOD).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    });
    let seed = id * 2 + usize::from(end == End::Opener);
    let from = (at + seed * 7_919) % PERIOD;
    &BYTES[from..from + count]
}

type Driver = Pin<Box<dyn Future<Output = Result<(), TunnelError>>>>;

struct World {
    mux: Mux,
    opener: Driver,
    acceptor: Driver,
    accepted: UnboundedReceiver<(Stream, Vec<u8>)>,
    pairs: Vec<Pair>,
    opened: usize,
}

impl World {
    fn new(capacity: usize) -> Self {
        let (a, b) = tokio::io::duplex(capacity);
        let (accept, accepted) = mpsc::unbounded_channel();
        let (mux, opener) = connect(a, Role::Opener);
        let (_, acceptor) = connect(b, Role::Acceptor(accept));
        Self { mux, opener: Box::pin(opener), acceptor: Box::pin(acceptor), accepted, pairs: Vec::new(), opened: 0 }
    }

    fn drive(&mut self, end: End) -> Result<(), TestCaseError> {
        let mut cx = Context::from_waker(Waker::noop());
        let driver = if end == End::Opener { &mut self.opener } else { &mut self.acceptor };
        let polled = driver.as_mut().poll(&mut cx);
        prop_assert!(polled.is_pending(), "the connection ended: {:?}", polled);
        while let Ok((stream, preamble)) = self.accepted.try_recv() {
            let id = usize::from(preamble[0]);
            // The model may have forgotten the pair: its opener was dropped before anybody accepted.
            match self.pairs.iter_mut().find(|pair| pair.id == id) {
                Some(pair) => {
                    prop_assert!(!pair.accepted);
                    pair.accepted = true;
                    if !pair.down.dropped {
                        pair.acceptor = Some(stream);
                    }
                }
                None => drop(stream),
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let count = self.pairs.len().max(1);
        match step {
            Step::Open if self.pairs.len() < 4 => {
                self.opened += 1;
                let id = self.opened % 251;
                let opener = Some(self.mux.open(&[id as u8]).unwrap());
                let (up, down) = Default::default();
                self.pairs.push(Pair { id, opener, acceptor: None, accepted: false, up, down, cancels: 0 });
            }
            Step::Open => {}
            Step::Drive(end) => self.drive(end)?,
            Step::Send(index, end, size) => {
                self.pairs.get_mut(index % count).map_or(Ok(()), |pair| send(pair, end, size))?
            }
            Step::Take(index, end, size) => {
                self.pairs.get_mut(index % count).map_or(Ok(()), |pair| take(pair, end, size).map(|_| ()))?
            }
            Step::Finish(index, end) => {
                if let Some(pair) = self.pairs.get_mut(index % count)
                    && let (Some(stream), mine, _) = pair.at(end)
                {
                    stream.finish();
                    mine.finished = true;
                }
            }
            Step::Drop(index, end) => {
                if let Some(pair) = self.pairs.get_mut(index % count) {
                    let (stream, direction) = match end {
                        End::Opener => (&mut pair.opener, &mut pair.up),
                        End::Acceptor => (&mut pair.acceptor, &mut pair.down),
                    };
                    direction.dropped |= stream.take().is_some();
                    // Both ends gone: nothing of the pair is left.
                    self.pairs.retain(|pair| !(pair.up.dropped && pair.down.dropped));
                }
            }
            Step::Cancel(index) => {
                if let Some(pair) = self.pairs.get_mut(index % count)
                    && let Some(stream) = &pair.opener
                {
                    stream.cancel();
                    pair.cancels += 1;
                }
            }
        }
        let held = self.pairs.iter().filter(|pair| pair.opener.is_some()).count();
        prop_assert_eq!(self.mux.streams(), held, "a stream is remembered that nobody holds");
        Ok(())
    }
}

fn send(pair: &mut Pair, end: End, size: usize) -> Result<(), TestCaseError> {
    let id = pair.id;
    let (Some(stream), mine, _) = pair.at(end) else { return Ok(()) };
    let credit = stream.credit();
    let sent = stream.send(bytes_of(id, end, mine.sent, size));
    prop_assert_eq!(sent, size.min(credit));
    prop_assert!(!mine.finished || sent == 0);
    prop_assert_eq!(stream.credit(), credit - sent);
    mine.sent += sent;
    prop_assert!(mine.sent - mine.taken <= WINDOW as usize, "more is under way than there is window");
    Ok(())
}

/// Takes up to so many bytes, and says how many there were.
fn take(pair: &mut Pair, end: End, size: usize) -> Result<usize, TestCaseError> {
    let id = pair.id;
    let from = if end == End::Opener { End::Acceptor } else { End::Opener };
    let cancels = pair.cancels;
    let (Some(stream), _, theirs) = pair.at(end) else { return Ok(0) };
    let mut cx = Context::from_waker(Waker::noop());
    match stream.poll_readable(&mut cx) {
        Poll::Pending => return Ok(0),
        Poll::Ready(Err(Closed::Finished)) => {
            prop_assert!(theirs.finished && theirs.taken == theirs.sent, "the end came before the bytes");
            return Ok(0);
        }
        Poll::Ready(Err(Closed::Reset)) => {
            prop_assert!(theirs.dropped, "a reset that nobody made");
            return Ok(0);
        }
        Poll::Ready(Err(Closed::Lost)) => return Err(TestCaseError::fail("the connection was lost")),
        Poll::Ready(Ok(())) => {}
    }
    let at = theirs.taken;
    let (count, right) = stream.consume(|bytes| {
        let count = bytes.len().min(size);
        (count, (count, bytes[..count] == *bytes_of(id, from, at, count)))
    });
    prop_assert!(right, "bytes of another stream, or out of order");
    theirs.taken += count;
    prop_assert!(theirs.taken <= theirs.sent);
    if count == 0 && size > 0 {
        // Only a cancel request stands before what is there.
        prop_assert!(stream.take_cancel() && cancels > 0);
    }
    Ok(count)
}

target!(fuzz_credit_is_kept_and_nothing_is_lost, (vec(step(), 1..120), 64usize..100_000), |(steps, capacity)| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _guard = runtime.enter();
    let mut world = World::new(capacity);
    for step in steps {
        world.step(step)?;
    }
    // Everything that is under way arrives once both ends are driven and read.
    let mut idle = 0;
    while idle < 3 {
        let mut moved = 0;
        // Enough for the longest frame to pass, however narrow the way is.
        for _ in 0..=(2 << 20) / capacity.clamp(1_024, 65_536) {
            world.drive(End::Opener)?;
            world.drive(End::Acceptor)?;
        }
        for pair in &mut world.pairs {
            moved += take(pair, End::Opener, usize::MAX)? + take(pair, End::Acceptor, usize::MAX)?;
        }
        idle = if moved == 0 { idle + 1 } else { 0 };
    }
    for pair in &mut world.pairs {
        for end in [End::Opener, End::Acceptor] {
            let (stream, mine, theirs) = pair.at(end);
            if let Some(stream) = stream
                && !theirs.dropped
            {
                prop_assert_eq!(mine.taken, mine.sent, "bytes were lost");
                // What is taken comes back as credit, but for less than half a window that is still owed.
                let credit = stream.credit();
                let back = if theirs.finished || mine.finished { 0 } else { WINDOW as usize / 2 };
                prop_assert!(credit <= WINDOW as usize && credit >= back, "{} bytes of credit", credit);
            }
        }
    }
    Ok(())
});
