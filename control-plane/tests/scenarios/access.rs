//! Requests and reviews.

use crate::support::{LIFETIME, START, ask, at, told, world};
use postern_api::{
    access::{CreateRequest, Request, RequestStatus, RequestsQuery, Verdict},
    error::ErrorCode,
    identity::PrincipalKind,
};
use postern_control_plane::{
    grants,
    identity::Actor,
    problem::Problem,
    requests::{self, Answer},
    store::Store,
};
use postern_types::time::Micros;

async fn submit(store: &Store, actor: &Actor, body: &CreateRequest) -> Result<Request, Problem> {
    requests::submit(store, actor, body, LIFETIME, START).await.map(|(request, _)| request)
}

async fn answer(
    store: &Store,
    actor: &Actor,
    request: &Request,
    verdict: Verdict,
    now: Micros,
) -> Result<Request, Problem> {
    let answer = Answer { verdict, reason: Some("said so"), duration: None, relations: &[] };
    requests::review(store, actor, &request.id, answer, now).await.map(|(request, _)| request)
}

async fn approve(store: &Store, actor: &Actor, request: &Request) -> Result<Request, Problem> {
    answer(store, actor, request, Verdict::Approve, at(1)).await
}

pub async fn a_request_becomes_a_grant(store: &Store) {
    let cast = world(store).await;
    let body =
        CreateRequest { on_behalf_of: Some("alice".to_owned()), ticket: Some("INC-1".to_owned()), ..ask("read") };
    let (request, effects) = requests::submit(store, &cast.agent, &body, LIFETIME, START).await.unwrap();
    assert!(effects.is_empty());
    assert_eq!(request.status, RequestStatus::Pending);
    assert_eq!((request.duration.as_str(), request.approvals_needed), ("10m", 1));
    assert_eq!(request.expires_at, START.plus(LIFETIME));
    assert!(grants::list(store, &cast.agent, true, START).await.unwrap().is_empty());

    let approved = approve(store, &cast.dba, &request).await.unwrap();
    assert_eq!(approved.status, RequestStatus::Approved);
    assert_eq!(approved.votes.len(), 1);
    assert_eq!(approved.votes[0].reviewer, cast.dba.principal);
    let grants = grants::list(store, &cast.agent, false, at(2)).await.unwrap();
    assert_eq!(grants.len(), 1);
    let grant = &grants[0];
    assert_eq!(Some(&grant.id), approved.grant_id.as_ref());
    // The time counts from approval.
    assert_eq!((grant.starts_at, grant.ends_at), (at(1), at(601)));
    assert_eq!(grant.principal, cast.agent.principal);
    assert_eq!(grant.on_behalf_of.as_ref(), Some(&cast.alice.principal));
    assert_eq!(requests::get(store, &cast.alice, &request.id).await.unwrap(), approved);
}

pub async fn rules_approve_at_once(store: &Store) {
    let cast = world(store).await;
    let request = submit(store, &cast.agent, &ask("open")).await.unwrap();
    assert_eq!(request.status, RequestStatus::Approved);
    assert!(request.grant_id.is_some() && request.votes.is_empty());
}

pub async fn nobody_reviews_what_is_their_own(store: &Store) {
    let cast = world(store).await;
    let own = submit(store, &cast.dba, &ask("read")).await.unwrap();
    assert_eq!(told(approve(store, &cast.dba, &own).await.unwrap_err()).code, ErrorCode::Forbidden);
    let for_them = CreateRequest { on_behalf_of: Some("dba".to_owned()), ..ask("read") };
    let for_them = submit(store, &cast.agent, &for_them).await.unwrap();
    assert_eq!(told(approve(store, &cast.dba, &for_them).await.unwrap_err()).code, ErrorCode::Forbidden);
    // Being an admin is not being a reviewer; an agent in the reviewers' group is none either.
    let theirs = submit(store, &cast.agent, &ask("read")).await.unwrap();
    assert_eq!(told(approve(store, &cast.admin, &theirs).await.unwrap_err()).code, ErrorCode::Forbidden);
    let robot = crate::support::principal(store, PrincipalKind::Agent, "robot", &["dba"], false).await;
    assert_eq!(told(approve(store, &robot, &theirs).await.unwrap_err()).code, ErrorCode::NotFound);
    approve(store, &cast.dba2, &own).await.unwrap();
}

pub async fn reviewers_count_once_and_at_the_same_time(store: &Store) {
    let cast = world(store).await;
    let request = submit(store, &cast.agent, &ask("write")).await.unwrap();
    let first = approve(store, &cast.dba, &request).await.unwrap();
    assert_eq!(first.status, RequestStatus::Pending);
    // Twice the same answer counts once; the other answer is refused.
    let again = approve(store, &cast.dba, &request).await.unwrap();
    assert_eq!((again.status, again.votes.len()), (RequestStatus::Pending, 1));
    assert_eq!(
        told(answer(store, &cast.dba, &request, Verdict::Deny, at(1)).await.unwrap_err()).code,
        ErrorCode::Conflict
    );
    assert_eq!(approve(store, &cast.dba2, &request).await.unwrap().status, RequestStatus::Approved);

    // Both at once, many times: always one grant, whoever comes second.
    for n in 0..10 {
        let anew = |role| CreateRequest { ticket: Some(format!("INC-{n}")), ..ask(role) };
        let request = submit(store, &cast.agent, &anew("read")).await.unwrap();
        let (one, two) = tokio::join!(approve(store, &cast.dba, &request), approve(store, &cast.dba2, &request));
        assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1, "{one:?} {two:?}");
        let request = submit(store, &cast.agent, &anew("write")).await.unwrap();
        let (one, two) = tokio::join!(approve(store, &cast.dba, &request), approve(store, &cast.dba2, &request));
        let approved =
            [one.unwrap(), two.unwrap()].iter().filter(|request| request.status == RequestStatus::Approved).count();
        assert_eq!(approved, 1);
    }
    let grants = grants::list(store, &cast.agent, false, at(2)).await.unwrap();
    assert_eq!(grants.len(), 21);
}

