//! Frames, and the connection against a peer that sends any of them in any order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{cuts, mangled, proptest, target};
use postern_tunnel::{
    Closed, Role, Stream, TunnelError, WINDOW, connect,
    frame::{self, FrameError, HEADER_BYTES, Kind, MAX_PAYLOAD},
};
use proptest::{collection::vec, prelude::*};
use std::{
    collections::HashMap,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Open),
        6 => Just(Kind::Data),
        2 => Just(Kind::Window),
        2 => Just(Kind::Finish),
        1 => Just(Kind::Reset),
        2 => Just(Kind::Cancel),
        1 => Just(Kind::Ping),
        1 => Just(Kind::Pong),
        1 => Just(Kind::GoAway),
    ]
}

type Sent = (u32, Kind, Vec<u8>);

fn one(payload: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Sent> {
    (0u32..5, kind(), payload, any::<u32>()).prop_map(|(stream, kind, payload, window)| match kind {
        Kind::Open | Kind::Data => (stream, kind, payload),
        Kind::Window => (stream, kind, (window % (WINDOW / 8)).to_be_bytes().to_vec()),
        kind => (stream, kind, vec![]),
    })
}

fn bytes(frames: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|(stream, kind, payload)| frame::put(&mut out, *stream, *kind, payload));
    out
}

