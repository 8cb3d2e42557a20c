//! The files that `plan` and `apply` take: one YAML document an object, known by its kind and name.
//!
//! Unknown keys are errors, so that a misspelt one is never silently without effect.

use crate::{
    policy::{PolicyFile, PolicyProblem},
    quorum::{Need, Quorum, QuorumMode},
};
use postern_types::time::parse_duration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use utoipa::ToSchema;

/// Where a document was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The file's name as the caller gave it.
    #[serde(default)]
    pub file: Option<String>,
    /// The line on which the document begins, from 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// The document's number in the file, from 1.
    #[serde(default)]
    pub index: Option<u32>,
}

/// One document of a file, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourcedDocument {
    /// Where it was read: errors name it.
    #[serde(default)]
    pub source: Source,
    /// The document.
    #[schema(value_type = Object)]
    pub document: Value,
}

/// The body of `POST /plan` and `POST /apply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// What is to be.
    #[serde(default)]
    pub documents: Vec<SourcedDocument>,
    /// Files of policies: each is added, or replaces the one of its name.
    #[serde(default)]
    pub policies: Vec<PolicyFile>,
    /// Keep what a document does not mention, instead of replacing the whole object.
    #[serde(default)]
    pub merge: bool,
}

/// The answer to `plan` and `apply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// One for each document, then one for each file of policies, in their order.
    pub changes: Vec<Change>,
    /// What is doubtful: in the policies, or masks that could not be checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<PolicyProblem>,
}

/// What becomes of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// What becomes of it.
    pub action: ChangeAction,
    /// `Connection`, `User`, `Agent`, `Group`, `Policy` or `Notification`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What differs.
    pub fields: Vec<FieldChange>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    /// It is new.
    Create,
    /// It differs.
    Update,
    /// It goes.
    Delete,
    /// It is so already.
    Unchanged,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// `roles.read.max_duration`.
    pub path: String,
    /// Null when it is new.
    #[schema(value_type = Object)]
    pub from: Value,
    /// Null when it goes.
    #[schema(value_type = Object)]
    pub to: Value,
}

/// How an access role becomes a database role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleMode {
    /// A login role made for the session and dropped after it.
    Ephemeral,
    /// An existing role whose credential the connector holds.
    #[default]
    Login,
    /// One login for everything.
    Shared,
}

/// What becomes of the client's `application_name`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationName {
    /// `postern:<grant>:<client's>`.
    #[default]
    Prefix,
    /// As the client gave it.
    Unchanged,
}

/// A way in to a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessRole {
    /// How it becomes a database role.
    pub mode: RoleMode,
    /// The login to use, for mode `login`; the role that sessions run as, for mode `ephemeral`.
    pub database_role: Option<String>,
    /// Whether the database itself keeps masked columns from sessions, in mode `ephemeral`.
    pub enforce_masks: bool,
    /// Whether transactions begin read-only.
    pub read_only: bool,
    /// Who may ask: members of any of these groups; empty: everybody.
    pub groups: Vec<String>,
    /// The longest that can be asked for.
    pub max_duration: String,
    /// The groups whose members review; empty: admins.
    pub reviewers: Reviewers,
    /// How many reviewers have to say yes, where `reviewers` does not count them; 0: approved by rule at once.
    pub approvals: u32,
    /// PostgreSQL settings for the session.
    pub settings: BTreeMap<String, String>,
    /// What becomes of the client's `application_name`.
    pub application_name: ApplicationName,
    /// What a grant of it may use up.
    pub budget: Option<Budget>,
    /// What a grant of it is bound to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<Bind>,
    /// Who gets it at once in an emergency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
}

impl AccessRole {
    /// Whose consent a request needs; none: it is approved by rule at once.
    #[must_use]
    pub fn quorum(&self) -> Option<Quorum> {
        let counted = |mode, groups: &BTreeMap<String, u32>| {
            let need = |(group, count): (&String, &u32)| Need { groups: vec![group.clone()], count: *count };
            Some(Quorum { mode, needs: groups.iter().map(need).collect() })
        };
        match &self.reviewers {
            Reviewers::Counted(Counted::All(groups)) => counted(QuorumMode::All, groups),
            Reviewers::Counted(Counted::Any(groups)) => counted(QuorumMode::Any, groups),
            Reviewers::Groups(_) if self.approvals == 0 => None,
            Reviewers::Groups(groups) => {
                let need = Need { groups: groups.clone(), count: self.approvals };
                Some(Quorum { mode: QuorumMode::All, needs: vec![need] })
            }
        }
    }
}

