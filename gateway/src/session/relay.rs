//! Bytes in both directions, neither waiting for the other. Towards the client the messages' bounds are
//! followed, so that the gateway can end a session with a well-formed error when the connector no longer can.

use crate::{
    client::Client,
    sessions::{Command, Registration},
    worker::Worker,
};
use postern_tunnel::{Closed, Stream};
use postern_wire::{
    error::{Report, Severity},
    frame::Boundary,
};
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::mpsc::UnboundedReceiver,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep_until, timeout},
};

/// The connector ends a session itself, with the same error; the gateway does it if that has not come by then.
const CONNECTOR_ENDS_WITHIN: Duration = Duration::from_millis(400);

/// A client has this long to take its last bytes.
const LINGER: Duration = Duration::from_secs(5);

/// A session that is open.
pub struct Session {
    pub(super) stream: Stream,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) registration: Registration,
}

/// How the relay came to its end.
enum End {
    /// The connector sent everything and finished.
    Finished,
    /// The client is gone.
    ClientGone,
    /// The stream is gone without a word.
    Lost,
    /// Told so; the connector did not do it.
    Told(Report),
}

/// Relays until either side is done.
pub(super) async fn relay(worker: &Rc<Worker>, client: Client, session: Session) {
    let Session { stream, mut commands, registration } = session;
    let relay = Relay { client, stream, boundary: Boundary::default(), client_finished: false, unflushed: false };
    let relay = Rc::new(RefCell::new(relay));
    let end = run(worker, &relay, &mut commands).await;
    let Some(relay) = Rc::into_inner(relay).map(RefCell::into_inner) else { return };
    let last_word = match end {
        End::ClientGone => return,
        End::Finished => None,
        End::Lost => Some(Report::new(
            "08006",
            "the connection between gateway and connector was lost",
            "Connect again. A statement that was running may have been carried out: look before you repeat it.",
        )),
        End::Told(report) => Some(report),
    };
    let _ = timeout(LINGER, relay.close(last_word)).await;
    drop(registration);
}

async fn run(worker: &Rc<Worker>, relay: &Rc<RefCell<Relay>>, commands: &mut UnboundedReceiver<Command>) -> End {
    // A task of its own: what would end the session is not asked for again with each message.
    let (shared, on) = (Rc::clone(relay), Rc::clone(worker));
    let mut relaying = spawn_local(poll_fn(move |cx| shared.borrow_mut().poll(cx, &on)));
    let end = until_the_end(&mut relaying, relay, commands).await;
    if !relaying.is_finished() {
        relaying.abort();
        let _ = relaying.await;
    }
    end
}

async fn until_the_end(
    relaying: &mut JoinHandle<End>,
    relay: &RefCell<Relay>,
    commands: &mut UnboundedReceiver<Command>,
) -> End {
    let mut told: Option<(Report, Instant)> = None;
    loop {
        let deadline = told.as_ref().map(|(_, deadline)| *deadline);
        tokio::select! {
            biased;
            Some(command) = commands.recv() => match command {
                Command::Cancel(sent) => {
                    relay.borrow().stream.cancel();
                    // Whoever asked may have gone.
                    let _ = sent.send(());
                }
                Command::End(report) => {
                    told.get_or_insert_with(|| (report, Instant::now() + CONNECTOR_ENDS_WITHIN));
                }
            },
            () = async { match deadline { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                if let Some((report, _)) = told.take() {
                    return End::Told(report);
                }
            }
            end = &mut *relaying => return end.unwrap_or(End::Lost),
        }
    }
}

struct Relay {
    client: Client,
    stream: Stream,
    boundary: Boundary,
    client_finished: bool,
    unflushed: bool,
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_up(cx, worker) {
            return Poll::Ready(end);
        }
        self.poll_down(cx)
    }

    /// Client to connector.
    fn poll_up(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>) -> Poll<End> {
        while !self.client_finished {
            let credit = match self.stream.poll_writable(cx) {
                Poll::Ready(Ok(credit)) => credit,
                // `poll_down` finds out why.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            };
            let mut scratch = worker.scratch.borrow_mut();
            let length = scratch.len().min(credit);
            let mut buffer = ReadBuf::new(scratch.get_mut(..length).unwrap_or_default());
            match Pin::new(&mut self.client).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.client_finished = true;
                    self.stream.finish();
                }
                Poll::Ready(Ok(())) => {
                    self.stream.send(buffer.filled());
                }
            }
        }
        Poll::Pending
    }

    /// Connector to client.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.stream.poll_readable(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(Closed::Finished)) => return Poll::Ready(End::Finished),
                Poll::Ready(Err(Closed::Reset | Closed::Lost)) => return Poll::Ready(End::Lost),
                Poll::Ready(Ok(())) => {}
            }
            let (client, boundary) = (&mut self.client, &mut self.boundary);
            let written = self.stream.consume(|bytes| {
                let written = match Pin::new(client).poll_write(cx, bytes) {
                    Poll::Pending => return (0, Poll::Pending),
                    Poll::Ready(Ok(count)) => boundary
                        .advance(bytes.get(..count).unwrap_or_default())
                        .map(|()| count)
                        .map_err(io::Error::other),
                    Poll::Ready(Err(error)) => Err(error),
                };
                (*written.as_ref().unwrap_or(&0), Poll::Ready(written))
            });
            match written {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Ready(Ok(_)) => self.unflushed = true,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.client).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
            }
        }
        Poll::Pending
    }

    /// Says a last word, if there is one and the client is between two messages, and closes.
    async fn close(mut self, report: Option<Report>) -> io::Result<()> {
        if let Some(report) = report.filter(|_| self.boundary.is_at()) {
            self.client.write_all(&report.encode(Severity::Fatal)).await?;
        }
        drop(self.stream);
        self.client.flush().await?;
        self.client.shutdown().await
    }
}
