//! The data folder of `postern dev`: one process at a time, tokens that outlive restarts, and `dev.json`, which
//! is there while and only while everything is ready.

use crate::{failure::Failure, files};
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What API tokens begin with.
const TOKEN_PREFIX: &str = "postern_";

/// What scripts drive it by: `dev.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    pub http_url: String,
    pub pg_host: String,
    pub pg_port: u16,
    pub admin_token: String,
    pub agent_token: String,
    pub audit_public_key: String,
    pub connections: Vec<ReadyConnection>,
}

/// A connection, and its access roles' names.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadyConnection {
    pub name: String,
    pub roles: Vec<String>,
}

impl Ready {
    /// Reads what the one that runs has written.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("dev.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::failed(format!(
                    "there is no {}: it does not run, or is not ready yet",
                    path.display()
                ))
                .hint("Start it with `postern dev`."));
            }
            Err(error) => {
                return Err(Failure::failed(format!("cannot read {}: {error}", path.display())));
            }
        };
        serde_json::from_slice(&text).map_err(|_| Failure::failed(format!("{} cannot be read", path.display())))
    }
}

/// The tokens, kept from start to start.
pub struct Tokens {
    pub admin: SecretString,
    pub agent: SecretString,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTokens {
    admin_token: String,
    agent_token: String,
}

/// Where everything is kept: as was said, else `$XDG_STATE_HOME/postern/dev`, else `~/.local/state/postern/dev`.
pub fn path(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return std::path::absolute(path)
            .map_err(|error| Failure::failed(format!("cannot use {}: {error}", path.display())));
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    let state =
        state.ok_or_else(|| Failure::failed("there is no home folder").hint("Name a folder with --data-dir."))?;
    Ok(state.join("postern/dev"))
}

/// Whether a process holds the folder, and which.
pub fn holder(path: &Path) -> io::Result<Option<i32>> {
    let mut file = match File::open(lock_file(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text.trim().parse().ok())
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_file(path: &Path) -> PathBuf {
    path.join("dev.lock")
}

/// The folder, held by this process.
pub struct DataFolder {
    path: PathBuf,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl DataFolder {
    /// Takes the folder, making it if need be. From here on nobody finds a `dev.json` of an earlier start.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::failed(format!("cannot use {}: {error}", path.display()));
        files::private_folder(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let mut lock =
            options.create(true).truncate(false).write(true).mode(0o600).open(lock_file(path)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::failed(format!("another `postern dev` runs on {}", path.display()))
                    .hint("Stop it with `postern dev stop`, or give this one another --data-dir and other ports."));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        lock.set_len(0).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        let this = Self { path: path.canonicalize().map_err(failed)?, _lock: lock };
        this.remove_ready().map_err(failed)?;
        Ok(this)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `dev.json`.
    pub fn ready_file(&self) -> PathBuf {
        self.path.join("dev.json")
    }

    /// Says that it is not ready, or no longer.
    pub fn remove_ready(&self) -> io::Result<()> {
        match std::fs::remove_file(self.ready_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Says that everything is ready.
    pub fn write_ready(&self, ready: &Ready) -> Result<(), Failure> {
        files::write_private_json(&self.ready_file(), ready)
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", self.ready_file().display())))
    }

    /// The tokens of earlier starts, or new ones.
    pub fn tokens(&self) -> anyhow::Result<Tokens> {
        let path = self.path.join("tokens.json");
        let saved = match std::fs::read(&path) {
            // The cause is left out: it could quote a token.
            Ok(text) => {
                serde_json::from_slice(&text).ok().with_context(|| format!("{} cannot be read", path.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fresh =
                    || postern_types::token::generate(TOKEN_PREFIX).map(|token| token.expose_secret().to_owned());
                let saved = SavedTokens { admin_token: fresh()?, agent_token: fresh()? };
                files::write_private_json(&path, &saved).with_context(|| format!("cannot write {}", path.display()))?;
                saved
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let SavedTokens { admin_token, agent_token } = saved;
        Ok(Tokens { admin: admin_token.into(), agent: agent_token.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_tokens_stay() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()).unwrap(), None);
        let data = DataFolder::open(folder.path()).unwrap();
        let first = data.tokens().unwrap();
        assert_eq!(holder(folder.path()).unwrap(), Some(std::process::id().cast_signed()));
        assert!(DataFolder::open(folder.path()).is_err());
        std::fs::write(data.ready_file(), "{}").unwrap();
        drop(data);
        assert_eq!(holder(folder.path()).unwrap(), None);
        let data = DataFolder::open(folder.path()).unwrap();
        assert!(!data.ready_file().exists());
        assert_eq!(data.tokens().unwrap().agent.expose_secret(), first.agent.expose_secret());
    }
}
