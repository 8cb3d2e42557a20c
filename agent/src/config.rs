//! A connector's configuration file, validated once.

use postern_ops::{
    secret::Source,
    setting::{self, Metrics},
};
use postern_types::time::deserialize_duration;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the identity and the outbox are kept.
    pub data_dir: PathBuf,
    /// `host:port` of gateways for the first contact; all others are learnt.
    pub gateways: Vec<String>,
    /// Needed for the first start only.
    pub join_token: Option<Source>,
    /// Credentials, by connection.
    #[serde(default)]
    pub connections: BTreeMap<String, Credentials>,
    /// Records on their way to the control plane.
    #[serde(default)]
    pub outbox: Outbox,
    /// Threads of the data path.
    pub workers: Option<usize>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub metrics: Option<Metrics>,
    /// Sessions that run have this long to finish when the connector is told to stop.
    #[serde(default = "setting::default_drain", deserialize_with = "deserialize_duration")]
    pub drain: Duration,
}

/// How the connector logs in to one database. A login that has no password here takes the one that the control plane
/// keeps for it, if there is one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// For access roles of mode `login`, by database role.
    #[serde(default)]
    pub logins: BTreeMap<String, Login>,
    /// For access roles of mode `shared`.
    pub shared: Option<Account>,
    /// For access roles of mode `ephemeral`: the login that makes their roles.
    pub ephemeral: Option<Account>,
    /// Whether read-only access roles may use a login that could do more: a superuser, an owner of relations, a member of
    /// PostgreSQL's own privileged roles. Their statements are judged all the same, but nothing else stands behind that.
    #[serde(default)]
    pub privileged_readers: bool,
    /// Certificates to trust for this database, PEM; `sslmode` stands in the connection's URL.
    pub root_certificate: Option<PathBuf>,
}

/// One database role's secret. Without one, the role needs none (peer or trust authentication).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Where the password comes from.
    pub password: Option<Source>,
}

/// A login that serves more than one access role.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The database role.
    pub user: String,
    /// Where the password comes from.
    pub password: Option<Source>,
}

/// The outbox's bounds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbox {
    /// When records of this many bytes wait, no statement runs.
    pub max_bytes: u64,
    /// What survives a power cut.
    pub durability: Durability,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, durability: Durability::Grouped }
    }
}

/// What "written" means. The death of the process loses nothing in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// A power cut loses at most 50 ms.
    #[default]
    Grouped,
    /// A power cut loses nothing: each batch of statements waits for the disk.
    Strict,
}
