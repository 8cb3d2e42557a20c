//! Finding an installed PostgreSQL server.

use anyhow::bail;
use std::path::{Path, PathBuf};

/// Where Debian keeps its versions, each in a folder with the major version's number.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The programs of one installation.
pub struct Binaries {
    /// Makes a cluster.
    pub initdb: PathBuf,
    /// Serves it.
    pub postgres: PathBuf,
}

impl Binaries {
    /// The newest of Debian's, else what is on the PATH.
    pub fn find() -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = newest_first(Path::new(DEBIAN)).into_iter().chain(std::env::split_paths(&path));
        for folder in folders {
            let found = Self { initdb: folder.join("initdb"), postgres: folder.join("postgres") };
            if found.initdb.is_file() && found.postgres.is_file() {
                return Ok(found);
            }
        }
        bail!(
            "there is no PostgreSQL server on this machine to make a demo database with: install one (Debian: \
             apt-get install postgresql), or name a database with --postgres"
        )
    }
}

fn newest_first(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_is_newer_than_nine() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["9", "15", "14", "common"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
        }
        let order: Vec<_> =
            newest_first(folder.path()).iter().map(|p| p.parent().unwrap().file_name().unwrap().to_owned()).collect();
        assert_eq!(order, ["15", "14", "9"]);
    }
}
