//! A throwaway PostgreSQL cluster that the test owns, with its superuser: so that it can look behind Postern.

use crate::{
    client::{self, Client},
    packages,
    process::{Process, free_port},
    wait,
};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const START_WITHIN: Duration = Duration::from_secs(30);

/// A running cluster. Its passwords are easily found by a search, wherever they should not be.
pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    server: Process,
    settings: Vec<String>,
    /// Its port on loopback.
    pub port: u16,
}

/// The superuser's password.
pub const SUPERUSER_PASSWORD: &str = "seeded-superuser-password-5d1c";

/// The password of the role `app`, which owns the database `app` and everything in it.
pub const APP_PASSWORD: &str = "seeded-app-password-77ab";

/// The password of the role `app_reader`, which may only read.
pub const READER_PASSWORD: &str = "seeded-reader-password-e0f3";

impl Cluster {
    /// Makes and starts one, with the roles above.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with settings of its own, as `name=value`.
    pub async fn start_with(settings: &[&str]) -> Self {
        Self::start_in(folder(), binaries(), settings).await
    }

    /// The same, of this major version, whichever is installed.
    pub async fn start_major(major: u16, settings: &[&str]) -> Self {
        let folder = folder();
        // The user that runs it cannot reach the cache.
        let programs = folder.path().join("programs");
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(packages::server(major)).arg(&programs);
        assert!(copy.status().unwrap().success(), "{copy:?}");
        Self::start_in(folder, programs.join("bin"), settings).await
    }

    async fn start_in(folder: TempDir, bin: PathBuf, settings: &[&str]) -> Self {
        let user = service_user();
        let password = folder.path().join("password");
        fs::write(&password, SUPERUSER_PASSWORD).unwrap();
        give(&password, user.as_ref());
        let mut initdb = command(&bin.join("initdb"), folder.path(), user.as_ref());
        initdb.arg("-D").arg(folder.path().join("data")).arg("--pwfile").arg(&password).args([
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let server = launch(&bin, folder.path(), port, settings);
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let cluster = Self { folder, bin, server, settings, port };
        cluster.set_up().await;
        cluster
    }

    async fn set_up(&self) {
        let url = self.url("postgres", SUPERUSER_PASSWORD, "postgres");
        let admin =
            wait::until("PostgreSQL answers", START_WITHIN, || async { client::try_connect(&url).await.ok() }).await;
        let sql = format!(
            "CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}';
             CREATE ROLE app_reader LOGIN PASSWORD '{READER_PASSWORD}'"
        );
        admin.batch_execute(&sql).await.unwrap();
        admin.batch_execute("CREATE DATABASE app OWNER app").await.unwrap();
        let app = self.app().await;
        app.batch_execute(
            "CREATE TABLE items (id int PRIMARY KEY, name text);
             INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 100) i;
             GRANT SELECT ON items TO app_reader",
        )
        .await
        .unwrap();
    }

    /// A URL straight to the database.
    #[must_use]
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The URL of the database `app`, with the role `app` and without its password.
    #[must_use]
    pub fn app_url_without_password(&self) -> String {
        format!("postgresql://app@127.0.0.1:{}/app", self.port)
    }

    /// A direct connection as the superuser.
    pub async fn superuser(&self) -> Client {
        client::connect(&self.url("postgres", SUPERUSER_PASSWORD, "app")).await
    }

    /// A direct connection as `app`.
    pub async fn app(&self) -> Client {
        client::connect(&self.url("app", APP_PASSWORD, "app")).await
    }

    /// Kills the server with SIGKILL, and starts it again.
    pub async fn crash(&mut self) {
        self.server.kill();
        let settings: Vec<_> = self.settings.iter().map(String::as_str).collect();
        let url = self.url("postgres", SUPERUSER_PASSWORD, "postgres");
        let end = std::time::Instant::now() + START_WITHIN;
        // It does not start while a process of its predecessor still lives.
        loop {
            self.server = launch(&self.bin, self.folder.path(), self.port, &settings);
            loop {
                if client::try_connect(&url).await.is_ok() {
                    return;
                }
                if self.server.ended().is_some() {
                    break;
                }
                assert!(std::time::Instant::now() < end, "PostgreSQL comes back");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(std::time::Instant::now() < end, "PostgreSQL comes back");
        }
    }

    /// The folder with its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the server logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.output()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast shutdown: SIGTERM would wait for sessions.
        self.server.signal(Signal::SIGINT);
        let _ = fs::remove_file(self.folder.path().join("password"));
    }
}

/// A folder that the user who runs it can reach.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("postern-e2e-").tempdir_in("/tmp").unwrap();
    give(folder.path(), service_user().as_ref());
    folder
}

fn launch(bin: &Path, folder: &Path, port: u16, settings: &[&str]) -> Process {
    let mut server = command(&bin.join("postgres"), folder, service_user().as_ref());
    server.arg("-D").arg(folder.join("data"));
    let own = [
        format!("port={port}"),
        format!("unix_socket_directories={}", folder.display()),
        "listen_addresses=127.0.0.1".to_owned(),
        "fsync=off".to_owned(),
        "max_connections=200".to_owned(),
        "timezone=UTC".to_owned(),
    ];
    for setting in own.iter().map(String::as_str).chain(settings.iter().copied()) {
        server.args(["-c", setting]);
    }
    Process::spawn("PostgreSQL", &mut server, &folder.join("postgres.log"))
}

/// As root, PostgreSQL is run by the user that its package makes.
fn service_user() -> Option<User> {
    Uid::effective().is_root().then(|| User::from_name("postgres").unwrap().expect("there is a user postgres"))
}

fn give(path: &Path, user: Option<&User>) {
    fs::set_permissions(path, fs::Permissions::from_mode(if path.is_dir() { 0o700 } else { 0o600 })).unwrap();
    if let Some(user) = user {
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
}

fn command(program: &Path, folder: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("LC_ALL", "C");
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

fn binaries() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = debian.map(|entry| entry.unwrap().path().join("bin")).collect();
    found.sort();
    found.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path));
    found
        .into_iter()
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .expect("a PostgreSQL server is installed")
}
