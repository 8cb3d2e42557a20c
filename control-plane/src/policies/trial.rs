//! What policies would say of a statement that somebody might run, and why.

use super::merged;
use crate::{
    Core, connections as ways_in,
    identity::Actor,
    problem::{self, Problem, shorten},
    rights::{Action, Resource, authorize},
    store::{connections, freezes, policies, principals},
};
use postern_api::{
    document::{AccessRole, ConnectionDocument},
    policy::{PolicyOutcome, PolicyTest, PolicyTested, SqlProblem, StatementTested},
};
use postern_policy::{Connection, Decision, Deed, Grant, Moment, Outcome, Policies, Subject};
use postern_proto::v1::{Analyse, AnalysedStatement, ClientError, NotUnderstood, analysed};
use postern_types::time::Micros;
use std::net::{IpAddr, Ipv4Addr};

/// The longest text: what the audit keeps of one, too.
const MAX_SQL_BYTES: usize = 1 << 20;

/// Explains what would become of a text. It is not run, and nothing is changed.
///
/// # Errors
/// When the caller may not read policies, something in the question is not there, the files are wrong, or the connector or
/// its database cannot be asked.
pub async fn test(core: &Core, actor: &Actor, test: PolicyTest, now: Micros) -> Result<PolicyTested, Problem> {
    authorize(actor, Action::See, &Resource::Policies)?;
    if test.sql.len() > MAX_SQL_BYTES {
        return Err(Problem::invalid("sql", format!("the text may have at most {MAX_SQL_BYTES} bytes")));
    }
    let mut tx = core.store.read().await?;
    let (kind, name) = (test.principal.kind, test.principal.name.as_str());
    let principal = principals::by_name(&mut tx, kind, name).await?;
    let principal = principal.ok_or_else(|| Problem::not_found(kind.as_str(), name))?.principal;
    let groups = principals::groups_of(&mut tx, &principal.id).await?;
    let document = connections::by_name(&mut tx, &test.connection).await?.map(|row| row.document);
    let document = document.ok_or_else(|| {
        Problem::not_found("connection", &test.connection).hint("`postern connections` shows which there are")
    })?;
    let frozen = freezes::of(&mut tx, &document.name).await?.is_some();
    let (role_name, role) = access_role(&document, test.role.as_deref())?;
    let state = policies::state(&mut tx).await?;
    let files = merged(&mut tx, &state, &test.policies).await?;
    drop(tx);
    let policies = super::load(files).await?;
    let answer = core.hub.analyse(&document.connector, question(&document, role_name, role, &test)).await;
    let answer = answer.map_err(|why| why.told("what the statement would do", &document.connector))?;
    let subject = Subject {
        principal: super::principal(&principal, &groups),
        connection: Connection { name: document.name.as_str().into(), tags: Default::default(), freeze: frozen },
        grant: Grant {
            role: role_name.to_owned(),
            read_only: role.read_only,
            reason: test.reason.unwrap_or_default(),
            ..Grant::default()
        },
    };
    let client = test.client_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let moment = Moment { now: test.at.unwrap_or(now), offset: 0, client };
    let policy_version = u64::try_from(state.version).unwrap_or(0);
    let warnings = problem::told(policies.warnings());
    let of = |outcome, statements, problem| PolicyTested { outcome, policy_version, statements, problem, warnings };
    match answer {
        analysed::Result::Script(script) => {
            let sql = test.sql;
            let statements = script.statements.into_iter();
            let explain =
                move || statements.map(|statement| explained(&policies, &subject, &moment, &sql, statement)).collect();
            // Far slower than deciding: not on a thread that serves others.
            let explained: Result<Vec<_>, Problem> =
                tokio::task::spawn_blocking(explain).await.map_err(Problem::fault)?;
            let statements = explained?;
            let outcome = statements.iter().map(|statement| statement.outcome).max();
            Ok(of(outcome.unwrap_or(PolicyOutcome::Allowed), statements, None))
        }
        analysed::Result::NotUnderstood(NotUnderstood { error, position }) => {
            let position = position.map(|at| characters(&test.sql, at));
            let problem = SqlProblem { position, ..problem_of(error.unwrap_or_default()) };
            // Whoever may do everything gets the server's own answer.
            let passes = policies.permit_everything(&subject);
            let outcome = if passes { PolicyOutcome::Allowed } else { PolicyOutcome::NotUnderstood };
            Ok(of(outcome, Vec::new(), Some(problem)))
        }
        analysed::Result::Failed(error) => Err(Problem::of_connector(&document.name, error)),
    }
}

/// The access role of that name; the only one, where none is named.
fn access_role<'a>(document: &'a ConnectionDocument, name: Option<&str>) -> Result<(&'a str, &'a AccessRole), Problem> {
    let names = || document.roles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut roles = document.roles.iter().map(|(name, role)| (name.as_str(), role));
    match name {
        Some(wanted) => roles.find(|(name, _)| *name == wanted).ok_or_else(|| {
            let message = format!("`{}` has no access role `{}`", document.name, shorten(wanted));
            Problem::invalid("role", message).hint(format!("it has {}", names()))
        }),
        None => match (roles.next(), roles.next()) {
            (Some(role), None) => Ok(role),
            _ => Err(Problem::invalid("role", format!("say by which access role of `{}`", document.name))
                .hint(format!("it has {}", names()))),
        },
    }
}

fn question(document: &ConnectionDocument, name: &str, role: &AccessRole, test: &PolicyTest) -> Analyse {
    Analyse {
        id: 0,
        connection: document.name.clone(),
        access_role: name.to_owned(),
        role_mode: ways_in::mode(role).into(),
        database_role: role.database_role.clone().unwrap_or_default(),
        read_only: role.read_only,
        settings: ways_in::settings(role),
        search_path: test.search_path.clone(),
        sql: test.sql.clone(),
    }
}

fn explained(
    policies: &Policies,
    subject: &Subject,
    moment: &Moment,
    sql: &str,
    statement: AnalysedStatement,
) -> Result<StatementTested, Problem> {
    let AnalysedStatement { start, end, deed, more_than_reading } = statement;
    let deed = Deed::from_json(&deed).map_err(Problem::fault)?;
    let explanation = policies.explain_again(deed.facts(subject, moment));
    let problem = more_than_reading.map(problem_of);
    let outcome = if problem.is_some() { PolicyOutcome::Denied } else { outcome(&explanation.decision) };
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    Ok(StatementTested {
        sql: sql.get(at(start)..at(end)).unwrap_or(sql).trim().to_owned(),
        outcome,
        text: explanation.to_string(),
        problem,
        explanation: serde_json::to_value(&explanation).map_err(Problem::fault)?,
    })
}

/// What a decision is, in a word.
pub(super) fn outcome(decision: &Decision) -> PolicyOutcome {
    match decision.outcome {
        Outcome::Allow { .. } => PolicyOutcome::Allowed,
        Outcome::Review { .. } => PolicyOutcome::Held,
        Outcome::Deny(_) => PolicyOutcome::Denied,
    }
}

fn problem_of(error: ClientError) -> SqlProblem {
    let ClientError { sqlstate, message, detail, hint } = error;
    SqlProblem { sqlstate, message, detail, hint, position: None }
}

/// A place in bytes, from 0, as PostgreSQL tells it: in characters, from 1.
fn characters(sql: &str, at: u64) -> u32 {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let before = sql.char_indices().take_while(|(position, _)| *position < at).count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}
