//! Bytes between tunnel and database, by way of the pipeline, neither direction waiting for the other.

use super::{
    drain,
    open::{self, Opened},
};
use crate::{
    pipeline::{Fatal, Pipeline, down::Down, guard::Guard, record::Journal, review::Waits},
    registry::End,
    roles::Lease,
    worker::Worker,
};
use postern_dial::{Io, Target};
use postern_tunnel::{Closed, Stream};
use postern_types::time::Micros;
use postern_wire::{
    backend::BackendKey,
    error::{Report, Severity},
    frontend::TERMINATE,
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::mpsc::UnboundedReceiver,
    task::{JoinHandle, spawn_local},
    time::{Timeout, error::Elapsed, timeout},
};

/// The rest of the message that is under way may come for this long, so that the last word is well-formed.
const BOUNDARY_WITHIN: Duration = Duration::from_millis(200);

/// The client has this long to take its last bytes.
const LINGER: Duration = Duration::from_secs(5);

/// A cancel request is sent, or not, within this.
const CANCEL_WITHIN: Duration = Duration::from_millis(500);

/// A client that has finished sending still gets its answers for this long; then nobody may be waiting.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// An idle session keeps no buffer that is larger.
const KEPT_CAPACITY: usize = 1024;

/// How a relay ended.
enum Ended {
    /// The client said goodbye, or is gone.
    Client,
    /// The tunnel is gone.
    Tunnel,
    /// The database closed.
    Database,
    /// Ended from elsewhere, or at the grant's end.
    Told(End),
    /// By the client's own doing, or since nothing can be recorded.
    Broken(Fatal),
}

/// Relays to the end, and says in a word why it came.
pub async fn relay(
    worker: &Rc<Worker>,
    stream: Stream,
    opened: Opened,
    mut ends: UnboundedReceiver<End>,
) -> &'static str {
    let Opened { facts, mut connection, target, mut registration, lease, place, judge, read_only, ledger } = opened;
    let greeting = open::greeting(&mut connection);
    let desk = worker.reviews.desk(&facts.session_id);
    let waits = Waits { desk, role: facts.database_role.clone(), login: target.user.clone() };
    let journal = Journal::new(Rc::clone(&worker.recorder), facts);
    let postern_dial::Connection { io, key, host, .. } = connection;
    let canceller = key.map(|key| Rc::new(Canceller { target, host, key }));
    let relay = Rc::new(RefCell::new(Relay {
        io,
        stream,
        pipeline: Pipeline::new(journal, worker.lease.clone(), judge, Guard::new(ledger, read_only), waits),
        down: Down::default(),
        to_server: Vec::new(),
        to_client: greeting,
        carry: Vec::new(),
        written: 0,
        cancelling: None,
        stopping: None,
    }));
    // A task of its own: what would end the session is not asked for again with each message.
    let (shared, on, with) = (Rc::clone(&relay), Rc::clone(worker), canceller.clone());
    let mut relaying = spawn_local(poll_fn(move |cx| shared.borrow_mut().poll(cx, &on, with.as_ref())));
    let ended = tokio::select! {
        biased;
        Some(end) = ends.recv() => Ended::Told(end),
        ends_at = registration.over() => Ended::Told(expired(ends_at)),
        ended = &mut relaying => ended.unwrap_or(Ended::Tunnel),
    };
    if !relaying.is_finished() {
        relaying.abort();
        let _ = relaying.await;
    }
    let Some(mut relay) = Rc::into_inner(relay).map(RefCell::into_inner) else { return "tunnel" };
    if matches!(ended, Ended::Client) && !relay.pipeline.said_goodbye() {
        let answers = poll_fn(|cx| match relay.poll_answers(cx, worker) {
            Poll::Pending if !relay.pipeline.is_idle() => Poll::Pending,
            _ => Poll::Ready(()),
        });
        tokio::select! {
            _ = timeout(ANSWERS_WITHIN, answers) => {}
            Some(_) = ends.recv() => {}
        }
    }
    let reason = close(relay, ended, canceller.as_ref(), lease).await;
    drop((registration, place));
    reason
}

fn expired(at: Micros) -> End {
    End {
        reason: "expired",
        report: Report::new("57P01", format!("the grant ended at {at}"), "Ask for access again: `postern request`."),
    }
}

