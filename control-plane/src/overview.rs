//! How much is asked, decided and run, over time, for those who may read the whole audit.

use crate::{
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{
        Store,
        overview::{self, Span},
    },
};
use postern_api::overview::{Overview, OverviewQuery, OverviewStep};
use postern_types::time::Micros;
use std::{collections::BTreeMap, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is shown where nobody says.
const DEFAULT_SPAN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest: of daily steps, as many as a screen has room for.
const LONGEST_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);

/// Counts of a span of time, and in steps of it.
///
/// # Errors
/// When the caller may not read the whole audit, the span is wrong, or the store fails.
pub async fn of(store: &Store, actor: &Actor, query: &OverviewQuery, now: Micros) -> Result<Overview, Problem> {
    authorize(actor, Action::See, &Resource::WholeAudit)?;
    let until = query.until.unwrap_or(now);
    let since = query.since.unwrap_or(until.minus(DEFAULT_SPAN));
    if since >= until {
        return Err(Problem::invalid("since", "`since` has to be before `until`"));
    }
    if until.since(since) > LONGEST_SPAN {
        return Err(Problem::invalid("since", "an overview is of at most 366 days"));
    }
    let step = step_of(until.since(since));
    let span = Span { since: floor(since, step), until, step };
    let mut tx = store.read().await?;
    let mut steps = empty(&span);
    for (at, asked, denied) in overview::requests_by_step(&mut tx, &span).await? {
        if let Some(step) = steps.get_mut(&at) {
            (step.requests, step.requests_denied) = (asked, denied);
        }
    }
    for (at, asked, denied) in overview::reviews_by_step(&mut tx, &span).await? {
        if let Some(step) = steps.get_mut(&at) {
            (step.reviews, step.reviews_denied) = (asked, denied);
        }
    }
    for (at, count) in overview::statements_by_step(&mut tx, &span).await? {
        if let Some(step) = steps.get_mut(&at) {
            (step.statements, step.statements_denied, step.masked_values) =
                (count.statements, count.denied, count.masked);
        }
    }
    Ok(Overview {
        since: span.since,
        until,
        step_seconds: u32::try_from(step.as_secs()).unwrap_or(u32::MAX),
        steps: steps.into_values().collect(),
        requests: overview::requests(&mut tx, &span).await?,
        reviews: overview::reviews(&mut tx, &span).await?,
        reviewers: overview::reviewers(&mut tx, &span).await?,
        principals: overview::principals(&mut tx, &span).await?,
    })
}

/// So long that there are some dozens of them.
fn step_of(span: Duration) -> Duration {
    match span {
        span if span <= DAY * 2 => HOUR,
        span if span <= DAY * 14 => HOUR * 6,
        _ => DAY,
    }
}

/// The beginning of the step in which that is.
fn floor(at: Micros, step: Duration) -> Micros {
    let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
    Micros(at.0.saturating_sub(at.0.rem_euclid(step)))
}

fn empty(span: &Span) -> BTreeMap<Micros, OverviewStep> {
    let starts = std::iter::successors(Some(span.since), |at| Some(at.plus(span.step)));
    let step = |at| OverviewStep {
        at,
        requests: 0,
        requests_denied: 0,
        reviews: 0,
        reviews_denied: 0,
        statements: 0,
        statements_denied: 0,
        masked_values: 0,
    };
    starts.take_while(|at| *at < span.until).map(|at| (at, step(at))).collect()
}
