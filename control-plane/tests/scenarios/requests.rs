//! What requests are beyond a yes or a no.

use crate::support::{Cast, LIFETIME, START, apply_all, ask, at, principal, told, world};
use postern_api::{
    access::{CreateRequest, CredentialUse, Extend, Request, RequestKind, RequestStatus, RequestsQuery, Verdict},
    error::ErrorCode,
    identity::PrincipalKind,
    quorum::Need,
    standing::CreateStanding,
};
use postern_control_plane::{
    effects::Effect,
    grants,
    identity::Actor,
    problem::Problem,
    requests::{self, Answer},
    store::{
        Store, access, notifications,
        sessions::{self, NewSession},
    },
};
use postern_types::{id::SessionId, time::Micros};
use serde_json::{Value, json};

const DAY: u64 = 24 * 3600;

async fn submit(store: &Store, actor: &Actor, body: &CreateRequest, now: Micros) -> Result<Request, Problem> {
    requests::submit(store, actor, body, LIFETIME, now).await.map(|(request, _)| request)
}

async fn approve(store: &Store, actor: &Actor, request: &Request, now: Micros) -> Result<Request, Problem> {
    let answer = Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };
    requests::review(store, actor, &request.id, answer, now).await.map(|(request, _)| request)
}

/// Changes the role `read` of `demo`.
async fn read_role(store: &Store, cast: &Cast, role: &Value) {
    let demo = json!({ "kind": "Connection", "name": "demo", "roles": { "read": role } });
    apply_all(store, &cast.admin, &[demo], true).await.unwrap();
}

fn need(group: &str, count: u32) -> Need {
    Need { groups: vec![group.to_owned()], count }
}

pub async fn several_groups_agree(store: &Store) {
    let cast = world(store).await;
    let both = principal(store, PrincipalKind::User, "both", &["dba", "security"], false).await;
    let security = principal(store, PrincipalKind::User, "sec", &["security"], false).await;
    read_role(store, &cast, &json!({ "reviewers": { "all": { "dba": 2, "security": 1 } } })).await;
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    assert_eq!(request.policy_reason, "the role needs 2 of dba and 1 of security");
    assert_eq!((request.approvals_needed, request.missing.as_slice()), (3, &[need("dba", 2), need("security", 1)][..]));
    // Whoever is in both counts once, and where it helps.
    approve(store, &both, &request, at(1)).await.unwrap();
    let request = approve(store, &cast.dba, &request, at(1)).await.unwrap();
    assert_eq!((request.status, request.missing.as_slice()), (RequestStatus::Pending, &[need("security", 1)][..]));
    assert_eq!(told(approve(store, &cast.alice, &request, at(1)).await.unwrap_err()).code, ErrorCode::NotFound);
    let request = approve(store, &cast.dba2, &request, at(1)).await.unwrap();
    assert_eq!((request.status, request.missing.len()), (RequestStatus::Approved, 0));

    let demo = json!({ "reviewers": { "any": { "dba": 2, "security": 1 } } });
    let other = json!({ "kind": "Connection", "name": "other", "database": "postgresql://h/d", "connector": "dev",
        "roles": { "read": { "mode": "login", "database_role": "x", "reviewers": demo["reviewers"] } } });
    apply_all(store, &cast.admin, &[other], false).await.unwrap();
    let body = CreateRequest { connection: "other".to_owned(), ..ask("read") };
    let request = submit(store, &cast.agent, &body, START).await.unwrap();
    let request = approve(store, &cast.dba, &request, at(1)).await.unwrap();
    assert_eq!(
        (request.status, request.missing.as_slice()),
        (RequestStatus::Pending, &[need("dba", 1), need("security", 1)][..])
    );
    assert_eq!(approve(store, &security, &request, at(1)).await.unwrap().status, RequestStatus::Approved);

    for (reviewers, approvals, field) in [
        (json!({ "all": {} }), 1, "roles.read.reviewers"),
        (json!({ "all": { "dba": 0 } }), 1, "roles.read.reviewers"),
        (json!({ "any": { "dba": 21 } }), 1, "roles.read.reviewers"),
        (json!({ "all": { "dba": 1 } }), 0, "roles.read.approvals"),
        (json!({ "most": { "dba": 1 } }), 1, "document"),
    ] {
        let role = json!({ "mode": "login", "database_role": "x", "reviewers": reviewers, "approvals": approvals });
        let wrong = json!({ "kind": "Connection", "name": "wrong", "database": "postgresql://h/d", "connector": "dev",
            "roles": { "read": role } });
        let error = told(apply_all(store, &cast.admin, &[wrong], false).await.unwrap_err());
        assert_eq!(error.field.as_deref(), Some(field), "{reviewers} {error:?}");
    }
}

