//! How much is asked, decided and run, over time: counts, nothing of any statement.

use crate::identity::PrincipalRef;
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The query of `GET /overview`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OverviewQuery {
    /// From then on, down to the full step; a week before `until`, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Micros>,
    /// Before then; now, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Micros>,
}

/// What happened in a span of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// From then on.
    #[schema(value_type = String, format = DateTime)]
    pub since: Micros,
    /// Before then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Micros,
    /// How long one step is: an hour, six, or a day of UTC.
    pub step_seconds: u32,
    /// Each step, the oldest first; also those in which nothing happened.
    pub steps: Vec<OverviewStep>,
    /// Requests that were made in it, and what has become of them.
    pub requests: Decisions,
    /// Statements that were held in it, and what has become of them.
    pub reviews: Decisions,
    /// Who has answered most, at most 20.
    pub reviewers: Vec<ReviewerLoad>,
    /// Who has run most, at most 20.
    pub principals: Vec<PrincipalActivity>,
}

/// What happened in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OverviewStep {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
    /// Requests that were made.
    pub requests: u64,
    /// Of them, those that were denied.
    pub requests_denied: u64,
    /// Statements that were held.
    pub reviews: u64,
    /// Of them, those that were denied.
    pub reviews_denied: u64,
    /// Statements that were decided.
    pub statements: u64,
    /// Of them, those that were refused.
    pub statements_denied: u64,
    /// Values that were masked.
    pub masked_values: u64,
}

/// What became of what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decisions {
    /// How many there are.
    pub asked: u64,
    /// Approved by rule: nobody was asked.
    pub by_rule: u64,
    /// Approved by people.
    pub approved: u64,
    /// Denied.
    pub denied: u64,
    /// Nobody answered in time, or what was approved was not used.
    pub expired: u64,
    /// Taken back.
    pub withdrawn: u64,
    /// Nobody has decided yet.
    pub pending: u64,
    /// People decided half of them within so many seconds.
    pub median_seconds: Option<u64>,
    /// People decided nine of ten within so many seconds.
    pub most_seconds: Option<u64>,
}

/// What one person has answered, of requests and statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewerLoad {
    /// Who.
    pub reviewer: PrincipalRef,
    /// How often they said yes.
    pub approved: u64,
    /// How often they said no.
    pub denied: u64,
    /// How often they said yes less than five seconds after it was asked: hardly read.
    pub rubber_stamped: u64,
    /// They gave half of their answers within so many seconds.
    pub median_seconds: u64,
}

/// What one principal has run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrincipalActivity {
    /// Who.
    pub principal: PrincipalRef,
    /// Statements that were decided.
    pub statements: u64,
    /// Of them, those that were refused.
    pub denied: u64,
    /// Values in their results that were masked.
    pub masked_values: u64,
}
