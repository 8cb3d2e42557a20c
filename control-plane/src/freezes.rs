//! Freezing a connection: whatever policies permit, nobody changes anything there.

use crate::{
    audit::{self, Event},
    effects::Effect,
    grants::checked_reason,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{Store, Tx, connections, freezes, policies},
};
use postern_api::policy::{Freeze, Frozen};
use postern_types::time::Micros;
use serde_json::json;

/// Freezes a connection. One that is frozen stays as it is.
///
/// # Errors
/// When there is no such connection or the caller may not.
pub async fn freeze(
    store: &Store,
    actor: &Actor,
    connection: &str,
    reason: Option<&str>,
    now: Micros,
) -> Result<(Frozen, Vec<Effect>), Problem> {
    authorize(actor, Action::Create, &Resource::Freeze)?;
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let before = current(&mut tx, connection).await?;
    if before.is_some() {
        return Ok((Frozen { connection: connection.to_owned(), freeze: before }, Vec::new()));
    }
    freezes::put(&mut tx, connection, reason, &actor.principal.id, now).await?;
    let freeze = Freeze { by: Some(actor.principal.clone()), at: now, reason: reason.map(str::to_owned) };
    record(&mut tx, actor, "connection.frozen", connection, reason, now).await?;
    tx.commit().await?;
    Ok((Frozen { connection: connection.to_owned(), freeze: Some(freeze) }, vec![Effect::PoliciesChanged]))
}

/// Lifts a connection's freeze, if there is one.
///
/// # Errors
/// When there is no such connection or the caller may not.
pub async fn unfreeze(
    store: &Store,
    actor: &Actor,
    connection: &str,
    reason: Option<&str>,
    now: Micros,
) -> Result<(Frozen, Vec<Effect>), Problem> {
    authorize(actor, Action::End, &Resource::Freeze)?;
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let mut effects = Vec::new();
    if current(&mut tx, connection).await?.is_some() {
        freezes::delete(&mut tx, connection).await?;
        record(&mut tx, actor, "connection.unfrozen", connection, reason, now).await?;
        effects.push(Effect::PoliciesChanged);
    }
    tx.commit().await?;
    Ok((Frozen { connection: connection.to_owned(), freeze: None }, effects))
}

/// The freeze of a connection, which stays so until the transaction is over.
async fn current(tx: &mut Tx, connection: &str) -> Result<Option<Freeze>, Problem> {
    policies::lock(tx).await?;
    if connections::by_name(tx, connection).await?.is_none() {
        return Err(Problem::not_found("connection", connection));
    }
    Ok(freezes::of(tx, connection).await?)
}

async fn record(
    tx: &mut Tx,
    actor: &Actor,
    action: &str,
    connection: &str,
    reason: Option<&str>,
    now: Micros,
) -> Result<(), Problem> {
    let subject = format!("connection/{connection}");
    let event = Event::new(now, action, Some(&actor.principal), &subject, &json!({ "reason": reason }));
    Ok(audit::append_control(tx, event).await?)
}
