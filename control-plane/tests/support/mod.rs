//! What the tests share: databases of their own on both kinds of store, and people to act.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

pub mod postgres;

use postern_api::{
    access::CreateRequest,
    document::{Apply, Source, SourcedDocument},
    identity::PrincipalKind,
};
use postern_control_plane::{
    apply,
    config::StoreConfig,
    identity::{Actor, directory, directory::Founder, tokens},
    problem::Problem,
    store::Store,
};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;

/// A moment at which tests begin: time is given to everything, so that none waits for it.
pub const START: Micros = Micros(1_700_000_000_000_000);

/// So many seconds after [`START`].
pub fn at(seconds: u64) -> Micros {
    START.plus(Duration::from_secs(seconds))
}

/// How long requests wait in tests.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A fresh SQLite database; its folder goes with the guard.
pub async fn sqlite() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::Sqlite { path: folder.path().join("postern.db") }).await.unwrap();
    (store, folder)
}

/// A principal of that name, made if it is not there.
pub async fn principal(store: &Store, kind: PrincipalKind, name: &str, groups: &[&str], admin: bool) -> Actor {
    let founder = Founder { kind, name, groups, admin, auditor: admin };
    let token = SecretString::from(format!("postern_{kind}_{name}"));
    let principal = directory::found(store, &founder, &token, START).await.unwrap();
    let mut tx = store.read().await.unwrap();
    tokens::actor(&mut tx, &principal).await.unwrap().unwrap()
}

/// The usual cast.
pub struct Cast {
    pub admin: Actor,
    pub alice: Actor,
    pub dba: Actor,
    pub dba2: Actor,
    pub agent: Actor,
}

/// The usual cast, and the connection `demo` with the roles `read` (one of dba), `write` (two of dba) and `open`
/// (by rule).
pub async fn world(store: &Store) -> Cast {
    use PrincipalKind::{Agent, User};
    let cast = Cast {
        admin: principal(store, User, "admin", &["admins"], true).await,
        alice: principal(store, User, "alice", &[], false).await,
        dba: principal(store, User, "dba", &["dba"], false).await,
        dba2: principal(store, User, "dba2", &["dba"], false).await,
        agent: principal(store, Agent, "ci", &["agents"], false).await,
    };
    let role = |approvals: u32| json!({ "mode": "login", "database_role": "shop", "groups": ["agents", "dba"], "reviewers": ["dba"], "approvals": approvals });
    let demo = json!({
        "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1:5432/shop", "connector": "dev",
        "roles": { "read": role(1), "write": role(2), "open": role(0) },
    });
    apply_all(store, &cast.admin, &[demo], false).await.unwrap();
    cast
}

/// Documents as a call gives them.
pub fn documents(documents: &[Value], merge: bool) -> Apply {
    let sourced = |(index, document): (usize, &Value)| SourcedDocument {
        source: Source {
            file: Some("test.yaml".to_owned()),
            line: Some(1),
            index: Some(u32::try_from(index).unwrap() + 1),
        },
        document: document.clone(),
    };
    Apply { documents: documents.iter().enumerate().map(sourced).collect(), policies: Vec::new(), merge }
}

/// Applies documents.
pub async fn apply_all(
    store: &Store,
    actor: &Actor,
    list: &[Value],
    merge: bool,
) -> Result<(postern_api::document::Changes, Vec<postern_control_plane::effects::Effect>), Problem> {
    apply::apply(store, actor, &documents(list, merge), START).await
}

/// A request for ten minutes of `role` on `demo`.
pub fn ask(role: &str) -> CreateRequest {
    CreateRequest {
        connection: "demo".to_owned(),
        role: role.to_owned(),
        duration: "10m".to_owned(),
        reason: "a test".to_owned(),
        ..CreateRequest::default()
    }
}

/// What a caller is told.
pub fn told(problem: Problem) -> postern_api::error::ApiError {
    match problem {
        Problem::Told(error) => *error,
        Problem::Fault(cause) => panic!("a fault: {cause}"),
    }
}