pub async fn denied_withdrawn_expired(store: &Store) {
    let cast = world(store).await;
    let denied = submit(store, &cast.agent, &ask("read")).await.unwrap();
    let denied = answer(store, &cast.dba, &denied, Verdict::Deny, at(1)).await.unwrap();
    assert_eq!((denied.status, denied.votes[0].reason.as_deref()), (RequestStatus::Denied, Some("said so")));
    assert_eq!(told(approve(store, &cast.dba2, &denied).await.unwrap_err()).code, ErrorCode::Conflict);

    let withdrawn = submit(store, &cast.agent, &ask("read")).await.unwrap();
    assert_eq!(
        told(requests::withdraw(store, &cast.dba, &withdrawn.id, at(1)).await.unwrap_err()).code,
        ErrorCode::Forbidden
    );
    let withdrawn = requests::withdraw(store, &cast.agent, &withdrawn.id, at(1)).await.unwrap();
    assert_eq!(withdrawn.status, RequestStatus::Withdrawn);
    requests::withdraw(store, &cast.agent, &withdrawn.id, at(1)).await.unwrap();

    let late = submit(store, &cast.agent, &ask("read")).await.unwrap();
    let end = START.plus(LIFETIME);
    assert_eq!(requests::expire_due(store, Micros(end.0 - 1)).await.unwrap(), 0);
    // Too late, whether or not the end was marked yet.
    assert_eq!(
        told(answer(store, &cast.dba, &late, Verdict::Approve, end).await.unwrap_err()).code,
        ErrorCode::Conflict
    );
    assert_eq!(requests::expire_due(store, end).await.unwrap(), 1);
    assert_eq!(requests::get(store, &cast.agent, &late.id).await.unwrap().status, RequestStatus::Expired);
    assert_eq!(requests::expire_due(store, end).await.unwrap(), 0);

    let query = RequestsQuery { status: Some(RequestStatus::Denied), mine: true, ..RequestsQuery::default() };
    let listed = requests::list(store, &cast.agent, &query).await.unwrap();
    assert_eq!(listed.iter().map(|request| &request.id).collect::<Vec<_>>(), [&denied.id]);
    assert!(requests::list(store, &cast.alice, &RequestsQuery::default()).await.unwrap().is_empty());
}

pub async fn fields_are_checked(store: &Store) {
    let cast = world(store).await;
    let cases = [
        (CreateRequest { connection: "nope".to_owned(), ..ask("read") }, ErrorCode::NotFound, None),
        (ask("nope"), ErrorCode::Invalid, Some("role")),
        (CreateRequest { duration: "soon".to_owned(), ..ask("read") }, ErrorCode::Invalid, Some("duration")),
        (CreateRequest { duration: "2h".to_owned(), ..ask("read") }, ErrorCode::Invalid, Some("duration")),
        (CreateRequest { reason: " ".to_owned(), ..ask("read") }, ErrorCode::Invalid, Some("reason")),
        (CreateRequest { reason: "x".repeat(2001), ..ask("read") }, ErrorCode::Invalid, Some("reason")),
        (
            CreateRequest { on_behalf_of: Some("nobody".to_owned()), ..ask("read") },
            ErrorCode::Invalid,
            Some("on_behalf_of"),
        ),
    ];
    for (body, code, field) in cases {
        let error = told(submit(store, &cast.agent, &body).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (code, field), "{body:?}");
    }
    // Whoever may ask for none of its roles does not learn that it is there.
    assert_eq!(told(submit(store, &cast.alice, &ask("read")).await.unwrap_err()).code, ErrorCode::NotFound);
    let for_somebody = CreateRequest { on_behalf_of: Some("alice".to_owned()), ..ask("read") };
    assert_eq!(told(submit(store, &cast.dba, &for_somebody).await.unwrap_err()).field.as_deref(), Some("on_behalf_of"));
}

pub async fn durations_are_shortened_never_lengthened(store: &Store) {
    let cast = world(store).await;
    let with = |duration| Answer { verdict: Verdict::Approve, reason: None, duration: Some(duration), relations: &[] };
    let request = submit(store, &cast.agent, &ask("write")).await.unwrap();
    let longer = requests::review(store, &cast.dba, &request.id, with("11m"), at(1)).await;
    assert_eq!(told(longer.unwrap_err()).field.as_deref(), Some("duration"));
    requests::review(store, &cast.dba, &request.id, with("5m"), at(1)).await.unwrap();
    let (request, _) = requests::review(store, &cast.dba2, &request.id, with("3m"), at(2)).await.unwrap();
    assert_eq!((request.status, request.duration.as_str()), (RequestStatus::Approved, "3m"));
    let grant = grants::get(store, &cast.agent, &request.grant_id.unwrap()).await.unwrap();
    assert_eq!(grant.ends_at, at(2 + 180));
}
