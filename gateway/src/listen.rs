//! The two listeners: clients, and connectors (whose connections are either tunnels or meant for the control
//! plane, by the server name in their TLS greeting).

use crate::worker::{Arrival, Common};
use postern_proto::CONTROL_PLANE_SERVER_NAME;
use rustls::server::Acceptor;
use socket2::{SockRef, TcpKeepalive};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc::UnboundedSender},
    time::timeout,
};

/// A connector's TLS greeting must be here by then.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// A TLS greeting with a post-quantum key share has about 1.7 kB.
const MAX_GREETING_BYTES: usize = 16 * 1024;

/// Connections being passed on to the control plane: one for each connector, and those that enrol.
const MAX_PASSED_ON: usize = 4_096;

/// A client that vanished without a word is noticed after about two minutes.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// After an error of `accept` (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts for ever. Cancel safe: a connection is handed on at once.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}

/// Hands clients to the threads in turn.
pub async fn clients(listener: TcpListener, common: Common, workers: Vec<UnboundedSender<Arrival>>) {
    let turn = AtomicUsize::new(0);
    loop {
        let (stream, address) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = common.drain.cancelled() => return,
        };
        let handed = prepare(&stream).and_then(|()| stream.into_std());
        let next = turn.fetch_add(1, Ordering::Relaxed) % workers.len().max(1);
        match (handed, workers.get(next)) {
            (Ok(stream), Some(worker)) => drop(worker.send(Arrival::Client(stream, address))),
            (Err(error), _) => {
                tracing::debug!(%error, "a client was gone before it could be served")
            }
            (_, None) => return,
        }
    }
}

/// Takes connectors' connections.
pub async fn connectors(listener: TcpListener, common: Common, workers: Vec<UnboundedSender<Arrival>>) {
    let passed_on = Arc::new(Semaphore::new(MAX_PASSED_ON));
    loop {
        let (stream, address) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = common.stop.cancelled() => return,
        };
        let (common, workers, passed_on) = (common.clone(), workers.clone(), Arc::clone(&passed_on));
        tokio::spawn(async move {
            let stop = common.stop.clone();
            let served = async {
                match timeout(GREETING_DEADLINE, greeting(&stream)).await?? {
                    Greeting::ControlPlane => {
                        let Ok(_permit) = passed_on.try_acquire() else {
                            return Ok(());
                        };
                        pass_on(stream, &common.config.control_plane.address).await
                    }
                    Greeting::Tunnel(worker) => {
                        prepare(&stream)?;
                        let stream = stream.into_std()?;
                        if let Some(worker) = workers.get(worker) {
                            let _ = worker.send(Arrival::Tunnel(stream));
                        }
                        Ok(())
                    }
                }
            };
            let result: io::Result<()> = tokio::select! { result = served => result, () = stop.cancelled() => Ok(()) };
            if let Err(error) = result {
                tracing::debug!(peer = %address, %error, "a connector's connection ended");
            }
        });
    }
}

enum Greeting {
    ControlPlane,
    Tunnel(usize),
}

/// Looks at the TLS greeting without taking it.
async fn greeting(stream: &TcpStream) -> io::Result<Greeting> {
    let mut bytes = vec![0u8; MAX_GREETING_BYTES];
    let mut seen = 0;
    loop {
        let count = stream.peek(&mut bytes).await?;
        if count == seen {
            if count == 0 || count == MAX_GREETING_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // More is to come, yet `peek` returns at once while something is there.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        seen = count;
        let mut acceptor = Acceptor::default();
        let mut read = bytes.get(..count).unwrap_or_default();
        while !read.is_empty() {
            acceptor.read_tls(&mut read)?;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                if hello.server_name() == Some(CONTROL_PLANE_SERVER_NAME) {
                    return Ok(Greeting::ControlPlane);
                }
                return Ok(Greeting::Tunnel(worker_of(hello.alpn())));
            }
            Err((error, _)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

fn worker_of<'a>(alpn: Option<impl Iterator<Item = &'a [u8]>>) -> usize {
    let number = |protocol: &[u8]| {
        let text = std::str::from_utf8(protocol).ok()?;
        text.rsplit_once(';')?.1.parse().ok()
    };
    alpn.and_then(|mut protocols| protocols.find_map(number)).unwrap_or(0)
}

async fn pass_on(mut stream: TcpStream, control_plane: &str) -> io::Result<()> {
    let mut upstream = timeout(GREETING_DEADLINE, TcpStream::connect(control_plane)).await??;
    upstream.set_nodelay(true)?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
}
