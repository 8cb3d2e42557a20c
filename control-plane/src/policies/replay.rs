//! How statements that are on record would be decided by changed policies: the audit keeps what each decision rests on.

use super::{merged, trial};
use crate::{
    audit::search,
    identity::Actor,
    problem::{self, Problem},
    rights::{Action, Resource, authorize},
    store::{Store, policies},
};
use postern_api::{
    audit::{AuditEvent, AuditQuery, MAX_LIMIT},
    policy::{Decided, Differing, PolicyReplay, PolicyReplayed},
};
use postern_policy::{Decision, Facts, Outcome, Policies, builtin};
use postern_types::time::Micros;
use std::collections::{BTreeMap, BTreeSet};

/// Decides the newest recorded statements anew, by the policies of then and by changed ones, and tells where they differ.
///
/// # Errors
/// When the caller may not read policies, the files are wrong, or the search is.
pub async fn replay(store: &Store, actor: &Actor, body: PolicyReplay, now: Micros) -> Result<PolicyReplayed, Problem> {
    authorize(actor, Action::See, &Resource::Policies)?;
    let PolicyReplay { policies: files, connection, since, until, limit } = body;
    let mut tx = store.read().await?;
    let state = policies::state(&mut tx).await?;
    let files = merged(&mut tx, &state, &files).await?;
    drop(tx);
    let changed = super::load(files).await?;
    let query = AuditQuery {
        limit: Some(limit.unwrap_or(MAX_LIMIT)),
        connection,
        since,
        until,
        facts: true,
        ..AuditQuery::default()
    };
    let events = search::recorded(store, actor, query, now).await?;
    let versions: BTreeSet<u64> = events.iter().filter_map(|event| event.policy_version).collect();
    let mut before = BTreeMap::new();
    for version in versions {
        before.insert(version, of_version(store, version).await?);
    }
    // Each is decided by Cedar, twice: not on a thread that serves others.
    let work = move || compared(events, &before, &changed);
    tokio::task::spawn_blocking(work).await.map_err(Problem::fault)?
}

/// The policies as they were then.
async fn of_version(store: &Store, version: u64) -> Result<Policies, Problem> {
    let files = if version == 0 {
        let (name, text) = builtin::DEFAULT;
        BTreeMap::from([(name.to_owned(), text.to_owned())])
    } else {
        let mut tx = store.read().await?;
        let rows = policies::files_at(&mut tx, i64::try_from(version).unwrap_or(i64::MAX)).await?;
        rows.into_iter().map(|row| (row.name, row.text)).collect()
    };
    super::load(files).await
}

fn compared(
    events: Vec<AuditEvent>,
    before: &BTreeMap<u64, Policies>,
    changed: &Policies,
) -> Result<PolicyReplayed, Problem> {
    let (mut decided, mut undecided, mut differing) = (0, 0, Vec::new());
    for event in events {
        let facts = event.facts.unwrap_or_default().into_iter().map(serde_json::from_value::<Facts>);
        let facts = facts.collect::<Result<Vec<_>, _>>().map_err(Problem::fault)?;
        let then = event.policy_version.and_then(|version| before.get(&version));
        let was = then.and_then(|then| then.decide_all(facts.iter().cloned()));
        let (Some(was), Some(would_be)) = (was, changed.decide_all(facts)) else {
            undecided += 1;
            continue;
        };
        decided += 1;
        if is_other(&was, &would_be) {
            differing.push(Differing {
                id: event.id,
                at: event.at,
                principal: event.principal,
                connection: event.connection,
                role: event.role,
                sql: event.sql,
                was: told(&was),
                would_be: told(&would_be),
            });
        }
    }
    Ok(PolicyReplayed { decided, undecided, differing, warnings: problem::told(changed.warnings()) })
}

/// Whether somebody would notice. By which policies, and in which words it is denied, is of no importance.
fn is_other(one: &Decision, other: &Decision) -> bool {
    match (&one.outcome, &other.outcome) {
        (Outcome::Allow { obligations: one }, Outcome::Allow { obligations: other }) => one != other,
        (
            Outcome::Review { review: one, obligations: limits, .. },
            Outcome::Review { review: other, obligations: other_limits, .. },
        ) => (one, limits) != (other, other_limits),
        (Outcome::Deny(_), Outcome::Deny(_)) => false,
        _ => true,
    }
}

fn told(decision: &Decision) -> Decided {
    Decided {
        outcome: trial::outcome(decision),
        text: decision.to_string(),
        policies: decision.policies.iter().map(ToString::to_string).collect(),
    }
}
