//! What whoever starts the process may do without a token: the first principals, documents, join tokens.

use crate::{
    apply, audit,
    core::Core,
    fleet,
    identity::directory::{self, Founder},
    problem::Problem,
    store::StoreError,
};
use postern_api::{
    document::{Apply, Changes, SourcedDocument},
    fleet::{CreatedJoinToken, PartKind},
    identity::{PrincipalKind, PrincipalRef},
};
use postern_types::{time::Micros, token};
use secrecy::{ExposeSecret, SecretString};
use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};
use thiserror::Error;

/// How long a join token made here is good.
const JOIN_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// The name of the first user.
const FIRST_ADMIN: &str = "admin";

/// The file in the data folder that holds the first admin's token.
const FIRST_TOKEN_FILE: &str = "admin.token";

/// The first admin cannot be made.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No token can be made.
    #[error(transparent)]
    Random(#[from] token::RandomError),
    /// The token's file cannot be written.
    #[error("{path} cannot be written")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Core {
    /// Makes a user or agent unless it is there, puts a new one into groups, and stores the given token unless it
    /// was ever stored. Done again, it changes nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bootstrap_principal_token(
        &self,
        kind: PrincipalKind,
        name: &str,
        groups: &[&str],
        admin: bool,
        auditor: bool,
        token: &SecretString,
    ) -> Result<PrincipalRef, StoreError> {
        let founder = Founder { kind, name, groups, admin, auditor };
        directory::found(&self.store, &founder, token, Micros::now()).await
    }

    /// On a new installation: a user `admin`, whose token is written to a file in the data folder that only its
    /// owner can read. Gives that file; none when there are users already.
    ///
    /// # Errors
    /// When the store fails or the file cannot be written.
    pub async fn bootstrap_admin(&self) -> Result<Option<PathBuf>, BootstrapError> {
        if !directory::is_empty(&self.store).await? {
            return Ok(None);
        }
        let token = token::generate(crate::identity::tokens::PREFIX)?;
        let path = self.config.data_dir.join(FIRST_TOKEN_FILE);
        // Written first: a token in the store that nobody was told would lock everybody out.
        write_private(&path, &token).map_err(|source| BootstrapError::File { path: path.clone(), source })?;
        self.bootstrap_principal_token(PrincipalKind::User, FIRST_ADMIN, &["admins"], true, true, &token).await?;
        Ok(Some(path))
    }

    /// Applies documents, all or none. No actor: whoever started the process.
    ///
    /// # Errors
    /// When a document is wrong, with its file, number and field.
    pub async fn apply(
        &self,
        documents: Vec<SourcedDocument>,
        merge: bool,
        actor: Option<&PrincipalRef>,
    ) -> Result<Changes, Problem> {
        let body = Apply { documents, policies: Vec::new(), merge };
        let (changes, effects) = apply::apply_as(&self.store, actor, &body, Micros::now()).await?;
        self.perform(effects);
        Ok(changes)
    }

    /// Makes a join token, good for an hour and one enrolment.
    ///
    /// # Errors
    /// When the name is none or the store fails.
    pub async fn create_join_token(&self, kind: PartKind, name: &str) -> Result<CreatedJoinToken, Problem> {
        fleet::make(self, None, kind, name, JOIN_TOKEN_LIFETIME, Micros::now()).await
    }

    /// Records an event of the control plane's own that changes nothing in the store, such as a start.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(&self, event: audit::Event) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        audit::append_control(&mut tx, event).await?;
        tx.commit().await
    }
}

fn write_private(path: &std::path::Path, token: &SecretString) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", token.expose_secret())?;
    file.sync_all()
}
