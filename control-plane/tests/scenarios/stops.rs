//! Stopping somebody, or all on a connection.

use crate::support::{LIFETIME, START, apply_all, ask, at, principal, told, world};
use postern_api::access::Verdict;
use postern_api::{
    access::{CreateRequest, CredentialUse, GrantStatus, RequestStatus, RevokeAll},
    error::ErrorCode,
    identity::{PrincipalKind, PrincipalName},
    standing::CreateStanding,
};
use postern_control_plane::{
    effects::Effect,
    grants,
    requests::{self, Answer},
    stops,
    store::Store,
};
use serde_json::json;

fn agent(name: &str) -> PrincipalName {
    PrincipalName { kind: PrincipalKind::Agent, name: name.to_owned() }
}

pub async fn nothing_goes_on_and_nothing_begins(store: &Store) {
    let cast = world(store).await;
    let yes = Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };
    let (open, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, START).await.unwrap();
    let grant = open.grant_id.unwrap();
    grants::claim(store, &cast.agent, &grant, CredentialUse::Url, at(1)).await.unwrap();
    let (waits, _) = requests::submit(store, &cast.agent, &ask("read"), LIFETIME, START).await.unwrap();
    let standing = CreateStanding {
        connection: "demo".to_owned(),
        role: "read".to_owned(),
        duration: "10m".to_owned(),
        until: at(86_400),
        windows: Vec::new(),
        reason: "a report".to_owned(),
        on_behalf_of: None,
        ticket: None,
        relations: Vec::new(),
    };
    let standing = requests::ask_standing(store, &cast.agent, &standing, LIFETIME, START).await.unwrap();
    requests::review(store, &cast.dba, &standing.id, yes, at(1)).await.unwrap();
    let others = requests::submit(store, &cast.dba2, &ask("open"), LIFETIME, START).await.unwrap().0.grant_id.unwrap();

    let (stopped, effects) = stops::stop(store, &cast.admin, &agent("ci"), Some("it runs wild"), at(2)).await.unwrap();
    assert_eq!((stopped.grants, stopped.requests), (1, 2));
    let ends =
        |effect: &Effect| matches!(effect, Effect::EndGrant(id, error) if *id == grant && error.sqlstate == "57P01");
    assert!(effects.iter().any(ends), "{effects:?}");
    let seen = requests::get(store, &cast.agent, &waits.id).await.unwrap();
    assert_eq!(seen.status, RequestStatus::Withdrawn);
    assert!(requests::get(store, &cast.agent, &standing.id).await.unwrap().closed.is_some());
    let login = grants::login(store, grant.as_str(), at(3)).await.unwrap().unwrap();
    assert!(login.principal_disabled && login.status == GrantStatus::Revoked);
    // Nobody else is.
    assert_eq!(grants::get(store, &cast.dba2, &others).await.unwrap().status(at(3)), GrantStatus::Open);

    // Nothing new, not even for a role that needs no approval, and not by applying the agent again.
    apply_all(store, &cast.admin, &[json!({ "kind": "Agent", "name": "ci", "groups": ["agents"] })], false)
        .await
        .unwrap();
    let refused = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, at(4)).await.unwrap_err();
    let refused = told(refused);
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert!(refused.message.contains("stopped by admin") && refused.message.contains("it runs wild"), "{refused:?}");
    // Again it is the same.
    let (again, effects) = stops::stop(store, &cast.admin, &agent("ci"), None, at(5)).await.unwrap();
    assert_eq!((again.stop.unwrap().at, again.grants, effects.len()), (at(2), 0, 0));
    stops::resume(store, &cast.admin, &agent("ci"), None, at(6)).await.unwrap();
    requests::submit(store, &cast.agent, &ask("open"), LIFETIME, at(7)).await.unwrap();
    // What had ended stays so.
    assert_eq!(grants::get(store, &cast.agent, &grant).await.unwrap().status(at(8)), GrantStatus::Revoked);

    // Of a user, what agents do on their behalf.
    let for_alice = CreateRequest { on_behalf_of: Some("alice".to_owned()), ..ask("read") };
    let (waits, _) = requests::submit(store, &cast.agent, &for_alice, LIFETIME, at(8)).await.unwrap();
    let alice = PrincipalName { kind: PrincipalKind::User, name: "alice".to_owned() };
    let (stopped, _) = stops::stop(store, &cast.admin, &alice, None, at(9)).await.unwrap();
    assert_eq!(stopped.requests, 1);
    assert!(requests::review(store, &cast.dba, &waits.id, yes, at(9)).await.is_err());
    assert!(requests::submit(store, &cast.agent, &for_alice, LIFETIME, at(9)).await.is_err());
    let (waits, _) = requests::submit(store, &cast.agent, &ask("write"), LIFETIME, at(9)).await.unwrap();
    // Whoever is stopped decides on nothing, and what they said counts no more.
    requests::review(store, &cast.dba, &waits.id, yes, at(10)).await.unwrap();
    let dba = PrincipalName { kind: PrincipalKind::User, name: "dba".to_owned() };
    stops::stop(store, &cast.admin, &dba, None, at(11)).await.unwrap();
    let (one_is_missing, _) = requests::review(store, &cast.dba2, &waits.id, yes, at(12)).await.unwrap();
    assert_eq!((one_is_missing.status, one_is_missing.missing[0].count), (RequestStatus::Pending, 1));
    let (other, _) = requests::submit(store, &cast.agent, &ask("read"), LIFETIME, at(12)).await.unwrap();
    let refused = requests::review(store, &cast.dba, &other.id, yes, at(13)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    requests::review(store, &cast.dba2, &other.id, yes, at(13)).await.unwrap();
}

