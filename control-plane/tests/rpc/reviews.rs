//! Statements that wait for people, as connectors see them: asked, decided, claimed once, left.

use crate::{
    fixture::{Connector, Gateway, Grant, Plane, until},
    support::postgres::Cluster,
};
use bytes::Bytes;
use postern_api::{
    fleet::PartKind,
    identity::PrincipalKind,
    review::{ApproveReview, Review, ReviewStatus},
};
use postern_control_plane::{
    config::StoreSetting,
    grants,
    identity::{Actor, directory, directory::Founder, tokens},
    problem::Problem,
    reviews::{self, vote},
    sessions, ticket,
};
use postern_proto::v1::{
    ClientError, Effect, EffectPreview, ReviewAsk, ReviewClaim, ReviewDecision, ReviewLeft, ReviewStands,
    ReviewedLiteral, ReviewedStatement, ReviewersNeeded, SessionClosed, auth_response::Response as Answer,
    connector_command::Command as ToConnector, connector_message::Message as Say, effect_preview::Result as Tried,
    review_claimed::Result as Claimed, review_left::Why, review_stands::State,
};
use postern_types::{
    id::{ReviewId, SessionId},
    time::Micros,
};
use secrecy::SecretString;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const SQL: &str = "DELETE FROM orders WHERE status = 'stale'";

pub struct World {
    pub plane: Plane,
    gateway: Gateway,
    connector: Connector,
    grant: Grant,
    session: SessionId,
    alice: Actor,
    bob: Actor,
}

pub async fn user(plane: &Plane, name: &str, groups: &[&str]) -> Actor {
    let store = &plane.running.core.store;
    let founder = Founder { kind: PrincipalKind::User, name, groups, admin: false, auditor: false };
    let token = SecretString::from(format!("postern_{name}"));
    let principal = directory::found(store, &founder, &token, Micros::now()).await.unwrap();
    let mut tx = store.read().await.unwrap();
    tokens::actor(&mut tx, &principal).await.unwrap().unwrap()
}

pub async fn session(gateway: &Gateway, connector: &Connector, grant: &Grant) -> SessionId {
    match gateway.authenticate(grant.attempt(vec![connector.attached()])).await.answer {
        Answer::Success(success) => success.session_id.parse().unwrap(),
        other => panic!("refused: {other:?}"),
    }
}

pub async fn world_on(plane: Plane) -> World {
    plane.connection("demo", "dev").await;
    let gateway = Gateway::attach(&plane, plane.enrol(PartKind::Gateway, "gw").await).await.unwrap();
    let keeper = plane.enrol(PartKind::Connector, "dev").await;
    let connector = Connector::attach(&plane, keeper, "i1", &[]).await.unwrap();
    let grant = plane.grant("demo", HOUR).await;
    let session = session(&gateway, &connector, &grant).await;
    let (alice, bob) = (user(&plane, "alice", &["dba"]).await, user(&plane, "bob", &["dba"]).await);
    World { plane, gateway, connector, grant, session, alice, bob }
}

pub async fn world() -> World {
    world_on(Plane::start().await).await
}

fn key(n: u8) -> Bytes {
    Bytes::from(vec![n; 32])
}

fn statement(count: u32) -> ReviewedStatement {
    ReviewedStatement {
        sql: SQL.to_owned(),
        tag: "DELETE".to_owned(),
        literals: vec![ReviewedLiteral { name: "status".to_owned(), text: "'stale'".to_owned() }],
        reviewers: vec![ReviewersNeeded { group: "dba".to_owned(), count }],
        boundable: true,
        editable: true,
        preview: Some(EffectPreview {
            result: Some(Tried::Effect(Effect { exact: true, rows: 312, ..Effect::default() })),
            ..EffectPreview::default()
        }),
        ..ReviewedStatement::default()
    }
}

fn ask(session: &SessionId, n: u8, statement: Option<ReviewedStatement>) -> ReviewAsk {
    let literals = vec![Bytes::from_static(b"stale")];
    ReviewAsk { session_id: session.to_string(), key: key(n), shape: key(200), literals, statement }
}

impl World {
    /// Asks and gives the answer to this.
    async fn ask(&mut self, ask: ReviewAsk) -> ReviewStands {
        let (session, key) = (ask.session_id.clone(), ask.key.clone());
        self.connector.say(Say::ReviewAsk(ask)).await;
        loop {
            let told = stands(&mut self.connector).await;
            if told.session_id == session && told.key == key {
                return told;
            }
        }
    }

