//! Who owns and runs the throwaway cluster: PostgreSQL refuses to run as root, so root lends it to the user
//! `postgres`.

use anyhow::{Context, anyhow};
use nix::unistd::{Uid, User};
use secrecy::ExposeSecret;
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};
use tokio::process::Command;

/// The user that Debian's packages make.
const SERVICE_USER: &str = "postgres";

/// Others may pass through a folder.
const PASSABLE: u32 = 0o001;

/// Who runs the cluster.
pub struct Owner {
    /// Set when it is somebody else than us.
    other: Option<User>,
}

impl Owner {
    /// We ourselves, or as root the user `postgres`.
    pub fn of_cluster() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { other: None });
        }
        let user = User::from_name(SERVICE_USER).context("cannot look up the user postgres")?.ok_or_else(|| {
            anyhow!("PostgreSQL does not run as root, and there is no user `postgres`: install PostgreSQL's package, or run as another user")
        })?;
        Ok(Self { other: Some(user) })
    }

    /// A new folder that only the owner can enter and can reach.
    pub fn make_folder(&self, prefix: &str) -> anyhow::Result<PathBuf> {
        let mut parents = vec![std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        parents.retain(|parent| self.can_reach(parent));
        let parent = parents.first().context("there is no temporary folder that the user postgres can reach")?;
        // Short: the path of a Unix socket has about 100 characters.
        let random = postern_types::token::generate("")?;
        let random: String = random.expose_secret().chars().take(12).collect();
        let folder = parent.canonicalize()?.join(format!("{prefix}{random}"));
        crate::files::private_folder(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        self.give(&folder)?;
        Ok(folder)
    }

    fn can_reach(&self, folder: &Path) -> bool {
        let Ok(folder) = folder.canonicalize() else {
            return false;
        };
        self.other.is_none()
            || folder.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|data| data.mode() & PASSABLE != 0))
    }

    /// Hands a file or folder of ours over.
    pub fn give(&self, path: &Path) -> anyhow::Result<()> {
        match &self.other {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name)),
            None => Ok(()),
        }
    }

    /// A command that runs as the owner, in a folder that it can reach, without settings of ours.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).kill_on_drop(true).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            // PGDATA, PGPORT and the like would have a say; a token has no business there.
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("POSTERN_") {
                command.env_remove(&name);
            }
        }
        if let Some(user) = &self.other {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", folder).env("USER", &user.name);
        }
        command
    }
}
