//! What admins see of notifications, and what they do about them.

use crate::{
    audit::{self, Event},
    grants::parse_id,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{
        Store, Tx,
        notifications::{self, DeliveryRow, NotificationRow},
    },
};
use postern_api::notification::{DeliveriesQuery, Delivery, DeliveryStatus, Destination, Notification};
use postern_types::{id::DeliveryId, time::Micros};
use serde_json::json;
use std::collections::HashMap;

/// All notifications, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn list(store: &Store, actor: &Actor) -> Result<Vec<Notification>, Problem> {
    authorize(actor, Action::See, &Resource::Configuration)?;
    let mut tx = store.read().await?;
    let counts = notifications::counts(&mut tx).await?;
    Ok(notifications::list(&mut tx).await?.into_iter().map(|row| shown(row, &counts)).collect())
}

fn shown(row: NotificationRow, counts: &HashMap<(String, DeliveryStatus), i64>) -> Notification {
    let NotificationRow { document, disabled } = row;
    let count = |status| {
        let count = counts.get(&(document.name.clone(), status)).copied().unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    let (kind, to) = match document.destination() {
        Some(Destination::Webhook(webhook)) => ("webhook", webhook.url.clone()),
        Some(Destination::Slack(slack)) => ("slack", slack.channel.clone()),
        Some(Destination::Email(email)) => ("email", email.to.join(", ")),
        None => ("", String::new()),
    };
    let (disabled_at, disabled_because) = disabled.unzip();
    Notification {
        kind: kind.to_owned(),
        to,
        queued: count(DeliveryStatus::Queued),
        dead: count(DeliveryStatus::Dead),
        name: document.name,
        events: document.events,
        disabled_at,
        disabled_because,
    }
}

/// Has a receiver that was disabled get messages again.
///
/// # Errors
/// When there is none of that name, or the caller may not.
pub async fn enable(store: &Store, actor: &Actor, name: &str, now: Micros) -> Result<Notification, Problem> {
    authorize(actor, Action::Change, &Resource::Configuration)?;
    let mut tx = store.begin().await?;
    let row = existing(&mut tx, name).await?;
    if row.disabled.is_some() {
        notifications::enable(&mut tx, name).await?;
        let subject = format!("notification/{name}");
        let event = Event::new(now, "notification.enabled", Some(&actor.principal), &subject, &json!({}));
        audit::append_control(&mut tx, event).await?;
    }
    let row = existing(&mut tx, name).await?;
    let counts = notifications::counts(&mut tx).await?;
    tx.commit().await?;
    Ok(shown(row, &counts))
}

async fn existing(tx: &mut Tx, name: &str) -> Result<NotificationRow, Problem> {
    let missing =
        || Problem::not_found("notification", name).hint("`postern notifications` lists those that there are");
    notifications::by_name(tx, name).await?.ok_or_else(missing)
}

/// Messages to receivers, newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn deliveries(store: &Store, actor: &Actor, query: &DeliveriesQuery) -> Result<Vec<Delivery>, Problem> {
    authorize(actor, Action::See, &Resource::Configuration)?;
    let mut tx = store.read().await?;
    let rows = notifications::deliveries(&mut tx, query.notification.as_deref(), query.status).await?;
    Ok(rows.into_iter().map(to_api).collect())
}

/// Has a message that was given up tried again.
///
/// # Errors
/// When there is none, it was not given up, its receiver is disabled, or the caller may not.
pub async fn retry(store: &Store, actor: &Actor, id: &str, now: Micros) -> Result<Delivery, Problem> {
    authorize(actor, Action::Change, &Resource::Configuration)?;
    let id: DeliveryId = parse_id("delivery", id)?;
    let mut tx = store.begin().await?;
    let missing =
        || Problem::not_found("delivery", id.as_str()).hint("`postern notifications dead` lists what was given up");
    let row = notifications::delivery(&mut tx, &id).await?.ok_or_else(missing)?;
    let target = existing(&mut tx, &row.notification).await?;
    if target.disabled.is_some() {
        return Err(Problem::conflict(format!("`{}` is disabled", row.notification))
            .hint(format!("`postern notifications enable {}`", row.notification)));
    }
    if !notifications::revive(&mut tx, &id, now).await? {
        return Err(Problem::conflict(format!("it was not given up: it is {}", row.status.as_str())));
    }
    let detail = json!({ "delivery": id, "event": row.event, "subject": row.subject });
    let subject = format!("notification/{}", row.notification);
    let event = Event::new(now, "notification.retried", Some(&actor.principal), &subject, &detail);
    audit::append_control(&mut tx, event).await?;
    let row = notifications::delivery(&mut tx, &id).await?.ok_or_else(missing)?;
    tx.commit().await?;
    Ok(to_api(row))
}

fn to_api(row: DeliveryRow) -> Delivery {
    let waits = row.status == DeliveryStatus::Queued;
    Delivery {
        id: row.id,
        notification: row.notification,
        event: row.event,
        subject: row.subject,
        status: row.status,
        attempts: row.attempts,
        next_at: waits.then_some(row.next_at),
        error: row.error,
        created_at: row.created_at,
        done_at: row.done_at,
    }
}