pub async fn whoever_left_counts_no_more(store: &Store) {
    let cast = world(store).await;
    let request = submit(store, &cast.agent, &ask("write"), START).await.unwrap();
    approve(store, &cast.dba, &request, at(1)).await.unwrap();
    apply_all(store, &cast.admin, &[json!({ "kind": "User", "name": "dba", "groups": [] })], true).await.unwrap();
    let third = principal(store, PrincipalKind::User, "third", &["dba"], false).await;
    let request = approve(store, &cast.dba2, &request, at(2)).await.unwrap();
    assert_eq!((request.status, request.missing.as_slice()), (RequestStatus::Pending, &[need("dba", 1)][..]));
    assert_eq!(approve(store, &third, &request, at(3)).await.unwrap().status, RequestStatus::Approved);
}

/// What an agent asks for is its owner's own: though they review, another has to say yes.
pub async fn who_answers_for_an_agent_does_not_review_for_it(store: &Store) {
    let cast = world(store).await;
    let owned = |owner: Option<&str>| json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "owner": owner });
    apply_all(store, &cast.admin, &[owned(Some("dba"))], false).await.unwrap();
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    for verdict in [Verdict::Approve, Verdict::Deny] {
        let answer = Answer { verdict, reason: None, duration: None, relations: &[] };
        let refused = requests::review(store, &cast.dba, &request.id, answer, at(1)).await.unwrap_err();
        let refused = told(refused);
        assert!(refused.code == ErrorCode::Forbidden && refused.message.contains("an agent of theirs"), "{refused:?}");
        assert_eq!(refused.hint.as_deref(), Some("another member of dba has to"));
    }
    assert_eq!(approve(store, &cast.dba2, &request, at(1)).await.unwrap().status, RequestStatus::Approved);
    // Nor does it help them to have agreed before they answered for it.
    apply_all(store, &cast.admin, &[owned(None)], false).await.unwrap();
    let request = submit(store, &cast.agent, &ask("write"), START).await.unwrap();
    approve(store, &cast.dba, &request, at(1)).await.unwrap();
    apply_all(store, &cast.admin, &[owned(Some("dba"))], false).await.unwrap();
    let third = principal(store, PrincipalKind::User, "third", &["dba"], false).await;
    let request = approve(store, &cast.dba2, &request, at(2)).await.unwrap();
    assert_eq!((request.status, request.missing.as_slice()), (RequestStatus::Pending, &[need("dba", 1)][..]));
    assert_eq!(approve(store, &third, &request, at(3)).await.unwrap().status, RequestStatus::Approved);
}