/// All frames of a stream that comes in these pieces, and the error that ends it.
fn read(pieces: &[&[u8]]) -> (Vec<Sent>, Option<FrameError>) {
    let (mut frames, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match frame::parse(&held) {
                Ok(Some((frame, length))) => {
                    frames.push((frame.stream, frame.kind, frame.payload.to_vec()));
                    held.drain(..length);
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(held.len() < HEADER_BYTES + MAX_PAYLOAD, "more is held than a frame has");
    }
    (frames, None)
}

target!(
    fuzz_frames,
    (mangled(vec(one(vec(any::<u8>(), 0..30)), 0..8).prop_map(|frames| bytes(&frames))), cuts()),
    |(stream, cuts)| {
        let (frames, error) = read(&[&stream]);
        prop_assert!(stream.starts_with(&bytes(&frames)));
        prop_assert_eq!(read(&cuts.pieces(&stream)), (frames, error));
        Ok(())
    }
);

target!(fuzz_frames_come_back, vec(one(vec(any::<u8>(), 0..30)), 0..8), |frames| {
    prop_assert_eq!(read(&[&bytes(&frames)]), (frames, None));
    Ok(())
});

/// What the rules make of frames.
#[derive(Default)]
struct Rules {
    last: u32,
    streams: HashMap<u32, Expected>,
}

struct Expected {
    data: Vec<u8>,
    credit: u32,
    closed: Option<Closed>,
}

impl Rules {
    /// False when the frame breaks them.
    fn take(&mut self, (id, kind, payload): &Sent, is_opener: bool) -> bool {
        match kind {
            Kind::Open => {
                let fresh = !is_opener && *id > self.last;
                if fresh {
                    self.open(*id);
                }
                return fresh;
            }
            Kind::Ping | Kind::Pong | Kind::GoAway => return true,
            Kind::Cancel if is_opener => return false,
            _ => {}
        }
        if *id == 0 || *id > self.last {
            return false;
        }
        let Some(stream) = self.streams.get_mut(id) else { return true };
        match (kind, stream.closed) {
            (_, Some(Closed::Reset)) | (Kind::Data | Kind::Finish, Some(_)) => return false,
            (Kind::Data, None) => {
                stream.data.extend_from_slice(payload);
                return stream.data.len() <= WINDOW as usize;
            }
            (Kind::Window, _) => {
                stream.credit += u32::from_be_bytes(payload[..].try_into().unwrap());
                return stream.credit <= WINDOW;
            }
            (Kind::Finish, _) => stream.closed = Some(Closed::Finished),
            (Kind::Reset, _) => stream.closed = Some(Closed::Reset),
            _ => {}
        }
        true
    }

    fn open(&mut self, id: u32) {
        self.last = id;
        self.streams.insert(id, Expected { data: vec![], credit: WINDOW, closed: None });
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![3 => 0..100usize, 1 => MAX_PAYLOAD - 1..=MAX_PAYLOAD];
    (length, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
}

/// Writes what the pipe takes at once; takes and forgets what comes back.
fn write(io: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8], cx: &mut Context<'_>) -> usize {
    let mut scratch = vec![0; 4096];
    while let Poll::Ready(Ok(())) = {
        let mut buffer = ReadBuf::new(&mut scratch);
        pin!(&mut *io).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len()).map(|read| match read {
            Ok(1..) => Ok(()),
            _ => Err(()),
        })
    } {}
    match pin!(io).poll_write(cx, bytes) {
        Poll::Ready(Ok(count)) => count,
        _ => 0,
    }
}

target!(
    /// The peer says anything. Either a rule is broken and the connection ends, or each stream has what was said to
    /// it and no other.
    fuzz_mux_with_any_peer,
    (vec(one(payload()), 0..40), any::<bool>(), 0usize..3, 100usize..200_000),
    |(frames, is_opener, opened, capacity)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        let (io, mut peer) = tokio::io::duplex(capacity);
        let (accept, mut accepted) = mpsc::unbounded_channel();
        let (mux, driver) = connect(io, if is_opener { Role::Opener } else { Role::Acceptor(accept) });
        let mut driver = pin!(driver);
        let (mut rules, mut streams) = (Rules::default(), HashMap::<u32, Stream>::new());
        for id in (1..=u32::try_from(opened).unwrap()).filter(|_| is_opener) {
            streams.insert(id, mux.open(b"").unwrap());
            rules.open(id);
        }
        let broken = frames.iter().position(|frame| !rules.take(frame, is_opener));
        let all = bytes(&frames);
        let (mut rest, mut result) = (&all[..], None);
        while result.is_none() {
            let written = write(&mut peer, rest, &mut cx);
            rest = &rest[written..];
            match driver.as_mut().poll(&mut cx) {
                Poll::Ready(end) => result = Some(end),
                Poll::Pending if rest.is_empty() => break,
                Poll::Pending => {}
            }
            // Held, so that nothing of them is forgotten.
            while let Ok((stream, _)) = accepted.try_recv() {
                let id = u32::try_from(streams.len()).unwrap();
                streams.insert(1000 + id, stream);
            }
        }
        // What is still in the pipe.
        for _ in 0..all.len() / capacity + 2 {
            if result.is_none()
                && let Poll::Ready(end) = driver.as_mut().poll(&mut cx)
            {
                result = Some(end);
            }
        }
        while let Ok((stream, _)) = accepted.try_recv() {
            let id = u32::try_from(streams.len()).unwrap();
            streams.insert(1000 + id, stream);
        }
        let ended_by_rule = matches!(result, Some(Err(TunnelError::Protocol(_))));
        prop_assert_eq!(ended_by_rule, broken.is_some(), "{:?} after frame {:?}", result, broken);
        if broken.is_none() {
            prop_assert!(result.is_none(), "{:?}", result);
            // Streams are numbered in the order in which they were opened.
            let mut ids: Vec<_> = rules.streams.keys().copied().collect();
            ids.sort_unstable();
            let mut handles: Vec<_> = streams.into_iter().collect();
            handles.sort_unstable_by_key(|(id, _)| *id);
            prop_assert_eq!(ids.len(), handles.len());
            for (id, (_, stream)) in ids.iter().zip(handles) {
                let expected = &rules.streams[id];
                let mut got = Vec::new();
                while let Poll::Ready(Ok(())) = stream.poll_readable(&mut cx) {
                    let _ = stream.take_cancel();
                    stream.consume(|bytes| (bytes.len(), got.extend_from_slice(bytes)));
                }
                prop_assert!(got == expected.data, "stream {} has other bytes than were sent to it", id);
                let over = match stream.poll_readable(&mut cx) {
                    Poll::Ready(Err(why)) => Some(why),
                    _ => None,
                };
                prop_assert_eq!(over, expected.closed);
            }
        }
        Ok(())
    }
);
