//! What is recorded beside a decision, so that it can be made again: by the same policies, or by changed ones.

use crate::{
    decision::{Decision, Outcome, PolicyName},
    facts::{self, Asked, Facts, StatementFacts},
    load::Policies,
    objects::Describe,
    subject::{Moment, Subject},
};
use postern_sql::facts::Statement;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What the statements of one string were decided by. The moment is not part of it, so that it is the same each time
/// the same is done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Counts the changes of policies.
    pub version: u64,
    /// The hash of the policies.
    pub hash: String,
    /// Those that decided, sorted: of what was refused those that refused it, else all that permitted it.
    pub policies: Vec<PolicyName>,
    /// Who, where, by which grant.
    pub subject: Subject,
    /// The statements, in their order.
    pub statements: Vec<Deed>,
}

/// What one statement does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// What policies can read of it.
    pub statement: StatementFacts,
    /// What is asked besides `connect`.
    pub accesses: Vec<Asked>,
}

impl Deed {
    /// From the analysis of a statement.
    #[must_use]
    pub fn of(statement: &Statement, objects: &dyn Describe) -> Self {
        let mut seen = HashSet::new();
        let accesses = facts::accesses(statement).filter(|access| seen.insert(access.clone()));
        let accesses = accesses.map(|access| Asked::of(&access, statement, objects)).collect();
        Self { statement: StatementFacts::of(statement, objects), accesses }
    }

    /// As it travels.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    /// As it has travelled.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// All that a decision on it rests on.
    #[must_use]
    pub fn facts(self, subject: &Subject, moment: &Moment) -> Facts {
        let Self { statement, accesses } = self;
        Facts { subject: subject.clone(), moment: *moment, statement, accesses }
    }
}

impl Basis {
    /// As it is recorded.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    /// As it was recorded.
    ///
    /// # Errors
    /// When it is none, or one of a version that knew more.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Of each statement, all that the decision on it rests on.
    pub fn facts<'a>(&'a self, moment: &'a Moment) -> impl Iterator<Item = Facts> + 'a {
        self.statements.iter().map(|deed| deed.clone().facts(&self.subject, moment))
    }
}

/// Writing these types cannot fail: no map in them has keys other than text. Nothing would be read back as neither.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

impl Policies {
    /// Decides on the statements of one string, none of which runs unless all may: the first that is denied decides,
    /// else the first that is held.
    pub fn decide_all(&self, statements: impl IntoIterator<Item = Facts>) -> Option<Decision> {
        let mut decisions = statements.into_iter().map(|facts| self.decide_again(&facts));
        let mut worst = decisions.next()?;
        for decision in decisions {
            if rank(&decision) > rank(&worst) {
                worst = decision;
            }
        }
        Some(worst)
    }
}

fn rank(decision: &Decision) -> u8 {
    match decision.outcome {
        Outcome::Allow { .. } => 0,
        Outcome::Review { .. } => 1,
        Outcome::Deny(_) => 2,
    }
}
