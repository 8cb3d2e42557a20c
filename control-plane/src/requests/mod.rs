//! Requests for access: made, reviewed, and turned into a grant.
//!
//! Each transition is one transaction that holds the request's row, checks where it stands, writes, and records
//! what it did.
//!
//! In reading order: this module (made, taken back, expired, listed), [`ask`] (what may be asked for), [`rule`] (what
//! becomes of it before anybody looks), [`mod@review`] (what reviewers say, and the grant), [`mod@extend`], [`standing`] with
//! [`windows`] (needs that come again and again), [`closing`] (comments; the review after break-glass), [`ways`] (what
//! would become of requests) and [`reach`] (the same of everything and everybody).

mod ask;
mod closing;
mod extend;
pub mod reach;
mod review;
mod rule;
mod standing;
pub mod ways;
pub mod windows;

pub use closing::{close, comment};
pub use extend::extend;
pub use review::{Answer, review};
pub(crate) use standing::end_in;
pub use standing::{ask_standing, end_standing};

use crate::{
    audit::{self, Event},
    effects::Effect,
    grants::parse_id,
    identity::Actor,
    problem::Problem,
    quorum::{self, Standing},
    rights::{Action, authorize, is_allowed},
    store::{
        Store, StoreError, Tx, access, principals,
        requests::{self, Filter, RequestRow},
    },
};
use ask::Ask;
use postern_api::{
    access::{CreateRequest, GrantStatus, Request, RequestKind, RequestStatus, RequestsQuery},
    identity::PrincipalRef,
};
use postern_types::{
    id::{GrantId, RequestId},
    time::{Micros, format_duration},
};
use rule::Rule;
use serde_json::json;
use std::{net::IpAddr, time::Duration};

/// The most requests that one principal has waiting.
const MAX_PENDING: i64 = 100;

/// How many requests one transaction marks as expired.
const END_BATCH: u32 = 100;

/// Asks for access. Where a rule approves it there is a grant at once; where there is an open grant that is all that is
/// asked for, the answer is the request behind that one.
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
    let kind = if body.break_glass { RequestKind::BreakGlass } else { RequestKind::Access };
    let mut tx = store.begin().await?;
    let mut asked = Ask::read(&mut tx, actor, body, kind).await?;
    // Of two that ask for the same at the same moment the second finds what the first has got.
    principals::lock(&mut tx, &actor.principal.id).await?;
    if let Some((row, grant)) = rule::reusable(&mut tx, actor, &asked, now).await? {
        let detail = json!({ "request": row.id, "reason": asked.reason, "expires_at": grant.ends_at });
        let event = Event::new(now, "grant.reused", Some(&actor.principal), grant.id.as_str(), &detail);
        audit::append_control(&mut tx, event).await?;
        let request = Request { reused: true, ..shown(&mut tx, row).await? };
        tx.commit().await?;
        return Ok((request, Vec::new()));
    }
    with_room(&mut tx, actor).await?;
    let answer = match rule::rule(&mut tx, actor, &mut asked, now).await? {
        Rule::Approved(reason) => (None, reason),
        Rule::Review(quorum, reason) => (Some(quorum), reason),
    };
    let at_once = answer.0.is_none();
    let row = asked.into_row(actor, answer, lifetime, now);
    let (row, effects) = put(&mut tx, row, at_once, now).await?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok((request, effects))
}

/// Writes a new request, and approves it where a rule does.
async fn put(tx: &mut Tx, row: RequestRow, at_once: bool, now: Micros) -> Result<(RequestRow, Vec<Effect>), Problem> {
    requests::insert_request(tx, &row).await?;
    record(tx, "request.created", Some(&row.requester), &row, None, now).await?;
    let effects = if at_once { review::approve(tx, None, &row, now).await? } else { Vec::new() };
    let row = requests::request(tx, &row.id).await?.ok_or_else(|| missing(&row.id))?;
    Ok((row, effects))
}

/// A need that nobody has put into words: whoever has it connects.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The access role's name.
    pub role: &'a str,
    /// From where the client comes.
    pub client: Option<IpAddr>,
    /// What is recorded as the reason.
    pub reason: &'a str,
}