async fn close(relay: Relay, ended: Ended, canceller: Option<&Rc<Canceller>>, lease: Option<Lease>) -> &'static str {
    if !relay.pipeline.is_idle()
        && let Some(canceller) = canceller
    {
        // Whatever the backend runs for nobody any more is stopped first; closing alone would not stop it.
        let _ = timeout(CANCEL_WITHIN, canceller.cancel()).await;
    }
    let (reason, last_word) = match ended {
        Ended::Client => ("client", None),
        Ended::Tunnel => ("tunnel", None),
        Ended::Database if relay.pipeline.said_goodbye() => ("client", None),
        Ended::Database if relay.down.saw_fatal() => ("database", None),
        Ended::Database => ("database", Some(open::unreachable())),
        Ended::Told(end) => (end.reason, Some(end.report)),
        Ended::Broken(fatal) => ("refused", Some(fatal.report())),
    };
    let Relay { mut io, stream, mut pipeline, mut down, mut to_client, .. } = relay;
    // Where `carry` has the start of a message, the client has seen none of it: that is a bound.
    if last_word.is_some() && !down.is_at_boundary() {
        let _ = timeout(BOUNDARY_WITHIN, rest_of_message(&mut io, &mut pipeline, &mut down, &mut to_client)).await;
    }
    let goodbye = async {
        let _ = io.write_all(TERMINATE).await;
        let _ = io.shutdown().await;
    };
    let _ = timeout(CANCEL_WITHIN, goodbye).await;
    drop((io, lease));
    pipeline.finish(reason);
    if let Some(report) = last_word.filter(|_| down.is_at_boundary()) {
        report.put(&mut to_client, Severity::Fatal);
    }
    let _ = timeout(LINGER, drain(&stream, &to_client)).await;
    reason
}

/// Reads from the server to the end of the message that is under way, and no further.
async fn rest_of_message(io: &mut Io, pipeline: &mut Pipeline, down: &mut Down, to_client: &mut Vec<u8>) {
    use tokio::io::AsyncReadExt;
    let mut buffer = vec![0; 16 * 1024];
    while down.remaining() > 0 {
        let most = buffer.len().min(down.remaining());
        let Some(part) = buffer.get_mut(..most) else {
            return;
        };
        let Ok(count @ 1..) = io.read(part).await else {
            return;
        };
        let part = part.get(..count).unwrap_or_default();
        if pipeline.server(down, part, |bytes| to_client.extend_from_slice(bytes)).is_err() {
            return;
        }
    }
}

/// Cancels what one backend runs.
struct Canceller {
    target: Arc<Target>,
    host: postern_dial::Host,
    key: BackendKey,
}

impl Canceller {
    /// Whether the server has passed it on.
    async fn cancel(&self) -> bool {
        let sent = postern_dial::cancel(&self.target, &self.host, &self.key).await;
        if let Err(error) = &sent {
            tracing::warn!(%error, pid = self.key.pid, "a cancel request could not be sent");
        }
        sent.is_ok()
    }
}

/// A cancel request under way, and the bound on waiting for it.
type Cancelling = Timeout<JoinHandle<Result<bool, Elapsed>>>;

struct Relay {
    io: Io,
    stream: Stream,
    pipeline: Pipeline,
    down: Down,
    /// On the way to the server; empty between batches.
    to_server: Vec<u8>,
    /// On the way to the client, for want of credit; mostly empty.
    to_client: Vec<u8>,
    /// The start of a server's message that is looked at once it is whole; mostly empty.
    carry: Vec<u8>,
    /// Bytes of `to_server` that are written.
    written: usize,
    /// A cancel request that is being sent. What the client says meanwhile waits.
    cancelling: Option<Pin<Box<Cancelling>>>,
    /// A cancel request of our own, for a statement that has crossed a limit.
    stopping: Option<JoinHandle<Result<bool, Elapsed>>>,
}

