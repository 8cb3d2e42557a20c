//! One session: its ticket, its database connection, its relay.

pub mod open;
mod relay;

use crate::{registry::End, worker::Worker};
use open::Opened;
use postern_proto::v1::{SessionClosed, SessionOpened, connector_message::Message};
use postern_tunnel::Stream;
use postern_types::time::Micros;
use postern_wire::error::Severity;
use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// The database has this long to let us in; the gateway waits a little longer.
const OPEN_DEADLINE: Duration = Duration::from_secs(25);

/// How often it is looked whether a client still waits for its session.
const GONE_EVERY: Duration = Duration::from_millis(500);

/// A client that is being refused has this long to take the answer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// Serves one stream to its end.
pub async fn serve(worker: Rc<Worker>, stream: Stream, preamble: Vec<u8>, gateway_id: Rc<str>) {
    let (end, ends) = mpsc::unbounded_channel::<End>();
    let opening = timeout(OPEN_DEADLINE, open::open(&worker, &preamble, &gateway_id, end));
    let opening = tokio::select! {
        opening = opening => opening.unwrap_or_else(|_| Err(open::unreachable())),
        // Nobody waits for it any more.
        () = gone(&stream) => return,
    };
    // The preamble is of no more use, and sessions are many.
    drop(preamble);
    match opening {
        Ok(opened) => run(worker, stream, opened, ends).await,
        Err(report) => {
            tracing::info!(
                gateway = &*gateway_id,
                sqlstate = report.sqlstate,
                reason = report.message,
                "session refused"
            );
            let _ = timeout(REFUSAL_DEADLINE, drain(&stream, &report.encode(Severity::Fatal))).await;
        }
    }
}

/// Waits until the stream is no more. What the client sends ahead stays in it, and hides its end from whoever waits for
/// that: so it is looked at now and then.
async fn gone(stream: &Stream) {
    loop {
        sleep(GONE_EVERY).await;
        let closed = poll_fn(|cx| Poll::Ready(stream.poll_writable(cx))).await;
        if matches!(closed, Poll::Ready(Err(_))) {
            return;
        }
    }
}

async fn run(worker: Rc<Worker>, stream: Stream, opened: Opened, ends: mpsc::UnboundedReceiver<End>) {
    let session_id = opened.facts.session_id.clone();
    tracing::info!(
        session = session_id,
        grant = opened.facts.grant_id,
        connection = opened.facts.connection,
        "session opened"
    );
    metrics::gauge!("postern_connector_sessions").increment(1.0);
    worker.control.say(Message::SessionOpened(SessionOpened {
        session_id: session_id.clone(),
        backend_pid: opened.facts.backend_pid,
        database_role: opened.facts.database_role.clone(),
        application_name: opened.facts.application_name.clone(),
        at_us: opened.facts.opened_at_us,
    }));
    let reason = relay::relay(&worker, stream, opened, ends).await;
    metrics::gauge!("postern_connector_sessions").decrement(1.0);
    tracing::info!(session = session_id, reason, "session closed");
    worker.control.say(Message::SessionClosed(SessionClosed {
        session_id,
        reason: reason.to_owned(),
        at_us: Micros::now().0,
        refused: None,
    }));
}

/// Sends what is left, says that nothing follows, and waits until the gateway has it all: dropping the stream
/// would reset it.
async fn drain(stream: &Stream, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        if stream.writable().await.is_err() {
            return;
        }
        let sent = stream.send(rest);
        rest = rest.get(sent..).unwrap_or_default();
    }
    stream.finish();
    while stream.readable().await.is_ok() {
        // Nothing that the client still says goes anywhere.
        let _ = stream.take_cancel();
        stream.consume(|bytes| (bytes.len(), ()));
    }
}
