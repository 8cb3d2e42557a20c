//! Credentials of databases.

use crate::support::{START, apply_all, at, told, world};
use postern_api::{
    audit::{AuditQuery, EventTypes},
    error::ErrorCode,
};
use postern_control_plane::{
    audit::search::search,
    credentials,
    effects::Effect,
    identity::Actor,
    seal::Sealer,
    store::{Store, credentials::of_connection},
    values,
};
use secrecy::SecretString;
use serde_json::json;

const PASSWORD: &str = "pass/word \u{1f512}";

const AWKWARD: &str = "a/b \"c\"";

fn sealer() -> Sealer {
    Sealer::from_base64(&SecretString::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")).unwrap()
}

async fn pushed(store: &Store, sealer: &Sealer, connector: &str) -> Vec<(String, String, String)> {
    let mut tx = store.read().await.unwrap();
    let all = credentials::for_connector(&mut tx, sealer, connector).await.unwrap();
    let mut all: Vec<_> = all
        .into_iter()
        .flat_map(|(name, logins)| logins.into_iter().map(move |(login, password)| (name.clone(), login, password)))
        .collect();
    all.sort();
    all
}

fn row(login: &str, password: &str) -> (String, String, String) {
    ("demo".to_owned(), login.to_owned(), password.to_owned())
}

pub async fn set_listed_rotated_removed(store: &Store) {
    let (cast, sealer) = (world(store).await, sealer());
    let set = async |login: &str, password: &str, seconds: u64| {
        let password = SecretString::from(password);
        credentials::set(store, &sealer, &cast.admin, "demo", login, &password, at(seconds)).await.unwrap()
    };
    let (made, effects) = set("shop", PASSWORD, 1).await;
    assert_eq!((made.created_at, made.updated_at, effects), (at(1), at(1), vec![Effect::ConnectionsChanged]));
    set(AWKWARD, "other", 2).await;
    assert_eq!(pushed(store, &sealer, "dev").await, [row(AWKWARD, "other"), row("shop", PASSWORD)]);
    assert!(pushed(store, &sealer, "elsewhere").await.is_empty());
    let (changed, _) = set("shop", "rotated", 3).await;
    assert_eq!((changed.created_at, changed.updated_at), (at(1), at(3)));
    assert_eq!(pushed(store, &sealer, "dev").await[1], row("shop", "rotated"));
    let listed = credentials::list(store, &cast.admin, "demo").await.unwrap();
    assert_eq!(listed.iter().map(|one| one.login.as_str()).collect::<Vec<_>>(), ["shop", AWKWARD]);

    let effects = credentials::remove(store, &cast.admin, "demo", "shop", at(4)).await.unwrap();
    assert_eq!(effects, [Effect::ConnectionsChanged]);
    let again = credentials::remove(store, &cast.admin, "demo", "shop", at(4)).await.unwrap_err();
    assert_eq!(told(again).code, ErrorCode::NotFound);
    assert_eq!(pushed(store, &sealer, "dev").await.len(), 1);

    let query = AuditQuery {
        r#type: EventTypes::Control,
        action: Some("database_credential.".to_owned()),
        ..AuditQuery::default()
    };
    let events = search(store, &cast.admin, query).await.unwrap();
    let actions: Vec<_> = events.iter().map(|event| event.action.as_deref().unwrap()).collect();
    let (set, removed) = ("database_credential.set", "database_credential.removed");
    assert_eq!(actions, [removed, set, set, set]);
    assert_eq!(events[0].subject.as_deref(), Some("database_credential/demo/shop"));
    let text = serde_json::to_string(&events).unwrap();
    for secret in [PASSWORD, "rotated"] {
        assert!(!text.contains(secret) && !format!("{listed:?}").contains(secret));
    }

    // A connection takes its credentials with it.
    let gone = json!({ "kind": "Connection", "name": "demo", "delete": true });
    apply_all(store, &cast.admin, &[gone], false).await.unwrap();
    let mut tx = store.read().await.unwrap();
    assert!(of_connection(&mut tx, "demo").await.unwrap().is_empty());
}

pub async fn each_opens_in_its_own_row_only(store: &Store) {
    let (cast, sealer) = (world(store).await, sealer());
    for login in ["shop", "owner"] {
        let password = SecretString::from(format!("{PASSWORD} of {login}"));
        credentials::set(store, &sealer, &cast.admin, "demo", login, &password, START).await.unwrap();
    }
    let mut tx = store.begin().await.unwrap();
    let rows = of_connection(&mut tx, "demo").await.unwrap();
    for row in &rows {
        assert!(!row.sealed.windows(8).any(|window| PASSWORD.as_bytes().starts_with(window)));
    }
    // Whoever can write to the database cannot have the owner's password used for another role.
    let owner = rows.iter().find(|row| row.login == "owner").unwrap();
    tx.execute("UPDATE database_credentials SET sealed = $1 WHERE login = 'shop'", values![owner.sealed.clone()])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(pushed(store, &sealer, "dev").await, [row("owner", &format!("{PASSWORD} of owner"))]);
}

pub async fn fields_and_rights_are_checked(store: &Store) {
    let (cast, sealer) = (world(store).await, sealer());
    let set = async |actor: &Actor, connection: &str, login: &str, password: &str| {
        let password = SecretString::from(password);
        let result = credentials::set(store, &sealer, actor, connection, login, &password, START).await;
        result.map(drop).map_err(|problem| told(problem).code)
    };
    for (actor, connection, login, password, code) in [
        (&cast.admin, "none", "shop", "x", ErrorCode::NotFound),
        (&cast.admin, "demo", "", "x", ErrorCode::Invalid),
        (&cast.admin, "demo", "a\0b", "x", ErrorCode::Invalid),
        (&cast.admin, "demo", &"x".repeat(64), "x", ErrorCode::Invalid),
        (&cast.admin, "demo", "shop", "", ErrorCode::Invalid),
        (&cast.admin, "demo", "shop", "a\0b", ErrorCode::Invalid),
        (&cast.admin, "demo", "shop", &"x".repeat(5000), ErrorCode::Invalid),
        (&cast.dba, "demo", "shop", "x", ErrorCode::Forbidden),
        (&cast.agent, "none", "shop", "x", ErrorCode::Forbidden),
    ] {
        assert_eq!(set(actor, connection, login, password).await, Err(code), "{connection} {login:?}");
    }
    assert_eq!(set(&cast.admin, "demo", "shop", "x").await, Ok(()));
    for actor in [&cast.dba, &cast.agent, &cast.alice] {
        let listed = credentials::list(store, actor, "demo").await.unwrap_err();
        assert_eq!(told(listed).code, ErrorCode::Forbidden);
        let removed = credentials::remove(store, actor, "demo", "shop", START).await.unwrap_err();
        assert_eq!(told(removed).code, ErrorCode::Forbidden);
    }
    assert_eq!(credentials::list(store, &cast.admin, "demo").await.unwrap().len(), 1);
}
