//! Principals and tokens.

use crate::support::{START, apply_all, at, principal, told, world};
use postern_api::{
    error::ErrorCode,
    identity::{CreateToken, PrincipalKind, PrincipalName},
};
use postern_control_plane::{
    identity,
    identity::{Actor, tokens, web},
    stops,
    store::Store,
};
use secrecy::SecretString;
use serde_json::{Value, json};

pub async fn tokens_come_and_go(store: &Store) {
    let cast = world(store).await;
    let body = CreateToken { principal: None, name: "laptop".to_owned(), expires: Some("1h".to_owned()), may: None };
    let made = tokens::create(store, &cast.alice, &body, START).await.unwrap();
    assert!(made.token.starts_with("postern_"));
    let secret = SecretString::from(made.token.clone());
    let caller = identity::authenticate(store, &secret, &Default::default(), at(10)).await.unwrap().unwrap();
    assert_eq!((&caller.actor, &caller.token.id), (&cast.alice, &made.id));
    let listed = tokens::list(store, &cast.alice).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].name.as_str(), listed[0].last_used_at), ("laptop", Some(at(10))));
    // Noted to the minute.
    identity::authenticate(store, &secret, &Default::default(), at(20)).await.unwrap().unwrap();
    assert_eq!(tokens::list(store, &cast.alice).await.unwrap()[0].last_used_at, Some(at(10)));
    assert!(identity::authenticate(store, &secret, &Default::default(), at(3600)).await.unwrap().is_none());
    assert!(
        identity::authenticate(store, &SecretString::from("postern_guess"), &Default::default(), START)
            .await
            .unwrap()
            .is_none()
    );

    let foreign = tokens::delete(store, &cast.dba, &made.id, at(1)).await.unwrap_err();
    assert_eq!(told(foreign).code, ErrorCode::NotFound);
    tokens::delete(store, &cast.alice, &made.id, at(1)).await.unwrap();
    assert!(identity::authenticate(store, &secret, &Default::default(), at(2)).await.unwrap().is_none());

    // For others: admins only. For itself: not an agent.
    let other = PrincipalName { kind: PrincipalKind::Agent, name: "ci".to_owned() };
    let for_other = CreateToken { principal: Some(other), name: "x".to_owned(), expires: None, may: None };
    assert_eq!(
        told(tokens::create(store, &cast.alice, &for_other, START).await.unwrap_err()).code,
        ErrorCode::Forbidden
    );
    tokens::create(store, &cast.admin, &for_other, START).await.unwrap();
    let own = CreateToken { principal: None, name: "x".to_owned(), expires: None, may: None };
    assert_eq!(told(tokens::create(store, &cast.agent, &own, START).await.unwrap_err()).code, ErrorCode::Forbidden);
}