pub async fn what_is_said_stays_with_it(store: &Store) {
    let cast = world(store).await;
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    requests::comment(store, &cast.dba, &request.id, " which orders? ", at(1)).await.unwrap();
    let request = requests::comment(store, &cast.agent, &request.id, "the stale ones", at(2)).await.unwrap();
    let said: Vec<_> = request.comments.iter().map(|said| (said.author.name.as_str(), said.text.as_str())).collect();
    assert_eq!(said, [("dba", "which orders?"), ("ci", "the stale ones")]);
    let auditor = Actor { auditor: true, ..cast.alice.clone() };
    let refused = requests::comment(store, &auditor, &request.id, "hm", at(3)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    let unseen = requests::comment(store, &cast.alice, &request.id, "hm", at(3)).await.unwrap_err();
    assert_eq!(told(unseen).code, ErrorCode::NotFound);
    for text in ["", "  ", &"x".repeat(2001)] {
        let error = told(requests::comment(store, &cast.dba, &request.id, text, at(3)).await.unwrap_err());
        assert_eq!(error.field.as_deref(), Some("text"));
    }
}

pub async fn tables_are_named_and_narrowed(store: &Store) {
    let cast = world(store).await;
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let body = CreateRequest { relations: names(&["public.orders", "public.items", "public.orders"]), ..ask("write") };
    let request = submit(store, &cast.agent, &body, START).await.unwrap();
    assert_eq!(request.relations, ["public.items", "public.orders"]);
    let with = |relations| Answer { verdict: Verdict::Approve, reason: None, duration: None, relations };
    let more = names(&["public.orders", "public.customers"]);
    let error = told(requests::review(store, &cast.dba, &request.id, with(&more), at(1)).await.unwrap_err());
    assert_eq!(error.field.as_deref(), Some("relations"));
    // Who comes second gives no more than who came first.
    let fewer = names(&["public.orders"]);
    requests::review(store, &cast.dba, &request.id, with(&fewer), at(1)).await.unwrap();
    let other = names(&["public.items"]);
    assert!(requests::review(store, &cast.dba2, &request.id, with(&other), at(2)).await.is_err());
    let request = approve(store, &cast.dba2, &request, at(2)).await.unwrap();
    assert_eq!(request.relations, fewer);
    let id = request.grant_id.unwrap();
    assert_eq!(grants::get(store, &cast.agent, &id).await.unwrap().relations, fewer);
    grants::claim(store, &cast.agent, &id, CredentialUse::Url, at(3)).await.unwrap();
    assert_eq!(grants::login(store, id.as_str(), at(3)).await.unwrap().unwrap().relations, fewer);
    // Of all that a role reaches any part is less.
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    let (request, _) = requests::review(store, &cast.dba, &request.id, with(&fewer), at(1)).await.unwrap();
    assert_eq!(request.relations, fewer);
    for wrong in ["orders", ".orders", "public.", "", &format!("public.{}", "x".repeat(64))] {
        let body = CreateRequest { relations: names(&[wrong]), ..ask("read") };
        let error = told(submit(store, &cast.agent, &body, START).await.unwrap_err());
        assert_eq!(error.field.as_deref(), Some("relations"), "{wrong}");
    }
}

pub async fn an_open_grant_is_the_answer(store: &Store) {
    let cast = world(store).await;
    read_role(store, &cast, &json!({ "budget": { "statements": 5 } })).await;
    let first = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    let first = approve(store, &cast.dba, &first, START).await.unwrap();
    let shorter = |role| CreateRequest { duration: "5m".to_owned(), ..ask(role) };
    let (again, effects) = requests::submit(store, &cast.agent, &shorter("read"), LIFETIME, at(300)).await.unwrap();
    assert!(again.reused && effects.is_empty());
    assert_eq!((again.id, again.grant_id.as_ref()), (first.id.clone(), first.grant_id.as_ref()));
    let relations = vec!["public.orders".to_owned()];
    // Whatever is not the same is asked anew.
    for (actor, body, now) in [
        (&cast.agent, shorter("read"), at(301)),
        (&cast.agent, CreateRequest { duration: "4m".to_owned(), ..ask("read") }, at(1)),
        (&cast.agent, CreateRequest { on_behalf_of: Some("alice".to_owned()), ..shorter("read") }, at(1)),
        (&cast.agent, CreateRequest { ticket: Some("INC-7".to_owned()), ..shorter("read") }, at(1)),
        (&cast.agent, CreateRequest { relations, ..shorter("read") }, at(1)),
        (&cast.agent, CreateRequest { client_address: Some([192, 0, 2, 7].into()), ..shorter("read") }, at(1)),
        (&cast.agent, shorter("write"), at(1)),
        (&cast.dba2, shorter("read"), at(1)),
    ] {
        let asked = submit(store, actor, &body, now).await.unwrap();
        assert!(!asked.reused && asked.status == RequestStatus::Pending, "{body:?}");
    }
    // Nor is one of use whose budget is used up, or that is over.
    let grant = first.grant_id.unwrap();
    let used = postern_proto::v1::Usage { statements: 5, ..Default::default() };
    let session = NewSession {
        id: &SessionId::new(),
        grant_id: &grant,
        principal_id: &cast.agent.principal.id,
        on_behalf_of_id: None,
        connection: "demo",
        role: "read",
        client_address: "192.0.2.7:5000",
        gateway_id: "gwy",
        connector_id: "con",
        incarnation: "1",
        auth_method: "scram-sha-256",
    };
    let mut tx = store.begin().await.unwrap();
    sessions::authorize(&mut tx, &session, at(1)).await.unwrap();
    access::use_up(&mut tx, session.id.as_str(), &used).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!submit(store, &cast.agent, &shorter("read"), at(1)).await.unwrap().reused);
}

