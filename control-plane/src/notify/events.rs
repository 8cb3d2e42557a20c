//! What is told of an event, and to whom.

use crate::store::{
    StoreError, Tx,
    access::{self, GrantRow},
    notifications::{self, DeliveryRow, NotificationRow},
    requests::{self, RequestRow, status_text},
    reviews::{self, ReviewRow},
};
use postern_api::{
    access::GrantStatus,
    identity::PrincipalRef,
    notification::{DeliveryStatus, Destination, EVENTS, Happening, Message, TOLD_EVERYWHERE},
};
use postern_proto::v1::{ControlEvent, EffectPreview, Principal, effect_preview::Result as Tried, principal::Kind};
use postern_types::{
    id::{DeliveryId, GrantId, RequestId, ReviewId},
    time::{Micros, format_duration},
};
use serde_json::Value;

/// A statement is told up to so many characters.
const MAX_STATEMENT: usize = 16_000;

/// The most relations that are told of an effect.
const MAX_RELATIONS: usize = 20;

/// Queues what is to be told of an event, in the transaction that records it.
pub(crate) async fn queue(tx: &mut Tx, event: &ControlEvent) -> Result<(), StoreError> {
    if !EVENTS.contains(&event.action.as_str()) {
        return Ok(());
    }
    let Some(Told { thread, happening }) = told(tx, event).await? else { return Ok(()) };
    let mut queued = None;
    for row in notifications::list(tx).await? {
        if !concerns(tx, &row, &event.action, &thread, &happening).await? {
            continue;
        }
        let message = match &queued {
            Some(message) => message,
            None => queued.insert(written(event, &happening)?),
        };
        let delivery = DeliveryRow {
            id: DeliveryId::new(),
            notification: row.document.name,
            thread: thread.clone(),
            event: event.action.clone(),
            subject: event.subject.clone(),
            message: message.clone(),
            status: DeliveryStatus::Queued,
            attempts: 0,
            next_at: Micros(event.at_us),
            error: None,
            created_at: Micros(event.at_us),
            done_at: None,
        };
        notifications::insert(tx, &delivery).await?;
    }
    Ok(())
}

