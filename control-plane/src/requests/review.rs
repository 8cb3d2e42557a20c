//! A reviewer's answer, and what comes of it.

use super::{
    ask::{self, are_within},
    extend, lock_concerned, locked, record, shown, waits,
};
use crate::{
    audit::{self, Event},
    budgets::Balance,
    effects::Effect,
    grants::checked_reason,
    identity::{Actor, people, tokens},
    problem::Problem,
    quorum::{Standing, standing},
    rights::{Action, authorize},
    stops,
    store::{
        Store, StoreError, Tx,
        access::{self, GrantRow},
        connections, principals,
        requests::{self, RequestRow},
    },
};
use postern_api::{
    access::{Request, RequestKind, RequestStatus, Verdict, Vote},
    document::{AccessRole, Bind},
    identity::PrincipalRef,
};
use postern_types::{
    id::{GrantId, RequestId},
    time::{Micros, format_duration},
};
use serde_json::json;

/// What a reviewer says.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<&'a str>,
    /// Less time than was asked for.
    pub duration: Option<&'a str>,
    /// Fewer relations than were asked for; none: those.
    pub relations: &'a [String],
}

/// A reviewer's answer.
///
/// # Errors
/// When there is no such request, the caller may not review it, or it waits no more.
pub async fn review(
    store: &Store,
    actor: &Actor,
    id: &RequestId,
    answer: Answer<'_>,
    now: Micros,
) -> Result<(Request, Vec<Effect>), Problem> {
    let reason = checked_reason(answer.reason)?;
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    let action = if answer.verdict == Verdict::Approve { Action::Approve } else { Action::Deny };
    authorize(actor, action, &row.resource())?;
    stops::check(&mut tx, &actor.principal).await?;
    if answer.verdict == Verdict::Approve {
        people::check_fresh_on(&mut tx, actor, &row.connection, now).await?;
    }
    let votes = requests::votes(&mut tx, id).await?;
    if let Some(before) = votes.iter().find(|vote| vote.reviewer.id == actor.principal.id) {
        // The same answer twice counts once, and is no error: whoever repeats it did not hear that it was heard.
        if before.verdict == answer.verdict {
            return Ok((shown(&mut tx, row).await?, Vec::new()));
        }
        return Err(Problem::conflict("you have answered already"));
    }
    waits(&row, now)?;
    let row = narrowed(row, &answer)?;
    let vote =
        Vote { reviewer: actor.principal.clone(), verdict: answer.verdict, reason: reason.map(str::to_owned), at: now };
    requests::insert_vote(&mut tx, id, &vote).await?;

    let mut effects = Vec::new();
    if answer.verdict == Verdict::Deny {
        requests::decide_request(&mut tx, id, RequestStatus::Denied, now, None).await?;
        record(&mut tx, "request.denied", Some(&actor.principal), &row, reason, now).await?;
    } else {
        requests::narrow_request(&mut tx, id, row.duration, &row.relations).await?;
        record(&mut tx, "request.approved", Some(&actor.principal), &row, reason, now).await?;
        if standing(&row.quorum, &approving(&mut tx, id).await?) == Standing::Met {
            effects.extend(approve(&mut tx, Some(&actor.principal), &row, now).await?);
        }
    }
    let row = requests::request(&mut tx, id).await?.ok_or_else(|| super::missing(id))?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok((request, effects))
}

/// Who says yes, as they are now: whoever was disabled or stopped or left a group since counts no more.
pub(super) async fn approving(tx: &mut Tx, id: &RequestId) -> Result<Vec<Actor>, StoreError> {
    let mut agree = Vec::new();
    for vote in requests::votes(tx, id).await? {
        if vote.verdict == Verdict::Approve && stops::check(tx, &vote.reviewer).await.is_ok() {
            agree.extend(tokens::actor(tx, &vote.reviewer).await?);
        }
    }
    Ok(agree)
}

/// What is left of a request of which a reviewer gives less. Whoever answers next gives no more.
fn narrowed(row: RequestRow, answer: &Answer<'_>) -> Result<RequestRow, Problem> {
    let duration = match answer.duration {
        Some(text) => ask::duration(text)?,
        None => row.duration,
    };
    if duration > row.duration {
        return Err(Problem::invalid("duration", format!("only {} was asked for", format_duration(row.duration))));
    }
    let relations = ask::relations(answer.relations)?;
    if relations.is_empty() {
        return Ok(RequestRow { duration, ..row });
    }
    if row.kind == RequestKind::Extension {
        return Err(Problem::invalid("relations", "an extension is for what its grant is for"));
    }
    if !are_within(&relations, &row.relations) {
        let asked = row.relations.join(", ");
        return Err(Problem::invalid("relations", format!("only {asked} was asked for")));
    }
    Ok(RequestRow { duration, relations, ..row })
}

