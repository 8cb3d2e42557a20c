//! The throwaway PostgreSQL cluster: made at start, seeded, gone at exit. One that a killed predecessor left
//! behind is removed at the next start.

use super::{binaries::Binaries, owner::Owner, sql};
use crate::files;
use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use postern_dial::{Host, Target, TlsMode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Child;

/// The shop.
const DEMO: &str = include_str!("demo.sql");

/// What every folder of ours is called, so that nothing else is ever removed.
const FOLDER_PREFIX: &str = "postern-dev-";

/// The file in the data folder that says where the cluster is.
const NOTE: &str = "cluster.json";

/// How long the server may take to answer.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long it may take to end before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A folder in which somebody still writes is tried again: for about two seconds.
const REMOVE_TRIES: u32 = 40;
const REMOVE_PAUSE: Duration = Duration::from_millis(50);

/// The cluster's superuser.
const SUPERUSER: &str = "postgres";

/// The demo database, and the role that owns it.
pub const DATABASE: &str = "shop";
/// The role that owns the shop.
pub const OWNER_ROLE: &str = "shop";
/// The role that may read.
pub const READER_ROLE: &str = "shop_reader";
/// The role that may read and change rows.
pub const WRITER_ROLE: &str = "shop_writer";

/// What is kept of a cluster beside it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    /// Where it is, for whoever has to remove it after a kill; absent once it is gone.
    folder: Option<PathBuf>,
    /// Where it listened. The next one does so again if it can: a connection whose database is elsewhere than before
    /// is another one, and grants for it end.
    port: Option<u16>,
}

/// The passwords of a cluster's roles: new for each, in no file that outlives the start.
pub struct Passwords {
    superuser: SecretString,
    /// Of [`OWNER_ROLE`].
    pub owner: SecretString,
    /// Of [`READER_ROLE`].
    pub reader: SecretString,
    /// Of [`WRITER_ROLE`].
    pub writer: SecretString,
}

/// A running cluster.
pub struct Cluster {
    folder: PathBuf,
    note: PathBuf,
    server: Option<Child>,
    /// Its port on loopback.
    pub port: u16,
    /// Its roles' passwords.
    pub passwords: Passwords,
}

