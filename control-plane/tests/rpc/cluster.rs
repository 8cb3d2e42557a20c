//! A throwaway PostgreSQL, on a Unix socket in a temporary folder.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

pub struct Cluster {
    folder: TempDir,
    bin: PathBuf,
}

impl Cluster {
    pub fn start() -> Self {
        let bin = newest_bin();
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL refuses to run as root, and its own user has to reach the folder.
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let cluster = Self { folder, bin };
        let data = cluster.data();
        run(cluster.command("initdb").args(["--auth=trust", "--username=postgres", "--no-sync", "-D"]).arg(&data));
        let options = format!("-c listen_addresses='' -c fsync=off -k {}", cluster.folder.path().display());
        let log = cluster.folder.path().join("log");
        run(cluster.command("pg_ctl").args(["start", "--wait", "-D"]).arg(&data).arg("-l").arg(log).arg("-o").arg(options));
        cluster
    }

    pub fn url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{folder}/postgres")
    }

    /// All connections end, as when the server is restarted.
    pub fn restart(&self) {
        run(self.command("pg_ctl").args(["restart", "--wait", "-m", "immediate", "-D"]).arg(self.data()));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = self.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()).stdout(Stdio::null()).status();
        if !stop.is_ok_and(|status| status.success()) {
            eprintln!("the throwaway PostgreSQL could not be stopped");
        }
    }
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("these tests need PostgreSQL's server programs");
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb").exists().then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    found.pop().expect("these tests need PostgreSQL's server programs").1
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(Path::new("/proc/self")).unwrap()) == 0
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(output.success(), "{command:?} failed");
}
