//! What becomes of a request before anybody has looked at it: there is a grant for it already, a rule approves it, or
//! reviewers are asked.

use super::{
    ask::{Ask, are_within},
    windows,
};
use crate::{
    budgets::Balance,
    identity::Actor,
    store::{
        StoreError, Tx,
        access::{self, GrantRow},
        requests::{self, RequestRow},
    },
};
use postern_api::{access::RequestKind, quorum::Quorum};
use postern_types::time::{Micros, format_duration, parse_duration};
use std::time::Duration;

/// What becomes of it.
pub(super) enum Rule {
    /// It is approved at once.
    Approved(String),
    /// These have to agree.
    Review(Quorum, String),
}

/// Which rule decides; one that gives less time than was asked for shortens it.
pub(super) async fn rule(tx: &mut Tx, actor: &Actor, ask: &mut Ask, now: Micros) -> Result<Rule, StoreError> {
    if ask.kind == RequestKind::BreakGlass {
        return Ok(Rule::Approved("break-glass: access at once, reviewed afterwards".to_owned()));
    }
    let Some(quorum) = ask.role.quorum() else {
        return Ok(Rule::Approved("the role needs no approval".to_owned()));
    };
    if ask.kind == RequestKind::Access
        && let Some((standing, until)) = covering(tx, actor, ask, now).await?
    {
        ask.duration = ask.duration.min(until.since(now));
        return Ok(Rule::Approved(format!(
            "the standing approval {}: at most {} at a time, {}",
            standing.id,
            format_duration(standing.duration),
            terms(&standing)
        )));
    }
    let reason = match &*quorum.needs {
        [need] if need.groups.is_empty() && need.count == 1 => "the role needs an admin's approval".to_owned(),
        [need] if need.groups.is_empty() => format!("the role needs the approval of {} admins", need.count),
        _ => format!("the role needs {quorum}"),
    };
    Ok(Rule::Review(quorum, reason))
}

/// The standing approval that a request comes under, and until when a grant by it may last.
async fn covering(
    tx: &mut Tx,
    actor: &Actor,
    ask: &Ask,
    now: Micros,
) -> Result<Option<(RequestRow, Micros)>, StoreError> {
    let standing = requests::standing(tx, &ask.connection, Some(&ask.role_name), Some(&actor.principal.id)).await?;
    let covers = |row: RequestRow| {
        let recurring = row.recurring.as_ref()?;
        let fits = row.on_behalf_of == ask.on_behalf_of
            && ask.duration <= row.duration
            && are_within(&ask.relations, &row.relations);
        let limit = recurring.until.min(now.plus(ask.duration));
        let until = match &*recurring.windows {
            [] => (limit > now).then_some(limit),
            windows => windows::open_until(windows, now, limit),
        };
        until.filter(|_| fits).map(|until| (row, until))
    };
    Ok(standing.into_iter().filter_map(covers).max_by_key(|(_, until)| *until))
}

/// The longest for which a rule gives what is asked for; none: people are asked. What is asked for has to be as short as
/// can be.
pub(super) async fn longest(
    tx: &mut Tx,
    actor: &Actor,
    ask: &Ask,
    now: Micros,
) -> Result<Option<Duration>, StoreError> {
    if ask.role.quorum().is_none() {
        let longest = parse_duration(&ask.role.max_duration);
        return longest.map(Some).map_err(|error| StoreError::corrupt("max_duration", error));
    }
    Ok(covering(tx, actor, ask, now).await?.map(|(standing, _)| standing.duration))
}

/// `until 2026-12-31T23:59:59Z, mon-fri 09:00-17:00 UTC`.
pub(super) fn terms(standing: &RequestRow) -> String {
    let Some(recurring) = &standing.recurring else { return String::new() };
    let windows = recurring.windows.iter().map(|window| format!(", {window}"));
    format!("until {}{}", recurring.until, windows.collect::<String>())
}

/// The open grant that is what is asked for, with the request behind it: another would add nothing.
pub(super) async fn reusable(
    tx: &mut Tx,
    actor: &Actor,
    ask: &Ask,
    now: Micros,
) -> Result<Option<(RequestRow, GrantRow)>, StoreError> {
    if ask.kind != RequestKind::Access {
        return Ok(None);
    }
    let open = access::open_grants_for(tx, &actor.principal.id, &ask.connection, &ask.role_name, now).await?;
    for grant in open {
        // Whoever asks for much less than what is left wants a grant that ends then.
        let left = grant.ends_at.since(now);
        let lasts = ask.duration <= left && left <= ask.duration.saturating_mul(2);
        let fits = grant.on_behalf_of == ask.on_behalf_of && grant.relations == ask.relations;
        let comes_in = ask.client_address.is_none() || grant.bound_address == ask.client_address;
        let is_usable = actor.may_use(&grant);
        let is_left = grant.balance.as_ref().is_none_or(Balance::is_left);
        if !(lasts && fits && comes_in && is_usable && is_left) {
            continue;
        }
        let Some(request) = requests::request(tx, &grant.request_id).await? else { continue };
        // Policies read the ticket; break-glass is for what it was asked for.
        if request.kind == RequestKind::Access && request.ticket == ask.ticket {
            return Ok(Some((request, grant)));
        }
    }
    Ok(None)
}
