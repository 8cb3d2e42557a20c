//! The answer to a question.

use crate::{
    facts::Action,
    obligations::{Obligations, Review},
};
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A policy's id: its `@id`.
pub type PolicyName = Arc<str>;

/// What was decided, and by which policies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What.
    pub outcome: Outcome,
    /// The policies that decided, sorted: all permits that hold, or the forbids that do. Empty when no policy permits it.
    pub policies: Vec<PolicyName>,
    /// How long the same question has this answer.
    pub lifetime: Lifetime,
}

/// What was decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may run.
    Allow {
        /// Within these limits.
        obligations: Obligations,
    },
    /// It may run once people have agreed.
    Review {
        /// Who.
        review: Review,
        /// Within these limits.
        obligations: Obligations,
        /// What whoever waits is told.
        message: Option<Arc<str>>,
        /// What whoever waits may do instead.
        hint: Option<Arc<str>>,
    },
    /// It may not run.
    Deny(Denial),
}

/// Why something may not run, in words for whoever sent it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Denial {
    /// The first action that may not be done.
    pub action: Action,
    /// To what it may not be done: `public.orders`.
    pub resource: String,
    /// Why.
    pub cause: DenialCause,
    /// Why, as a sentence.
    pub message: String,
    /// What would be allowed, or how to ask.
    pub hint: String,
}

/// Why something may not run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialCause {
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A policy permits it to grants that were asked for with a reason; this one was not.
    ReasonMissing,
    /// A policy could not be evaluated.
    Error,
}

/// How long a decision may be kept. It always ends with the policies, the subject, what is known of the objects, the
/// statement's facts and the client's address that it was made with: these belong in the key of a cache.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// No policy that matters reads the time.
    Unlimited,
    /// Until this time, exclusive.
    Until(Micros),
    /// It must not be kept.
    Once,
}

impl Lifetime {
    /// Whether a decision that was kept may be used at this time.
    #[must_use]
    pub fn covers(self, now: Micros) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Until(end) => now < end,
            Self::Once => false,
        }
    }

    /// How long two decisions may be kept together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Once, _) | (_, Self::Once) => Self::Once,
            (Self::Unlimited, other) | (other, Self::Unlimited) => other,
            (Self::Until(one), Self::Until(other)) => Self::Until(one.min(other)),
        }
    }
}

impl Decision {
    /// Whether it may run, at once or after a review.
    #[must_use]
    pub fn is_permitted(&self) -> bool {
        !matches!(self.outcome, Outcome::Deny(_))
    }

    /// Whether it may run at once.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Allow { .. })
    }

    /// The denial, where it is one.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        if let Outcome::Deny(denial) = &self.outcome { Some(denial) } else { None }
    }

    /// The limits, unless it is denied.
    #[must_use]
    pub fn obligations(&self) -> Option<&Obligations> {
        match &self.outcome {
            Outcome::Allow { obligations } | Outcome::Review { obligations, .. } => Some(obligations),
            Outcome::Deny(_) => None,
        }
    }
}
