//! Principals and tokens.

use crate::support::{START, at, told, world};
use postern_api::{
    error::ErrorCode,
    identity::{CreateToken, PrincipalKind, PrincipalName},
};
use postern_control_plane::{
    identity,
    identity::{tokens, web},
    store::Store,
};
use secrecy::SecretString;

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
