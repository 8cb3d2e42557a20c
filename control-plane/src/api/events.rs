//! What happens, as it happens: server-sent events.

use super::extract::Failure;
use crate::{
    Core, grants,
    hub::changes::Change,
    identity::{Actor, Caller},
    problem::Problem,
    requests, reviews,
    rights::{Action, Resource, is_allowed},
    sessions,
};
use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use postern_api::{
    error::ErrorBody,
    event::{Changed, Subject},
};
use postern_types::time::Micros;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

/// How often a comment is sent where nothing happens, and it is asked whether the caller may still hear.
const BEAT: Duration = Duration::from_secs(15);

/// How long it is taken for granted that the caller may hear.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Events that wait for one client to read them.
const QUEUE: usize = 64;

/// How long a client may leave that full before it is cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// Streams at once, of one replica.
pub(crate) const MAX_STREAMS: usize = 1000;

/// The event that says that some may have been missed.
const RESYNC: &str = "resync";

type Out = mpsc::Sender<Result<Event, Infallible>>;

/// What changes from now on, of all that the caller may see: `request`, `review`, `grant`, `session`; for admins and
/// auditors also `configuration`. `resync` says that something may have been missed: read the lists again.
#[utoipa::path(get, path = "/events", tag = "events", security(("token" = [])),
    responses((status = 200, body = Changed, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(super) async fn events(
    State(core): State<Arc<Core>>,
    caller: Caller,
    parts: Parts,
) -> Result<impl IntoResponse, Failure> {
    let permit = Arc::clone(&core.event_streams).try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("{MAX_STREAMS} callers follow the events already")).hint("try again shortly")
    })?;
    // Heard from here on, so that nothing is missed between this and the client's first look.
    let changes = core.hub.changes();
    let (out, stream) = mpsc::channel(QUEUE);
    tokio::spawn(follow(core, (caller, parts), changes, out, permit));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(BEAT)))
}

/// Ends when the client goes or does not read, its token ends, or the process stops.
async fn follow(
    core: Arc<Core>,
    (mut caller, mut parts): (Caller, Parts),
    mut changes: Receiver<Change>,
    out: Out,
    _permit: OwnedSemaphorePermit,
) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if parts.headers.contains_key("last-event-id") && !send(&out, Event::default().event(RESYNC).data("{}")).await {
        return;
    }
    let mut known = Instant::now();
    loop {
        let change = tokio::select! {
            change = changes.recv() => Some(change),
            _ = beat.tick() => None,
            () = out.closed() => return,
        };
        // The token may have ended, and the caller's groups be others.
        if known.elapsed() >= KNOWN_FOR {
            match Caller::from_request_parts(&mut parts, &core).await {
                Ok(renewed) => (caller, known) = (renewed, Instant::now()),
                Err(_) => return,
            }
        }
        let Some(change) = change else { continue };
        let event = match change {
            Ok(Change::Of(subject, id)) => match seen(&core, &caller.actor, subject, id).await {
                Some(changed) => written(&changed),
                None => continue,
            },
            Ok(Change::Unknown) | Err(RecvError::Lagged(_)) => Event::default().event(RESYNC).data("{}"),
            Ok(Change::Closing) | Err(RecvError::Closed) => return,
        };
        if !send(&out, event).await {
            return;
        }
    }
}

async fn send(out: &Out, event: Event) -> bool {
    matches!(timeout(PATIENCE, out.send(Ok(event))).await, Ok(Ok(())))
}

fn written(changed: &Changed) -> Event {
    /// Names events, so that a client says when it comes back that it was here.
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let data = serde_json::to_string(changed).unwrap_or_default();
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Event::default().event(changed.kind.as_str()).id(id.to_string()).data(data)
}

/// How it stands now, where the caller may see it.
async fn seen(core: &Core, actor: &Actor, kind: Subject, id: String) -> Option<Changed> {
    let status = match kind {
        Subject::Request => {
            let request = requests::get(&core.store, actor, &id.parse().ok()?).await.ok()?;
            serde_json::to_value(request.status)
        }
        Subject::Review => serde_json::to_value(reviews::status(&core.store, actor, &id.parse().ok()?).await.ok()?),
        Subject::Grant => {
            let grant = grants::get(&core.store, actor, &id.parse().ok()?).await.ok()?;
            serde_json::to_value(grant.status(Micros::now()))
        }
        Subject::Session => {
            serde_json::to_value(sessions::get(&core.store, actor, &id.parse().ok()?).await.ok()?.status)
        }
        Subject::Configuration => {
            is_allowed(actor, Action::See, &Resource::Policies).then(|| serde_json::to_value("changed"))?
        }
    };
    let status = status.ok()?.as_str()?.to_owned();
    Some(Changed { kind, id, status })
}