/// What becomes of a need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// There is a grant.
    Granted(GrantId),
    /// People have to be asked: why.
    Asks(String),
}

/// Gives what a rule gives, for as long as it does. People are not asked.
///
/// # Errors
/// When the caller may not ask.
pub async fn at_once(
    store: &Store,
    actor: &Actor,
    need: Need<'_>,
    lifetime: Duration,
    now: Micros,
) -> Result<AtOnce, Problem> {
    let body = CreateRequest {
        connection: need.connection.to_owned(),
        role: need.role.to_owned(),
        duration: format_duration(ways::SHORTEST),
        reason: need.reason.to_owned(),
        client_address: need.client,
        ..CreateRequest::default()
    };
    let mut tx = store.begin().await?;
    let mut asked = Ask::read(&mut tx, actor, &body, RequestKind::Access).await?;
    // Of two clients of theirs the second finds what the first has got.
    principals::lock(&mut tx, &actor.principal.id).await?;
    let open = access::open_grants_for(&mut tx, &actor.principal.id, need.connection, need.role, now).await?;
    if let Some(grant) = open.into_iter().find(|grant| grant.status(now) == GrantStatus::Open && actor.may_use(grant)) {
        return Ok(AtOnce::Granted(grant.id));
    }
    if let Some(longest) = rule::longest(&mut tx, actor, &asked, now).await? {
        asked.duration = longest;
    }
    let reason = match rule::rule(&mut tx, actor, &mut asked, now).await? {
        Rule::Review(_, reason) => return Ok(AtOnce::Asks(reason)),
        Rule::Approved(reason) => reason,
    };
    with_room(&mut tx, actor).await?;
    let (row, _) = put(&mut tx, asked.into_row(actor, (None, reason), lifetime, now), true, now).await?;
    let id = row.grant_id.ok_or_else(|| StoreError::corrupt("request", "it was approved, and has no grant"))?;
    tx.commit().await?;
    Ok(AtOnce::Granted(id))
}

/// Whether one more request of the actor's may wait.
async fn with_room(tx: &mut Tx, actor: &Actor) -> Result<(), Problem> {
    if requests::pending_of(tx, &actor.principal.id).await? >= MAX_PENDING {
        return Err(Problem::conflict(format!("{MAX_PENDING} of your requests wait for review already"))
            .hint("withdraw some: `postern requests --mine`"));
    }
    Ok(())
}

/// Takes a request back.
///
/// # Errors
/// When it is not the caller's, or waits no more.
pub async fn withdraw(store: &Store, actor: &Actor, id: &RequestId, now: Micros) -> Result<Request, Problem> {
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, actor, id).await?;
    authorize(actor, Action::Withdraw, &row.resource())?;
    if row.status != RequestStatus::Withdrawn {
        waits(&row, now)?;
        withdraw_in(&mut tx, &row, Some(&actor.principal), None, now).await?;
    }
    let row = requests::request(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    let request = shown(&mut tx, row).await?;
    tx.commit().await?;
    Ok(request)
}

/// Takes a request back that waits, inside a larger change.
pub(crate) async fn withdraw_in(
    tx: &mut Tx,
    row: &RequestRow,
    by: Option<&PrincipalRef>,
    why: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    requests::decide_request(tx, &row.id, RequestStatus::Withdrawn, now, None).await?;
    record(tx, "request.withdrawn", by, row, why, now).await
}

/// Records the end of requests that nobody answered in time, some at a time: how many were due.
///
/// # Errors
/// When the store fails.
pub async fn expire_due(store: &Store, now: Micros) -> Result<usize, StoreError> {
    let mut read = store.read().await?;
    let mut due = requests::overdue_requests(&mut read, now, END_BATCH).await?;
    drop(read);
    // Whoever locks several locks them in this order.
    due.sort();
    if due.is_empty() {
        return Ok(0);
    }
    let mut tx = store.begin().await?;
    for id in &due {
        let row = requests::lock_request(&mut tx, id).await?;
        let Some(row) = row.filter(|row| row.status == RequestStatus::Pending) else {
            continue;
        };
        requests::decide_request(&mut tx, id, RequestStatus::Expired, now, None).await?;
        record(&mut tx, "request.expired", None, &row, None, now).await?;
    }
    tx.commit().await?;
    Ok(due.len())
}