fn written(event: &ControlEvent, happening: &Happening) -> Result<String, StoreError> {
    let message = Message { r#type: event.action.clone(), timestamp: Micros(event.at_us), data: happening.clone() };
    serde_json::to_string(&message).map_err(|error| StoreError::corrupt("notification", error))
}

/// Whether it is told there.
async fn concerns(
    tx: &mut Tx,
    row: &NotificationRow,
    action: &str,
    thread: &str,
    happening: &Happening,
) -> Result<bool, StoreError> {
    if action == TOLD_EVERYWHERE {
        return Ok(row.disabled.is_none());
    }
    let document = &row.document;
    let any = |wanted: &[String], has: &dyn Fn(&String) -> bool| wanted.is_empty() || wanted.iter().any(has);
    if row.disabled.is_some()
        || !any(&document.connections, &|name| *name == happening.connection)
        || !any(&document.groups, &|group| happening.reviewers.contains(group))
    {
        return Ok(false);
    }
    if document.is_of(action) {
        return Ok(true);
    }
    // A message in Slack shows how something stands, whatever it was that it was sent for.
    let is_slack = matches!(document.destination(), Some(Destination::Slack(_)));
    Ok(is_slack && notifications::has_thread(tx, &document.name, thread).await?)
}

/// What is told, and what it is about.
struct Told {
    /// The request, also for its grant; a review.
    thread: String,
    happening: Happening,
}

async fn told(tx: &mut Tx, event: &ControlEvent) -> Result<Option<Told>, StoreError> {
    let by = event.actor.as_ref().map(principal).transpose()?;
    if let Ok(id) = event.subject.parse::<RequestId>() {
        let Some(row) = requests::request(tx, &id).await? else { return Ok(None) };
        // Nobody has to know of what waits for nobody: its grant is told of.
        if row.approvals_needed == 0 && event.action == "request.created" {
            return Ok(None);
        }
        return Ok(Some(Told { thread: row.id.to_string(), happening: of_request(row, by, answer(event)) }));
    }
    if let Ok(id) = event.subject.parse::<ReviewId>() {
        let row = reviews::by_id(tx, &id).await?;
        return Ok(row.map(|row| Told { thread: row.id.to_string(), happening: of_review(row, by, answer(event)) }));
    }
    let Ok(id) = event.subject.parse::<GrantId>() else { return Ok(None) };
    let Some(row) = access::grant(tx, &id).await? else { return Ok(None) };
    let request = requests::request(tx, &row.request_id).await?;
    Ok(Some(Told { thread: row.request_id.to_string(), happening: of_grant(row, request, by, Micros(event.at_us)) }))
}

/// What a reviewer said, or why it was closed without one.
fn answer(event: &ControlEvent) -> Option<String> {
    let detail: Value = serde_json::from_str(&event.detail).ok()?;
    let keys: &[&str] = match event.action.as_str() {
        "review.approved" => &["reason"],
        _ => &["answer", "because"],
    };
    keys.iter().find_map(|key| detail.get(key)?.as_str()).map(str::to_owned)
}

fn principal(principal: &Principal) -> Result<PrincipalRef, StoreError> {
    let corrupt = |problem: String| StoreError::corrupt("actor of an event", problem);
    let kind = match principal.kind() {
        Kind::User => "user",
        Kind::Agent => "agent",
        Kind::Unspecified => "",
    };
    Ok(PrincipalRef {
        kind: kind.parse().map_err(corrupt)?,
        id: principal.id.parse().map_err(|error: postern_types::id::ParseIdError| corrupt(error.to_string()))?,
        name: principal.name.clone(),
    })
}

fn of_request(row: RequestRow, by: Option<PrincipalRef>, answer: Option<String>) -> Happening {
    Happening {
        id: row.id.to_string(),
        status: status_text(row.status).to_owned(),
        url: None,
        connection: row.connection,
        role: row.role,
        principal: row.requester,
        on_behalf_of: row.on_behalf_of,
        reason: row.reason,
        ticket: row.ticket,
        duration: Some(format_duration(row.duration)),
        expires_at: Some(row.expires_at),
        reviewers: row.reviewer_groups,
        request_id: None,
        grant_id: row.grant_id,
        by,
        answer,
        statement: None,
        effect: None,
    }
}

fn of_grant(row: GrantRow, request: Option<RequestRow>, by: Option<PrincipalRef>, now: Micros) -> Happening {
    let status = match row.status(now) {
        GrantStatus::Open => "open",
        GrantStatus::Revoked => "revoked",
        GrantStatus::Expired => "expired",
    };
    let (ticket, reviewers) = request.map(|request| (request.ticket, request.reviewer_groups)).unwrap_or_default();
    Happening {
        id: row.id.to_string(),
        status: status.to_owned(),
        url: None,
        connection: row.connection,
        role: row.role,
        principal: row.principal,
        on_behalf_of: row.on_behalf_of,
        reason: row.reason,
        ticket,
        duration: None,
        expires_at: Some(row.ends_at),
        reviewers,
        request_id: Some(row.request_id),
        grant_id: None,
        by,
        answer: row.revoke_reason,
        statement: None,
        effect: None,
    }
}

fn of_review(row: ReviewRow, by: Option<PrincipalRef>, answer: Option<String>) -> Happening {
    let needed = row.statement.reviewers.iter().map(|needed| &needed.group);
    let escalated = row.escalate_to.iter().filter(|_| row.escalated_at.is_some());
    let reviewers = needed.chain(escalated).cloned().collect();
    let sql = &row.statement.sql;
    let mut statement: String = sql.chars().take(MAX_STATEMENT).collect();
    if statement.len() < sql.len() || row.statement.sql_bytes > 0 {
        statement.push('…');
    }
    Happening {
        id: row.id.to_string(),
        status: row.status.as_str().to_owned(),
        url: None,
        connection: row.connection,
        role: row.role,
        principal: row.principal,
        on_behalf_of: row.on_behalf_of,
        reason: row.reason,
        ticket: row.ticket,
        duration: None,
        expires_at: Some(row.expires_at),
        reviewers,
        request_id: None,
        grant_id: Some(row.grant_id),
        by,
        answer,
        statement: Some(statement),
        effect: row.statement.preview.as_ref().map(effect),
    }
}

/// What a statement would do, in a sentence.
fn effect(preview: &EffectPreview) -> String {
    match &preview.result {
        None => "not tried".to_owned(),
        Some(Tried::NotMade(why)) => format!("not tried: {why}"),
        Some(Tried::Fails(error)) => format!("it fails: {}", error.message),
        Some(Tried::Effect(effect)) => {
            let about = if effect.exact { "" } else { "about " };
            let relations = effect.relations.iter().take(MAX_RELATIONS).map(|relation| {
                let done =
                    [("inserted", relation.inserted), ("updated", relation.updated), ("deleted", relation.deleted)];
                let done: Vec<_> = done.iter().filter(|(_, n)| *n > 0).map(|(how, n)| format!("{n} {how}")).collect();
                let how = if relation.indirect { " by a cascade or trigger" } else { "" };
                format!("{}: {}{how}", relation.relation, done.join(", "))
            });
            let relations: Vec<_> = relations.collect();
            format!("{about}{} rows. {}", effect.rows, relations.join("; "))
        }
    }
}
