//! Statements that wait for people: who answers, what counts, what ends them.

use crate::support::{Cast, LIFETIME, START, apply_all, ask as ask_for, at, principal, told, world};
use bytes::Bytes;
use postern_api::{
    error::ErrorCode,
    identity::PrincipalKind,
    review::{ApproveReview, Review, ReviewStatus},
};
use postern_control_plane::{
    hub::ConnectorKey,
    identity::Actor,
    problem::Problem,
    requests,
    reviews::{
        self, ask, due,
        vote::{self, Answer},
    },
    store::{Store, access, sessions},
};
use postern_proto::v1::{
    Effect, EffectPreview, ReviewAsk, ReviewClaim, ReviewDecision, ReviewedLiteral, ReviewedStatement, ReviewersNeeded,
    effect_preview::Result as Tried, review_stands::State,
};
use postern_types::id::{ReviewId, SessionId};
use serde_json::json;

const SQL: &str = "DELETE FROM orders WHERE status = 'stale'";

/// An agent's session, and the connector in which it lives.
struct Asker<'a> {
    store: &'a Store,
    connector: ConnectorKey,
    session: SessionId,
}

async fn asker<'a>(store: &'a Store, who: &Actor, on_behalf_of: Option<&str>) -> Asker<'a> {
    let body = postern_api::access::CreateRequest { on_behalf_of: on_behalf_of.map(str::to_owned), ..ask_for("open") };
    let (request, _) = requests::submit(store, who, &body, LIFETIME, START).await.unwrap();
    let session = SessionId::new();
    let mut tx = store.begin().await.unwrap();
    let grant = access::grant(&mut tx, &request.grant_id.unwrap()).await.unwrap().unwrap();
    let new = sessions::NewSession {
        id: &session,
        grant_id: &grant.id,
        principal_id: &grant.principal.id,
        on_behalf_of_id: grant.on_behalf_of.as_ref().map(|user| &user.id),
        connection: "demo",
        role: "open",
        client_address: "192.0.2.7",
        gateway_id: "gwy_1",
        connector_id: "con_1",
        incarnation: "i1",
        auth_method: "scram-sha-256",
    };
    assert!(sessions::authorize(&mut tx, &new, START).await.unwrap());
    tx.commit().await.unwrap();
    Asker { store, connector: ConnectorKey { id: "con_1".to_owned(), incarnation: "i1".to_owned() }, session }
}

fn statement(needed: &[(&str, u32)]) -> ReviewedStatement {
    let needed = needed.iter().map(|&(group, count)| ReviewersNeeded { group: group.to_owned(), count });
    ReviewedStatement {
        sql: SQL.to_owned(),
        tag: "DELETE".to_owned(),
        literals: vec![ReviewedLiteral { name: "status".to_owned(), text: "'stale'".to_owned() }],
        reviewers: needed.collect(),
        boundable: true,
        editable: true,
        preview: Some(EffectPreview {
            result: Some(Tried::Effect(Effect { exact: true, rows: 312, ..Effect::default() })),
            ..EffectPreview::default()
        }),
        ..ReviewedStatement::default()
    }
}

fn key(n: u8) -> Bytes {
    Bytes::from(vec![n; 32])
}

impl Asker<'_> {
    async fn ask(&self, n: u8, statement: Option<ReviewedStatement>, seconds: u64) -> (State, String) {
        let asked = ReviewAsk {
            session_id: self.session.to_string(),
            key: key(n),
            shape: key(200),
            literals: vec![Bytes::from_static(b"stale")],
            statement,
        };
        let told = ask::ask(self.store, &self.connector, asked, None, at(seconds)).await.unwrap();
        (told.state(), told.review_id)
    }

    async fn open(&self, n: u8, needed: &[(&str, u32)]) -> ReviewId {
        let (state, id) = self.ask(n, Some(statement(needed)), 1).await;
        assert_eq!(state, State::Pending);
        id.parse().unwrap()
    }

    async fn claim(&self, id: &ReviewId, n: u8, seconds: u64) -> Result<ReviewDecision, String> {
        let claim = ReviewClaim { session_id: self.session.to_string(), review_id: id.to_string(), key: key(n) };
        let claimed = ask::claim(self.store, &self.connector, &claim, at(seconds)).await.unwrap();
        claimed.map_err(|error| error.message)
    }
}

async fn approve(store: &Store, who: &Actor, id: &ReviewId, body: &ApproveReview) -> Result<Review, Problem> {
    vote::answer(store, who, id, Answer::Approve(body), None, at(2)).await
}

async fn yes(store: &Store, who: &Actor, id: &ReviewId) -> ReviewStatus {
    approve(store, who, id, &ApproveReview::default()).await.unwrap().status
}

