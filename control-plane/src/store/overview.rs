//! What the overview counts: rows of requests, reviews and votes, and statements by the hour.

use super::{Row, StoreError, Tx, access::read_principal};
use crate::values;
use postern_api::overview::{Decisions, PrincipalActivity, ReviewerLoad};
use postern_types::time::Micros;
use std::time::Duration;

/// A yes within so long of the question was hardly thought about.
const HARDLY_READ: Duration = Duration::from_secs(5);

/// The most that are told of reviewers, and of principals.
const MOST: i64 = 20;

/// What is counted of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Statements that were decided.
    pub statements: u64,
    /// Of them, those that were refused.
    pub denied: u64,
    /// Values that were masked in results.
    pub masked: u64,
}

/// Of which statements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The beginning of the hour.
    pub hour: Micros,
    /// Whose.
    pub principal_id: String,
    /// On which connection.
    pub connection: String,
}

/// A span of time, in steps.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// From then on: where a step begins.
    pub since: Micros,
    /// Before then.
    pub until: Micros,
    /// How long a step is.
    pub step: Duration,
}

impl Span {
    fn step(&self) -> i64 {
        i64::try_from(self.step.as_micros()).unwrap_or(i64::MAX)
    }
}

/// Counts more statements. All of one transaction are added in the order of what they are of, so that two wait for each
/// other in one order.
pub async fn add(tx: &mut Tx, of: &Counted, more: Count) -> Result<(), StoreError> {
    let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO statement_counts (hour, principal_id, connection, statements, denied, masked) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (hour, principal_id, connection) DO UPDATE SET \
         statements = statement_counts.statements + excluded.statements, \
         denied = statement_counts.denied + excluded.denied, masked = statement_counts.masked + excluded.masked",
        values![
            of.hour,
            of.principal_id.as_str(),
            of.connection.as_str(),
            stored(more.statements),
            stored(more.denied),
            stored(more.masked),
        ],
    )
    .await?;
    Ok(())
}

fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.get::<i64>(column)?).unwrap_or(0))
}

fn seconds(row: &Row, column: &'static str) -> Result<Option<u64>, StoreError> {
    Ok(row.get::<Option<i64>>(column)?.map(|micros| u64::try_from(micros / 1_000_000).unwrap_or(0)))
}

async fn by_step(tx: &mut Tx, sql: &'static str, span: &Span) -> Result<Vec<(Micros, u64, u64)>, StoreError> {
    let rows = tx.rows(sql, values![span.since, span.until, span.step()]).await?;
    rows.iter().map(|row| Ok((row.time("step")?, count(row, "asked")?, count(row, "refused")?))).collect()
}

/// When steps begin, how many requests were made in each, and how many of them were denied.
pub async fn requests_by_step(tx: &mut Tx, span: &Span) -> Result<Vec<(Micros, u64, u64)>, StoreError> {
    let sql = "SELECT created_at / $3 * $3 AS step, COUNT(*) AS asked, \
               COUNT(CASE WHEN status = 'denied' THEN 1 END) AS refused \
               FROM requests WHERE created_at >= $1 AND created_at < $2 GROUP BY 1";
    by_step(tx, sql, span).await
}

/// The same of statements that were held.
pub async fn reviews_by_step(tx: &mut Tx, span: &Span) -> Result<Vec<(Micros, u64, u64)>, StoreError> {
    let sql = "SELECT created_at / $3 * $3 AS step, COUNT(*) AS asked, \
               COUNT(CASE WHEN status = 'denied' THEN 1 END) AS refused \
               FROM reviews WHERE created_at >= $1 AND created_at < $2 GROUP BY 1";
    by_step(tx, sql, span).await
}

/// What was run in each step.
pub async fn statements_by_step(tx: &mut Tx, span: &Span) -> Result<Vec<(Micros, Count)>, StoreError> {
    let rows = tx
        .rows(
            "SELECT hour / $3 * $3 AS step, CAST(SUM(statements) AS BIGINT) AS ran, \
             CAST(SUM(denied) AS BIGINT) AS refused, CAST(SUM(masked) AS BIGINT) AS hidden \
             FROM statement_counts WHERE hour >= $1 AND hour < $2 GROUP BY 1",
            values![span.since, span.until, span.step()],
        )
        .await?;
    rows.iter().map(|row| Ok((row.time("step")?, read_count(row)?))).collect()
}

fn read_count(row: &Row) -> Result<Count, StoreError> {
    Ok(Count { statements: count(row, "ran")?, denied: count(row, "refused")?, masked: count(row, "hidden")? })
}