    /// Opens a review and gives its id.
    pub async fn held(&mut self, n: u8, count: u32) -> ReviewId {
        let asked = ask(&self.session.clone(), n, Some(statement(count)));
        let told = self.ask(asked).await;
        assert_eq!(told.state(), State::Pending, "{told:?}");
        told.review_id.parse().unwrap()
    }

    async fn claim(&mut self, review: &ReviewId, n: u8) -> Result<ReviewDecision, ClientError> {
        let session = self.session.clone();
        claim(&self.plane, &mut self.connector, &session, review, n).await
    }

    async fn approve(&self, who: &Actor, review: &ReviewId, body: &ApproveReview) -> Result<Review, Problem> {
        answer(&self.plane, who, review, vote::Answer::Approve(body)).await
    }

    pub async fn review(&self, id: &ReviewId) -> Review {
        reviews::get(&self.plane.running.core.store, &self.alice, id, None).await.unwrap()
    }

    async fn stands_so(&self, id: &ReviewId, status: ReviewStatus) {
        until(status.as_str(), || async { self.review(id).await.status == status }).await;
    }
}

async fn answer(plane: &Plane, who: &Actor, review: &ReviewId, answer: vote::Answer<'_>) -> Result<Review, Problem> {
    let core = &plane.running.core;
    vote::answer(&core.store, who, review, answer, None, Micros::now()).await
}

