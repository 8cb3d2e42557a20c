//! Why something was decided as it was, for `postern policy test`: for each access the policies that hold, and the
//! permits that would hold but for some of their conditions.

use crate::{
    bounds,
    cedar::{self, Changing, Fault, Target},
    decide::Question,
    decision::{Decision, Lifetime, Outcome, PolicyName},
    facts::{Action, Asked, Facts},
    load::{Policies, Rule},
    obligations::{Obligations, Review},
    reads::Reads,
};
use cedar_policy::{Authorizer, Effect, PolicySet, Request};
use postern_types::time::format_duration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// A decision with its reasons.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// By which version of the policies.
    pub version: String,
    /// What it rests on.
    pub facts: Facts,
    /// Each access, `connect` first.
    pub accesses: Vec<AccessExplained>,
}

/// What the policies say of one access.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccessExplained {
    /// The action.
    pub action: Action,
    /// To what.
    pub resource: String,
    /// Whether it is permitted.
    pub permitted: bool,
    /// The permits that hold.
    pub permits: Vec<PolicyName>,
    /// The forbids that hold.
    pub forbids: Vec<PolicyName>,
    /// The policies that could not be evaluated.
    pub errors: Vec<PolicyName>,
    /// Where no permit holds: those that are for this principal, action and resource, and what they lack.
    pub near: Vec<NearMiss>,
}

/// A permit that would hold but for some of its conditions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NearMiss {
    /// Which.
    pub policy: PolicyName,
    /// Its conditions that do not hold, as Cedar. Each was evaluated by itself.
    pub unmet: Vec<String>,
}

impl Policies {
    /// Decides on a statement and says why. Far slower than deciding.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        self.explain_again(question.facts())
    }

    /// Decides on recorded facts and says why.
    #[must_use]
    pub fn explain_again(&self, facts: Facts) -> Explanation {
        let asked = std::iter::once(Asked::connect()).chain(facts.accesses.iter().cloned());
        let accesses = bounds::with_stack(|| asked.map(|asked| self.explain_access(&facts, &asked)).collect());
        Explanation { decision: self.decide_again(&facts), version: self.version().to_owned(), facts, accesses }
    }

    fn explain_access(&self, facts: &Facts, asked: &Asked) -> AccessExplained {
        let ruling = self.rule(facts, asked).unwrap_or_else(|_| cedar::Ruling::fault());
        let permitted = ruling.is_permitted();
        let near = if ruling.permits.is_empty() { self.near(facts, asked).unwrap_or_default() } else { Vec::new() };
        AccessExplained {
            action: asked.action,
            resource: asked.resource.to_string(),
            permitted,
            permits: self.names_of(ruling.permits),
            forbids: self.names_of(ruling.forbids),
            errors: self.names_of(ruling.errors),
            near,
        }
    }

    fn near(&self, facts: &Facts, asked: &Asked) -> Result<Vec<NearMiss>, Fault> {
        let target = Target::new(&self.types, &self.actions, &facts.subject, asked)?;
        let changing = Changing::Given(&facts.statement, &facts.moment, Reads::EVERYTHING);
        let request = target.request(cedar::context(&facts.subject, asked, changing)?)?;
        let mut near = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.effect == Effect::Permit) {
            if !holds(rule, json!([]), &request, &target)? {
                continue;
            }
            let mut unmet = Vec::new();
            for condition in conditions(&rule.json) {
                if !holds(rule, json!([condition]), &request, &target)? {
                    unmet.push(text(rule, condition)?);
                }
            }
            near.push(NearMiss { policy: rule.name.clone(), unmet });
        }
        Ok(near)
    }
}

/// Whether a policy with these conditions in place of its own would hold.
fn holds(rule: &Rule, conditions: Value, request: &Request, target: &Target) -> Result<bool, Fault> {
    let set = PolicySet::from_policies([rule.with_conditions(conditions)?]).map_err(Fault::new)?;
    let response = Authorizer::new().is_authorized(request, &set, &target.entities);
    Ok(response.decision() == cedar_policy::Decision::Allow)
}

/// The conditions of a policy, those joined by `&&` taken apart. The policy holds if each of them does.
fn conditions(policy: &Value) -> Vec<Value> {
    let mut parts = Vec::new();
    for condition in policy.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let body = condition.get("body").filter(|_| condition.get("kind") == Some(&json!("when")));
        match body {
            Some(body) => conjuncts(body, &mut parts),
            None => parts.push(condition.clone()),
        }
    }
    parts
}

/// The depth is that of a policy that Cedar has parsed, which bounds it.
fn conjuncts(body: &Value, parts: &mut Vec<Value>) {
    let sides = body.get("&&").map(|and| (and.get("left"), and.get("right")));
    if let Some((Some(left), Some(right))) = sides {
        conjuncts(left, parts);
        conjuncts(right, parts);
    } else {
        parts.push(json!({ "kind": "when", "body": body }));
    }
}