pub async fn two_that_ask_at_once_get_one_grant(store: &Store) {
    let cast = world(store).await;
    let body = ask("open");
    let (one, two) = tokio::join!(submit(store, &cast.agent, &body, START), submit(store, &cast.agent, &body, START));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.grant_id, two.grant_id);
    assert_ne!(one.reused, two.reused);
}

pub async fn a_grant_ends_later_by_a_decision(store: &Store) {
    let cast = world(store).await;
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    let id = approve(store, &cast.dba, &request, START).await.unwrap().grant_id.unwrap();
    let body = |duration: &str| Extend { duration: duration.to_owned(), reason: "it takes longer".to_owned() };
    let extend = async |actor, duration, now| requests::extend(store, actor, &id, &body(duration), LIFETIME, now).await;
    assert_eq!(told(extend(&cast.alice, "5m", at(1)).await.unwrap_err()).code, ErrorCode::NotFound);
    assert_eq!(told(extend(&cast.admin, "5m", at(1)).await.unwrap_err()).code, ErrorCode::Forbidden);
    assert_eq!(told(extend(&cast.agent, "2h", at(1)).await.unwrap_err()).field.as_deref(), Some("duration"));
    let (asked, _) = extend(&cast.agent, "5m", at(1)).await.unwrap();
    assert_eq!(
        (asked.kind, asked.status, asked.grant_id.as_ref()),
        (RequestKind::Extension, RequestStatus::Pending, Some(&id))
    );
    // Nothing is extended by asking, and nobody answers once it is over.
    assert_eq!(grants::get(store, &cast.agent, &id).await.unwrap().ends_at, at(600));
    assert_eq!(asked.expires_at, at(600));
    let answer = Answer { verdict: Verdict::Approve, reason: None, duration: Some("3m"), relations: &[] };
    let (asked, effects) = requests::review(store, &cast.dba, &asked.id, answer, at(599)).await.unwrap();
    assert_eq!(
        (asked.status, asked.duration.as_str(), asked.grant_id.as_ref()),
        (RequestStatus::Approved, "3m", Some(&id))
    );
    assert_eq!(effects, [Effect::GrantExtended(id.clone(), at(780))]);
    assert_eq!(grants::get(store, &cast.agent, &id).await.unwrap().ends_at, at(780));
    assert!(grants::expire_due(store, at(779)).await.unwrap().is_empty());
    assert_eq!(grants::expire_due(store, at(780)).await.unwrap().len(), 1);
    assert_eq!(told(extend(&cast.agent, "5m", at(781)).await.unwrap_err()).code, ErrorCode::Conflict);

    // Where nobody has to approve, nobody has to for more time.
    let open = submit(store, &cast.agent, &ask("open"), START).await.unwrap().grant_id.unwrap();
    let (asked, effects) = requests::extend(store, &cast.agent, &open, &body("5m"), LIFETIME, at(1)).await.unwrap();
    assert_eq!((asked.status, effects.len()), (RequestStatus::Approved, 1));
    // What is revoked meanwhile stays so.
    let request = submit(store, &cast.agent, &ask("write"), START).await.unwrap();
    approve(store, &cast.dba, &request, START).await.unwrap();
    let write = approve(store, &cast.dba2, &request, START).await.unwrap().grant_id.unwrap();
    let (asked, _) = requests::extend(store, &cast.agent, &write, &body("5m"), LIFETIME, at(1)).await.unwrap();
    approve(store, &cast.dba, &asked, at(2)).await.unwrap();
    grants::revoke(store, &cast.agent, &write, None, at(3)).await.unwrap();
    assert_eq!(told(approve(store, &cast.dba2, &asked, at(4)).await.unwrap_err()).code, ErrorCode::Conflict);
    assert_eq!(grants::get(store, &cast.agent, &write).await.unwrap().ends_at, at(600));
}

