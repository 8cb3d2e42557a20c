//! Messages that come over HTTP ("Streamable HTTP"). Clients of the revision 2026-07-28 send each request by itself. Those of
//! older ones begin a session, which is of the token that began it: for another it is not there.

use crate::{
    Plane, Refusal,
    tools::{Kept, Tools},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use parking_lot::Mutex;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// The largest message.
const MAX_MESSAGE: usize = 4 << 20;

/// Sessions at once, of one token.
const MAX_SESSIONS: usize = 64;

/// Tokens at once.
const MAX_TOKENS: usize = 1000;

/// A session in which nothing is said for so long is over: longer than the longest call may take.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// How long an answer is kept for a client whose connection broke.
const ANSWER_KEPT: Duration = Duration::from_secs(10);

/// The sessions, and what is kept for each token.
pub struct Http {
    seats: Mutex<HashMap<String, Arc<Seat>>>,
    stop: CancellationToken,
}

/// What there is of one token.
struct Seat {
    sessions: Arc<LocalSessionManager>,
    kept: Arc<Kept>,
    used: Mutex<Instant>,
}

impl Http {
    /// Until `stop`, which ends what runs.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { seats: Mutex::default(), stop }
    }

    /// Serves a request of whoever has this token, by its id.
    ///
    /// # Errors
    /// When there are too many.
    pub async fn serve<P, B>(
        &self,
        token: &str,
        plane: P,
        request: Request<B>,
    ) -> Result<Response<impl Body<Data = Bytes, Error = Infallible> + Send + use<P, B>>, Refusal>
    where
        P: Plane,
        B: Body + Send + 'static,
        B::Error: Display,
    {
        let seat = self.seat(token)?;
        let begins = !request.headers().contains_key("mcp-session-id");
        if begins && seat.sessions.sessions.read().await.len() >= MAX_SESSIONS {
            return Err(Refusal::unavailable(format!("this token has {MAX_SESSIONS} sessions already"))
                .hint("End those that are not used, or try again later."));
        }
        let mut config = StreamableHttpServerConfig::default();
        config.sse_retry = None;
        config.max_request_body_bytes = MAX_MESSAGE;
        config.cancellation_token = self.stop.clone();
        // Whose page sends it was looked at before, and without the token no host's name is of use.
        config.allowed_hosts = Vec::new();
        let (plane, kept) = (Arc::new(plane), Arc::clone(&seat.kept));
        let tools = move || Ok(Tools::new(Arc::clone(&plane), Arc::clone(&kept)));
        let service = StreamableHttpService::new(tools, Arc::clone(&seat.sessions), config);
        Ok(service.handle(request).await)
    }

    fn seat(&self, token: &str) -> Result<Arc<Seat>, Refusal> {
        let mut seats = self.seats.lock();
        if let Some(seat) = seats.get(token) {
            *seat.used.lock() = Instant::now();
            return Ok(Arc::clone(seat));
        }
        seats.retain(|_, seat| !seat.is_left());
        if seats.len() >= MAX_TOKENS {
            return Err(Refusal::unavailable("too many clients are there already").hint("Try again later."));
        }
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(IDLE);
        sessions.session_config.sse_retry = None;
        sessions.session_config.completed_cache_ttl = ANSWER_KEPT;
        let seat = Arc::new(Seat {
            sessions: Arc::new(sessions),
            kept: Arc::new(Kept::default()),
            used: Mutex::new(Instant::now()),
        });
        seats.insert(token.to_owned(), Arc::clone(&seat));
        Ok(seat)
    }
}

impl Seat {
    fn is_left(&self) -> bool {
        let empty = self.sessions.sessions.try_read().is_ok_and(|sessions| sessions.is_empty());
        empty && self.used.lock().elapsed() > IDLE
    }
}
