//! The files that `plan` and `apply` take: one YAML document an object, known by its kind and name.
//!
//! Unknown keys are errors, so that a misspelt one is never silently without effect.

use crate::policy::{PolicyFile, PolicyProblem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
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
    /// What is doubtful in the policies.
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
    pub reviewers: Vec<String>,
    /// How many reviewers have to say yes; 0: approved by rule at once.
    pub approvals: u32,
    /// PostgreSQL settings for the session.
    pub settings: BTreeMap<String, String>,
    /// What becomes of the client's `application_name`.
    pub application_name: ApplicationName,
    /// What a grant of it may use up.
    pub budget: Option<Budget>,
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
            reviewers: Vec::new(),
            approvals: 1,
            settings: BTreeMap::new(),
            application_name: ApplicationName::default(),
            budget: None,
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
    /// May do nothing at all.
    #[serde(default)]
    pub disabled: bool,
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