/// Empties a buffer, and gives it back to the system unless it is small: most sessions are idle.
fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_CAPACITY {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>, canceller: Option<&Rc<Canceller>>) -> Poll<Ended> {
        loop {
            if let Poll::Ready(ended) = self.poll_up(cx, canceller) {
                return Poll::Ready(ended);
            }
            if self.pipeline.has_notice() && self.down.is_at_boundary() {
                self.pipeline.take_notice(&mut self.to_client);
            }
            let had_room = self.pipeline.has_room();
            if let Poll::Ready(ended) = self.poll_down(cx, worker) {
                return Poll::Ready(ended);
            }
            let has_more_room = !had_room && self.pipeline.has_room();
            if !has_more_room && !self.pipeline.may_go_on() && !self.pipeline.has_due() {
                return Poll::Pending;
            }
        }
    }

    /// Client to server.
    ///
    /// A cancel request follows what the client sent before it. Where that cannot go on, because the server does
    /// not take it, the request passes it: it is what the client waits for.
    fn poll_up(&mut self, cx: &mut Context<'_>, canceller: Option<&Rc<Canceller>>) -> Poll<Ended> {
        loop {
            if let Err(fatal) = self.guard(cx, canceller) {
                return self.broken(fatal);
            }
            if let Err(fatal) = ready!(self.pipeline.poll_recorded(cx)) {
                return self.broken(fatal);
            }
            let written = match self.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Database),
                written => written.is_ready(),
            };
            let held = self.pipeline.is_held();
            if written && held && !self.is_held(cx) {
                match self.pipeline.poll_held(cx, &mut self.to_server) {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(fatal)) => return self.broken(fatal),
                    Poll::Pending => {}
                }
            }
            // `poll_down` makes room.
            if written && !held && self.pipeline.has_room() {
                if self.is_held(cx) {
                    return Poll::Pending;
                }
                match self.stream.poll_readable(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(Closed::Finished)) => return Poll::Ready(Ended::Client),
                    Poll::Ready(Err(Closed::Reset | Closed::Lost)) => return Poll::Ready(Ended::Tunnel),
                    Poll::Ready(Ok(())) => {}
                }
                let (pipeline, to_server) = (&mut self.pipeline, &mut self.to_server);
                let taken = self
                    .stream
                    .consume(|bytes| (bytes.len(), pipeline.client(bytes, to_server).map(|()| !bytes.is_empty())));
                match taken {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(fatal) => return self.broken(fatal),
                }
            }
            // Nobody waits for an answer any more, whatever was sent ahead.
            if held
                && self.pipeline.waits_for_people()
                && let Poll::Ready(closed) = self.stream.poll_closed(cx)
            {
                return Poll::Ready(if closed == Closed::Finished { Ended::Client } else { Ended::Tunnel });
            }
            ready!(self.stream.poll_cancel(cx));
            // What is held is not at the server.
            if self.pipeline.cancel_held() {
                continue;
            }
            if let Some(canceller) = canceller {
                let canceller = Rc::clone(canceller);
                let sent = spawn_local(async move { timeout(LINGER, canceller.cancel()).await });
                self.cancelling = Some(Box::pin(timeout(CANCEL_WITHIN, sent)));
            }
        }
    }

    /// Does what the watched statement needs. Where it cannot be stopped, the session ends: a request that comes late
    /// would hit another.
    fn guard(&mut self, cx: &mut Context<'_>, canceller: Option<&Rc<Canceller>>) -> Result<(), Fatal> {
        if self.pipeline.poll_guard(cx, &mut self.to_server) {
            let canceller = Rc::clone(canceller.ok_or(Fatal::Unstoppable)?);
            self.stopping = Some(spawn_local(async move { timeout(LINGER, canceller.cancel()).await }));
        }
        if let Some(stopping) = &mut self.stopping
            && let Poll::Ready(sent) = Pin::new(stopping).poll(cx)
        {
            self.stopping = None;
            if !matches!(sent, Ok(Ok(true))) {
                return Err(Fatal::Unstoppable);
            }
            self.pipeline.cancelled();
        }
        Ok(())
    }

    /// The server's answers to a client that sends nothing more.
    fn poll_answers(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>) -> Poll<Ended> {
        let ended = self.poll_down(cx, worker);
        // What they call for is what commits a statement, or undoes it.
        self.pipeline.take_due(&mut self.to_server);
        match self.poll_write(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Ended::Database),
            _ => ended,
        }
    }

    /// The session ends, and what waits to be sent is not.
    fn broken(&mut self, fatal: Fatal) -> Poll<Ended> {
        self.to_server.clear();
        Poll::Ready(Ended::Broken(fatal))
    }

    /// Whether a cancel request is on its way, so that nothing may be begun that it would hit.
    fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        let held = self.cancelling.as_mut().is_some_and(|sent| sent.as_mut().poll(cx).is_pending());
        if !held {
            self.cancelling = None;
        }
        held
    }

    /// Writes what the pipeline has let through, and flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.to_server.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.to_server.len() {
            let rest = self.to_server.get(self.written..).unwrap_or_default();
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.written = 0;
        empty(&mut self.to_server);
        Poll::Ready(Ok(()))
    }

    /// Server to client.
    fn poll_down(&mut self, cx: &mut Context<'_>, worker: &Rc<Worker>) -> Poll<Ended> {
        loop {
            let credit = match self.stream.poll_writable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::Tunnel),
                Poll::Ready(Ok(credit)) => credit,
            };
            if !self.to_client.is_empty() {
                let sent = self.stream.send(&self.to_client);
                self.to_client.drain(..sent);
                if self.to_client.is_empty() {
                    empty(&mut self.to_client);
                }
                continue;
            }
            let mut scratch = worker.scratch.borrow_mut();
            let carried = self.carry.len();
            scratch.get_mut(..carried).unwrap_or_default().copy_from_slice(&self.carry);
            let most = scratch.len().min(carried + credit);
            let mut buffer = ReadBuf::new(scratch.get_mut(carried..most).unwrap_or_default());
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ended::Database),
            }
            let filled = carried + buffer.filled().len();
            if let Err(error) = self.take_server(scratch.get(..filled).unwrap_or_default()) {
                return Poll::Ready(Ended::Broken(error));
            }
        }
    }

    fn take_server(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        let (stream, to_client) = (&self.stream, &mut self.to_client);
        let done = self.pipeline.server(&mut self.down, bytes, |out| {
            // Nothing overtakes what waits for credit.
            let sent = if to_client.is_empty() { stream.send(out) } else { 0 };
            to_client.extend_from_slice(out.get(sent..).unwrap_or_default());
        })?;
        empty(&mut self.carry);
        self.carry.extend_from_slice(bytes.get(done..).unwrap_or_default());
        Ok(())
    }
}