/// Requests that the caller may see, newest first.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, actor: &Actor, query: &RequestsQuery) -> Result<Vec<Request>, Problem> {
    let mut tx = store.read().await?;
    let concerns = query.mine.then_some(&actor.principal.id);
    let filter = Filter { status: query.status, kind: query.kind, concerns, to_review: query.to_review };
    let mut listed = Vec::new();
    for row in requests::list_requests(&mut tx, filter).await? {
        if is_allowed(actor, Action::See, &row.resource()) {
            listed.push(shown(&mut tx, row).await?);
        }
    }
    Ok(listed)
}

/// One request that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn get(store: &Store, actor: &Actor, id: &RequestId) -> Result<Request, Problem> {
    let mut tx = store.read().await?;
    let row = requests::request(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &row.resource()).map_err(|_| missing(id))?;
    Ok(shown(&mut tx, row).await?)
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

/// A request that the caller may see. Nobody else changes it, or what becomes of those whom it is about, until the
/// transaction is over; those first, as whoever stops them does.
async fn locked(tx: &mut Tx, actor: &Actor, id: &RequestId) -> Result<RequestRow, Problem> {
    let row = requests::request(tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &row.resource()).map_err(|_| missing(id))?;
    lock_concerned(tx, &row).await?;
    requests::lock_request(tx, id).await?.ok_or_else(|| missing(id))
}

/// Locks those whom a request is about, always in the same order.
async fn lock_concerned(tx: &mut Tx, row: &RequestRow) -> Result<(), StoreError> {
    let mut ids: Vec<_> =
        [Some(&row.requester), row.on_behalf_of.as_ref()].into_iter().flatten().map(|of| &of.id).collect();
    ids.sort();
    for id in ids {
        principals::lock(tx, id).await?;
    }
    Ok(())
}

fn waits(row: &RequestRow, now: Micros) -> Result<(), Problem> {
    let state = match row.status {
        RequestStatus::Pending if now < row.expires_at => return Ok(()),
        RequestStatus::Pending => "expired",
        other => requests::status_text(other),
    };
    Err(Problem::conflict(format!("the request is {state} already")))
}

/// What happened to a request. `answer` is what was said with it.
async fn record(
    tx: &mut Tx,
    action: &str,
    actor: Option<&PrincipalRef>,
    row: &RequestRow,
    answer: Option<&str>,
    now: Micros,
) -> Result<(), StoreError> {
    let detail = json!({
        "kind": row.kind, "connection": row.connection, "role": row.role, "duration": format_duration(row.duration),
        "reason": row.reason, "ticket": row.ticket, "requester": row.requester, "on_behalf_of": row.on_behalf_of,
        "relations": row.relations, "client_address": row.client_address, "job": row.job, "grant": row.grant_id,
        "recurring": row.recurring, "reviewers": row.reviewer_groups, "rule": row.policy_reason, "answer": answer,
    });
    audit::append_control(tx, Event::new(now, action, actor, row.id.as_str(), &detail)).await
}

/// As the API shows it.
async fn shown(tx: &mut Tx, row: RequestRow) -> Result<Request, StoreError> {
    let votes = requests::votes(tx, &row.id).await?;
    let comments = requests::comments(tx, &row.id).await?;
    let missing = if row.status == RequestStatus::Pending {
        match quorum::standing(&row.quorum, &review::approving(tx, &row.id).await?) {
            Standing::Missing(needs) => needs,
            Standing::Met => Vec::new(),
        }
    } else {
        Vec::new()
    };
    Ok(Request {
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
        quorum: row.quorum,
        missing,
        votes,
        comments,
        grant_id: row.grant_id,
        decided_at: row.decided_at,
        policy_reason: row.policy_reason,
        kind: row.kind,
        relations: row.relations,
        client_address: row.client_address,
        recurring: row.recurring,
        to_review: row.kind == RequestKind::BreakGlass && row.closed.is_none(),
        closed: row.closed,
        reused: false,
    })
}