/// Who reviews: groups, or groups with how many of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "reviewers are groups, `[dba]`, or how many of which: `{ all: { dba: 2, security: 1 } }` or `{ any: … }`"
)]
pub enum Reviewers {
    /// `approvals` members of any of them; no group: admins.
    Groups(Vec<String>),
    /// So many of each.
    Counted(Counted),
}

impl Default for Reviewers {
    fn default() -> Self {
        Self::Groups(Vec::new())
    }
}

impl Reviewers {
    /// The groups.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        match self {
            Self::Groups(groups) => groups.clone(),
            Self::Counted(Counted::All(groups) | Counted::Any(groups)) => groups.keys().cloned().collect(),
        }
    }
}

/// How many of which groups have to say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Of all of them; a reviewer counts for one.
    All(BTreeMap<String, u32>),
    /// Of any of them.
    Any(BTreeMap<String, u32>),
}

/// What a grant is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bind {
    /// The client's address, which the request has to name.
    Address,
    /// The address of the client that uses it first.
    FirstUse,
    /// The job that asks, by the token that its platform gave it.
    Job,
    /// The certificate by which whoever asks has got their token.
    Certificate,
}

/// Who gets access at once in an emergency, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// The users who are members of any of these groups. No agent.
    pub groups: Vec<String>,
    /// The longest that it lasts.
    pub duration: String,
}

/// What all sessions of a grant may use up together. What is absent has no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Statements that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
    /// Rows that are returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<u64>,
    /// Rows that are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_written: Option<u64>,
    /// Bytes that are returned: `64MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<String>,
    /// Sessions at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
}

/// The longest that can be asked for where an access role does not say.
pub const DEFAULT_MAX_DURATION: &str = "1h";

impl Default for AccessRole {
    fn default() -> Self {
        Self {
            mode: RoleMode::default(),
            database_role: None,
            enforce_masks: false,
            read_only: false,
            groups: Vec::new(),
            max_duration: DEFAULT_MAX_DURATION.to_owned(),
            reviewers: Reviewers::default(),
            approvals: 1,
            settings: BTreeMap::new(),
            application_name: ApplicationName::default(),
            budget: None,
            bind: Vec::new(),
            break_glass: None,
        }
    }
}

/// How values with a tag are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// A fixed text, or NULL where the type has none.
    Redact,
    /// NULL.
    Null,
    /// Keeps so many of the last characters.
    Partial(u32),
    /// Keeps the first letter and the domain's end.
    Email,
    /// Keyed: equal values stay equal.
    Hash,
    /// Keeps the year.
    DateYear,
    /// A little off.
    Noise,
}

/// What may be asked of a masked column in a statement's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Nothing.
    None,
    /// Whether it is equal to a constant or a parameter.
    Equality,
    /// Anything: conditions, joins, orders.
    Any,
}

/// How values with a tag are masked: a mask, or a mask with options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a mask is `redact`, `null`, `{ partial: 4 }`, `email`, `hash`, `date_year`, `noise`, or one of these with \
                 options: `{ mask: hash, compare: any }`; `compare` is `none`, `equality` or `any`"
)]
pub enum Masking {
    /// With the defaults.
    Plain(Mask),
    /// With options.
    With(MaskOptions),
}

/// A mask with options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskOptions {
    /// The mask.
    pub mask: Mask,
    /// What may be asked of such columns; by default equality, and nothing of dates, times, booleans and enums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
}

impl Masking {
    /// Its mask.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        match self {
            Self::Plain(mask) => mask,
            Self::With(options) => &options.mask,
        }
    }

    /// What may be asked of such columns, where it says.
    #[must_use]
    pub fn compare(&self) -> Option<Compare> {
        match self {
            Self::Plain(_) => None,
            Self::With(options) => options.compare,
        }
    }
}

/// What is known by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    /// An e-mail address.
    Email,
    /// The number of a payment card.
    Card,
    /// An account number.
    Iban,
    /// A telephone number.
    Phone,
    /// A social security number of the United States.
    Ssn,
    /// A key, a token or another credential.
    Token,
}

