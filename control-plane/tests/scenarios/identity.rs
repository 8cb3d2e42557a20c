//! Principals and tokens.

use crate::support::{START, at, told, world};
use postern_api::{
    error::ErrorCode,
    identity::{CreateToken, PrincipalKind, PrincipalName},
};
use postern_control_plane::{identity, identity::tokens, store::Store};
use secrecy::SecretString;

pub async fn tokens_come_and_go(store: &Store) {
    let cast = world(store).await;
    let body = CreateToken { principal: None, name: "laptop".to_owned(), expires: Some("1h".to_owned()), may: None };
    let made = tokens::create(store, &cast.alice, &body, START).await.unwrap();
    assert!(made.token.starts_with("postern_"));
    let secret = SecretString::from(made.token.clone());
    let caller = identity::authenticate(store, &secret, at(10)).await.unwrap().unwrap();
    assert_eq!((&caller.actor, &caller.token.id), (&cast.alice, &made.id));
    let listed = tokens::list(store, &cast.alice).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].name.as_str(), listed[0].last_used_at), ("laptop", Some(at(10))));
    // Noted to the minute.
    identity::authenticate(store, &secret, at(20)).await.unwrap().unwrap();
    assert_eq!(tokens::list(store, &cast.alice).await.unwrap()[0].last_used_at, Some(at(10)));
    assert!(identity::authenticate(store, &secret, at(3600)).await.unwrap().is_none());
    assert!(identity::authenticate(store, &SecretString::from("postern_guess"), START).await.unwrap().is_none());

    let foreign = tokens::delete(store, &cast.dba, &made.id, at(1)).await.unwrap_err();
    assert_eq!(told(foreign).code, ErrorCode::NotFound);
    tokens::delete(store, &cast.alice, &made.id, at(1)).await.unwrap();
    assert!(identity::authenticate(store, &secret, at(2)).await.unwrap().is_none());

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

pub async fn founders_are_made_once(store: &Store) {
    let cast = world(store).await;
    let again = crate::support::principal(store, PrincipalKind::User, "admin", &["admins"], true).await;
    assert_eq!(again, cast.admin);
    assert_eq!(tokens::list(store, &cast.admin).await.unwrap().len(), 5);
    // An agent is no admin, whatever it is founded as.
    let agent = crate::support::principal(store, PrincipalKind::Agent, "admin", &[], true).await;
    assert!(!agent.admin && !agent.auditor && agent.principal.id != cast.admin.principal.id);
}