impl Cluster {
    /// Removes what a killed predecessor left behind, makes a cluster and starts it. It can be connected to once
    /// [`Cluster::seed`] is done.
    ///
    /// Cancel safe: what was made is removed when the future is dropped.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let note = data_dir.join(NOTE);
        let earlier = remove_stale(&note).await?;
        let binaries = Binaries::find()?;
        let owner = Owner::of_cluster()?;
        let folder = owner.make_folder(FOLDER_PREFIX)?;
        let secret = || postern_types::token::generate("").context("cannot make a password");
        let passwords = Passwords { superuser: secret()?, owner: secret()?, reader: secret()?, writer: secret()? };
        // From here on, dropping removes what has been made.
        let mut cluster = Self { folder, note, server: None, port: free_port(earlier.port)?, passwords };
        cluster.write_note(Some(cluster.folder.clone()))?;
        cluster.initialise(&binaries, &owner).await?;
        cluster.launch(&binaries, &owner)?;
        Ok(cluster)
    }

    fn write_note(&self, folder: Option<PathBuf>) -> std::io::Result<()> {
        files::write_private_json(&self.note, &Note { folder, port: Some(self.port) })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn sockets(&self) -> PathBuf {
        self.folder.join("run")
    }

    async fn initialise(&self, binaries: &Binaries, owner: &Owner) -> anyhow::Result<()> {
        let password_file = self.folder.join("password");
        let mut file = files::create_private(&password_file)?;
        writeln!(file, "{}", self.passwords.superuser.expose_secret())?;
        owner.give(&password_file)?;
        std::fs::create_dir(self.sockets())?;
        owner.give(&self.sockets())?;
        let mut initdb = owner.command(&binaries.initdb, &self.folder);
        initdb.arg("-D").arg(self.data()).arg("-U").arg(SUPERUSER).arg("--pwfile").arg(&password_file);
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let output = initdb.output().await.with_context(|| format!("cannot run {}", binaries.initdb.display()))?;
        std::fs::remove_file(&password_file)?;
        if !output.status.success() {
            bail!("initdb failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut settings = std::fs::OpenOptions::new().append(true).open(self.data().join("postgresql.conf"))?;
        settings.write_all(self.settings().as_bytes())?;
        Ok(())
    }

    /// The cluster is thrown away: nothing has to survive a power cut.
    fn settings(&self) -> String {
        format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             max_connections = 200\nshared_buffers = 128MB\nmax_wal_size = 2GB\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nwal_level = minimal\nmax_wal_senders = 0\n\
             timezone = 'UTC'\nlog_timezone = 'UTC'\n\
             # A statement may hold a password.\nlog_min_error_statement = panic\n",
            self.port,
            self.sockets().display()
        )
    }

    fn launch(&mut self, binaries: &Binaries, owner: &Owner) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.folder.join("postgres.log"))?;
        let mut server = owner.command(&binaries.postgres, &self.folder);
        server.arg("-D").arg(self.data());
        server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for us, who then end the server in good order.
        server.process_group(0).kill_on_drop(false);
        self.server = Some(server.spawn().with_context(|| format!("cannot run {}", binaries.postgres.display()))?);
        Ok(())
    }

    fn target(&self, user: &str, password: &SecretString, database: &str) -> Target {
        Target {
            hosts: vec![Host::Unix(self.sockets(), self.port)],
            user: user.to_owned(),
            password: Some(password.clone()),
            database: database.to_owned(),
            tls: TlsMode::Disable,
            root_certificate: None,
            own_certificate: None,
            parameters: vec![("application_name".to_owned(), "postern dev".to_owned())],
            minor: 0,
        }
    }

    /// Waits for the server and loads the shop into it.
    pub async fn seed(&mut self) -> anyhow::Result<()> {
        let admin = self.target(SUPERUSER, &self.passwords.superuser, "postgres");
        let mut connection = self.first_connection(&admin).await?;
        let role = |name: &str, password: &SecretString| {
            format!(
                "CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{}';\n",
                password.expose_secret()
            )
        };
        let roles = [
            role(OWNER_ROLE, &self.passwords.owner),
            role(READER_ROLE, &self.passwords.reader),
            role(WRITER_ROLE, &self.passwords.writer),
        ];
        sql::run(&mut connection, &roles.concat()).await.context("cannot make the demo's roles")?;
        sql::run(&mut connection, &format!("CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}"))
            .await
            .context("cannot make the demo database")?;
        let mut connection =
            postern_dial::connect(&self.target(SUPERUSER, &self.passwords.superuser, DATABASE)).await?;
        // Before PostgreSQL 15 everybody could create objects there.
        let schema = format!("ALTER SCHEMA public OWNER TO {OWNER_ROLE}; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        sql::run(&mut connection, &schema).await?;
        let mut connection = postern_dial::connect(&self.target(OWNER_ROLE, &self.passwords.owner, DATABASE)).await?;
        sql::run(&mut connection, DEMO).await.context("cannot load the demo shop")
    }

    async fn first_connection(&mut self, target: &Target) -> anyhow::Result<postern_dial::Connection> {
        let deadline = tokio::time::Instant::now() + START_DEADLINE;
        loop {
            let error = match postern_dial::connect(target).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if let Some(status) = self.server.as_mut().and_then(|server| server.try_wait().transpose()).transpose()? {
                bail!("PostgreSQL ended with {status}: {}", self.last_of_log());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(error).with_context(|| format!("PostgreSQL does not answer: {}", self.last_of_log()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn last_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Ends the server and removes everything.
    pub async fn stop(mut self) {
        if let Some(mut server) = self.server.take() {
            // A fast shutdown: sessions are ended.
            signal(&server, Signal::SIGINT);
            if tokio::time::timeout(STOP_DEADLINE, server.wait()).await.is_err() {
                signal(&server, Signal::SIGQUIT);
                let _ = tokio::time::timeout(STOP_DEADLINE, server.wait()).await;
            }
        }
    }
}

/// The backstop where [`Cluster::stop`] was not reached, and the end of it where it was.
impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            signal(&server, Signal::SIGQUIT);
        }
        if let Err(error) = remove_settling(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove the throwaway cluster; the next start will try again");
            return;
        }
        if let Err(error) = self.write_note(None) {
            tracing::warn!(%error, "cannot note that the throwaway cluster is gone");
        }
    }
}

/// Removes a folder in which a process that was just killed may still have children that write: those of initdb
/// end by themselves once nobody talks to them.
fn remove_settling(folder: &Path) -> std::io::Result<()> {
    for _ in 0..REMOVE_TRIES {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => std::thread::sleep(REMOVE_PAUSE),
            result => return result,
        }
    }
    std::fs::remove_dir_all(folder)
}

fn signal(server: &Child, signal: Signal) {
    if let Some(pid) = server.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// A port that is free now, the earlier one if it is. Nobody holds it until the server does: should somebody else
/// be faster, the server does not start and says so.
fn free_port(earlier: Option<u16>) -> std::io::Result<u16> {
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
    let again = earlier.and_then(|port| listen(port).ok());
    Ok(again.map_or_else(|| listen(0), Ok)?.port())
}

/// Ends and removes the cluster of a predecessor that was killed, if there is one.
pub async fn clean_up(data_dir: &Path) -> anyhow::Result<()> {
    remove_stale(&data_dir.join(NOTE)).await.map(drop)
}

/// The same. Gives what was noted.
async fn remove_stale(note: &Path) -> anyhow::Result<Note> {
    let Ok(text) = std::fs::read(note) else {
        return Ok(Note::default());
    };
    let noted: Note = serde_json::from_slice(&text).unwrap_or_default();
    let Some(folder) = &noted.folder else {
        return Ok(noted);
    };
    let ours = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX));
    if ours && folder.is_dir() {
        tracing::info!(folder = %folder.display(), "removing the cluster that a killed predecessor left behind");
        if let Some(pid) = running_server(&folder.join("data")) {
            end(pid).await;
        }
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(noted)
}

/// The server of this data folder, if it runs. A process id is used again sooner or later, so the process must
/// also work in that folder, where the system can tell.
fn running_server(data: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
    if Path::new("/proc/self/cwd").exists() {
        let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        if folder != data.canonicalize().ok()? {
            return None;
        }
    }
    Some(Pid::from_raw(pid))
}

async fn end(pid: Pid) {
    for signal in [Signal::SIGQUIT, Signal::SIGKILL] {
        if kill(pid, signal).is_err() {
            return;
        }
        for _ in 0..50 {
            if kill(pid, None).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
