//! What people say about a request, and the review that comes after break-glass.

use super::{ask, locked, shown};
use crate::{
    audit::{self, Event},
    identity::Actor,
    problem::Problem,
    rights::{Action, authorize},
    stops,
    store::{Store, requests},
};
use postern_api::access::{Request, RequestKind};
use postern_types::{id::RequestId, time::Micros};
use serde_json::json;

/// The most comments on one request.
const MAX_COMMENTS: i64 = 200;

/// Says something about a request.
///
/// # Errors
/// When there is none that the caller may speak to.
pub async fn comment(
    store: &Store,
    actor: &Actor,
    id: &RequestId,
    text: &str,
    now: Micros,
) -> Result<Request, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > crate::grants::MAX_REASON {
        let message = format!("a comment has 1 to {} characters", crate::grants::MAX_REASON);
        return Err(Problem::invalid("text", message));
    }
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::Comment, &row.resource())?;
    let number = requests::count_comments(&mut tx, id).await?;
    if number >= MAX_COMMENTS {
        return Err(Problem::conflict(format!("there are {MAX_COMMENTS} comments on this request already")));
    }
    requests::insert_comment(&mut tx, id, number, &actor.principal.id, text, now).await?;
    let detail = json!({ "text": text, "requester": row.requester, "on_behalf_of": row.on_behalf_of });
    let event = Event::new(now, "request.commented", Some(&actor.principal), id.as_str(), &detail);
    audit::append_control(&mut tx, event).await?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok(request)
}

/// Closes the review of break-glass: somebody else has looked at it.
///
/// # Errors
/// When there is none that the caller may close.
pub async fn close(
    store: &Store,
    actor: &Actor,
    id: &RequestId,
    reason: &str,
    now: Micros,
) -> Result<Request, Problem> {
    let reason = ask::needed_reason(reason)?;
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::Close, &row.resource())?;
    stops::check(&mut tx, &actor.principal).await?;
    if row.kind != RequestKind::BreakGlass {
        return Err(Problem::conflict("only break-glass is reviewed afterwards")
            .hint("`postern requests --to-review` lists what is"));
    }
    // Asked for twice, it is done once: what was found first stays.
    if row.closed.is_none() {
        requests::close_request(&mut tx, id, Some(&actor.principal.id), Some(reason), now).await?;
        let detail = json!({
            "connection": row.connection, "role": row.role, "requester": row.requester, "grant": row.grant_id,
            "reason": reason,
        });
        let event = Event::new(now, "break_glass.reviewed", Some(&actor.principal), id.as_str(), &detail);
        audit::append_control(&mut tx, event).await?;
    }
    let row = requests::request(&mut tx, id).await?.ok_or_else(|| super::missing(id))?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok(request)
}