impl Detector {
    /// As files name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Token => "token",
        }
    }
}

/// How long a session waits for another to end, where a connection does not say.
pub const DEFAULT_QUEUE_WAIT: &str = "10s";

/// A named PostgreSQL database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionDocument {
    /// Unique.
    pub name: String,
    /// Where the connector finds it: a `postgresql://` URL without a secret.
    pub database: String,
    /// The name of the connector that serves it.
    pub connector: String,
    /// The most sessions with the database at once, of each connector process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backends: Option<u32>,
    /// How long a session beyond it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait: Option<String>,
    /// The ways in, by name.
    #[serde(default)]
    pub roles: BTreeMap<String, AccessRole>,
    /// `schema`, `schema.table` or `schema.table.column` → tag.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Tag → mask.
    #[serde(default)]
    pub masks: BTreeMap<String, Masking>,
    /// Functions of users, as `schema.name`, that may be called though something is masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_functions: Vec<String>,
    /// Relations, as `schema.name`, that may be read though something is masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_relations: Vec<String>,
    /// Channels of which may be heard though something is masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_channels: Vec<String>,
    /// What is looked for in text and JSON of results that carries no tag, and replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<Detector>,
    /// Functions of users, as `schema.name`, that change nothing but rows: a roll-back undoes all that they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoable_functions: Vec<String>,
    /// How statements wait for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<ReviewTerms>,
}

/// How statements wait for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewTerms {
    /// How long a client waits before it gets a ticket instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// How long it waits inside a transaction that holds locks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_locks: Option<String>,
    /// How long a review can be answered, and then how long an approval can be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<String>,
    /// Who else may answer when nobody has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate: Option<Escalation>,
    /// How long ago, at most, whoever approves has proved at their identity provider who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<String>,
    /// Ways of signing in there of which whoever approves has used one (`acr`); empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr: Vec<String>,
}

/// Who else may answer when nobody has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// After how long.
    pub after: String,
    /// Members of these groups.
    pub to: Vec<String>,
}

impl ReviewTerms {
    /// How long a client waits where a connection does not say.
    pub const HOLD: Duration = Duration::from_secs(20);

    /// How long a review can be answered, and then used, where a connection does not say.
    pub const VALID: Duration = Duration::from_secs(3600);

    /// How long a client waits.
    #[must_use]
    pub fn hold(&self) -> Duration {
        length(self.hold.as_deref(), Self::HOLD)
    }

    /// How long it waits inside a transaction that holds locks: not at all where a connection does not say.
    #[must_use]
    pub fn hold_locks(&self) -> Duration {
        length(self.hold_locks.as_deref(), Duration::ZERO)
    }

    /// How long a review can be answered, and then used.
    #[must_use]
    pub fn valid(&self) -> Duration {
        length(self.valid.as_deref(), Self::VALID)
    }
}

impl Escalation {
    /// After how long.
    #[must_use]
    pub fn after(&self) -> Duration {
        length(Some(&self.after), ReviewTerms::VALID)
    }
}

/// Checked when it was applied.
fn length(text: Option<&str>, default: Duration) -> Duration {
    text.and_then(|text| parse_duration(text).ok()).unwrap_or(default)
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDocument {
    /// Unique among users.
    pub name: String,
    /// By name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// May change everything.
    #[serde(default)]
    pub admin: bool,
    /// May read the whole audit.
    #[serde(default)]
    pub auditor: bool,
    /// May do nothing at all.
    #[serde(default)]
    pub disabled: bool,
    /// The identity provider at which they sign in under this name; null: at none.
    #[serde(default)]
    pub sign_in: Option<String>,
}

/// An AI agent, a CI job, a service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDocument {
    /// Unique among agents.
    pub name: String,
    /// By name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The name of the user who answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether it is taken at its word for whom it acts.
    #[serde(default)]
    pub on_behalf_of: BehalfOf,
    /// May do nothing at all.
    #[serde(default)]
    pub disabled: bool,
}

/// Whether an agent is taken at its word for whom it acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BehalfOf {
    /// It says so.
    #[default]
    Asserted,
    /// It has a token for both, for which that person's own token was given.
    Proved,
}

/// A group of principals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// Unique.
    pub name: String,
    /// As `user:alice` or `agent:ci`. Absent: membership is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
}
