//! Whose consent a statement needs.

use postern_policy::{Decision, PolicyName, Review};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What the permits of a string's statements ask for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// How many members of which groups. All of them are needed.
    pub review: Review,
    /// The policies that permit it so.
    pub policies: BTreeSet<PolicyName>,
    /// What they say to whoever waits.
    pub message: Option<Arc<str>>,
}

impl Consent {
    /// Adds what is needed for one more statement.
    pub fn add(&mut self, review: &Review, decision: &Decision, message: Option<&Arc<str>>) {
        self.review.merge(review);
        self.policies.extend(decision.policies.iter().cloned());
        if self.message.is_none() {
            self.message = message.cloned();
        }
    }

    /// Whether nothing more is needed for another text than what was needed for this one.
    pub fn covers(&self, other: &Self) -> bool {
        let has =
            |(group, count): (&Arc<str>, &u32)| self.review.approvals.get(group).is_some_and(|given| given >= count);
        other.review.approvals.iter().all(has)
    }
}

impl fmt::Display for Consent {
    /// `2 of dba and 1 of security`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (group, count)) in self.review.approvals.iter().enumerate() {
            let and = if at > 0 { " and " } else { "" };
            write!(f, "{and}{count} of {group}")?;
        }
        Ok(())
    }
}
