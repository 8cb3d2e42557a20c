//! The network between two parts, which a test can take away and give back.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// Passes TCP connections on. While it is down it does what a network that fails does: it passes nothing on and says
/// nothing, neither on the connections that stand nor on new ones. What was sent meanwhile arrives when it is up again.
pub struct Link {
    up: watch::Sender<bool>,
    to: Arc<AtomicU16>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// From a port of the loopback address to another one.
    pub async fn start(from: u16, to: u16) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], from))).await.unwrap();
        let (up, state) = watch::channel(true);
        let to = Arc::new(AtomicU16::new(to));
        let leads_to = Arc::clone(&to);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, leads_to.load(Ordering::Relaxed), state.clone()));
            }
        });
        Self { up, to, accepting }
    }

    /// Takes the network away, or gives it back.
    pub fn set_up(&self, up: bool) {
        let _ = self.up.send(up);
    }

    /// New connections lead to this port from now on.
    pub fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(near: TcpStream, to: u16, mut state: watch::Receiver<bool>) {
    if state.wait_for(|up| *up).await.is_err() {
        return;
    }
    // The part behind it may be stopped just now.
    let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], to))).await else { return };
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(one_way(near_read, far_write, state.clone()), one_way(far_read, near_write, state));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|up| *up).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // The end of one direction, too, arrives only over a network that is there.
    let _ = state.wait_for(|up| *up).await;
    let _ = to.shutdown().await;
}
