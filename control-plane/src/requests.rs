//! Requests for access: made, reviewed, and turned into a grant.
//!
//! Each transition is one transaction that holds the request's row, checks where it stands, writes, and records
//! what it did.

use crate::{
    audit::{self, Event},
    budgets::Balance,
    effects::Effect,
    grants::{checked_reason, parse_id},
    identity::Actor,
    problem::{Problem, shorten},
    rights::{Action, Resource, authorize, is_allowed},
    store::{
        Store, StoreError, Tx,
        access::{self, GrantRow, RequestRow},
        connections, principals,
    },
};
use postern_api::{
    access::{CreateRequest, Request, RequestStatus, Verdict, Vote},
    document::AccessRole,
    identity::{PrincipalKind, PrincipalRef},
};
use postern_types::{
    id::{GrantId, RequestId},
    time::{Micros, format_duration, parse_duration},
};
use serde_json::json;
use std::time::Duration;

/// The most requests that one principal has waiting.
const MAX_PENDING: i64 = 100;

/// The longest name of a ticket, in characters.
const MAX_TICKET: usize = 200;

/// How many requests one transaction marks as expired.
const END_BATCH: u32 = 100;

/// Asks for access. Where the role needs no approval there is a grant at once.
///
/// # Errors
/// When a field is wrong or the caller may not ask.
pub async fn submit(
    store: &Store,
    actor: &Actor,
    body: &CreateRequest,
    lifetime: Duration,
    now: Micros,
) -> Result<(Request, Vec<Effect>), Problem> {
    let reason = checked_reason(Some(&body.reason))?
        .ok_or_else(|| Problem::invalid("reason", "say why: whoever reviews it reads this, and it is in the audit"))?;
    let ticket = body.ticket.as_deref().map(str::trim).filter(|ticket| !ticket.is_empty());
    if ticket.is_some_and(|ticket| ticket.chars().count() > MAX_TICKET) {
        return Err(Problem::invalid("ticket", format!("a ticket has at most {MAX_TICKET} characters")));
    }
    let mut tx = store.begin().await?;
    let role = askable_role(&mut tx, actor, &body.connection, &body.role).await?;
    let duration = checked_duration(&body.duration, &role)?;
    let on_behalf_of = match body.on_behalf_of.as_deref() {
        Some(name) => Some(represented(&mut tx, actor, name).await?),
        None => None,
    };
    if access::pending_of(&mut tx, &actor.principal.id).await? >= MAX_PENDING {
        return Err(Problem::conflict(format!("{MAX_PENDING} of your requests wait for review already"))
            .hint("withdraw some: `postern requests --mine`"));
    }
    let row = RequestRow {
        id: RequestId::new(),
        connection: body.connection.clone(),
        role: body.role.clone(),
        duration,
        reason: reason.to_owned(),
        ticket: ticket.map(str::to_owned),
        requester: actor.principal.clone(),
        on_behalf_of,
        status: RequestStatus::Pending,
        created_at: now,
        expires_at: now.plus(lifetime),
        approvals_needed: role.approvals,
        policy_reason: policy_reason(&role),
        reviewer_groups: role.reviewers,
        grant_id: None,
        decided_at: None,
    };
    access::insert_request(&mut tx, &row).await?;
    record(&mut tx, "request.created", Some(&actor.principal), &row, None, now).await?;
    if row.approvals_needed == 0 {
        grant(&mut tx, None, &row, row.duration, now).await?;
    }
    let request = loaded(&mut tx, &row.id).await?;
    tx.commit().await?;
    Ok((request, vec![Effect::RequestsChanged]))
}