fn standing(windows: &[&str]) -> CreateStanding {
    CreateStanding {
        connection: "demo".to_owned(),
        role: "read".to_owned(),
        duration: "30m".to_owned(),
        until: at(10 * DAY),
        windows: windows.iter().map(|window| window.parse().unwrap()).collect(),
        reason: "the nightly report".to_owned(),
        on_behalf_of: None,
        ticket: None,
        relations: Vec::new(),
    }
}

pub async fn standing_approvals_hold_until_they_do_not(store: &Store) {
    let cast = world(store).await;
    let asked = requests::ask_standing(store, &cast.agent, &standing(&[]), LIFETIME, START).await.unwrap();
    assert_eq!((asked.kind, asked.status), (RequestKind::Standing, RequestStatus::Pending));
    assert_eq!(submit(store, &cast.agent, &ask("read"), at(1)).await.unwrap().status, RequestStatus::Pending);
    let own = Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };
    assert!(requests::review(store, &cast.agent, &asked.id, own, at(1)).await.is_err());
    // A reviewer may agree to less.
    let less = Answer { verdict: Verdict::Approve, reason: None, duration: Some("20m"), relations: &[] };
    let (agreed, _) = requests::review(store, &cast.dba, &asked.id, less, at(2)).await.unwrap();
    assert_eq!((agreed.status, agreed.grant_id.as_ref()), (RequestStatus::Approved, None));

    let request = submit(store, &cast.agent, &ask("read"), at(DAY)).await.unwrap();
    assert_eq!(request.status, RequestStatus::Approved);
    assert!(
        request.policy_reason.starts_with(&format!("the standing approval {}", asked.id)),
        "{}",
        request.policy_reason
    );
    let longer = CreateRequest { duration: "21m".to_owned(), ..ask("read") };
    for (actor, body) in [
        (&cast.agent, longer),
        (&cast.agent, ask("write")),
        (&cast.agent, CreateRequest { on_behalf_of: Some("alice".to_owned()), ..ask("read") }),
        (&cast.dba2, ask("read")),
    ] {
        assert_eq!(submit(store, actor, &body, at(2 * DAY)).await.unwrap().status, RequestStatus::Pending, "{body:?}");
    }
    // No grant lasts longer than it does.
    let last = submit(store, &cast.agent, &ask("read"), at(10 * DAY - 60)).await.unwrap();
    let last = grants::get(store, &cast.agent, &last.grant_id.unwrap()).await.unwrap();
    assert_eq!(last.ends_at, at(10 * DAY));
    assert_eq!(submit(store, &cast.agent, &ask("read"), at(10 * DAY)).await.unwrap().status, RequestStatus::Pending);

    // Ended by whom it is for, a reviewer or an admin; then each is asked for again.
    let refused = requests::end_standing(store, &cast.alice, &asked.id, None, at(3 * DAY)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::NotFound);
    let ended = requests::end_standing(store, &cast.dba2, &asked.id, Some("enough"), at(3 * DAY)).await.unwrap();
    assert_eq!(ended.closed.unwrap().by.as_ref(), Some(&cast.dba2.principal));
    let anew = CreateRequest { ticket: Some("INC-1".to_owned()), ..ask("read") };
    assert_eq!(submit(store, &cast.agent, &anew, at(4 * DAY)).await.unwrap().status, RequestStatus::Pending);
    let no_standing = requests::end_standing(store, &cast.agent, &request.id, None, at(5 * DAY)).await.unwrap_err();
    assert_eq!(told(no_standing).code, ErrorCode::Conflict);

    // A role that leads elsewhere is not what was agreed to.
    let asked = requests::ask_standing(store, &cast.agent, &standing(&[]), LIFETIME, at(1)).await.unwrap();
    approve(store, &cast.dba, &asked, at(2)).await.unwrap();
    read_role(store, &cast, &json!({ "database_role": "other" })).await;
    assert!(requests::get(store, &cast.agent, &asked.id).await.unwrap().closed.is_some());
}

