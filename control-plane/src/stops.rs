//! Stopping a principal everywhere: its grants end, with their sessions; what it has asked for is withdrawn; and there is
//! nothing new for it until an admin lifts that. It is no part of what `apply` writes, so that no file lifts it.

use crate::{
    audit::{self, Event},
    effects::Effect,
    grants::{self, checked_reason},
    identity::{Actor, people},
    problem::{Problem, shorten},
    requests::end_in,
    rights::{Action, Resource, authorize},
    store::{
        Store, StoreError, Tx, access,
        principals::{self, PrincipalRow},
        requests, stops, tokens,
    },
};
use postern_api::{
    access::RequestStatus,
    identity::{PrincipalName, PrincipalRef, Stop, Stopped},
};
use postern_types::time::Micros;
use serde_json::json;

/// Stops a principal, and those who act on its behalf where they do.
///
/// # Errors
/// When there is none that the caller may stop.
pub async fn stop(
    store: &Store,
    actor: &Actor,
    name: &PrincipalName,
    reason: Option<&str>,
    now: Micros,
) -> Result<(Stopped, Vec<Effect>), Problem> {
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let PrincipalRow { principal, .. } = named(&mut tx, actor, Action::Create, name).await?;
    let before = stops::of(&mut tx, &principal.id).await?;
    if before.is_none() {
        stops::put(&mut tx, &principal.id, reason, &actor.principal.id, now).await?;
    }
    let said = format!("{} {} was stopped{}", principal.kind, principal.name, because(reason));
    let Ended { grants, requests, effects } = end_all(&mut tx, &principal, Some(&actor.principal), &said, now).await?;
    // Stopped again, what came since, if anything, has ended.
    if before.is_none() || grants > 0 || requests > 0 {
        let detail = json!({ "reason": reason, "grants": grants, "requests": requests });
        record(&mut tx, actor, "stopped", &principal, &detail, now).await?;
    }
    tx.commit().await?;
    let stop = Stop { by: Some(actor.principal.clone()), at: now, reason: reason.map(str::to_owned) };
    Ok((Stopped { principal, stop: Some(before.unwrap_or(stop)), grants, requests }, effects))
}

/// What a principal had, and has no more.
struct Ended {
    grants: u32,
    requests: u32,
    effects: Vec<Effect>,
}

/// Ends all that a principal has, and what others have on its behalf.
async fn end_all(
    tx: &mut Tx,
    principal: &PrincipalRef,
    by: Option<&PrincipalRef>,
    said: &str,
    now: Micros,
) -> Result<Ended, StoreError> {
    let mut effects = Vec::new();
    for grant in access::unended_grants_of(tx, &principal.id).await? {
        effects.extend(grants::revoke_in(tx, &grant, by, Some(said), now).await?);
    }
    let ended = effects.len();
    let live = requests::live_of(tx, &principal.id).await?;
    for row in &live {
        if row.status == RequestStatus::Pending {
            crate::requests::withdraw_in(tx, row, by, Some(said), now).await?;
        } else {
            end_in(tx, row, by, Some(said), now).await?;
        }
    }
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Ended { grants: number(ended), requests: number(live.len()), effects })
}

/// Ends all that a principal has which is disabled from now on, its tokens and with them its browsers' sessions: whoever
/// is let in again begins with nothing. `what` has become of it, as those read whom it concerns.
///
/// # Errors
/// When the store fails.
pub(crate) async fn disabled_in(
    tx: &mut Tx,
    principal: &PrincipalRef,
    by: Option<&PrincipalRef>,
    what: &str,
    now: Micros,
) -> Result<Vec<Effect>, StoreError> {
    principals::lock(tx, &principal.id).await?;
    let said = format!("{} {} {what}", principal.kind, principal.name);
    people::end_all(tx, &principal.id, &said, now).await?;
    tokens::revoke_of(tx, &principal.id, now).await?;
    Ok(end_all(tx, principal, by, &said, now).await?.effects)
}

/// What has become of whom a person has disabled.
pub(crate) const DISABLED: &str = "was disabled";

/// Lets a principal ask again. What it had stays ended.
///
/// # Errors
/// When there is none, or the caller may not.
pub async fn resume(
    store: &Store,
    actor: &Actor,
    name: &PrincipalName,
    reason: Option<&str>,
    now: Micros,
) -> Result<Stopped, Problem> {
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let PrincipalRow { principal, .. } = named(&mut tx, actor, Action::End, name).await?;
    if stops::of(&mut tx, &principal.id).await?.is_some() {
        stops::delete(&mut tx, &principal.id).await?;
        record(&mut tx, actor, "resumed", &principal, &json!({ "reason": reason }), now).await?;
    }
    tx.commit().await?;
    Ok(Stopped { principal, stop: None, grants: 0, requests: 0 })
}

/// Whether a principal may get access.
///
/// # Errors
/// When it is stopped.
pub async fn check(tx: &mut Tx, principal: &PrincipalRef) -> Result<(), Problem> {
    let Some(stop) = stops::of(tx, &principal.id).await? else { return Ok(()) };
    let by = stop.by.map(|by| format!(" by {}", by.name)).unwrap_or_default();
    let (kind, name, at) = (principal.kind, &principal.name, stop.at);
    Err(Problem::forbidden(format!("{kind} {name} was stopped{by} at {at}{}", because(stop.reason.as_deref())))
        .hint(format!("an admin lifts that: `postern stop {kind}:{name} --off`")))
}

/// The principal, locked until the transaction is over: nothing is granted to it meanwhile.
async fn named(tx: &mut Tx, actor: &Actor, action: Action, name: &PrincipalName) -> Result<PrincipalRow, Problem> {
    let row = principals::by_name(tx, name.kind, &name.name).await?;
    let owner = match &row {
        Some(row) => principals::owner_of(tx, &row.principal.id).await?,
        None => None,
    };
    authorize(actor, action, &Resource::Stop { owner: owner.as_ref() })?;
    let row = row.ok_or_else(|| Problem::not_found(name.kind.as_str(), &shorten(&name.name)))?;
    principals::lock(tx, &row.principal.id).await?;
    Ok(row)
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

async fn record(
    tx: &mut Tx,
    actor: &Actor,
    what: &str,
    principal: &PrincipalRef,
    detail: &serde_json::Value,
    now: Micros,
) -> Result<(), Problem> {
    let (action, subject) = (format!("{}.{what}", principal.kind), format!("{}/{}", principal.kind, principal.name));
    let event = Event::new(now, &action, Some(&actor.principal), &subject, detail);
    Ok(audit::append_control(tx, event).await?)
}