/// The access role, if it is there and the caller may ask for it.
async fn askable_role(tx: &mut Tx, actor: &Actor, connection: &str, role: &str) -> Result<AccessRole, Problem> {
    let hint = "`postern connections` lists what you can ask for";
    let missing = || Problem::not_found("connection", connection).hint(hint);
    let found = connections::by_name(tx, connection).await?.ok_or_else(missing)?;
    let roles = &found.document.roles;
    // Who may see none of a connection's roles does not learn that it is there.
    let sees = |role: &AccessRole| is_allowed(actor, Action::See, &Resource::AccessRole { groups: &role.groups });
    if !roles.values().any(sees) {
        return Err(missing());
    }
    let names: Vec<_> = roles.iter().filter(|(_, role)| sees(role)).map(|(name, _)| name.as_str()).collect();
    if roles.contains_key(role) && !actor.reaches(connection, role) {
        return Err(Problem::forbidden(format!("your token is not good for the role `{}` of `{connection}`", role))
            .hint("`postern whoami` shows what it is narrowed to"));
    }
    let role = roles.get(role).ok_or_else(|| {
        Problem::invalid("role", format!("the connection `{connection}` has no role `{}`", shorten(role)))
            .hint(format!("there is {}", names.join(", ")))
    })?;
    authorize(actor, Action::Create, &Resource::AccessRole { groups: &role.groups })?;
    Ok(role.clone())
}

fn checked_duration(text: &str, role: &AccessRole) -> Result<Duration, Problem> {
    let duration = parse_duration(text).map_err(|error| Problem::invalid("duration", error.to_string()))?;
    let longest = parse_duration(&role.max_duration).map_err(|error| StoreError::corrupt("max_duration", error))?;
    if duration > longest {
        return Err(Problem::invalid("duration", format!("at most {} can be asked for", format_duration(longest)))
            .hint(format!("ask with `--for {}`", format_duration(longest))));
    }
    Ok(duration)
}

/// The user for whom an agent acts.
async fn represented(tx: &mut Tx, actor: &Actor, name: &str) -> Result<PrincipalRef, Problem> {
    if actor.principal.kind != PrincipalKind::Agent {
        return Err(Problem::invalid("on_behalf_of", "only an agent acts on behalf of somebody"));
    }
    let user = principals::by_name(tx, PrincipalKind::User, name).await?;
    match user {
        Some(user) if !user.disabled => Ok(user.principal),
        _ => Err(Problem::invalid("on_behalf_of", format!("there is no user `{}`", shorten(name)))),
    }
}

fn policy_reason(role: &AccessRole) -> String {
    match (role.approvals, role.reviewers.as_slice()) {
        (0, _) => "the role needs no approval".to_owned(),
        (1, []) => "the role needs an admin's approval".to_owned(),
        (n, []) => format!("the role needs the approval of {n} admins"),
        (n, groups) => format!("the role needs {n} of {}", groups.join(", ")),
    }
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
    let mut votes = access::votes(&mut tx, id).await?;
    if let Some(before) = votes.iter().find(|vote| vote.reviewer.id == actor.principal.id) {
        // The same answer twice counts once, and is no error: whoever repeats it did not hear that it was heard.
        if before.verdict == answer.verdict {
            return Ok((to_api(row, votes), Vec::new()));
        }
        return Err(Problem::conflict("you have answered already"));
    }
    waits(&row, now)?;
    let duration = shortened(&row, answer.duration)?;
    let vote =
        Vote { reviewer: actor.principal.clone(), verdict: answer.verdict, reason: reason.map(str::to_owned), at: now };
    access::insert_vote(&mut tx, id, &vote).await?;
    votes.push(vote);

    let approvals = votes.iter().filter(|vote| vote.verdict == Verdict::Approve).count();
    if answer.verdict == Verdict::Deny {
        access::decide_request(&mut tx, id, RequestStatus::Denied, now, None).await?;
        record(&mut tx, "request.denied", Some(&actor.principal), &row, reason, now).await?;
    } else {
        record(&mut tx, "request.approved", Some(&actor.principal), &row, reason, now).await?;
        if u32::try_from(approvals).unwrap_or(u32::MAX) >= row.approvals_needed {
            still_possible(&mut tx, &row).await?;
            grant(&mut tx, Some(&actor.principal), &row, duration, now).await?;
        } else if duration < row.duration {
            access::shorten_request(&mut tx, id, duration).await?;
        }
    }
    let request = loaded(&mut tx, id).await?;
    tx.commit().await?;
    Ok((request, vec![Effect::RequestsChanged]))
}

/// What a reviewer says.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<&'a str>,
    /// Less time than was asked for.
    pub duration: Option<&'a str>,
}

