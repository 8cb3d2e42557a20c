//! Two ends of a tunnel over a pipe: bytes arrive whole and in order whatever the sizes, a slow stream blocks
//! no other, and a peer that breaks the rules loses the connection and nothing else.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::proptest;
use postern_tunnel::{Closed, Mux, Role, Stream, TunnelError, WINDOW, connect, frame};
use proptest::prelude::*;
use std::{future::poll_fn, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::{self, UnboundedReceiver},
    task::{LocalSet, spawn_local},
    time::timeout,
};

type Accepted = UnboundedReceiver<(Stream, Vec<u8>)>;

fn pair(capacity: usize) -> (Mux, Accepted) {
    let (a, b) = tokio::io::duplex(capacity);
    let (accept, accepted) = mpsc::unbounded_channel();
    let (mux, opener) = connect(a, Role::Opener);
    let (_, acceptor) = connect(b, Role::Acceptor(accept));
    spawn_local(opener);
    spawn_local(acceptor);
    (mux, accepted)
}

async fn send_all(stream: &Stream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.unwrap();
        let sent = stream.send(bytes);
        bytes = &bytes[sent..];
    }
}

async fn read_to_end(stream: &Stream, most: usize) -> (Vec<u8>, Closed) {
    let mut all = Vec::new();
    loop {
        if let Err(why) = stream.readable().await {
            return (all, why);
        }
        stream.consume(|bytes| {
            let count = bytes.len().min(most);
            all.extend_from_slice(&bytes[..count]);
            (count, ())
        });
        tokio::task::yield_now().await;
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(Duration::from_secs(20), future).await.unwrap() })
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn bytes_arrive_whole_and_in_order(lengths in proptest::collection::vec(0usize..700_000, 1..6), most in 1usize..100_000, capacity in 64usize..300_000) {
        run(async {
            let (mux, mut accepted) = pair(capacity);
            let mut tasks = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                let stream = mux.open(&[index as u8]).unwrap();
                let (peer, preamble) = accepted.recv().await.unwrap();
                assert_eq!(preamble, [index as u8]);
                let sent = pattern(*length, index as u8);
                let back = pattern(length / 2, 200 + index as u8);
                let (expect, expect_back) = (sent.clone(), back.clone());
                let most = most.max(length / 500);
                tasks.push(spawn_local(async move {
                    tokio::join!(async { send_all(&stream, &sent).await; stream.finish(); },
                        async { assert_eq!(read_to_end(&stream, most).await, (expect_back, Closed::Finished)); });
                }));
                tasks.push(spawn_local(async move {
                    tokio::join!(async { send_all(&peer, &back).await; peer.finish(); },
                        async { assert_eq!(read_to_end(&peer, most).await, (expect, Closed::Finished)); });
                }));
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
}

#[test]
fn a_stream_that_nobody_reads_blocks_no_other() {
    run(async {
        let (mux, mut accepted) = pair(4096);
        let slow = mux.open(b"slow").unwrap();
        let (unread, _) = accepted.recv().await.unwrap();
        let window = WINDOW as usize;
        send_all(&slow, &pattern(window, 1)).await;
        assert_eq!(slow.credit(), 0);
        assert!(timeout(Duration::from_millis(50), slow.writable()).await.is_err(), "no more than a window");
        let quick = mux.open(b"quick").unwrap();
        let (peer, _) = accepted.recv().await.unwrap();
        send_all(&quick, b"hello").await;
        peer.readable().await.unwrap();
        assert_eq!(peer.consume(|bytes| (bytes.len(), bytes.to_vec())), b"hello");
        // The slow one goes on once it is read.
        unread.readable().await.unwrap();
        unread.consume(|bytes| (bytes.len(), ()));
        slow.writable().await.unwrap();
    });
}

#[test]
fn a_cancel_request_keeps_its_place_unless_it_is_asked_for() {
    run(async {
        let (mux, mut accepted) = pair(4096);
        let stream = mux.open(b"x").unwrap();
        let (peer, _) = accepted.recv().await.unwrap();
        let all = |bytes: &[u8]| (bytes.len(), bytes.to_vec());
        // Whatever is said next shows that all the rest has come.
        let mut come = async || {
            let marker = mux.open(b"y").unwrap();
            (accepted.recv().await.unwrap(), marker)
        };
        for taken in [0, 3] {
            stream.send(b"before");
            stream.cancel();
            stream.send(b"after");
            let _marker = come().await;
            assert_eq!(peer.consume(|bytes| (taken, bytes.to_vec())), b"before");
            assert_eq!(peer.consume(all), b"before"[taken..]);
            peer.readable().await.unwrap();
            assert_eq!(peer.consume(all), b"");
            assert!(peer.take_cancel());
            assert_eq!(peer.consume(all), b"after");
        }
        stream.send(b"before");
        stream.cancel();
        let _marker = come().await;
        poll_fn(|cx| peer.poll_cancel(cx)).await;
        assert_eq!(peer.consume(all), b"before");
        assert!(!peer.take_cancel());
    });
}

#[test]
fn cancel_reset_and_loss_reach_the_peer() {
    run(async {
        let (mux, mut accepted) = pair(4096);
        let stream = mux.open(b"x").unwrap();
        let (peer, _) = accepted.recv().await.unwrap();
        stream.cancel();
        peer.readable().await.unwrap();
        assert!(peer.take_cancel());
        assert!(!peer.take_cancel());
        drop(stream);
        assert_eq!(peer.readable().await, Err(Closed::Reset));
        let stream = mux.open(b"y").unwrap();
        let (peer, _) = accepted.recv().await.unwrap();
        drop(peer);
        assert_eq!(stream.readable().await, Err(Closed::Reset));
        assert_eq!(stream.send(b"late"), 0);
        assert_eq!(mux.streams(), 1);
        drop(stream);
        assert_eq!(mux.streams(), 0);
    });
}

#[test]
fn rules_broken_by_a_peer_end_the_connection() {
    use frame::Kind;
    let mut two_opens = Vec::new();
    frame::put(&mut two_opens, 5, Kind::Open, b"");
    frame::put(&mut two_opens, 5, Kind::Open, b"");
    let mut unopened = Vec::new();
    frame::put(&mut unopened, 5, Kind::Data, b"x");
    let mut flood = Vec::new();
    frame::put(&mut flood, 1, Kind::Open, b"");
    for _ in 0..=WINDOW as usize / frame::MAX_PAYLOAD {
        frame::put(&mut flood, 1, Kind::Data, &[0; frame::MAX_PAYLOAD]);
    }
    let mut window = Vec::new();
    frame::put(&mut window, 1, Kind::Open, b"");
    frame::put(&mut window, 1, Kind::Window, &1u32.to_be_bytes());
    let mut after_the_end = Vec::new();
    frame::put(&mut after_the_end, 1, Kind::Open, b"");
    frame::put(&mut after_the_end, 1, Kind::Finish, b"");
    frame::put(&mut after_the_end, 1, Kind::Data, b"x");
    let mut pings = Vec::new();
    (0..200_000).for_each(|_| frame::put(&mut pings, 0, Kind::Ping, b""));
    for (name, bytes) in [
        ("after the end", after_the_end),
        ("pings whose answers nobody takes", pings),
        ("two opens", two_opens),
        ("unopened", unopened),
        ("flood", flood),
        ("window", window),
        ("garbage", vec![0xff; 64]),
    ] {
        run(async {
            let (a, mut b) = tokio::io::duplex(2 << 20);
            let (accept, mut accepted) = mpsc::unbounded_channel();
            let (_, driver) = connect(a, Role::Acceptor(accept));
            let held = spawn_local(async move {
                let mut held = Vec::new();
                while let Some(stream) = accepted.recv().await {
                    held.push(stream);
                }
            });
            b.write_all(&bytes).await.unwrap();
            let result = driver.await;
            assert!(matches!(result, Err(TunnelError::Protocol(_) | TunnelError::Frame(_))), "{name}: {result:?}");
            held.abort();
        });
    }
}

#[test]
fn only_the_gateway_asks_to_cancel() {
    run(async {
        let (a, mut b) = tokio::io::duplex(1 << 16);
        let (mux, driver) = connect(a, Role::Opener);
        let _stream = mux.open(b"").unwrap();
        let mut bytes = Vec::new();
        frame::put(&mut bytes, 1, frame::Kind::Cancel, b"");
        b.write_all(&bytes).await.unwrap();
        assert!(matches!(driver.await, Err(TunnelError::Protocol(_))));
    });
}

#[test]
fn only_the_gateway_opens() {
    run(async {
        let (a, mut b) = tokio::io::duplex(1 << 16);
        let (_mux, driver) = connect(a, Role::Opener);
        let mut bytes = Vec::new();
        frame::put(&mut bytes, 1, frame::Kind::Open, b"");
        b.write_all(&bytes).await.unwrap();
        assert!(matches!(driver.await, Err(TunnelError::Protocol(_))));
        let mut rest = Vec::new();
        b.read_to_end(&mut rest).await.unwrap();
    });
}