pub async fn whoever_may(store: &Store) {
    let cast = world(store).await;
    apply_all(store, &cast.admin, &[json!({ "kind": "Agent", "name": "hers", "owner": "alice" })], false)
        .await
        .unwrap();
    for (actor, name, allowed) in [
        (&cast.alice, "hers", true),
        (&cast.alice, "ci", false),
        (&cast.dba, "hers", false),
        (&cast.agent, "ci", false),
        (&cast.alice, "nobody", false),
    ] {
        let stopped = stops::stop(store, actor, &agent(name), None, at(1)).await;
        assert_eq!(stopped.is_ok(), allowed, "{name} {stopped:?}");
    }
    // Whoever answers for it stops it; an admin lets it go on.
    assert_eq!(
        told(stops::resume(store, &cast.alice, &agent("hers"), None, at(2)).await.unwrap_err()).code,
        ErrorCode::Forbidden
    );
    stops::resume(store, &cast.admin, &agent("hers"), None, at(2)).await.unwrap();
    assert_eq!(
        told(stops::stop(store, &cast.admin, &agent("nobody"), None, at(2)).await.unwrap_err()).code,
        ErrorCode::NotFound
    );
}

pub async fn all_grants_of_a_connection_or_a_role(store: &Store) {
    let cast = world(store).await;
    let other = principal(store, PrincipalKind::Agent, "other", &["agents"], false).await;
    let open = |ticket: &str| CreateRequest { ticket: Some(ticket.to_owned()), ..ask("open") };
    let (one, _) = requests::submit(store, &cast.agent, &open("1"), LIFETIME, START).await.unwrap();
    let (two, _) = requests::submit(store, &other, &open("2"), LIFETIME, START).await.unwrap();
    let (read, _) = requests::submit(store, &other, &ask("read"), LIFETIME, START).await.unwrap();
    let yes = Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };
    let (read, _) = requests::review(store, &cast.dba, &read.id, yes, START).await.unwrap();
    let all = |role: Option<&str>| RevokeAll {
        connection: "demo".to_owned(),
        role: role.map(str::to_owned),
        reason: Some("INC-1".to_owned()),
    };
    let refused = grants::revoke_all(store, &cast.dba, &all(None), at(1)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    let missing = grants::revoke_all(store, &cast.admin, &all(Some("nope")), at(1)).await.unwrap_err();
    assert_eq!(told(missing).field.as_deref(), Some("role"));
    let (revoked, effects) = grants::revoke_all(store, &cast.admin, &all(Some("open")), at(1)).await.unwrap();
    let ids: Vec<_> = revoked.iter().map(|grant| Some(grant.id.clone())).collect();
    assert_eq!((ids, effects.len()), (vec![one.grant_id, two.grant_id], 2));
    assert!(revoked.iter().all(|grant| grant.revoke_reason.as_deref() == Some("INC-1")));
    let (revoked, _) = grants::revoke_all(store, &cast.admin, &all(None), at(2)).await.unwrap();
    assert_eq!(revoked.into_iter().map(|grant| Some(grant.id)).collect::<Vec<_>>(), [read.grant_id]);
}