pub async fn standing_approvals_have_times(store: &Store) {
    let cast = world(store).await;
    // START is 2023-11-14 22:13:20 UTC, a Tuesday: 23:13:20 in Berlin.
    let night = ["tue 22:00-01:00 Europe/Berlin"];
    let asked = requests::ask_standing(store, &cast.agent, &standing(&night), LIFETIME, START).await.unwrap();
    approve(store, &cast.dba, &asked, START).await.unwrap();
    let request = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    assert_eq!((request.status, request.duration.as_str()), (RequestStatus::Approved, "10m"));
    // Until the window ends, over midnight.
    let end = at((3600 - 800) + 3600);
    let late = CreateRequest { ticket: Some("late".to_owned()), ..ask("read") };
    let request = submit(store, &cast.agent, &late, Micros(end.0 - 60_000_000)).await.unwrap();
    assert_eq!((request.status, request.duration.as_str()), (RequestStatus::Approved, "1m"));
    assert_eq!(grants::get(store, &cast.agent, &request.grant_id.unwrap()).await.unwrap().ends_at, end);
    assert_eq!(submit(store, &cast.agent, &ask("read"), end).await.unwrap().status, RequestStatus::Pending);
    for (body, field) in [
        (CreateStanding { until: START, ..standing(&[]) }, "until"),
        (CreateStanding { until: at(400 * DAY), ..standing(&[]) }, "until"),
        (standing(&["tue 22:00-01:00 Mars/Olympus"]), "windows"),
    ] {
        let error = told(requests::ask_standing(store, &cast.agent, &body, LIFETIME, START).await.unwrap_err());
        assert_eq!(error.field.as_deref(), Some(field));
    }
    let open = CreateStanding { role: "open".to_owned(), ..standing(&[]) };
    let error = requests::ask_standing(store, &cast.agent, &open, LIFETIME, START).await.unwrap_err();
    assert_eq!(told(error).code, ErrorCode::Conflict);
}

