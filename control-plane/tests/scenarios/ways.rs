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
    requests::{self, reach, ways},
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

pub async fn who_reaches_what(store: &Store) {
    let Cast { admin, alice, dba, agent, .. } = world(store).await;
    let owned = json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "owner": "alice" });
    let glass = json!({ "kind": "Connection", "name": "demo", "roles": {
        "read": { "break_glass": { "groups": ["oncall"], "duration": "5m" } } } });
    let oncall = json!({ "kind": "User", "name": "olga", "groups": ["oncall"] });
    apply_all(store, &admin, &[owned, glass, oncall], true).await.unwrap();
    let (request, _) = requests::submit(store, &agent, &ask("open"), LIFETIME, START).await.unwrap();
    let named = |name: &str| name.parse::<PrincipalName>().unwrap();
    let ci = named("agent:ci");

    // Oneself, the user who answers for it, and who judges see the same.
    let auditor = Actor { admin: false, ..admin.clone() };
    let own = reach::of(store, &agent, &ci, at(1)).await.unwrap();
    assert_eq!((own.owner.as_deref(), own.groups.as_slice()), (Some("alice"), &["agents".to_owned()][..]));
    let [demo] = own.connections.as_slice() else { panic!("{own:?}") };
    let way = |name: &str| demo.roles.iter().find(|way| way.role == name).unwrap();
    assert_eq!((way("read").answer, way("read").rule.as_str()), (Foreseen::Review, "the role needs 1 of dba"));
    assert_eq!((way("open").answer, way("open").because.as_str()), (Foreseen::Granted, "in agents"));
    assert_eq!(way("open").grant.as_ref().map(|grant| &grant.id), request.grant_id.as_ref());
    assert!(way("open").connects && !way("read").in_emergencies);
    for caller in [&alice, &admin, &auditor] {
        let seen = reach::of(store, caller, &ci, at(1)).await.unwrap();
        assert_eq!(seen.connections, own.connections, "{}", caller.principal.name);
    }
    // Others do not, and do not learn who there is either.
    for (caller, name) in [(&dba, "agent:ci"), (&dba, "user:nobody"), (&agent, "user:alice")] {
        let refused = reach::of(store, caller, &named(name), at(1)).await.unwrap_err();
        assert_eq!(told(refused).code, ErrorCode::Forbidden, "{name}");
    }
    let missing = reach::of(store, &admin, &named("user:nobody"), at(1)).await.unwrap_err();
    assert_eq!(told(missing).code, ErrorCode::NotFound);
    // Whoever judges sees what somebody cannot reach, and why; they themselves do not learn of it.
    assert_eq!(reach::of(store, &alice, &named("user:alice"), at(1)).await.unwrap().connections, []);
    let denied = reach::of(store, &auditor, &named("user:alice"), at(1)).await.unwrap();
    assert!(denied.connections[0].roles.iter().all(|way| way.answer == Foreseen::Denied), "{denied:?}");
    assert_eq!(denied.connections[0].roles[0].because, "only members of agents, dba may ask");

    // From the connection's side.
    for caller in [&admin, &auditor] {
        let all = reach::on(store, caller, "demo", None, at(1)).await.unwrap();
        let names: Vec<_> = all.principals.iter().map(|ways| ways.principal.name.as_str()).collect();
        assert_eq!((names.as_slice(), &all.next), (&["ci", "dba", "dba2", "olga"][..], &None));
        let olga = &all.principals[3].roles;
        assert!(olga.len() == 1 && olga[0].role == "read" && olga[0].in_emergencies, "{olga:?}");
        let rest = reach::on(store, caller, "demo", Some(&named("user:dba")), at(1)).await.unwrap();
        assert_eq!(rest.principals, all.principals[2..]);
    }
    for caller in [&alice, &agent] {
        let refused = reach::on(store, caller, "demo", None, at(1)).await.unwrap_err();
        assert_eq!(told(refused).code, ErrorCode::Forbidden);
    }

    // Whoever is disabled reaches nothing, and is told of as that.
    let disabled = json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "disabled": true });
    apply_all(store, &admin, &[disabled], true).await.unwrap();
    let gone = reach::of(store, &admin, &ci, at(1)).await.unwrap();
    let way = &gone.connections[0].roles[0];
    assert_eq!((gone.disabled, way.answer, way.because.as_str()), (true, Foreseen::Denied, "agent ci is disabled"));
    assert!(gone.connections[0].roles.iter().all(|way| way.grant.is_none()));
    let all = reach::on(store, &admin, "demo", None, at(1)).await.unwrap();
    assert!(all.principals.iter().all(|ways| ways.principal.name != "ci"));
}

/// Whoever is many is told of in parts, each once.
pub async fn many_reach_it(store: &Store) {
    let Cast { admin, .. } = world(store).await;
    let user = |n: usize| json!({ "kind": "User", "name": format!("user-{n:03}"), "groups": ["dba"] });
    let users: Vec<_> = (0..150).map(user).collect();
    apply_all(store, &admin, &users, true).await.unwrap();
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let part = reach::on(store, &admin, "demo", after.as_ref(), at(1)).await.unwrap();
        assert!(part.principals.len() <= 100);
        names.extend(part.principals.into_iter().map(|ways| ways.principal.name));
        let Some(next) = part.next else { break };
        after = Some(next.parse::<PrincipalName>().unwrap());
    }
    assert_eq!(names.len(), 153);
    names.dedup();
    assert_eq!(names.len(), 153);
}
