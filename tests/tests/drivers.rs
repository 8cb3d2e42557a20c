//! Drivers and tools that know nothing of Postern, as their users have them: psycopg 3, asyncpg, node-postgres,
//! psql, pgbench, and a client of raw sockets that makes the pressure that no driver makes.
//!
//! The checks are scripts in `tests/drivers/`, each in its driver's language. They run what they check straight
//! at PostgreSQL too, and want the same. What they need from PyPI and npm is fetched once, in the versions that
//! are written down there, into the user's cache.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use postern_e2e::{
    cluster::{Cluster, SUPERUSER_PASSWORD},
    dev::Dev,
    packages::{self, script},
};
use std::{
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
    fn fetched() -> Self {
        let python = packages::python("python", "requirements.txt");
        Self { python: python.join("bin/python"), node_modules: packages::node().join("node_modules") }
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
