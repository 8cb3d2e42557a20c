//! Child processes that end with the test, and what they wrote.

use crate::wait;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// A part has this long to end in good order.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Below the ports that Linux gives to outgoing connections, so that none of those can take one in between.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

/// The `postern` binary, which `make test` builds before it runs the tests.
#[must_use]
pub fn postern() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let binary = profile.join("postern");
    assert!(
        binary.is_file(),
        "{} is missing: build it first with `cargo build -p postern-cli` (`make test` does)",
        binary.display()
    );
    binary
}

/// A TCP port on loopback that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in many processes at once: each begins somewhere else.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(PORTS)).unwrap();
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % PORTS;
        let port = FIRST_PORT + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child process. Dropping it ends it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it in a process group of its own; everything that it writes goes to `log`, after what is there.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name: name.to_owned(), log: log.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Panics with its last words if it has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} has ended with {status}:\n{}", self.name, tail(&self.output()));
        }
    }

    /// Asks it to end and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let name = format!("{} ends after SIGTERM", self.name);
        wait::until_now(&name, STOP_WITHIN, || self.ended())
    }

    /// Kills it with SIGKILL and waits for it.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Memory that it has resident, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Descriptors that it has open, and what each of them is.
    #[must_use]
    pub fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.signal(Signal::SIGTERM);
        let end = std::time::Instant::now() + STOP_WITHIN;
        while std::time::Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let group = Pid::from_raw(-self.child.id().cast_signed());
        let _ = kill(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
#[must_use]
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(25).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