pub async fn break_glass_is_reviewed_by_somebody_else(store: &Store) {
    let cast = world(store).await;
    let oncall = principal(store, PrincipalKind::User, "oncall", &["oncall", "dba"], false).await;
    let robot = principal(store, PrincipalKind::Agent, "robot", &["oncall", "agents"], false).await;
    let glass = |role: &str| CreateRequest { break_glass: true, ..ask(role) };
    assert_eq!(told(submit(store, &oncall, &glass("read"), START).await.unwrap_err()).code, ErrorCode::Forbidden);
    read_role(store, &cast, &json!({ "break_glass": { "groups": ["oncall"], "duration": "15m" } })).await;
    let narrow = json!({
        "kind": "Notification", "name": "narrow", "events": ["request.denied"], "connections": ["elsewhere"],
        "webhook": { "url": "https://hooks.example.com/", "secrets": ["hook"] },
    });
    apply_all(store, &cast.admin, &[narrow], false).await.unwrap();
    let request = submit(store, &oncall, &glass("read"), START).await.unwrap();
    // Everybody is told of it, and of nothing else that they did not ask for.
    let mut tx = store.read().await.unwrap();
    let told_of = notifications::deliveries(&mut tx, Some("narrow"), None).await.unwrap();
    drop(tx);
    assert_eq!(told_of.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), ["grant.break_glass"]);
    assert_eq!(
        (request.kind, request.status, request.to_review),
        (RequestKind::BreakGlass, RequestStatus::Approved, true)
    );
    assert!(request.grant_id.is_some());
    // No agent, nobody else, not for longer, not without a reason, not for another role.
    let longer = CreateRequest { duration: "16m".to_owned(), ..glass("read") };
    let silent = CreateRequest { reason: " ".to_owned(), ..glass("read") };
    for (actor, body, code) in [
        (&robot, glass("read"), ErrorCode::Forbidden),
        (&cast.dba, glass("read"), ErrorCode::Forbidden),
        (&cast.agent, glass("read"), ErrorCode::Forbidden),
        (&cast.admin, glass("read"), ErrorCode::Forbidden),
        (&oncall, longer, ErrorCode::Invalid),
        (&oncall, silent, ErrorCode::Invalid),
        (&oncall, glass("write"), ErrorCode::Forbidden),
    ] {
        assert_eq!(told(submit(store, actor, &body, START).await.unwrap_err()).code, code, "{body:?}");
    }
    // Open ones are listed until somebody else has closed them.
    let open = RequestsQuery { to_review: true, ..RequestsQuery::default() };
    let listed = async |actor: &Actor| requests::list(store, actor, &open).await.unwrap().len();
    assert_eq!((listed(&cast.dba).await, listed(&cast.alice).await), (1, 0));
    let own = requests::close(store, &oncall, &request.id, "fine", at(1)).await.unwrap_err();
    assert_eq!(told(own).code, ErrorCode::Forbidden);
    assert!(requests::close(store, &cast.admin, &request.id, "fine", at(1)).await.is_err());
    assert!(requests::close(store, &cast.dba, &request.id, " ", at(1)).await.is_err());
    let closed = requests::close(store, &cast.dba, &request.id, "it was needed", at(2)).await.unwrap();
    let by = closed.closed.unwrap();
    assert_eq!((by.by.as_ref(), by.reason.as_deref()), (Some(&cast.dba.principal), Some("it was needed")));
    // What was found first stays.
    let again = requests::close(store, &cast.dba2, &request.id, "it was not", at(3)).await.unwrap();
    assert_eq!(again.closed.unwrap().reason.as_deref(), Some("it was needed"));
    assert_eq!(listed(&cast.dba).await, 0);
    let ordinary = submit(store, &cast.agent, &ask("read"), START).await.unwrap();
    let no_glass = requests::close(store, &cast.dba, &ordinary.id, "fine", at(1)).await.unwrap_err();
    assert_eq!(told(no_glass).code, ErrorCode::Conflict);
    // It is no answer to what is asked in the ordinary way.
    assert!(
        !submit(store, &oncall, &CreateRequest { duration: "5m".to_owned(), ..ask("read") }, at(1))
            .await
            .unwrap()
            .reused
    );
}

pub async fn grants_are_bound_to_addresses(store: &Store) {
    let cast = world(store).await;
    let (here, there) = ([192, 0, 2, 7].into(), [192, 0, 2, 8].into());
    let comes = async |id, address| {
        let mut tx = store.begin().await.unwrap();
        let may = access::bind_address(&mut tx, id, address).await.unwrap();
        tx.commit().await.unwrap();
        may
    };
    read_role(store, &cast, &json!({ "bind": ["address"] })).await;
    let error = told(submit(store, &cast.agent, &ask("read"), START).await.unwrap_err());
    assert_eq!(error.field.as_deref(), Some("client_address"));
    let from = |role| CreateRequest { client_address: Some(here), ..ask(role) };
    let request = submit(store, &cast.agent, &from("read"), START).await.unwrap();
    let bound = approve(store, &cast.dba, &request, START).await.unwrap().grant_id.unwrap();
    assert!(!comes(&bound, there).await && comes(&bound, here).await);

    let first = json!({ "kind": "Connection", "name": "demo", "roles": { "open": { "bind": ["first_use"] } } });
    apply_all(store, &cast.admin, &[first], true).await.unwrap();
    let open = submit(store, &cast.agent, &ask("open"), START).await.unwrap().grant_id.unwrap();
    assert_eq!(grants::get(store, &cast.agent, &open).await.unwrap().bound_address, None);
    assert!(comes(&open, there).await && comes(&open, there).await && !comes(&open, here).await);
    assert_eq!(grants::get(store, &cast.agent, &open).await.unwrap().bound_address, Some(there));
    // Where it is not asked for, whoever wants to be bound is; others come from anywhere.
    let request = submit(store, &cast.agent, &ask("write"), START).await.unwrap();
    approve(store, &cast.dba, &request, START).await.unwrap();
    let free = approve(store, &cast.dba2, &request, START).await.unwrap().grant_id.unwrap();
    assert!(comes(&free, here).await && comes(&free, there).await);
}