async fn deny(store: &Store, who: &Actor, id: &ReviewId, reason: &str) -> Result<Review, Problem> {
    vote::answer(store, who, id, Answer::Deny(reason), None, at(2)).await
}

fn max_rows(rows: u64) -> ApproveReview {
    ApproveReview { max_rows: Some(rows), ..ApproveReview::default() }
}

fn text(sql: &str) -> ApproveReview {
    ApproveReview { edited_sql: Some(sql.to_owned()), ..ApproveReview::default() }
}

pub async fn nobody_answers_what_is_their_own(store: &Store) {
    let cast = world(store).await;
    let agent_in_dba = principal(store, PrincipalKind::Agent, "bot", &["dba"], false).await;
    let for_dba = asker(store, &cast.agent, Some("dba")).await;
    let of_dba = asker(store, &cast.dba, None).await;
    let (behalf, own) = (for_dba.open(1, &[("dba", 1)]).await, of_dba.open(1, &[("dba", 1)]).await);
    for (who, id, code) in [
        // The person for whom it is, the sender, and agents, whatever groups they are in.
        (&cast.dba, &behalf, ErrorCode::Forbidden),
        (&cast.dba, &own, ErrorCode::Forbidden),
        (&cast.agent, &behalf, ErrorCode::Forbidden),
        (&agent_in_dba, &behalf, ErrorCode::NotFound),
        (&agent_in_dba, &own, ErrorCode::NotFound),
        // An admin who is in no group that is asked; somebody who has nothing to do with it.
        (&cast.admin, &behalf, ErrorCode::Forbidden),
        (&cast.alice, &behalf, ErrorCode::NotFound),
    ] {
        let refused = approve(store, who, id, &ApproveReview::default()).await.unwrap_err();
        assert_eq!(told(refused).code, code, "{}", who.principal.name);
        assert_eq!(told(deny(store, who, id, "no").await.unwrap_err()).code, code, "{}", who.principal.name);
    }
    // Another member of the group may.
    for id in [&behalf, &own] {
        assert_eq!(yes(store, &cast.dba2, id).await, ReviewStatus::Approved);
    }
    // What was approved for one is not collected for another: same agent, same statement, another person behind it.
    let for_alice = asker(store, &cast.agent, Some("alice")).await;
    assert_eq!(for_alice.ask(1, None, 3).await.0, State::None);
    assert!(for_alice.claim(&behalf, 1, 3).await.unwrap_err().contains("no such review"));
    assert_eq!(for_dba.ask(1, None, 3).await.0, State::Approved);
    assert!(for_dba.claim(&behalf, 1, 3).await.is_ok());
}

pub async fn thresholds_are_exact(store: &Store) {
    let cast = world(store).await;
    let sec = principal(store, PrincipalKind::User, "sec", &["security"], false).await;
    let both = principal(store, PrincipalKind::User, "both", &["dba", "security"], false).await;
    let asker = asker(store, &cast.agent, None).await;
    // Whoever is in both groups counts for one of them, where it helps.
    let id = asker.open(1, &[("dba", 1), ("security", 1)]).await;
    assert_eq!(yes(store, &both, &id).await, ReviewStatus::Pending);
    assert_eq!(yes(store, &both, &id).await, ReviewStatus::Pending, "twice is once");
    assert_eq!(yes(store, &sec, &id).await, ReviewStatus::Approved);

    // Of two, one who has left the group since counts no more.
    let id = asker.open(2, &[("dba", 2)]).await;
    assert_eq!(yes(store, &cast.dba, &id).await, ReviewStatus::Pending);
    let gone = json!({ "kind": "User", "name": "dba", "groups": [] });
    apply_all(store, &cast.admin, &[gone], false).await.unwrap();
    assert_eq!(yes(store, &cast.dba2, &id).await, ReviewStatus::Pending);
    assert_eq!(yes(store, &both, &id).await, ReviewStatus::Approved);

    // One no ends it, and needs a reason.
    let id = asker.open(3, &[("dba", 2)]).await;
    assert_eq!(yes(store, &cast.dba2, &id).await, ReviewStatus::Pending);
    assert_eq!(told(deny(store, &both, &id, " ").await.unwrap_err()).field.as_deref(), Some("reason"));
    let denied = deny(store, &both, &id, "they are open still").await.unwrap();
    assert_eq!(denied.status, ReviewStatus::Denied);
    assert_eq!(told(approve(store, &cast.dba2, &id, &max_rows(1)).await.unwrap_err()).code, ErrorCode::Conflict);
    assert_eq!(asker.ask(3, None, 3).await.0, State::None, "a denial is for the one who heard it");
}