/// The next word on a review; what ends grants and sessions is not waited for here.
async fn stands(connector: &mut Connector) -> ReviewStands {
    loop {
        match connector.told_beside_sets().await {
            ToConnector::ReviewStands(stands) => return stands,
            ToConnector::EndGrant(_) | ToConnector::EndSession(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next word that says anything but that it waits.
async fn decided(connector: &mut Connector) -> ReviewStands {
    loop {
        let told = stands(connector).await;
        if told.state() != State::Pending {
            return told;
        }
    }
}

async fn claim(
    plane: &Plane,
    connector: &mut Connector,
    session: &SessionId,
    review: &ReviewId,
    n: u8,
) -> Result<ReviewDecision, ClientError> {
    let claim = ReviewClaim { session_id: session.to_string(), review_id: review.to_string(), key: key(n) };
    connector.say(Say::ReviewClaim(claim)).await;
    loop {
        match connector.told_beside_sets().await {
            ToConnector::ReviewClaimed(claimed) => {
                assert_eq!(
                    (claimed.session_id.as_str(), claimed.review_id.as_str()),
                    (session.as_str(), review.as_str())
                );
                return match claimed.result.unwrap() {
                    Claimed::Decision(signed) => {
                        let keys = [plane.running.core.tickets.public_key()];
                        Ok(ticket::verify_review(&keys, &signed).expect("the signature is genuine"))
                    }
                    Claimed::Lost(error) => Err(error),
                };
            }
            ToConnector::ReviewStands(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_statement_waits_is_approved_and_runs_once() {
    let mut w = world().await;
    let session = w.session.clone();
    let first = w.ask(ask(&session, 1, None)).await;
    assert_eq!((first.state(), first.review_id.as_str()), (State::None, ""));
    let id = w.held(1, 1).await;
    // Nothing can be claimed before it is approved.
    assert!(w.claim(&id, 1).await.unwrap_err().message.contains("pending"));

    let review = w.approve(&w.alice, &id, &ApproveReview::default()).await.unwrap();
    assert_eq!(review.status, ReviewStatus::Approved);
    // What was shown is what is approved.
    assert_eq!(review.decision.unwrap().max_rows, Some(312));
    let told = decided(&mut w.connector).await;
    assert_eq!(
        (told.state(), told.by.as_str(), told.session_id.as_str()),
        (State::Approved, "alice", session.as_str())
    );

    // Not for another statement.
    assert!(w.claim(&id, 2).await.unwrap_err().message.contains("not for this statement"));
    let decision = w.claim(&id, 1).await.unwrap();
    assert_eq!(decision.connector_incarnation, "i1");
    assert_eq!(decision.connector_id, w.connector.keeper.identity().id);
    assert_eq!((decision.max_rows, decision.key, decision.session_id), (Some(312), key(1), session.to_string()));
    assert_eq!(decision.approved_by, ["alice"]);
    assert!(decision.expires_at_us > Micros::now().0 && decision.expires_at_us < Micros::now().plus(HOUR).0);
    assert!(w.claim(&id, 1).await.unwrap_err().message.contains("used already"));
    assert_eq!(w.ask(ask(&session, 1, None)).await.state(), State::None);
    assert_eq!((w.review(&id).await.status, w.review(&id).await.uses), (ReviewStatus::Claimed, 1));
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn a_connector_speaks_of_its_own_sessions_alone() {
    let mut w = world().await;
    let id = w.held(1, 1).await;
    w.approve(&w.alice, &id, &ApproveReview::default()).await.unwrap();
    let (session, plane) = (w.session.clone(), &w.plane);
    for (name, keeper, incarnation) in [
        ("another", plane.enrol(PartKind::Connector, "dev").await, "i1"),
        ("another process of it", w.connector.keeper.clone(), "i2"),
    ] {
        let mut stranger = Connector::attach(plane, keeper, incarnation, &[]).await.unwrap();
        stranger.say(Say::ReviewAsk(ask(&session, 1, None))).await;
        assert_eq!(stands(&mut stranger).await.state(), State::Refused, "{name}");
        let lost = claim(plane, &mut stranger, &session, &id, 1).await.unwrap_err();
        assert!(lost.message.contains("the session is over"), "{name}: {lost:?}");
        if name == "another" {
            let left =
                ReviewLeft { session_id: session.to_string(), review_id: id.to_string(), why: Why::Ended.into() };
            stranger.say(Say::ReviewLeft(left)).await;
            stranger.say(Say::ReviewAsk(ask(&session, 1, None))).await;
            assert_eq!(stands(&mut stranger).await.state(), State::Refused);
            assert_eq!(w.review(&id).await.status, ReviewStatus::Approved);
        }
    }
    assert!(w.claim(&id, 1).await.is_ok());
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn others_do_not_collect_what_was_approved_for_one() {
    let mut w = world().await;
    let id = w.held(1, 1).await;
    w.approve(&w.alice, &id, &ApproveReview::default()).await.unwrap();
    // Another principal's session sends the very same.
    let other = w.plane.grant("demo", HOUR).await;
    let others = session(&w.gateway, &w.connector, &other).await;
    assert_eq!(w.ask(ask(&others, 1, None)).await.state(), State::None);
    let lost = claim(&w.plane, &mut w.connector, &others, &id, 1).await.unwrap_err();
    assert!(lost.message.contains("no such review"), "{lost:?}");
    // A second session of the same principal does.
    let second = session(&w.gateway, &w.connector, &w.grant).await;
    assert_eq!(w.ask(ask(&second, 1, None)).await.state(), State::Approved);
    assert!(claim(&w.plane, &mut w.connector, &second, &id, 1).await.is_ok());
    assert!(w.claim(&id, 1).await.is_err());
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn leaving_withdraws_and_a_ticket_does_not() {
    let mut w = world().await;
    let left = |session: &SessionId, id: &ReviewId, why: Why| {
        Say::ReviewLeft(ReviewLeft { session_id: session.to_string(), review_id: id.to_string(), why: why.into() })
    };
    let (cancelled, ticketed, closed) = (w.held(1, 1).await, w.held(2, 1).await, w.held(3, 1).await);
    // The last that was asked is what a session waits for: what it left unsaid is not withdrawn by it.
    w.connector.say(left(&w.session, &closed, Why::Cancelled)).await;
    w.stands_so(&closed, ReviewStatus::Withdrawn).await;
    let session = w.session.clone();
    w.ask(ask(&session, 1, None)).await;
    w.connector.say(left(&session, &cancelled, Why::Cancelled)).await;
    w.stands_so(&cancelled, ReviewStatus::Withdrawn).await;
    w.ask(ask(&session, 2, None)).await;
    w.connector.say(left(&session, &ticketed, Why::Ticket)).await;
    until("left", || async { w.review(&ticketed).await.waiting == 0 }).await;
    assert_eq!(w.review(&ticketed).await.status, ReviewStatus::Pending);

    // With the ticket the session may end, and the decision is collected in another.
    let ended =
        SessionClosed { session_id: session.to_string(), reason: "client".to_owned(), ..SessionClosed::default() };
    w.connector.say(Say::SessionClosed(ended)).await;
    w.approve(&w.alice, &ticketed, &ApproveReview::default()).await.unwrap();
    let again = self::session(&w.gateway, &w.connector, &w.grant).await;
    w.session = again.clone();
    assert_eq!(w.ask(ask(&again, 2, None)).await.state(), State::Approved);
    assert!(w.claim(&ticketed, 2).await.is_ok());

    // A session that ends while it waits takes its review with it, whether it says so or not.
    let waits = w.held(4, 1).await;
    let ended =
        SessionClosed { session_id: again.to_string(), reason: "client".to_owned(), ..SessionClosed::default() };
    w.connector.say(Say::SessionClosed(ended)).await;
    w.stands_so(&waits, ReviewStatus::Withdrawn).await;
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn what_ends_the_grant_or_the_session_voids_what_was_approved() {
    let mut w = world().await;
    let (approved, pending) = (w.held(1, 1).await, w.held(2, 1).await);
    w.approve(&w.alice, &approved, &ApproveReview::default()).await.unwrap();
    let core = std::sync::Arc::clone(&w.plane.running.core);
    let admin = Actor { admin: true, ..w.bob.clone() };
    let (_, effects) = grants::revoke(&core.store, &admin, &w.grant.id, None, Micros::now()).await.unwrap();
    core.perform(effects);
    for id in [&approved, &pending] {
        w.stands_so(id, ReviewStatus::Withdrawn).await;
    }
    assert!(w.approve(&w.alice, &pending, &ApproveReview::default()).await.is_err());

    // A killed session takes the approval with it, though another session of the grant could have used it.
    w.grant = w.plane.grant("demo", HOUR).await;
    w.session = session(&w.gateway, &w.connector, &w.grant).await;
    let killed = w.session.clone();
    let id = w.held(5, 1).await;
    w.approve(&w.alice, &id, &ApproveReview::default()).await.unwrap();
    let (_, effects) = sessions::kill(&core.store, &admin, &killed, None, Micros::now()).await.unwrap();
    core.perform(effects);
    w.stands_so(&id, ReviewStatus::Withdrawn).await;
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn for_the_grant_it_is_used_as_often_as_it_fits() {
    let mut w = world().await;
    let session = w.session.clone();
    let id = w.held(1, 1).await;
    let body = ApproveReview { for_grant: true, free: vec!["status".to_owned()], ..ApproveReview::default() };
    w.approve(&w.alice, &id, &body).await.unwrap();
    assert_eq!(decided(&mut w.connector).await.state(), State::Approved);
    assert!(w.claim(&id, 1).await.is_ok());
    let sends = |n: u8, literal: &'static [u8], shape: u8| ReviewAsk {
        literals: vec![Bytes::from_static(literal)],
        shape: key(shape),
        ..ask(&session, n, None)
    };
    // Without asking first nothing is claimed; asked, each use is one.
    assert!(w.claim(&id, 7).await.is_err());
    assert_eq!(w.ask(sends(7, b"late", 200)).await.state(), State::Approved);
    assert!(w.claim(&id, 7).await.is_ok());
    assert!(w.claim(&id, 7).await.is_err());
    assert_eq!(w.review(&id).await.uses, 2);
    // Another shape, or another number of literals, is another statement.
    assert_eq!(w.ask(sends(8, b"late", 201)).await.state(), State::None);
    let more = ReviewAsk { literals: vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")], ..sends(8, b"a", 200) };
    assert_eq!(w.ask(more).await.state(), State::None);

    // A literal that was not left free has to be the same.
    let strict = ReviewAsk { shape: key(77), ..ask(&session, 9, Some(statement(1))) };
    let id: ReviewId = w.ask(strict).await.review_id.parse().unwrap();
    w.approve(&w.bob, &id, &ApproveReview { for_grant: true, ..ApproveReview::default() }).await.unwrap();
    assert_eq!(decided(&mut w.connector).await.state(), State::Approved);
    assert_eq!(w.ask(sends(10, b"late", 77)).await.state(), State::None);
    assert_eq!(w.ask(sends(10, b"stale", 77)).await.state(), State::Approved);
    // Nor is it another grant's.
    let other = w.plane.grant("demo", HOUR).await;
    let other = self::session(&w.gateway, &w.connector, &other).await;
    let asked = ReviewAsk { session_id: other.to_string(), ..sends(11, b"stale", 77) };
    assert_eq!(w.ask(asked).await.state(), State::None);
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn small_effects_pass_by_rule() {
    let mut w = world().await;
    let session = w.session.clone();
    let small = |most: u64| ReviewedStatement { approved_up_to: Some(most), ..statement(1) };
    let told = w.ask(ask(&session, 1, Some(small(400)))).await;
    assert_eq!((told.state(), told.by.as_str()), (State::Approved, ""));
    let id: ReviewId = told.review_id.parse().unwrap();
    // Bound to what the policies say.
    let decision = w.claim(&id, 1).await.unwrap();
    assert_eq!((decision.max_rows, decision.approved_by.len()), (Some(400), 0));
    // More than that, an estimate, or what cannot be held to it, is for people.
    assert_eq!(w.ask(ask(&session, 2, Some(small(311)))).await.state(), State::Pending);
    let estimate = EffectPreview {
        result: Some(Tried::Effect(Effect { exact: false, rows: 1, ..Effect::default() })),
        ..EffectPreview::default()
    };
    let estimated = ReviewedStatement { preview: Some(estimate), ..small(400) };
    assert_eq!(w.ask(ask(&session, 3, Some(estimated))).await.state(), State::Pending);
    let unbound = ReviewedStatement { boundable: false, ..small(400) };
    assert_eq!(w.ask(ask(&session, 4, Some(unbound))).await.state(), State::Pending);
    // What names nobody who could answer is not opened.
    let nobody = ReviewedStatement { reviewers: Vec::new(), ..statement(1) };
    assert_eq!(w.ask(ask(&session, 5, Some(nobody))).await.state(), State::Refused);
    w.plane.running.shutdown().await;
}

#[tokio::test]
async fn it_outlives_a_restart_and_is_used_once_still() {
    let mut w = world().await;
    let (used, unused) = (w.held(1, 1).await, w.held(2, 1).await);
    for id in [&used, &unused] {
        w.approve(&w.alice, id, &ApproveReview::default()).await.unwrap();
    }
    let session = w.session.clone();
    w.ask(ask(&session, 1, None)).await;
    assert!(w.claim(&used, 1).await.is_ok());
    let (keeper, incarnation) = (w.connector.keeper.clone(), w.connector.incarnation.clone());
    w.plane = w.plane.restart().await;
    w.connector = Connector::attach(&w.plane, keeper, &incarnation, &[session.as_str()]).await.unwrap();
    assert_eq!(w.ask(ask(&session, 1, None)).await.state(), State::None);
    assert!(w.claim(&used, 1).await.is_err());
    assert_eq!(w.ask(ask(&session, 2, None)).await.state(), State::Approved);
    assert!(w.claim(&unused, 2).await.is_ok());
    assert!(w.claim(&unused, 2).await.is_err());
    w.plane.running.shutdown().await;
}

pub async fn replica(url: &str, key: Option<&std::path::Path>) -> Plane {
    let folder = tempfile::tempdir().unwrap();
    if let Some(key) = key {
        std::fs::copy(key, folder.path().join("master.key")).unwrap();
    }
    Plane::start_on(StoreSetting::PostgresUrl(SecretString::from(url.to_owned())), folder).await
}

#[tokio::test]
async fn decided_at_one_replica_it_wakes_the_session_at_the_other_and_is_used_once() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let one = replica(&url, None).await;
    let two = replica(&url, Some(&one.folder("master.key"))).await;
    let mut w = world_on(two).await;
    let id = w.held(1, 1).await;
    answer(&one, &w.alice, &id, vote::Answer::Approve(&ApproveReview::default())).await.unwrap();
    assert_eq!(decided(&mut w.connector).await.state(), State::Approved);

    // Two sessions of the principal, one at each replica, claim at once.
    let second = Connector::attach(&one, one.enrol(PartKind::Connector, "dev").await, "i9", &[]).await;
    let mut second = second.unwrap();
    let gateway = Gateway::attach(&one, one.enrol(PartKind::Gateway, "gw2").await).await.unwrap();
    let at_one = session(&gateway, &second, &w.grant).await;
    second.say(Say::ReviewAsk(ask(&at_one, 1, None))).await;
    assert_eq!(decided(&mut second).await.state(), State::Approved);
    let at_two = w.session.clone();
    let (first, other) =
        tokio::join!(claim(&w.plane, &mut w.connector, &at_two, &id, 1), claim(&one, &mut second, &at_one, &id, 1));
    assert!(first.is_ok() != other.is_ok(), "{first:?} {other:?}");
    one.running.shutdown().await;
    w.plane.running.shutdown().await;
}
