//! Reviews of statements, as the control plane says how they stand: which session waits for what. A session whose
//! statement waits has a desk here; it is entered when it waits for the first time.

use crate::{control::Control, signed::is_genuine};
use parking_lot::Mutex;
use postern_proto::v1::{
    ClientError, REVIEW_CONTEXT, ReviewAsk, ReviewClaim, ReviewClaimed, ReviewDecision, ReviewLeft, ReviewStands,
    connector_message::Message, review_claimed, review_left::Why,
};
use prost::Message as _;
use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// What was heard of a session's review and not been taken yet: the newest of each kind, so that it cannot grow.
#[derive(Debug, Default)]
struct Heard {
    stands: Option<ReviewStands>,
    claimed: Option<(String, Claimed)>,
    attached: bool,
    waker: Option<Waker>,
}

/// What became of a claim: the decision, or why there is none.
pub type Claimed = Result<ReviewDecision, ClientError>;

/// Something that a waiting session has to know.
#[derive(Debug)]
pub enum News {
    /// How the review stands.
    Stands(ReviewStands),
    /// The answer to a claim of the review with this id. Of a decision it is certain that the control plane has made it for
    /// this process.
    Claimed(String, Claimed),
    /// There is a new control stream: what was asked on the one before may not have been heard.
    Attached,
}

/// All sessions of a connector whose statements wait, or have waited.
#[derive(Clone, Debug)]
pub struct Reviews {
    connector_id: Arc<str>,
    incarnation: Arc<str>,
    control: Control,
    desks: Arc<Mutex<HashMap<String, Arc<Mutex<Heard>>>>>,
}

impl Reviews {
    /// For this process.
    #[must_use]
    pub fn new(connector_id: &str, incarnation: &str, control: Control) -> Self {
        Self { connector_id: connector_id.into(), incarnation: incarnation.into(), control, desks: Arc::default() }
    }

    /// For a session. It costs nothing until a statement waits.
    #[must_use]
    pub fn desk(&self, session_id: &str) -> Desk {
        Desk { reviews: self.clone(), session_id: session_id.to_owned(), heard: None }
    }

    /// The control plane says how a review stands.
    pub fn stands(&self, stands: ReviewStands) {
        let session_id = stands.session_id.clone();
        self.put(&session_id, |heard| heard.stands = Some(stands));
    }

    /// The control plane answers a claim. A decision that is not its own, or not for this process, is none.
    pub fn claimed(&self, claimed: ReviewClaimed, keys: &[Vec<u8>]) {
        let ReviewClaimed { session_id, review_id, result } = claimed;
        let result = match result {
            Some(review_claimed::Result::Decision(signed)) => {
                let genuine = is_genuine(REVIEW_CONTEXT, &signed.decision, &signed.signature, keys);
                let decision = ReviewDecision::decode(signed.decision).ok().filter(|decision| {
                    genuine
                        && decision.connector_id == *self.connector_id
                        && decision.connector_incarnation == *self.incarnation
                        && decision.session_id == session_id
                        && decision.review_id == review_id
                });
                decision.ok_or_else(|| {
                    tracing::error!(session = session_id, review = review_id, "a review's decision is not genuine");
                    ClientError {
                        sqlstate: "42501".to_owned(),
                        message: "the decision on this statement is not the control plane's".to_owned(),
                        hint: "Tell the operators of Postern.".to_owned(),
                        ..ClientError::default()
                    }
                })
            }
            Some(review_claimed::Result::Lost(error)) => Err(error),
            None => Err(ClientError {
                sqlstate: "57014".to_owned(),
                message: "the decision on this statement could not be had".to_owned(),
                hint: "Send the identical statement again.".to_owned(),
                ..ClientError::default()
            }),
        };
        self.put(&session_id, |heard| heard.claimed = Some((review_id, result)));
    }

    /// There is a new control stream.
    pub fn attached(&self) {
        for heard in self.desks.lock().values() {
            wake(&mut heard.lock(), |heard| heard.attached = true);
        }
    }

    fn put(&self, session_id: &str, put: impl FnOnce(&mut Heard)) {
        if let Some(heard) = self.desks.lock().get(session_id) {
            wake(&mut heard.lock(), put);
        }
    }
}

fn wake(heard: &mut Heard, put: impl FnOnce(&mut Heard)) {
    put(heard);
    if let Some(waker) = heard.waker.take() {
        waker.wake();
    }
}

/// A session's place among them.
#[derive(Debug)]
pub struct Desk {
    reviews: Reviews,
    session_id: String,
    heard: Option<Arc<Mutex<Heard>>>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        if self.heard.is_some() {
            self.reviews.desks.lock().remove(&self.session_id);
        }
    }
}

impl Desk {
    /// Asks for an answer. What was heard before is about another statement.
    pub fn ask(&mut self, ask: ReviewAsk) {
        let heard = self.heard.get_or_insert_default();
        *heard.lock() = Heard::default();
        self.reviews.desks.lock().entry(self.session_id.clone()).or_insert_with(|| Arc::clone(heard));
        self.say(Message::ReviewAsk(ReviewAsk { session_id: self.session_id.clone(), ..ask }));
    }

    /// The statement is about to run.
    pub fn claim(&self, review_id: &str, key: &[u8]) {
        let (session_id, review_id, key) = (self.session_id.clone(), review_id.to_owned(), key.to_vec().into());
        self.say(Message::ReviewClaim(ReviewClaim { session_id, review_id, key }));
    }

    /// The session waits no more.
    pub fn leave(&self, review_id: &str, why: Why) {
        let (session_id, review_id) = (self.session_id.clone(), review_id.to_owned());
        self.say(Message::ReviewLeft(ReviewLeft { session_id, review_id, why: why.into() }));
    }

    fn say(&self, message: Message) {
        self.reviews.control.say(message);
    }

    /// What has been heard since it was asked.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<News> {
        let Some(heard) = &self.heard else { return Poll::Pending };
        let mut heard = heard.lock();
        if std::mem::take(&mut heard.attached) {
            return Poll::Ready(News::Attached);
        }
        if let Some(stands) = heard.stands.take() {
            return Poll::Ready(News::Stands(stands));
        }
        if let Some((review_id, claimed)) = heard.claimed.take() {
            return Poll::Ready(News::Claimed(review_id, claimed));
        }
        heard.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