/// What became of rows of `$table`, of which `$votes` by their `$id` say whether people have answered.
macro_rules! decisions {
    ($table:literal, $votes:literal, $id:literal) => {
        concat!(
            "WITH asked AS (SELECT r.status, r.decided_at - r.created_at AS took, ",
            "EXISTS (SELECT 1 FROM ",
            $votes,
            " v WHERE v.",
            $id,
            " = r.id) AS answered FROM ",
            $table,
            " r WHERE r.created_at >= $1 AND r.created_at < $2), ",
            "marked AS (SELECT status, answered, took, answered AND took IS NOT NULL ",
            "AND status IN ('approved', 'claimed', 'denied') AS decided FROM asked), ",
            "ordered AS (SELECT status, answered, decided, took, ",
            "ROW_NUMBER() OVER (PARTITION BY decided ORDER BY took) AS place, ",
            "COUNT(*) OVER (PARTITION BY decided) AS total FROM marked) ",
            "SELECT COUNT(*) AS asked, ",
            "COUNT(CASE WHEN status IN ('approved', 'claimed') AND NOT answered THEN 1 END) AS by_rule, ",
            "COUNT(CASE WHEN status IN ('approved', 'claimed') AND answered THEN 1 END) AS approved, ",
            "COUNT(CASE WHEN status = 'denied' THEN 1 END) AS denied, ",
            "COUNT(CASE WHEN status = 'expired' THEN 1 END) AS expired, ",
            "COUNT(CASE WHEN status = 'withdrawn' THEN 1 END) AS withdrawn, ",
            "COUNT(CASE WHEN status = 'pending' THEN 1 END) AS pending, ",
            "MIN(CASE WHEN decided AND place * 2 >= total THEN took END) AS median, ",
            "MIN(CASE WHEN decided AND place * 10 >= total * 9 THEN took END) AS most FROM ordered"
        )
    };
}

async fn decisions(tx: &mut Tx, sql: &'static str, span: &Span) -> Result<Decisions, StoreError> {
    let Some(row) = tx.row(sql, values![span.since, span.until]).await? else {
        return Ok(Decisions::default());
    };
    Ok(Decisions {
        asked: count(&row, "asked")?,
        by_rule: count(&row, "by_rule")?,
        approved: count(&row, "approved")?,
        denied: count(&row, "denied")?,
        expired: count(&row, "expired")?,
        withdrawn: count(&row, "withdrawn")?,
        pending: count(&row, "pending")?,
        median_seconds: seconds(&row, "median")?,
        most_seconds: seconds(&row, "most")?,
    })
}

/// What became of the requests that were made.
pub async fn requests(tx: &mut Tx, span: &Span) -> Result<Decisions, StoreError> {
    decisions(tx, decisions!("requests", "votes", "request_id"), span).await
}

/// What became of the statements that were held.
pub async fn reviews(tx: &mut Tx, span: &Span) -> Result<Decisions, StoreError> {
    decisions(tx, decisions!("reviews", "review_votes", "review_id"), span).await
}

/// Who has answered, those with most first.
pub async fn reviewers(tx: &mut Tx, span: &Span) -> Result<Vec<ReviewerLoad>, StoreError> {
    let rows = tx
        .rows(
            "WITH answers AS (SELECT v.reviewer_id, v.verdict, v.at - r.created_at AS took \
             FROM votes v JOIN requests r ON r.id = v.request_id WHERE v.at >= $1 AND v.at < $2 \
             UNION ALL SELECT v.reviewer_id, v.verdict, v.at - r.created_at \
             FROM review_votes v JOIN reviews r ON r.id = v.review_id WHERE v.at >= $1 AND v.at < $2), \
             ordered AS (SELECT reviewer_id, verdict, took, \
             ROW_NUMBER() OVER (PARTITION BY reviewer_id ORDER BY took) AS place, \
             COUNT(*) OVER (PARTITION BY reviewer_id) AS total FROM answers) \
             SELECT p.kind AS p_kind, p.id AS p_id, p.name AS p_name, \
             COUNT(CASE WHEN o.verdict = 'approve' THEN 1 END) AS approved, \
             COUNT(CASE WHEN o.verdict = 'deny' THEN 1 END) AS denied, \
             COUNT(CASE WHEN o.verdict = 'approve' AND o.took < $3 THEN 1 END) AS hardly_read, \
             MIN(CASE WHEN o.place * 2 >= o.total THEN o.took END) AS median \
             FROM ordered o JOIN principals p ON p.id = o.reviewer_id GROUP BY p.kind, p.id, p.name \
             ORDER BY COUNT(*) DESC, p.name LIMIT $4",
            values![span.since, span.until, i64::try_from(HARDLY_READ.as_micros()).unwrap_or(i64::MAX), MOST,],
        )
        .await?;
    let read = |row: &Row| {
        Ok(ReviewerLoad {
            reviewer: read_principal(row)?,
            approved: count(row, "approved")?,
            denied: count(row, "denied")?,
            rubber_stamped: count(row, "hardly_read")?,
            median_seconds: seconds(row, "median")?.unwrap_or(0),
        })
    };
    rows.iter().map(read).collect()
}

/// Who has run statements, those with most first.
pub async fn principals(tx: &mut Tx, span: &Span) -> Result<Vec<PrincipalActivity>, StoreError> {
    let rows = tx
        .rows(
            "SELECT p.kind AS p_kind, p.id AS p_id, p.name AS p_name, CAST(SUM(c.statements) AS BIGINT) AS ran, \
             CAST(SUM(c.denied) AS BIGINT) AS refused, CAST(SUM(c.masked) AS BIGINT) AS hidden \
             FROM statement_counts c JOIN principals p ON p.id = c.principal_id \
             WHERE c.hour >= $1 AND c.hour < $2 GROUP BY p.kind, p.id, p.name \
             ORDER BY SUM(c.statements) DESC, p.name LIMIT $3",
            values![span.since, span.until, MOST],
        )
        .await?;
    let read = |row: &Row| {
        let Count { statements, denied, masked } = read_count(row)?;
        Ok(PrincipalActivity { principal: read_principal(row)?, statements, denied, masked_values: masked })
    };
    rows.iter().map(read).collect()
}
