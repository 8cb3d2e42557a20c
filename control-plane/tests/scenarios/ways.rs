//! What would become of requests, and that it is what becomes of them.

use crate::support::{Cast, LIFETIME, START, apply_all, ask, at, told, world};
use postern_api::{
    access::RequestStatus,
    error::ErrorCode,
    identity::{PrincipalKind, PrincipalName},
    ways::{Foreseen, WayIn},
};
use postern_control_plane::{
    identity::Actor,
    requests::{self, ways},
    stops,
    store::Store,
};
use serde_json::json;

async fn way(store: &Store, actor: &Actor, role: &str) -> WayIn {
    let ways = ways::to(store, actor, "demo", None, at(1)).await.unwrap();
    ways.roles.into_iter().find(|way| way.role == role).unwrap()
}

pub async fn what_is_foreseen_comes(store: &Store) {
    let Cast { admin, alice, dba, agent, .. } = world(store).await;
    for (role, answer, rule) in [
        ("read", Foreseen::Review, "the role needs 1 of dba"),
        ("write", Foreseen::Review, "the role needs 2 of dba"),
        ("open", Foreseen::Granted, "the role needs no approval"),
    ] {
        let way = way(store, &agent, role).await;
        assert_eq!((way.answer, way.rule.as_str(), way.because.as_str()), (answer, rule, "in agents"), "{role}");
        assert_eq!((way.database_role.as_deref(), way.grant.is_some()), (Some("shop"), false));
        assert!(way.connects && way.policies == ["default-connect"], "{way:?}");
        let (request, _) = requests::submit(store, &agent, &ask(role), LIFETIME, START).await.unwrap();
        let status = if answer == Foreseen::Granted { RequestStatus::Approved } else { RequestStatus::Pending };
        assert_eq!((request.status, request.policy_reason.as_str()), (status, rule));
    }
    // There is one now; dba's is their own.
    assert!(way(store, &agent, "open").await.grant.is_some());
    assert_eq!(way(store, &dba, "open").await.grant, None);

    // Whoever may ask for nothing does not learn that it is there; an admin sees it, and gets nothing by that.
    let hidden = ways::to(store, &alice, "demo", None, START).await.unwrap_err();
    assert_eq!(told(hidden).code, ErrorCode::NotFound);
    let denied = way(store, &admin, "read").await;
    assert_eq!((denied.answer, denied.because.as_str()), (Foreseen::Denied, "only members of agents, dba may ask"));
    let refused = requests::submit(store, &admin, &ask("read"), LIFETIME, START).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);

    // A token that is narrowed.
    let narrowed = Actor { may: Some(vec!["demo/read".to_owned()]), ..agent.clone() };
    assert_eq!(way(store, &narrowed, "read").await.answer, Foreseen::Review);
    let denied = way(store, &narrowed, "open").await;
    assert_eq!((denied.answer, denied.because.as_str()), (Foreseen::Denied, "the token is narrowed to demo/read"));

    // In emergencies only.
    let glass = json!({ "kind": "Connection", "name": "demo", "roles": {
        "read": { "break_glass": { "groups": ["oncall"], "duration": "5m" } } } });
    apply_all(store, &admin, &[glass], true).await.unwrap();
    let oncall = Actor { groups: vec!["oncall".to_owned()], ..alice.clone() };
    let denied = way(store, &oncall, "read").await;
    assert_eq!((denied.answer, denied.max_duration.as_str()), (Foreseen::Denied, "5m"));
    assert!(denied.rule.contains("--break-glass"), "{denied:?}");

    // Stopped, everything is denied.
    let name = PrincipalName { kind: PrincipalKind::Agent, name: "ci".to_owned() };
    stops::stop(store, &admin, &name, Some("it loops"), START).await.unwrap();
    let denied = way(store, &agent, "open").await;
    assert_eq!((denied.answer, denied.grant.is_some()), (Foreseen::Denied, false));
    assert!(denied.because.contains("was stopped by admin"), "{denied:?}");
}
