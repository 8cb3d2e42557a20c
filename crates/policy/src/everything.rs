//! Whether a grant may do everything: whatever the statement, the resource and the moment, and with nothing asked for in
//! return. Then statements need not be understood.
//!
//! Policies are looked at one by one. Of each, the conditions are taken that stand first and speak of nothing but the
//! principal, the grant and the connection: Cedar evaluates from left to right and stops at what is false, so that a policy
//! of which these do not hold is out of the question for all that the grant may ask.

use crate::{
    cedar::{self, Changing, Fault, Ruling, Target},
    facts::Asked,
    load::{Policies, Rule},
    subject::Subject,
};
use cedar_policy::{Effect, Policy, PolicySet};
use serde_json::{Value, json};

/// Operators that cannot fail, on what was validated. Arithmetic overflows, and extension functions take any text.
const CANNOT_FAIL: [&str; 21] = [
    "Value",
    "Var",
    "Set",
    "Record",
    ".",
    "has",
    "==",
    "!=",
    "in",
    "is",
    "&&",
    "||",
    "!",
    "contains",
    "containsAll",
    "containsAny",
    "isEmpty",
    "<",
    "<=",
    ">",
    ">=",
];

/// The most conditions of a policy that are looked at one by one, and how deep each may be in Cedar's JSON: what is made
/// of them is deeper than the policy, and the stack is bounded.
const MAX_CONDITIONS: usize = 20;
const MAX_DEPTH: usize = 30;

/// A policy, as far as it is the same for everything that a grant may ask.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    /// A permit for the same principals under the conditions that stand first.
    pub(crate) policy: Policy,
    /// Nothing else narrows it: where the prefix holds, the policy does.
    whole: bool,
    /// Evaluating the rest of it may fail, which denies.
    may_fail: bool,
}

impl Prefix {
    pub(crate) fn of(policy: &Policy, json: &Value) -> Result<Self, Fault> {
        let conditions: Vec<Value> = match json.get("conditions") {
            Some(Value::Array(conditions)) => conditions.iter().flat_map(conjuncts).collect(),
            _ => Vec::new(),
        };
        let fixed =
            conditions.iter().take(MAX_CONDITIONS).take_while(|condition| is_of_subject(condition, MAX_DEPTH)).count();
        let (first, rest) = conditions.split_at(fixed);
        let any = json!({ "op": "All" });
        let is_any = |part| json.get(part) == Some(&any);
        let conditions: Vec<_> = first.iter().map(|body| json!({ "kind": "when", "body": body })).collect();
        let prefix = json!({
            "effect": "permit", "principal": json.get("principal"), "action": any, "resource": any,
            "conditions": conditions,
        });
        Ok(Self {
            policy: Policy::from_json(Some(policy.id().clone()), prefix).map_err(Fault::new)?,
            whole: rest.is_empty() && is_any("action") && is_any("resource"),
            may_fail: !rest.iter().all(|condition| cannot_fail(condition, MAX_DEPTH)),
        })
    }
}

impl Rule {
    fn asks_for_nothing(&self) -> bool {
        self.duties.obligations == Default::default() && self.duties.review.is_none()
    }
}

impl Policies {
    /// Whether a grant may do everything, whatever the statement, the resource and the moment, with nothing asked for in
    /// return. Where it cannot be told, it may not.
    #[must_use]
    pub fn permit_everything(&self, subject: &Subject) -> bool {
        let Ok(ruling) = self.prefixes_that_hold(subject) else { return false };
        let holding = || ruling.permits.iter().filter_map(|n| self.rules.get(*n));
        let harmless = |rule: &Rule| rule.effect == Effect::Permit && rule.asks_for_nothing() && !rule.prefix.may_fail;
        ruling.errors.is_empty() && holding().all(harmless) && holding().any(|rule| rule.prefix.whole)
    }

    fn prefixes_that_hold(&self, subject: &Subject) -> Result<Ruling, Fault> {
        let asked = Asked::connect();
        let target = Target::new(&self.types, &self.actions, subject, &asked)?;
        let request = target.request(cedar::context(subject, &asked, Changing::Left)?)?;
        let mut ruling = Ruling::default();
        ruling.add(self, [&self.prefixes, &PolicySet::new()], &request, &target.entities);
        Ok(ruling)
    }
}

/// The parts of a condition that all have to hold, in the order in which they are evaluated.
fn conjuncts(condition: &Value) -> Vec<Value> {
    let body = condition.get("body").cloned().unwrap_or(Value::Null);
    if condition.get("kind").and_then(Value::as_str) == Some("when") {
        let mut parts = Vec::new();
        split(body, &mut parts);
        parts
    } else {
        vec![json!({ "!": { "arg": body } })]
    }
}

fn split(body: Value, parts: &mut Vec<Value>) {
    match sides(&body) {
        Some((left, right)) => {
            split(left, parts);
            split(right, parts);
        }
        None => parts.push(body),
    }
}

fn sides(body: &Value) -> Option<(Value, Value)> {
    let both = body.as_object().filter(|node| node.len() == 1)?.get("&&")?;
    Some((both.get("left")?.clone(), both.get("right")?.clone()))
}

/// Whether it speaks of nothing but the principal, the grant and the connection.
fn is_of_subject(node: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match node {
        Value::Object(fields) => {
            if let Some(access) = fields.get(".") {
                let of_context = access.get("left").and_then(|left| left.get("Var")) == Some(&json!("context"));
                let attribute = access.get("attr").and_then(Value::as_str);
                if of_context && fields.len() == 1 {
                    return matches!(attribute, Some("grant" | "connection"));
                }
            }
            let variable = fields.get("Var");
            variable.is_none_or(|variable| variable == "principal")
                && fields.values().all(|field| is_of_subject(field, depth))
        }
        Value::Array(items) => items.iter().all(|item| is_of_subject(item, depth)),
        _ => true,
    }
}

/// Whether evaluating it gives a truth value, whatever it is asked about. What is deep may find too little stack.
fn cannot_fail(node: &Value, depth: usize) -> bool {
    let (Value::Object(fields), Some(depth)) = (node, depth.checked_sub(1)) else { return false };
    fields.iter().all(|(operator, arguments)| {
        CANNOT_FAIL.contains(&operator.as_str())
            && match (operator.as_str(), arguments) {
                // What they hold are values and names, not expressions.
                ("Value" | "Var", _) => true,
                ("Set", Value::Array(items)) => items.iter().all(|item| cannot_fail(item, depth)),
                (_, Value::Object(arguments)) => {
                    arguments.values().filter(|value| value.is_object()).all(|value| cannot_fail(value, depth))
                }
                _ => false,
            }
    })
}
