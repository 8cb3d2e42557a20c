//! Standing approvals: reviewers agree once to a need that comes again and again, until a date. Each is a request that
//! was approved and that nobody has ended.

use super::{ask::Ask, locked, record, rule, shown, windows, with_room};
use crate::{
    audit::{self, Event},
    grants::checked_reason,
    identity::Actor,
    problem::Problem,
    rights::{Action, authorize},
    store::{
        Store, StoreError, Tx,
        requests::{self, RequestRow},
    },
};
use postern_api::{
    access::{CreateRequest, Request, RequestKind, RequestStatus},
    identity::PrincipalRef,
    standing::{CreateStanding, Recurring},
};
use postern_types::{id::RequestId, time::Micros};
use serde_json::json;
use std::time::Duration;

/// The longest that one holds: somebody looks at it again at least once a year.
const MAX_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Asks for one.
///
/// # Errors
/// When a field is wrong or the caller may not ask.
pub async fn ask_standing(
    store: &Store,
    actor: &Actor,
    body: &CreateStanding,
    lifetime: Duration,
    now: Micros,
) -> Result<Request, Problem> {
    if body.until <= now || body.until > now.plus(MAX_LIFE) {
        return Err(Problem::invalid("until", "must be in the future, within a year"));
    }
    windows::check(&body.windows)?;
    let as_request = CreateRequest {
        connection: body.connection.clone(),
        role: body.role.clone(),
        duration: body.duration.clone(),
        reason: body.reason.clone(),
        on_behalf_of: body.on_behalf_of.clone(),
        ticket: body.ticket.clone(),
        relations: body.relations.clone(),
        client_address: None,
        break_glass: false,
    };
    let mut tx = store.begin().await?;
    let mut asked = Ask::read(&mut tx, actor, &as_request, RequestKind::Standing).await?;
    with_room(&mut tx, actor).await?;
    let (quorum, policy_reason) = match rule::rule(&mut tx, actor, &mut asked, now).await? {
        rule::Rule::Review(quorum, reason) => (Some(quorum), reason),
        rule::Rule::Approved(_) => {
            return Err(Problem::conflict("the role needs no approval: just ask for it each time"));
        }
    };
    let mut row = asked.into_row(actor, (quorum, policy_reason), lifetime, now);
    row.recurring = Some(Recurring { until: body.until, windows: body.windows.clone() });
    requests::insert_request(&mut tx, &row).await?;
    record(&mut tx, "request.created", Some(&actor.principal), &row, None, now).await?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok(request)
}

/// Ends one. Grants that it has given last as long as they do.
///
/// # Errors
/// When there is none that the caller may end.
pub async fn end_standing(
    store: &Store,
    actor: &Actor,
    id: &RequestId,
    reason: Option<&str>,
    now: Micros,
) -> Result<Request, Problem> {
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::End, &row.resource())?;
    if row.kind != RequestKind::Standing || row.status != RequestStatus::Approved {
        return Err(Problem::conflict("the request is no standing approval")
            .hint("`postern withdraw` takes back one that waits; `postern standing list` shows those that hold"));
    }
    if row.closed.is_none() {
        end_in(&mut tx, &row, Some(&actor.principal), reason, now).await?;
    }
    let row = requests::request(&mut tx, id).await?.ok_or_else(|| super::missing(id))?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok(request)
}

/// Ends one inside a larger change.
pub(crate) async fn end_in(
    tx: &mut Tx,
    row: &RequestRow,
    by: Option<&PrincipalRef>,
    reason: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    requests::close_request(tx, &row.id, by.map(|by| &by.id), reason, now).await?;
    let detail = json!({
        "connection": row.connection, "role": row.role, "requester": row.requester, "on_behalf_of": row.on_behalf_of,
        "reason": reason,
    });
    audit::append_control(tx, Event::new(now, "standing.ended", by, row.id.as_str(), &detail)).await
}
