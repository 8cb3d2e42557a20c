//! A grant ends later only by a new decision.

use super::{ask, record, review, shown, with_room};
use crate::{
    audit::{self, Event},
    effects::Effect,
    grants,
    identity::Actor,
    problem::Problem,
    quorum,
    rights::{Action, authorize},
    stops,
    store::{
        Store, StoreError, Tx, access, connections,
        requests::{self, RequestRow},
    },
};
use postern_api::{
    access::{Extend, GrantStatus, Request, RequestKind, RequestStatus},
    identity::PrincipalRef,
    quorum::{Quorum, QuorumMode},
};
use postern_types::{
    id::{GrantId, RequestId},
    time::{Micros, format_duration, parse_duration},
};
use serde_json::json;
use std::time::Duration;

/// Asks that a grant ends so much later than it would. Where its role needs no approval it does at once.
///
/// # Errors
/// When there is no such open grant of the caller's, or a field is wrong.
pub async fn extend(
    store: &Store,
    actor: &Actor,
    id: &GrantId,
    body: &Extend,
    lifetime: Duration,
    now: Micros,
) -> Result<(Request, Vec<Effect>), Problem> {
    let (reason, duration) = (ask::needed_reason(&body.reason)?, ask::duration(&body.duration)?);
    let mut tx = store.begin().await?;
    let grant = grants::visible(&mut tx, actor, id).await?;
    authorize(actor, Action::Extend, &grant.resource())?;
    if grant.status(now) != GrantStatus::Open {
        return Err(grants::over(&grant, now));
    }
    for principal in [Some(&grant.principal), grant.on_behalf_of.as_ref()].into_iter().flatten() {
        stops::check(&mut tx, principal).await?;
    }
    let before =
        requests::request(&mut tx, &grant.request_id).await?.ok_or_else(|| super::missing(&grant.request_id))?;
    let connection = connections::by_name(&mut tx, &grant.connection).await?;
    let role = connection.and_then(|connection| connection.document.roles.get(&grant.role).cloned());
    let role = role.ok_or_else(|| Problem::conflict(format!("the role `{}` is gone", grant.role)))?;
    let longest = parse_duration(&role.max_duration).map_err(|error| StoreError::corrupt("max_duration", error))?;
    if duration > longest {
        return Err(Problem::invalid("duration", format!("at most {} can be asked for", format_duration(longest))));
    }
    with_room(&mut tx, actor).await?;
    let needed = role.quorum();
    let policy_reason = match &needed {
        Some(quorum) => format!("the role needs {quorum}"),
        None => "the role needs no approval".to_owned(),
    };
    let quorum = needed.unwrap_or(Quorum { mode: QuorumMode::All, needs: Vec::new() });
    let row = RequestRow {
        id: RequestId::new(),
        kind: RequestKind::Extension,
        machine: actor.machine.clone(),
        duration,
        reason: reason.to_owned(),
        status: RequestStatus::Pending,
        created_at: now,
        // Nobody extends what is over.
        expires_at: now.plus(lifetime).min(grant.ends_at),
        approvals_needed: quorum::least(&quorum),
        reviewer_groups: if quorum.needs.is_empty() { role.reviewers.groups() } else { quorum::groups(&quorum) },
        quorum,
        policy_reason,
        grant_id: Some(grant.id.clone()),
        decided_at: None,
        closed: None,
        ..before
    };
    requests::insert_request(&mut tx, &row).await?;
    record(&mut tx, "request.created", Some(&actor.principal), &row, None, now).await?;
    let effects = if row.approvals_needed == 0 { review::approve(&mut tx, None, &row, now).await? } else { Vec::new() };
    let row = requests::request(&mut tx, &row.id).await?.ok_or_else(|| super::missing(&row.id))?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok((request, effects))
}

/// Has the grant end later.
pub(super) async fn apply(
    tx: &mut Tx,
    by: Option<&PrincipalRef>,
    row: &RequestRow,
    now: Micros,
) -> Result<Vec<Effect>, Problem> {
    let id = row.grant_id.as_ref().ok_or_else(|| StoreError::corrupt("grant_id", "an extension without a grant"))?;
    let Some(grant) = access::extend_grant(tx, id, row.duration, now).await? else {
        return Err(Problem::conflict("the grant is over already").hint(grants::ask_again(&row.connection, &row.role)));
    };
    requests::decide_request(tx, &row.id, RequestStatus::Approved, now, Some(id)).await?;
    let detail = json!({
        "request": row.id, "connection": grant.connection, "role": grant.role, "principal": grant.principal,
        "on_behalf_of": grant.on_behalf_of, "by": format_duration(row.duration), "expires_at": grant.ends_at,
        "rule": row.policy_reason,
    });
    audit::append_control(tx, Event::new(now, "grant.extended", by, id.as_str(), &detail)).await?;
    Ok(vec![Effect::GrantExtended(id.clone(), grant.ends_at)])
}
