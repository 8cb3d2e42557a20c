//! Credentials of databases that are kept here, sealed, for connectors that have none of their own.

use crate::{
    audit::{self, Event},
    effects::Effect,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    seal::Sealer,
    store::{
        Store, StoreError, Tx, connections,
        credentials::{self, CredentialRow, place},
    },
};
use postern_api::database::DatabaseCredential;
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::collections::HashMap;

/// PostgreSQL cuts names to this.
const MAX_LOGIN_BYTES: usize = 63;

/// The longest password.
const MAX_PASSWORD_BYTES: usize = 4096;

/// Sets the password with which the connector of a connection logs in as this database role.
///
/// # Errors
/// When there is no such connection, a field is wrong, or the caller may not.
pub async fn set(
    store: &Store,
    sealer: &Sealer,
    actor: &Actor,
    connection: &str,
    login: &str,
    password: &SecretString,
    now: Micros,
) -> Result<(DatabaseCredential, Vec<Effect>), Problem> {
    authorize(actor, Action::Change, &Resource::DatabaseCredential)?;
    check(login, password)?;
    let mut tx = store.begin().await?;
    require(&mut tx, connection).await?;
    let sealed = sealer.seal(&place(connection, login), password.expose_secret().as_bytes());
    let sealed = sealed.map_err(Problem::fault)?;
    let created_at = credentials::put(&mut tx, connection, login, sealed, now).await?;
    record(&mut tx, actor, "database_credential.set", connection, login, now).await?;
    tx.commit().await?;
    let (connection, login) = (connection.to_owned(), login.to_owned());
    let credential = DatabaseCredential { connection, login, created_at, updated_at: now };
    Ok((credential, vec![Effect::ConnectionsChanged]))
}

/// The logins of a connection that have a password here.
///
/// # Errors
/// When there is no such connection or the caller may not.
pub async fn list(store: &Store, actor: &Actor, connection: &str) -> Result<Vec<DatabaseCredential>, Problem> {
    authorize(actor, Action::See, &Resource::DatabaseCredential)?;
    let mut tx = store.read().await?;
    require(&mut tx, connection).await?;
    let rows = credentials::of_connection(&mut tx, connection).await?;
    let shown = |row: CredentialRow| DatabaseCredential {
        connection: row.connection,
        login: row.login,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// Removes a password.
///
/// # Errors
/// When there is none or the caller may not.
pub async fn remove(
    store: &Store,
    actor: &Actor,
    connection: &str,
    login: &str,
    now: Micros,
) -> Result<Vec<Effect>, Problem> {
    authorize(actor, Action::Delete, &Resource::DatabaseCredential)?;
    let mut tx = store.begin().await?;
    require(&mut tx, connection).await?;
    if !credentials::delete(&mut tx, connection, login).await? {
        return Err(Problem::not_found("credential", login)
            .hint(format!("`postern credentials list {connection}` shows which there are")));
    }
    record(&mut tx, actor, "database_credential.removed", connection, login, now).await?;
    tx.commit().await?;
    Ok(vec![Effect::ConnectionsChanged])
}

/// The passwords for a connector, opened: by connection, then by login. One that cannot be opened is left out, so
/// that it stops its own login and no other.
///
/// # Errors
/// When the store fails.
pub async fn for_connector(
    tx: &mut Tx,
    sealer: &Sealer,
    connector: &str,
) -> Result<HashMap<String, HashMap<String, String>>, StoreError> {
    let mut opened: HashMap<String, HashMap<String, String>> = HashMap::new();
    for CredentialRow { connection, login, sealed, .. } in credentials::of_connector(tx, connector).await? {
        match sealer.open(&place(&connection, &login), &sealed) {
            Ok(password) => {
                // Only text is ever sealed.
                let password = String::from_utf8_lossy(&password).into_owned();
                opened.entry(connection).or_default().insert(login, password);
            }
            Err(error) => {
                tracing::error!(%error, connection, login, "a database credential cannot be opened; set it again");
            }
        }
    }
    Ok(opened)
}

async fn require(tx: &mut Tx, connection: &str) -> Result<(), Problem> {
    match connections::by_name(tx, connection).await? {
        Some(_) => Ok(()),
        None => Err(Problem::not_found("connection", connection)),
    }
}

async fn record(
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    connection: &str,
    login: &str,
    now: Micros,
) -> Result<(), StoreError> {
    let detail = json!({ "connection": connection, "login": login });
    let subject = format!("database_credential/{connection}/{login}");
    audit::append_control(tx, Event::new(now, action, Some(&actor.principal), &subject, &detail)).await
}

fn check(login: &str, password: &SecretString) -> Result<(), Problem> {
    if login.is_empty() || login.len() > MAX_LOGIN_BYTES || login.chars().any(char::is_control) {
        return Err(Problem::invalid("login", format!("a database role's name has 1 to {MAX_LOGIN_BYTES} bytes")));
    }
    let password = password.expose_secret();
    if password.is_empty() || password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
        let message = format!("a password has 1 to {MAX_PASSWORD_BYTES} bytes, none of them NUL");
        return Err(Problem::invalid("password", message));
    }
    Ok(())
}
