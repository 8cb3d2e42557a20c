//! Statements that wait for people: who asks, what would happen, what was decided.

use crate::{
    identity::{BehalfProof, PrincipalRef},
    quorum::Need,
};
use postern_types::{
    id::{GrantId, PrincipalId, ReviewId, SessionId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Where a review stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReviewStatus {
    /// Waits for reviewers.
    Pending,
    /// It may run, and has not yet; approved for its grant, it may run again.
    Approved,
    /// It was approved, and it ran or is about to.
    Claimed,
    /// A reviewer said no.
    Denied,
    /// Nobody answered in time, or what was approved was not run in time.
    Expired,
    /// Its client or principal took it back, or its grant or session was ended.
    Withdrawn,
}

impl ReviewStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Claimed, Self::Denied, Self::Expired, Self::Withdrawn];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Claimed => "claimed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl std::str::FromStr for ReviewStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is none of {}", names.join(", ")))
    }
}

/// One statement that waits for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// What it is approved or denied by.
    #[schema(value_type = String)]
    pub id: ReviewId,
    /// Where it stands.
    pub status: ReviewStatus,
    /// Who asks.
    pub principal: PrincipalRef,
    /// For whom.
    pub on_behalf_of: Option<PrincipalRef>,
    /// How that was proved when the grant was asked for; absent: the agent has said so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behalf_proof: Option<BehalfProof>,
    /// The user who answers for the agent, and so does not review it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub owner: Option<PrincipalId>,
    /// Under which grant.
    #[schema(value_type = String)]
    pub grant_id: GrantId,
    /// Why the grant was asked for.
    pub reason: String,
    /// The ticket behind it.
    pub ticket: Option<String>,
    /// In which session it was sent first.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// What is to run.
    pub statement: ReviewedStatement,
    /// What it would do.
    pub preview: Preview,
    /// Who has to agree: all of them, each for one of these.
    pub needed: Vec<Need>,
    /// The groups whose members may stand for any of those once nobody has decided for a while.
    pub escalate_to: Vec<String>,
    /// When that is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub escalates_at: Option<Micros>,
    /// Since when it is so.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub escalated_at: Option<Micros>,
    /// What reviewers said, oldest first.
    pub votes: Vec<ReviewVote>,
    /// What was said besides, oldest first.
    pub comments: Vec<ReviewComment>,
    /// How many sessions wait for it at the moment.
    pub waiting: u32,
    /// When the statement was sent first.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// When it expires: unanswered, or approved and not run.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
    /// When it was decided.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Micros>,
    /// What was approved.
    pub decision: Option<Proposal>,
    /// When it was used, last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub claimed_at: Option<Micros>,
    /// How many times it was used: once at most, unless it is approved for the grant.
    pub uses: u32,
    /// Why it was closed, where no reviewer did it; by which rule it was approved.
    pub because: Option<String>,
    /// Its page in the console.
    pub url: Option<String>,
}

/// A statement, as it is recorded: what is compared with masked columns is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewedStatement {
    /// Its text.
    pub sql: String,
    /// How many bytes the whole text has, where `sql` is only its beginning.
    pub sql_bytes: Option<u64>,
    /// Its literals and the values of its parameters, by the names under which they can be left free.
    pub literals: Vec<Literal>,
    /// `DELETE`, as PostgreSQL names it.
    pub tag: String,
    /// The relations that it names.
    pub relations: Vec<String>,
    /// The policies that ask for the review.
    pub policies: Vec<String>,
    /// What they say to reviewers.
    pub message: Option<String>,
    /// Why it cannot be held to a number of rows; absent where it can.
    pub not_boundable_because: Option<String>,
    /// Another text can be approved in its place.
    pub editable: bool,
    /// It waits inside a transaction of its client's.
    pub in_transaction: bool,
}

/// A literal, or a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Literal {
    /// The column that it meets, else its position.
    pub name: String,
    /// As it stands there; empty where it is not shown.
    pub text: String,
}

/// What a statement would do, as the database has tried it and undone it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// What it would change; absent where it was not tried, or fails.
    pub effect: Option<Effect>,
    /// Why it was not tried.
    pub not_made: Option<String>,
    /// The error with which it fails.
    pub fails: Option<Fails>,
    /// What people should know besides.
    pub notes: Vec<String>,
    /// The plan in a few words.
    pub plan: Vec<String>,
    /// When it was tried.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Micros>,
    /// How long that took.
    pub duration_ms: u32,
}

/// An error of PostgreSQL's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fails {
    /// Its code.
    pub sqlstate: String,
    /// What it says.
    pub message: String,
}

/// What a statement would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// The rows were counted; else they are an estimate.
    pub exact: bool,
    /// All rows that it changes, cascades and triggers included.
    pub rows: u64,
    /// The same by relation.
    pub relations: Vec<RelationEffect>,
    /// Some of the rows, masked.
    pub samples: Vec<Sample>,
}

/// What a statement would change of one relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RelationEffect {
    /// `public.orders`.
    pub relation: String,
    /// New rows.
    pub inserted: u64,
    /// Rows that differ.
    pub updated: u64,
    /// Rows that go.
    pub deleted: u64,
    /// A cascade or a trigger does it.
    pub indirect: bool,
    /// The rows that it has, about; absent where that is not known.
    pub total: Option<u64>,
}

/// Some rows of one relation, masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// Of which relation.
    pub relation: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// As they are.
    pub before: Vec<Vec<SampleValue>>,
    /// As they would be.
    pub after: Vec<Vec<SampleValue>>,
}

/// One value of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SampleValue {
    /// The value; null is NULL.
    pub text: Option<String>,
    /// It is masked.
    pub masked: bool,
}

/// What reviewers agree to. Of several votes the strictest of each holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// The most rows that it may change, cascades and triggers included; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// The text that runs in place of the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_sql: Option<String>,
    /// It is for the whole grant, and not for once.
    #[serde(default)]
    pub for_grant: bool,
    /// The names of the literals that may be others then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free: Vec<String>,
}

/// One reviewer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewVote {
    /// Who.
    pub reviewer: PrincipalRef,
    /// What they agree to; absent where they say no.
    pub approves: Option<Proposal>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReviewComment {
    /// Who.
    pub author: PrincipalRef,
    /// What.
    pub text: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Micros,
}

/// The body of `POST /reviews/{id}/approve`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApproveReview {
    /// Why.
    pub reason: Option<String>,
    /// The most rows that it may change. By default those of the preview, where they were counted.
    pub max_rows: Option<u64>,
    /// The text that is to run instead.
    pub edited_sql: Option<String>,
    /// For the whole grant, and not for once.
    pub for_grant: bool,
    /// The names of the literals that may be others then.
    pub free: Vec<String>,
}

/// The body of `POST /reviews/{id}/deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyReview {
    /// Why: whoever asks reads it.
    pub reason: String,
}

/// The body of `POST /reviews/{id}/comments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentOnReview {
    /// What is to be said: everybody reads it who sees the review.
    pub text: String,
}

/// The query of `GET /reviews`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReviewsQuery {
    /// Only those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<ReviewStatus>,
    /// Only the caller's own.
    #[serde(default)]
    pub mine: bool,
}