pub async fn the_strictest_of_what_is_approved_holds(store: &Store) {
    let cast = world(store).await;
    let third = principal(store, PrincipalKind::User, "third", &["dba"], false).await;
    let asker = asker(store, &cast.agent, None).await;
    let id = asker.open(1, &[("dba", 2)]).await;
    approve(store, &cast.dba, &id, &max_rows(500)).await.unwrap();
    // Changed before it was decided: the last answer counts.
    approve(store, &cast.dba, &id, &max_rows(400)).await.unwrap();
    let approved = approve(store, &cast.dba2, &id, &max_rows(1000)).await.unwrap();
    assert_eq!((approved.status, approved.votes.len()), (ReviewStatus::Approved, 2));
    assert_eq!(approved.decision.unwrap().max_rows, Some(400));
    assert_eq!(asker.claim(&id, 1, 3).await.unwrap().max_rows, Some(400));

    // Votes for different texts do not count together; both texts are kept.
    let id = asker.open(2, &[("dba", 2)]).await;
    approve(store, &cast.dba, &id, &text("DELETE FROM orders WHERE id = 1")).await.unwrap();
    assert_eq!(yes(store, &cast.dba2, &id).await, ReviewStatus::Pending);
    let approved = approve(store, &third, &id, &text("DELETE FROM orders WHERE id = 1")).await.unwrap();
    assert_eq!((approved.status, approved.statement.sql.as_str()), (ReviewStatus::Approved, SQL));
    let decision = asker.claim(&id, 2, 3).await.unwrap();
    // What was shown is another text's effect: it binds nothing.
    assert_eq!(decision.edited_sql.as_deref(), Some("DELETE FROM orders WHERE id = 1"));
    assert_eq!((decision.max_rows, decision.approved_by), (None, vec!["dba".to_owned(), "third".to_owned()]));

    // For the grant only if all say so.
    let id = asker.open(3, &[("dba", 2)]).await;
    let grant = ApproveReview { for_grant: true, free: vec!["status".to_owned()], ..ApproveReview::default() };
    approve(store, &cast.dba, &id, &grant).await.unwrap();
    let once = approve(store, &cast.dba2, &id, &ApproveReview::default()).await.unwrap();
    assert!(!once.decision.unwrap().for_grant);
}

pub async fn what_a_statement_cannot_be_held_to_is_refused(store: &Store) {
    let cast = world(store).await;
    let asker = asker(store, &cast.agent, None).await;
    let closed = ReviewedStatement {
        boundable: false,
        not_boundable_because: "VACUUM cannot run in a transaction".to_owned(),
        editable: false,
        literals: Vec::new(),
        ..statement(&[("dba", 1)])
    };
    let id: ReviewId = asker.ask(1, Some(closed), 1).await.1.parse().unwrap();
    let grant = |free: &[&str]| ApproveReview {
        for_grant: true,
        free: free.iter().map(|&name| name.to_owned()).collect(),
        ..ApproveReview::default()
    };
    for (body, field) in [
        (max_rows(1), "max_rows"),
        (text("DELETE FROM orders"), "edited_sql"),
        (grant(&[]), "for_grant"),
        (ApproveReview { free: vec!["status".to_owned()], ..ApproveReview::default() }, "free"),
    ] {
        let refused = told(approve(store, &cast.dba, &id, &body).await.unwrap_err());
        assert_eq!(refused.field.as_deref(), Some(field));
    }
    let approved = approve(store, &cast.dba, &id, &ApproveReview::default()).await.unwrap();
    assert_eq!(approved.decision.unwrap().max_rows, None);
    let id = asker.open(2, &[("dba", 1)]).await;
    let both = ApproveReview { for_grant: true, ..text("DELETE FROM orders") };
    for (body, field) in [(grant(&["nothing"]), "free"), (both, "for_grant"), (text(""), "edited_sql")] {
        let refused = told(approve(store, &cast.dba, &id, &body).await.unwrap_err());
        assert_eq!(refused.field.as_deref(), Some(field));
    }
    assert!(approve(store, &cast.dba, &id, &grant(&["status"])).await.is_ok());
}

