//! Database roles that live as long as one session (access roles of mode `ephemeral`).
//!
//! A session's login is `postern_<connector>_<session>`, both without the kind in front of the id, so that PostgreSQL's own
//! log and `pg_stat_activity` say whose it is. It is a member of the role that the access role maps to, and the session begins
//! as that role: what it makes belongs to the mapped role, and what names and privileges mean is what they mean to it. Where
//! it is to have less than that role it is no member, and begins as itself.
//!
//! - [`make`]: a role and its login, made by the login that the connector holds for it
//! - [`shield`]: what it has in place of that membership, where the database is to keep something from a session
//! - [`unmake`]: ends what is left of the session, hands on what the role owns, and drops it
//! - [`workshop`]: the few connections of that login
//! - [`reap`]: drops what a crash left
//!
//! INVARIANT: a name is among the live ones before its role is made and until it is dropped, so that the reaper, which drops
//! all others of this connector, never takes a session's. That no other process has this connector's id is what the lock on
//! the data folder is for.

mod make;
pub mod reap;
mod shield;
mod unmake;
mod workshop;

use crate::journal::Journal;
use parking_lot::Mutex;
use postern_dial::DialError;
use secrecy::SecretString;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Notify, time::sleep};
use workshop::Workshops;

pub use make::Wanted;
pub use shield::{Bounds, Hidden};
pub use workshop::Maker;

/// What all names begin with.
const PREFIX: &str = "postern_";

/// What could not be dropped is first tried again after this; the reaper goes on trying.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The roles that this connector makes.
#[derive(Clone)]
pub struct Roles {
    shared: Arc<Shared>,
}

struct Shared {
    /// This connector's names begin so.
    prefix: String,
    live: Mutex<HashSet<String>>,
    workshops: Workshops,
    /// Somebody should look for what is left over.
    look: Notify,
    /// Roles outlive the session's own task by a moment.
    runtime: Handle,
}

/// A role that lives as long as this is held, and its login.
pub struct Lease {
    roles: Roles,
    maker: Maker,
    /// Its name.
    pub name: String,
    /// Known to nobody else: the server has only what verifies it.
    pub password: SecretString,
    /// Settings of the mapped role, for the session to begin with, as the server's command line takes them.
    pub options: String,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.roles.let_go(std::mem::take(&mut self.name), self.maker.clone());
    }
}

impl Roles {
    /// Of the connector with this id, on the runtime that this is called in.
    #[must_use]
    pub fn new(connector_id: &str, journal: Journal) -> Self {
        let shared = Shared {
            prefix: format!("{PREFIX}{}_", without_kind(connector_id)),
            live: Mutex::default(),
            workshops: Workshops::new(journal),
            look: Notify::new(),
            runtime: Handle::current(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes a role for a session. `maker` is the login that may, in the session's database.
    ///
    /// Cancel safe: a role that nobody waits for any more is dropped.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make(&self, maker: Maker, wanted: Wanted) -> Result<Lease, MakeError> {
        let roles = self.clone();
        let making = async move { make::make(&roles, maker, &wanted).await };
        self.shared.runtime.spawn(making).await.map_err(|error| MakeError::Dial(std::io::Error::other(error).into()))?
    }

    /// The major version of a login's server, if it says it.
    ///
    /// # Errors
    /// When the login does not get in.
    pub async fn major(&self, maker: &Maker) -> Result<Option<u16>, MakeError> {
        let (roles, maker) = (self.clone(), maker.clone());
        let asking = async move { roles.shared.workshops.tool(&maker).await.map(|tool| tool.major()) };
        let asked = self.shared.runtime.spawn(asking).await;
        Ok(asked.map_err(|error| MakeError::Dial(std::io::Error::other(error).into()))??)
    }

    /// Waits until no role is left, or for so long.
    pub async fn gone(&self, within: Duration) {
        let empty = async {
            while !self.shared.live.lock().is_empty() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        // What is left then is dropped after the next start.
        let _ = tokio::time::timeout(within, empty).await;
    }

    /// Connections may have been added, so that there may be something left over.
    pub fn look(&self) {
        self.shared.look.notify_one();
    }

    fn name(&self, session_id: &str) -> String {
        format!("{}{}", self.shared.prefix, without_kind(session_id))
    }

    fn let_go(&self, name: String, maker: Maker) {
        let roles = self.clone();
        self.shared.runtime.spawn(async move {
            let dropped = unmake::one(&roles, &maker, &name).await;
            roles.shared.live.lock().remove(&name);
            if let Err(error) = dropped {
                tracing::warn!(%error, role = name, "an ephemeral role could not be dropped; it is tried again");
                sleep(AGAIN_AFTER).await;
                roles.look();
            }
        });
    }
}

/// Why a role was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The login that makes roles did not get in, or the server refused.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The server is a standby.
    #[error("the server is a standby")]
    Standby,
    /// The mapped role has a `role` of its own to begin with.
    #[error("the database role has a setting `role`")]
    Switches,
    /// A table has a row-security policy for the mapped role.
    #[error("row security on {0} has a policy for the database role, which would not hold for another")]
    RowSecurity(String),
    /// This could not be done, or had no effect.
    #[error("this had no effect: {0}")]
    Shield(String),
    /// The system's generator failed.
    #[error("no random password can be had")]
    Random,
}

fn without_kind(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, rest)| rest)
}

/// A name as SQL reads it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL reads it; `standard_conforming_strings` is on for those who use it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
