//! Grants and their secrets.

use crate::support::{Cast, LIFETIME, START, apply_all, ask, at, told, world};
use postern_api::{
    access::{CreateRequest, CredentialUse, GrantStatus},
    error::ErrorCode,
};
use postern_control_plane::{effects::Effect, grants, requests, store::Store};
use postern_types::id::{GrantId, RequestId};
use secrecy::ExposeSecret;
use serde_json::json;

async fn granted(store: &Store, cast: &Cast) -> GrantId {
    // A ticket of its own each time: no grant that is open is the answer.
    let body = CreateRequest { ticket: Some(RequestId::new().to_string()), ..ask("open") };
    let (request, _) = requests::submit(store, &cast.agent, &body, LIFETIME, START).await.unwrap();
    request.grant_id.unwrap()
}

pub async fn secrets_and_logins(store: &Store) {
    let cast = world(store).await;
    let id = granted(store, &cast).await;
    // Nothing proves a grant before its URL was asked for.
    assert!(grants::login(store, id.as_str(), at(1)).await.unwrap().is_none());
    for unknown in ["", "alice", "grt_00000000000000000000000000", "crd_00000000000000000000000000", "'; --"] {
        assert!(grants::login(store, unknown, at(1)).await.unwrap().is_none());
    }
    let first = grants::claim(store, &cast.agent, &id, CredentialUse::Url, at(1)).await.unwrap();
    let verifier = grants::login(store, id.as_str(), at(1)).await.unwrap().unwrap().verifier;
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
    assert!(!verifier.contains(first.secret.expose_secret()));
    // A further secret leaves the URL's as it is; the URL's replaces the one before.
    let exec = grants::claim(store, &cast.agent, &id, CredentialUse::Exec, at(1)).await.unwrap();
    assert_eq!(grants::login(store, id.as_str(), at(1)).await.unwrap().unwrap().verifier, verifier);
    let further = grants::login(store, exec.credential_id.unwrap().as_str(), at(1)).await.unwrap().unwrap();
    assert_eq!((&further.grant_id, further.status), (&id, GrantStatus::Open));
    assert_ne!(further.verifier, verifier);
    grants::claim(store, &cast.agent, &id, CredentialUse::Url, at(2)).await.unwrap();
    let login = grants::login(store, id.as_str(), at(2)).await.unwrap().unwrap();
    assert_ne!(login.verifier, verifier);
    assert_eq!(login.connection.database_name(), "shop");
    assert_eq!((login.role_name.as_str(), login.role.database_role.as_deref()), ("open", Some("shop")));
    assert!(!login.principal_disabled);
    // Nobody else gets the secret, an admin neither.
    let refused = grants::claim(store, &cast.admin, &id, CredentialUse::Url, at(1)).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
}

pub async fn expiry_and_revocation(store: &Store) {
    let cast = world(store).await;
    let (short, revoked) = (granted(store, &cast).await, granted(store, &cast).await);
    grants::claim(store, &cast.agent, &short, CredentialUse::Url, at(1)).await.unwrap();
    let (row, effects) = grants::revoke(store, &cast.admin, &revoked, Some("enough"), at(5)).await.unwrap();
    assert_eq!((row.status(at(5)), row.revoke_reason.as_deref()), (GrantStatus::Revoked, Some("enough")));
    assert_eq!(row.revoked_by.as_ref(), Some(&cast.admin.principal));
    let [Effect::EndGrant(ended, error)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((ended, error.sqlstate.as_str(), error.detail.as_str()), (&revoked, "57P01", "enough"));
    // Twice is once.
    assert!(grants::revoke(store, &cast.admin, &revoked, None, at(6)).await.unwrap().1.is_empty());

    // Its end is the end, marked or not.
    assert_eq!(grants::login(store, short.as_str(), at(599)).await.unwrap().unwrap().status, GrantStatus::Open);
    assert_eq!(grants::login(store, short.as_str(), at(600)).await.unwrap().unwrap().status, GrantStatus::Expired);
    assert!(grants::expire_due(store, at(599)).await.unwrap().is_empty());
    let effects = grants::expire_due(store, at(600)).await.unwrap();
    let [Effect::EndGrant(ended, error)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((ended, error.sqlstate.as_str()), (&short, "57P01"));
    assert!(grants::expire_due(store, at(601)).await.unwrap().is_empty());
    let late = grants::revoke(store, &cast.agent, &short, None, at(601)).await.unwrap_err();
    assert_eq!(told(late).code, ErrorCode::Conflict);
    let late = grants::claim(store, &cast.agent, &short, CredentialUse::Url, at(601)).await.unwrap_err();
    assert_eq!(told(late).code, ErrorCode::Conflict);
    assert!(grants::list(store, &cast.agent, false, at(601)).await.unwrap().is_empty());
    assert_eq!(grants::list(store, &cast.agent, true, at(601)).await.unwrap().len(), 2);
}

pub async fn others_see_nothing(store: &Store) {
    let cast = world(store).await;
    let id = granted(store, &cast).await;
    assert_eq!(told(grants::get(store, &cast.alice, &id).await.unwrap_err()).code, ErrorCode::NotFound);
    assert_eq!(told(grants::revoke(store, &cast.dba, &id, None, at(1)).await.unwrap_err()).code, ErrorCode::NotFound);
    assert!(grants::list(store, &cast.alice, true, at(1)).await.unwrap().is_empty());
    assert_eq!(grants::list(store, &cast.admin, true, at(1)).await.unwrap().len(), 1);
    assert!(grants::list(store, &cast.admin, false, at(1)).await.unwrap().is_empty());
    // Whoever is disabled loses what they have.
    let disabled = json!({ "kind": "Agent", "name": "ci", "disabled": true });
    let (_, effects) = apply_all(store, &cast.admin, &[disabled], true).await.unwrap();
    assert!(matches!(effects.as_slice(), [Effect::EndGrant(ended, _)] if *ended == id), "{effects:?}");
}