/// A condition as an admin would write it.
fn text(rule: &Rule, condition: Value) -> Result<String, Fault> {
    let keyword = if condition.get("kind") == Some(&json!("unless")) { "unless" } else { "when" };
    let policy = rule.with_conditions(json!([condition]))?.to_string();
    let body = policy.split_once(&format!("{keyword} {{")).and_then(|(_, rest)| rest.rsplit_once('}'));
    let body = body.map_or(policy.as_str(), |(body, _)| body);
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(if keyword == "unless" { format!("not ({body})") } else { body })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decision, version, facts, accesses } = self;
        writeln!(f, "{decision}")?;
        match &decision.outcome {
            Outcome::Review { message: Some(message), .. } => writeln!(f, "  {message}")?,
            Outcome::Deny(denial) => writeln!(f, "  hint: {}", denial.hint)?,
            Outcome::Allow { .. } | Outcome::Review { message: None, .. } => {}
        }
        for access in accesses {
            access.fmt(f)?;
        }
        match decision.lifetime {
            Lifetime::Unlimited => {}
            Lifetime::Until(end) => writeln!(f, "holds until {end}")?,
            Lifetime::Once => writeln!(f, "holds for this moment only")?,
        }
        facts.fmt(f)?;
        write!(f, "policies {}", version.get(..12).unwrap_or(version))
    }
}

/// In one line.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Allow { obligations } => write!(f, "allowed{}", Limits(obligations)),
            Outcome::Review { review, obligations, .. } => {
                write!(f, "held for {}{}", Reviewers(review), Limits(obligations))
            }
            Outcome::Deny(denial) => write!(f, "denied: {}", denial.message),
        }
    }
}

impl fmt::Display for AccessExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, resource, permitted, permits, forbids, errors, near } = self;
        let by = |f: &mut fmt::Formatter<'_>, how: &str, names: &[PolicyName]| match names {
            [] => Ok(()),
            names => writeln!(f, "    {how} {}", names.join(", ")),
        };
        writeln!(f, "  {action} on {resource}: {}", if *permitted { "permitted" } else { "not permitted" })?;
        by(f, "permitted by", permits)?;
        by(f, "forbidden by", forbids)?;
        by(f, "not evaluated:", errors)?;
        for NearMiss { policy, unmet } in near {
            writeln!(f, "    {policy} would permit it if: {}", unmet.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, moment, statement, .. } = self;
        let (principal, connection, grant) = (&subject.principal, &subject.connection, &subject.grant);
        let freeze = if connection.freeze { ", frozen" } else { "" };
        let read_only = if grant.read_only { " (read-only)" } else { "" };
        writeln!(f, "as {}:{} in [{}]", principal.kind, principal.name, list(&principal.groups))?;
        writeln!(f, "on {}{freeze}, role {}{read_only}, reason {:?}", connection.name, grant.role, grant.reason)?;
        writeln!(f, "at {} from {}", moment.now, moment.client)?;
        let limit = if statement.limit < 0 { "none".to_owned() } else { statement.limit.to_string() };
        write!(f, "statement: tag {:?}, filtered {}, limit {limit}", statement.tag, statement.filtered)?;
        write!(f, ", tables {}, nested {}", statement.tables, statement.nested)?;
        for (name, set) in [
            ("functions", &statement.functions),
            ("unknown functions", &statement.unknown_functions),
            ("settings", &statement.settings),
            ("effects", &statement.effects),
        ] {
            if !set.is_empty() {
                write!(f, ", {name} [{}]", list(set))?;
            }
        }
        if !statement.column_tags.is_empty() {
            write!(f, ", column tags [{}]", list(&statement.column_tags))?;
        }
        if !statement.transaction.is_empty() {
            write!(f, ", transaction {}", statement.transaction)?;
        }
        writeln!(f)
    }
}

fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(item.as_ref());
    }
    text
}

struct Reviewers<'a>(&'a Review);

impl fmt::Display for Reviewers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let approvals = self.0.approvals.iter().map(|(group, count)| format!("{count} of {group}"));
        let preview = if self.0.preview { ", with a preview" } else { "" };
        write!(f, "{}{preview}", list(approvals))?;
        match self.0.above {
            Some(rows) => write!(f, ", unless that shows that it changes at most {rows} rows"),
            None => Ok(()),
        }
    }
}

struct Limits<'a>(&'a Obligations);

impl fmt::Display for Limits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Obligations {
            max_rows,
            max_bytes,
            statement_timeout_ms,
            idle_in_transaction_session_timeout_ms,
            lock_timeout_ms,
            reason_required: _,
            record_binds,
        } = self.0;
        let time = |millis: u64| match millis % 1000 {
            0 => format_duration(Duration::from_millis(millis)),
            _ => format!("{millis}ms"),
        };
        let mut limits = Vec::new();
        limits.extend(max_rows.map(|n| format!("at most {n} rows")));
        limits.extend(max_bytes.map(|n| format!("at most {n} bytes")));
        limits.extend(statement_timeout_ms.map(|n| format!("statement_timeout {}", time(n))));
        limits.extend(
            idle_in_transaction_session_timeout_ms.map(|n| format!("idle_in_transaction_session_timeout {}", time(n))),
        );
        limits.extend(lock_timeout_ms.map(|n| format!("lock_timeout {}", time(n))));
        limits.extend(record_binds.then(|| "bound values are recorded".to_owned()));
        if limits.is_empty() { Ok(()) } else { write!(f, ", {}", limits.join(", ")) }
    }
}
