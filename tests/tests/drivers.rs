//! Drivers and tools that know nothing of Postern, as their users have them: psycopg 3, asyncpg, node-postgres,
//! psql, pgbench, and a client of raw sockets that makes the pressure that no driver makes.
//!
//! The checks are scripts in `tests/drivers/`, each in its driver's language. They run what they check straight
//! at PostgreSQL too, and want the same. What they need from PyPI and npm is fetched once, in the versions that
//! are written down there, into the user's cache.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use nix::fcntl::{Flock, FlockArg};
use postern_e2e::{
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::Dev,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

/// The scripts that run one after the other, while the other row does: most of them wait now and then.
const ROWS: [&[&str]; 2] =
    [&["psycopg_check.py", "raw_check.py", "psql_check.py"], &["asyncpg_check.py", "node_check.mjs"]];

#[tokio::test(flavor = "multi_thread")]
async fn drivers_work_unmodified() {
    let packages = Packages::fetched();
    let cluster = Cluster::start().await;
    let direct = cluster.url("postgres", SUPERUSER_PASSWORD, "app");
    // Not in the process list, where another test looks for it.
    let open = direct.replace(&format!(":{SUPERUSER_PASSWORD}"), "");
    let dev = Dev::start_with(&["--postgres", &open], &[("PGPASSWORD", SUPERUSER_PASSWORD)]);
    let postern = dev.grant("all", "1h").url;
    let failed: Vec<String> = thread::scope(|scope| {
        let rows = ROWS.map(|row| {
            let run = |script: &&str| (!packages.run(script, &postern, &direct)).then(|| (*script).to_owned());
            scope.spawn(move || row.iter().filter_map(run).collect::<Vec<_>>())
        });
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}

/// Where the drivers are.
struct Packages {
    python: PathBuf,
    node_modules: PathBuf,
}

impl Packages {
    /// Fetches what is not in the cache in the wanted version.
    fn fetched() -> Self {
        let cache = cache();
        fs::create_dir_all(&cache).unwrap();
        // Other checkouts' tests use the same cache.
        let lock = File::create(cache.join("lock")).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
        let python = cache.join("python");
        fetch(&python, &["requirements.txt"], || {
            run(Command::new("python3").args(["-m", "venv"]).arg(&python));
            run(Command::new(python.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(script("requirements.txt")));
        });
        let node = cache.join("node");
        fetch(&node, &["package.json", "package-lock.json"], || {
            fs::create_dir_all(&node).unwrap();
            for file in ["package.json", "package-lock.json"] {
                fs::copy(script(file), node.join(file)).unwrap();
            }
            run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&node));
        });
        drop(lock);
        Self { python: python.join("bin/python"), node_modules: node }
    }

    /// Runs a script, and says whether all its checks passed. What it prints goes to the test's output, whole.
    fn run(&self, name: &str, postern: &str, direct: &str) -> bool {
        let start = Instant::now();
        let mut command = if Path::new(name).extension().is_some_and(|extension| extension == "py") {
            Command::new(&self.python)
        } else {
            let mut node = Command::new("node");
            node.arg("--no-deprecation");
            node
        };
        let output = command
            .arg(script(name))
            .env("POSTERN_TEST_URL", postern)
            .env("POSTERN_TEST_DIRECT_URL", direct)
            .env("POSTERN_TEST_NODE_MODULES", &self.node_modules)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PGOPTIONS")
            .env_remove("PGPASSWORD")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        eprintln!(
            "{}{}{name}: {} after {:.1?}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status,
            start.elapsed()
        );
        output.status.success()
    }
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    base.expect("HOME is set").join("postern/drivers")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name)
}

/// Makes the folder anew unless it was made of these very files before.
fn fetch(folder: &Path, files: &[&str], make: impl FnOnce()) {
    let wanted: String = files.iter().map(|file| fs::read_to_string(script(file)).unwrap()).collect();
    let made_of = folder.join("made-of");
    if fs::read_to_string(&made_of).is_ok_and(|found| found == wanted) {
        return;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    make();
    fs::write(made_of, wanted).unwrap();
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; python3 with venv, node and npm are needed", line(command)));
    assert!(
        output.status.success(),
        "{}:\n{}{}",
        line(command),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn line(command: &Command) -> String {
    format!("{command:?}")
}