pub async fn time_ends_them(store: &Store) {
    let cast = world(store).await;
    let asker = asker(store, &cast.agent, None).await;
    let terms = json!({ "kind": "Connection", "name": "demo", "reviews": {
        "valid": "5m", "escalate": { "after": "1m", "to": ["oncall"] } } });
    apply_all(store, &cast.admin, &[terms], true).await.unwrap();
    let oncall = principal(store, PrincipalKind::User, "oncall", &["oncall"], false).await;
    let escalates = asker.open(1, &[("dba", 2)]).await;
    let (unused, unanswered) = (asker.open(2, &[("dba", 1)]).await, asker.open(3, &[("dba", 1)]).await);
    assert_eq!(yes(store, &cast.dba, &unused).await, ReviewStatus::Approved);

    // Before its time another group sees nothing; then its members stand for those who are asked, and the count holds.
    due::run(store, at(60)).await.unwrap();
    assert!(reviews::get(store, &oncall, &escalates, None).await.is_err());
    due::run(store, at(61)).await.unwrap();
    assert!(reviews::get(store, &oncall, &escalates, None).await.unwrap().escalated_at.is_some());
    let nothing = ApproveReview::default();
    let answer = |who| vote::answer(store, who, &escalates, Answer::Approve(&nothing), None, at(62));
    assert_eq!(answer(&oncall).await.unwrap().status, ReviewStatus::Pending);
    assert_eq!(answer(&cast.dba).await.unwrap().status, ReviewStatus::Approved);

    // Unused so long after it was approved, and unanswered so long after it was sent.
    due::run(store, at(300)).await.unwrap();
    assert_eq!(status(store, &cast, &unused).await, ReviewStatus::Approved);
    assert_eq!(asker.ask(2, None, 301).await.0, State::Approved);
    assert!(asker.claim(&unused, 2, 302).await.unwrap_err().contains("expired"));
    due::run(store, at(302)).await.unwrap();
    assert_eq!(status(store, &cast, &unused).await, ReviewStatus::Expired);
    assert_eq!(status(store, &cast, &unanswered).await, ReviewStatus::Expired);
    assert_eq!(status(store, &cast, &escalates).await, ReviewStatus::Approved);
    let late = vote::answer(store, &cast.dba, &unanswered, Answer::Deny("no"), None, at(303)).await.unwrap_err();
    assert_eq!(told(late).code, ErrorCode::Conflict);
}

async fn status(store: &Store, cast: &Cast, id: &ReviewId) -> ReviewStatus {
    reviews::status(store, &cast.admin, id).await.unwrap()
}

pub async fn taken_back_or_disabled(store: &Store) {
    let cast = world(store).await;
    let asker = asker(store, &cast.agent, None).await;
    let (own, disabled) = (asker.open(1, &[("dba", 1)]).await, asker.open(2, &[("dba", 1)]).await);
    yes(store, &cast.dba, &own).await;
    yes(store, &cast.dba, &disabled).await;
    let refused = reviews::withdraw(store, &cast.dba, &own, None, at(3)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    // An approval that was not used yet is taken back, too.
    let withdrawn = reviews::withdraw(store, &cast.agent, &own, None, at(3)).await.unwrap();
    assert_eq!((withdrawn.status, withdrawn.because.as_deref()), (ReviewStatus::Withdrawn, Some("ci took it back")));
    assert!(asker.claim(&own, 1, 4).await.is_err());

    let text = |who, text| reviews::comment(store, who, &disabled, text, None, at(3));
    assert_eq!(text(&cast.agent, "the batch of May").await.unwrap().comments.len(), 1);
    assert_eq!(told(text(&cast.alice, "hm").await.unwrap_err()).code, ErrorCode::NotFound);
    assert_eq!(told(text(&cast.dba, " ").await.unwrap_err()).field.as_deref(), Some("text"));

    // Whose principal is disabled, their approvals are void at once, marked or not.
    assert_eq!(asker.ask(2, None, 4).await.0, State::Approved);
    let off = json!({ "kind": "Agent", "name": "ci", "disabled": true });
    apply_all(store, &cast.admin, &[off], true).await.unwrap();
    assert!(asker.claim(&disabled, 2, 5).await.is_err());
    due::run(store, at(5)).await.unwrap();
    assert_eq!(status(store, &cast, &disabled).await, ReviewStatus::Withdrawn);
}

pub async fn of_many_claims_one_succeeds(store: &Store) {
    let cast = world(store).await;
    let first = asker(store, &cast.agent, None).await;
    let id = first.open(1, &[("dba", 1)]).await;
    yes(store, &cast.dba, &id).await;
    let mut askers = vec![first];
    for _ in 0..7 {
        askers.push(asker(store, &cast.agent, None).await);
    }
    for asker in &askers {
        assert_eq!(asker.ask(1, None, 3).await.0, State::Approved);
    }
    let mut claims = tokio::task::JoinSet::new();
    for asker in askers {
        let (store, id) = (store.clone(), id.clone());
        claims.spawn(async move {
            let asker = Asker { store: &store, connector: asker.connector, session: asker.session };
            asker.claim(&id, 1, 4).await.is_ok()
        });
    }
    assert_eq!(claims.join_all().await.into_iter().filter(|claimed| *claimed).count(), 1);
}