/// Does what was asked for: all who have to have agreed, or a rule.
pub(super) async fn approve(
    tx: &mut Tx,
    by: Option<&PrincipalRef>,
    row: &RequestRow,
    now: Micros,
) -> Result<Vec<Effect>, Problem> {
    let role = still_possible(tx, row).await?;
    match row.kind {
        RequestKind::Access | RequestKind::BreakGlass => {
            grant(tx, by, row, &role, now).await?;
            Ok(Vec::new())
        }
        RequestKind::Extension => extend::apply(tx, by, row, now).await,
        RequestKind::Standing => {
            if row.recurring.as_ref().is_none_or(|recurring| recurring.until <= now) {
                return Err(Problem::conflict("the time for which it was asked is over"));
            }
            requests::decide_request(tx, &row.id, RequestStatus::Approved, now, None).await?;
            record(tx, "standing.created", by, row, None, now).await?;
            Ok(Vec::new())
        }
    }
}

/// What held when it was asked for has to hold when it is granted.
async fn still_possible(tx: &mut Tx, row: &RequestRow) -> Result<AccessRole, Problem> {
    // Nobody stops them until it is granted.
    lock_concerned(tx, row).await?;
    for principal in [Some(&row.requester), row.on_behalf_of.as_ref()].into_iter().flatten() {
        if principals::by_id(tx, &principal.id).await?.is_none_or(|row| row.disabled) {
            return Err(Problem::conflict(format!("{} {} is disabled", principal.kind, principal.name)));
        }
        stops::check(tx, principal).await?;
    }
    let connection = connections::by_name(tx, &row.connection).await?;
    let role = connection.and_then(|connection| connection.document.roles.get(&row.role).cloned());
    let Some(role) = role else {
        return Err(Problem::conflict(format!("the role `{}` of `{}` is gone", row.role, row.connection)));
    };
    let groups = principals::groups_of(tx, &row.requester.id).await?;
    let asks = match (row.kind, &role.break_glass) {
        (RequestKind::BreakGlass, Some(named)) => named.groups.iter().any(|group| groups.contains(group)),
        (RequestKind::BreakGlass, None) => false,
        _ => role.groups.is_empty() || role.groups.iter().any(|group| groups.contains(group)),
    };
    if !asks {
        return Err(Problem::conflict(format!("{} may no longer ask for this role", row.requester.name)));
    }
    Ok(role)
}

async fn grant(
    tx: &mut Tx,
    by: Option<&PrincipalRef>,
    row: &RequestRow,
    role: &AccessRole,
    now: Micros,
) -> Result<(), Problem> {
    if role.bind.contains(&Bind::Address) && row.client_address.is_none() {
        return Err(Problem::conflict("grants of this role are bound to a client's address, and it names none")
            .hint("ask again with `--from ADDRESS`"));
    }
    if role.bind.contains(&Bind::Job) && row.machine.job.is_none() {
        return Err(Problem::conflict("grants of this role are bound to a job, and no job has asked")
            .hint("ask again from a job, with the token that its platform's was exchanged for"));
    }
    if role.bind.contains(&Bind::Certificate) && row.machine.certificate.is_none() {
        return Err(Problem::conflict("grants of this role are bound to a certificate, and nobody with one has asked")
            .hint("ask again with a token that was given for a certificate"));
    }
    let grant = GrantRow {
        id: GrantId::new(),
        request_id: row.id.clone(),
        connection: row.connection.clone(),
        role: row.role.clone(),
        principal: row.requester.clone(),
        on_behalf_of: row.on_behalf_of.clone(),
        reason: row.reason.clone(),
        starts_at: now,
        ends_at: now.plus(row.duration),
        verifier: None,
        revoked_at: None,
        revoked_by: None,
        revoke_reason: None,
        ended_at: None,
        balance: role.budget.clone().map(|budget| Balance { budget, ..Balance::default() }),
        relations: row.relations.clone(),
        bound_address: row.client_address,
        binds_first_use: role.bind.contains(&Bind::FirstUse),
        bound_job: row.machine.job.clone().filter(|_| role.bind.contains(&Bind::Job)),
        bound_certificate: row.machine.certificate.clone().filter(|_| role.bind.contains(&Bind::Certificate)),
    };
    access::insert_grant(tx, &grant).await?;
    requests::decide_request(tx, &row.id, RequestStatus::Approved, now, Some(&grant.id)).await?;
    let detail = json!({
        "request": row.id, "connection": row.connection, "role": row.role, "principal": row.requester,
        "on_behalf_of": row.on_behalf_of, "expires_at": grant.ends_at, "rule": row.policy_reason,
        "budget": grant.balance.as_ref().map(|balance| &balance.budget), "relations": grant.relations,
        "bound_address": grant.bound_address, "binds_first_use": grant.binds_first_use,
        "bound_job": grant.bound_job, "bound_certificate": grant.bound_certificate,
    });
    audit::append_control(tx, Event::new(now, "grant.created", by, grant.id.as_str(), &detail)).await?;
    if row.kind == RequestKind::BreakGlass {
        let detail = json!({
            "request": row.id, "connection": row.connection, "role": row.role, "principal": row.requester,
            "reason": row.reason, "ticket": row.ticket, "expires_at": grant.ends_at,
            "reviewers": row.reviewer_groups,
        });
        let event = Event::new(now, "grant.break_glass", Some(&row.requester), grant.id.as_str(), &detail);
        audit::append_control(tx, event).await?;
    }
    Ok(())
}