fn shortened(row: &RequestRow, text: Option<&str>) -> Result<Duration, Problem> {
    let Some(text) = text else {
        return Ok(row.duration);
    };
    let duration = parse_duration(text).map_err(|error| Problem::invalid("duration", error.to_string()))?;
    if duration > row.duration {
        return Err(Problem::invalid("duration", format!("only {} was asked for", format_duration(row.duration))));
    }
    Ok(duration)
}

/// What held when it was asked for has to hold when it is granted.
async fn still_possible(tx: &mut Tx, row: &RequestRow) -> Result<(), Problem> {
    for principal in [Some(&row.requester), row.on_behalf_of.as_ref()].into_iter().flatten() {
        if principals::by_id(tx, &principal.id).await?.is_none_or(|row| row.disabled) {
            return Err(Problem::conflict(format!("{} {} is disabled", principal.kind, principal.name)));
        }
    }
    let connection = connections::by_name(tx, &row.connection).await?;
    let role = connection.as_ref().and_then(|connection| connection.document.roles.get(&row.role));
    let Some(role) = role else {
        return Err(Problem::conflict(format!("the role `{}` of `{}` is gone", row.role, row.connection)));
    };
    let groups = principals::groups_of(tx, &row.requester.id).await?;
    if !role.groups.is_empty() && !role.groups.iter().any(|group| groups.contains(group)) {
        return Err(Problem::conflict(format!("{} may no longer ask for this role", row.requester.name)));
    }
    Ok(())
}

async fn grant(
    tx: &mut Tx,
    by: Option<&PrincipalRef>,
    row: &RequestRow,
    duration: Duration,
    now: Micros,
) -> Result<(), StoreError> {
    let connection = connections::by_name(tx, &row.connection).await?;
    let role = connection.as_ref().and_then(|connection| connection.document.roles.get(&row.role));
    let budget = role.and_then(|role| role.budget.clone());
    let grant = GrantRow {
        id: GrantId::new(),
        request_id: row.id.clone(),
        connection: row.connection.clone(),
        role: row.role.clone(),
        principal: row.requester.clone(),
        on_behalf_of: row.on_behalf_of.clone(),
        reason: row.reason.clone(),
        starts_at: now,
        ends_at: now.plus(duration),
        verifier: None,
        revoked_at: None,
        revoked_by: None,
        revoke_reason: None,
        ended_at: None,
        balance: budget.map(|budget| Balance { budget, ..Balance::default() }),
    };
    access::insert_grant(tx, &grant).await?;
    access::decide_request(tx, &row.id, RequestStatus::Approved, now, Some((&grant.id, duration))).await?;
    let detail = json!({
        "request": row.id, "connection": row.connection, "role": row.role, "principal": row.requester,
        "on_behalf_of": row.on_behalf_of, "expires_at": grant.ends_at, "rule": row.policy_reason,
        "budget": grant.balance.as_ref().map(|balance| &balance.budget),
    });
    audit::append_control(tx, Event::new(now, "grant.created", by, grant.id.as_str(), &detail)).await
}

/// Takes a request back.
///
/// # Errors
/// When it is not the caller's, or waits no more.
pub async fn withdraw(
    store: &Store,
    actor: &Actor,
    id: &RequestId,
    now: Micros,
) -> Result<(Request, Vec<Effect>), Problem> {
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::Withdraw, &row.resource())?;
    if row.status != RequestStatus::Withdrawn {
        waits(&row, now)?;
        access::decide_request(&mut tx, id, RequestStatus::Withdrawn, now, None).await?;
        record(&mut tx, "request.withdrawn", Some(&actor.principal), &row, None, now).await?;
    }
    let request = loaded(&mut tx, id).await?;
    tx.commit().await?;
    Ok((request, vec![Effect::RequestsChanged]))
}