/// Whoever answers for an agent makes tokens for it, for what both may ask for, as long as that is so.
pub async fn owners_make_tokens_for_their_agents(store: &Store) {
    let cast = world(store).await;
    let owner = principal(store, PrincipalKind::User, "owner", &["agents", "own"], false).await;
    let ci = |owner: &str| json!({ "kind": "Agent", "name": "ci", "groups": ["agents", "shop"], "owner": owner });
    let role = |group: &str| json!({ "mode": "shared", "groups": [group] });
    let shop = json!({ "kind": "Connection", "name": "shop", "database": "postgresql://h/d", "connector": "dev",
        "roles": { "agents": role("shop"), "owners": role("own") } });
    apply_all(store, &cast.admin, &[ci("owner"), shop], false).await.unwrap();
    let name = PrincipalName { kind: PrincipalKind::Agent, name: "ci".to_owned() };
    let make = async |who: &Actor, may: Option<&[&str]>| {
        let may = may.map(|may| may.iter().map(|place| (*place).to_owned()).collect());
        let body = CreateToken { principal: Some(name.clone()), name: "x".to_owned(), expires: None, may };
        tokens::create(store, who, &body, START).await
    };
    let whose = async |token: &str| {
        let secret = SecretString::from(token.to_owned());
        let caller = identity::authenticate(store, &secret, &Default::default(), at(1)).await.unwrap();
        caller.map(|caller| (caller.actor.principal, caller.actor.may.unwrap_or_default()))
    };
    // Nobody else, and an owner with a narrowed token neither.
    let narrowed = Actor { may: Some(vec!["demo/read".to_owned()]), ..owner.clone() };
    for (name, who) in [("alice", &cast.alice), ("dba", &cast.dba), ("the agent", &cast.agent), ("narrowed", &narrowed)]
    {
        assert_eq!(told(make(who, None).await.unwrap_err()).code, ErrorCode::Forbidden, "{name}");
    }
    // Nothing that one of the two may not ask for, and no directory.
    for more in ["shop/agents", "shop/owners", "shop/none", "scim"] {
        let refused = told(make(&owner, Some(&["demo/read", more])).await.unwrap_err());
        assert!(matches!(refused.code, ErrorCode::Forbidden | ErrorCode::Invalid), "{more}: {refused:?}");
    }
    assert_eq!(told(make(&owner, Some(&["scim"])).await.unwrap_err()).code, ErrorCode::Forbidden);
    let some = make(&owner, Some(&["demo/read"])).await.unwrap();
    let all = make(&owner, None).await.unwrap();
    let of_admin = make(&cast.admin, None).await.unwrap();
    let agent = cast.agent.principal.clone();
    assert_eq!(whose(&some.token).await, Some((agent.clone(), vec!["demo/read".to_owned()])));
    let both = ["demo/open", "demo/read", "demo/write"].map(str::to_owned).to_vec();
    assert_eq!(whose(&all.token).await, Some((agent.clone(), both)));
    // Listed and deleted, whoever has made them; others see none of them.
    let listed = tokens::list(store, &owner).await.unwrap();
    assert!([&some.id, &all.id, &of_admin.id].iter().all(|id| listed.iter().any(|token| token.id == **id)));
    assert!(tokens::list(store, &cast.dba).await.unwrap().iter().all(|token| token.principal != agent));
    assert_eq!(told(tokens::delete(store, &cast.dba, &some.id, at(1)).await.unwrap_err()).code, ErrorCode::NotFound);
    tokens::delete(store, &owner, &some.id, at(1)).await.unwrap();
    assert_eq!(whose(&some.token).await, None);
    // What the owner may ask for no more the token is good for no more.
    let groups = |groups: Value| json!({ "kind": "User", "name": "owner", "groups": groups });
    apply_all(store, &cast.admin, &[groups(json!(["own"]))], true).await.unwrap();
    assert_eq!(whose(&all.token).await, Some((agent.clone(), Vec::new())));
    apply_all(store, &cast.admin, &[groups(json!(["agents"]))], true).await.unwrap();
    assert_eq!(whose(&all.token).await.unwrap().1.len(), 3);
    // Another answers for it: what the one before has made is over while that is so; what an admin has made is not.
    apply_all(store, &cast.admin, &[ci("alice")], true).await.unwrap();
    assert_eq!(whose(&all.token).await, None);
    assert_eq!(told(tokens::delete(store, &owner, &all.id, at(1)).await.unwrap_err()).code, ErrorCode::NotFound);
    assert!(whose(&of_admin.token).await.is_some());
    apply_all(store, &cast.admin, &[ci("owner")], true).await.unwrap();
    assert!(whose(&all.token).await.is_some());
    // And so it is once the owner is stopped, or disabled.
    let stopped = PrincipalName { kind: PrincipalKind::User, name: "owner".to_owned() };
    stops::stop(store, &cast.admin, &stopped, None, at(2)).await.unwrap();
    assert_eq!(whose(&all.token).await, None);
    stops::resume(store, &cast.admin, &stopped, None, at(2)).await.unwrap();
    assert!(whose(&all.token).await.is_some());
    let disabled = json!({ "kind": "User", "name": "owner", "disabled": true });
    apply_all(store, &cast.admin, &[disabled], true).await.unwrap();
    assert_eq!(whose(&all.token).await, None);
    assert!(whose(&of_admin.token).await.is_some());
}

pub async fn founders_are_made_once(store: &Store) {
    let cast = world(store).await;
    let again = crate::support::principal(store, PrincipalKind::User, "admin", &["admins"], true).await;
    assert_eq!(again, cast.admin);
    assert_eq!(tokens::list(store, &cast.admin).await.unwrap().len(), 5);
    // An agent is no admin, whatever it is founded as.
    let agent = crate::support::principal(store, PrincipalKind::Agent, "admin", &[], true).await;
    assert!(!agent.admin && !agent.auditor && agent.principal.id != cast.admin.principal.id);
}

pub async fn browsers_sessions_end(store: &Store) {
    let cast = world(store).await;
    let of_dba = SecretString::from("postern_user_dba");
    let none = web::begin(store, &SecretString::from("postern_guess"), START).await.unwrap_err();
    assert_eq!(told(none).code, ErrorCode::Unauthenticated);
    let (caller, cookie) = web::begin(store, &of_dba, START).await.unwrap();
    assert_eq!(caller.actor, cast.dba);
    let who = async |seconds| {
        let caller = web::authenticate(store, &cookie, at(seconds)).await.unwrap();
        caller.map(|caller| caller.actor)
    };
    // The one is no good in the place of the other.
    assert!(web::authenticate(store, &of_dba, START).await.unwrap().is_none());
    assert!(identity::authenticate(store, &cookie, &Default::default(), START).await.unwrap().is_none());
    // Each use within the hour keeps it, for half a day at most.
    let idle = web::IDLE.as_secs();
    assert_eq!(who(idle - 1).await.as_ref(), Some(&cast.dba));
    assert_eq!(who(2 * idle - 2).await.as_ref(), Some(&cast.dba));
    assert_eq!(who(3 * idle).await, None);
    for hour in 2..12 {
        assert_eq!(who(hour * idle - hour).await.as_ref(), Some(&cast.dba), "{hour}");
    }
    assert_eq!(who(web::LONGEST.as_secs()).await, None);

    // Signing out ends it, and so does the end of its token.
    let (caller, cookie) = web::begin(store, &of_dba, START).await.unwrap();
    web::end(store, &caller, &cookie, at(1)).await.unwrap();
    assert!(web::authenticate(store, &cookie, at(1)).await.unwrap().is_none());
    let (caller, cookie) = web::begin(store, &of_dba, START).await.unwrap();
    assert!(web::authenticate(store, &cookie, at(1)).await.unwrap().is_some());
    tokens::delete(store, &cast.dba, &caller.token.id, at(2)).await.unwrap();
    assert!(web::authenticate(store, &cookie, at(2)).await.unwrap().is_none());
}
