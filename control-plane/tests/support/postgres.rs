//! A throwaway PostgreSQL cluster, started by the test and gone with it. Where none is installed the test fails:
//! it is never skipped.

use postern_control_plane::{config::StoreConfig, store::Store};
use secrecy::SecretString;
use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running cluster that listens on a socket in its own folder only.
pub struct Cluster {
    server: Child,
    folder: tempfile::TempDir,
    binaries: PathBuf,
    databases: AtomicU32,
}

impl Cluster {
    /// Makes and starts a cluster.
    pub fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new().prefix("postern-pg").tempdir_in("/tmp").unwrap();
        let data = folder.path().join("data");
        if let Some((uid, gid)) = other_user() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let made = command(&binaries, "initdb")
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let server = command(&binaries, "postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-c"])
            .arg(format!("unix_socket_directories={}", folder.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self { server, folder, binaries, databases: AtomicU32::new(0) };
        cluster.wait();
        cluster
    }

    fn wait(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.client("pg_isready").arg("-q").status().unwrap().success() {
            assert!(Instant::now() < deadline, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = command(&self.binaries, program);
        command.arg("-h").arg(self.folder.path()).args(["-U", "postgres"]);
        command
    }

    /// The URL of a new, empty database.
    pub fn url(&self) -> String {
        let name = format!("postern_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = self.client("createdb").arg(&name).output().unwrap();
        assert!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        format!("postgresql://postgres@localhost/{name}?host={}", self.folder.path().display())
    }

    /// A store in a new, empty database.
    pub async fn store(&self) -> Store {
        Store::open(&StoreConfig::Postgres { url: SecretString::from(self.url()) }).await.unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT ends the server and all its processes at once; nothing of it is wanted any more.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.server.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.server.wait();
    }
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`.
fn other_user() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres").unwrap().expect("as root, a user `postgres` is needed");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

fn command(binaries: &Path, program: &str) -> Command {
    let mut command = Command::new(binaries.join(program));
    command.current_dir("/").stdin(Stdio::null()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    command
}

/// The newest installed PostgreSQL.
fn binaries() -> PathBuf {
    let debian =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let on_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut found: Vec<_> = debian.chain(on_path).filter(|folder| folder.join("initdb").exists()).collect();
    found.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
        version.unwrap_or(0)
    });
    found.pop().expect("PostgreSQL is needed for this test: install Debian's package `postgresql`")
}