/// Records the end of each request that nobody answered in time.
///
/// # Errors
/// When the store fails.
pub async fn expire_due(store: &Store, now: Micros) -> Result<Vec<Effect>, StoreError> {
    let mut read = store.read().await?;
    let due = access::overdue_requests(&mut read, now, END_BATCH).await?;
    drop(read);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = store.begin().await?;
    for id in &due {
        let row = access::lock_request(&mut tx, id).await?;
        let Some(row) = row.filter(|row| row.status == RequestStatus::Pending) else {
            continue;
        };
        access::decide_request(&mut tx, id, RequestStatus::Expired, now, None).await?;
        record(&mut tx, "request.expired", None, &row, None, now).await?;
    }
    tx.commit().await?;
    Ok(vec![Effect::RequestsChanged])
}

/// Requests that the caller may see, newest first.
///
/// # Errors
/// When the store fails.
pub async fn list(
    store: &Store,
    actor: &Actor,
    status: Option<RequestStatus>,
    mine: bool,
) -> Result<Vec<Request>, Problem> {
    let mut tx = store.read().await?;
    let rows = if mine {
        access::list_requests_of(&mut tx, &actor.principal.id, status).await?
    } else {
        access::list_requests(&mut tx, status).await?
    };
    let mut requests = Vec::new();
    for row in rows {
        if is_allowed(actor, Action::See, &row.resource()) {
            let votes = access::votes(&mut tx, &row.id).await?;
            requests.push(to_api(row, votes));
        }
    }
    Ok(requests)
}

/// One request that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn get(store: &Store, actor: &Actor, id: &RequestId) -> Result<Request, Problem> {
    let mut tx = store.read().await?;
    let row = access::request(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &row.resource()).map_err(|_| missing(id))?;
    let votes = access::votes(&mut tx, id).await?;
    Ok(to_api(row, votes))
}

/// Reads a request's id.
///
/// # Errors
/// Not found, when it cannot be one.
pub fn id(text: &str) -> Result<RequestId, Problem> {
    parse_id("request", text)
}

fn missing(id: &RequestId) -> Problem {
    Problem::not_found("request", id.as_str()).hint("`postern requests` lists those that you can see")
}

async fn locked(tx: &mut Tx, actor: &Actor, id: &RequestId) -> Result<RequestRow, Problem> {
    let row = access::lock_request(tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &row.resource()).map_err(|_| missing(id))?;
    Ok(row)
}

fn waits(row: &RequestRow, now: Micros) -> Result<(), Problem> {
    let state = match row.status {
        RequestStatus::Pending if now < row.expires_at => return Ok(()),
        RequestStatus::Pending => "expired",
        other => access::status_text(other),
    };
    Err(Problem::conflict(format!("the request is {state} already")))
}

async fn loaded(tx: &mut Tx, id: &RequestId) -> Result<Request, Problem> {
    let row = access::request(tx, id).await?.ok_or_else(|| missing(id))?;
    let votes = access::votes(tx, id).await?;
    Ok(to_api(row, votes))
}

async fn record(
    tx: &mut Tx,
    action: &str,
    actor: Option<&PrincipalRef>,
    row: &RequestRow,
    answer: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    let detail = json!({
        "connection": row.connection, "role": row.role, "duration": format_duration(row.duration), "reason": row.reason,
        "ticket": row.ticket, "requester": row.requester, "on_behalf_of": row.on_behalf_of, "answer": answer,
    });
    audit::append_control(tx, Event::new(now, action, actor, row.id.as_str(), &detail)).await
}

impl RequestRow {
    /// For deciding who may do what to it.
    #[must_use]
    pub fn resource(&self) -> Resource<'_> {
        Resource::Request {
            requester: &self.requester,
            on_behalf_of: self.on_behalf_of.as_ref(),
            reviewer_groups: &self.reviewer_groups,
        }
    }
}

/// As the API shows it.
fn to_api(row: RequestRow, votes: Vec<Vote>) -> Request {
    Request {
        id: row.id,
        status: row.status,
        connection: row.connection,
        role: row.role,
        duration: format_duration(row.duration),
        reason: row.reason,
        ticket: row.ticket,
        requester: row.requester,
        on_behalf_of: row.on_behalf_of,
        created_at: row.created_at,
        expires_at: row.expires_at,
        approvals_needed: row.approvals_needed,
        reviewer_groups: row.reviewer_groups,
        votes,
        grant_id: row.grant_id,
        decided_at: row.decided_at,
        policy_reason: row.policy_reason,
    }
}
