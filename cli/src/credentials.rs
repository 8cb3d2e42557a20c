//! The saved login: `credentials.json` in the user's configuration folder, readable by its owner only.

use crate::{failure::Failure, files};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};

/// What `login` saved.
#[derive(Clone, Debug)]
pub struct Login {
    /// The control plane for which the token is good. It is sent to no other.
    pub url: String,
    /// The token.
    pub token: SecretString,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    url: String,
    token: String,
}

/// Where the login is saved: `$XDG_CONFIG_HOME/postern`, else `~/.config/postern`.
pub fn path() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
        .ok_or_else(|| {
            Failure::failed("there is no home folder to keep the login in").hint("Set POSTERN_TOKEN instead.")
        })?;
    Ok(folder.join("postern").join("credentials.json"))
}

/// The saved login, if there is one.
pub fn load() -> Result<Option<Login>, Failure> {
    // Without a home folder there is no saved login: POSTERN_TOKEN serves.
    let Ok(path) = path() else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::failed(format!("cannot read {}: {error}", path.display())));
        }
    };
    let saved: Saved = serde_json::from_str(&text).map_err(|_| {
        // The cause is left out: it could quote the token.
        Failure::failed(format!("{} is not a saved login", path.display())).hint("Run `postern login` again.")
    })?;
    Ok(Some(Login { url: saved.url, token: SecretString::from(saved.token) }))
}

/// Saves a login, replacing the one before.
pub fn save(login: &Login) -> Result<PathBuf, Failure> {
    let path = path()?;
    let saved = Saved { url: login.url.clone(), token: login.token.expose_secret().to_owned() };
    files::write_private_json(&path, &saved)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

/// Forgets the saved login. True when there was one.
pub fn forget() -> Result<bool, Failure> {
    let path = path()?;
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::failed(format!("cannot remove {}: {error}", path.display()))),
    }
}
