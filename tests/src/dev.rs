//! `postern dev` as a child, and the command line as people and agents use it.

use crate::{
    process::{Process, free_port, postern, tail},
    wait,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A cold start on a loaded machine, in an unoptimised build. The product's own promise is measured elsewhere.
const READY_WITHIN: Duration = Duration::from_secs(45);

/// Whom a command is called as, and where.
#[derive(Clone, Debug)]
pub struct Caller {
    url: String,
    token: String,
    home: PathBuf,
    settings: Vec<(&'static str, PathBuf)>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Done {
    /// How it was called.
    pub line: String,
    /// Its exit code.
    pub code: i32,
    /// What it answered.
    pub stdout: String,
    /// What it remarked.
    pub stderr: String,
}

/// A grant, and its URL.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// As `postern url` prints it.
    pub url: String,
}

impl Caller {
    /// A caller with a token. Settings and the like are kept in `home`.
    #[must_use]
    pub fn new(url: &str, token: &str, home: &Path) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), home: home.to_owned(), settings: Vec::new() }
    }

    /// The same caller with a file that this variable names.
    #[must_use]
    pub fn with(mut self, variable: &'static str, file: &Path) -> Self {
        self.settings.push((variable, file.to_owned()));
        self
    }

    /// The control plane's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Runs `postern` with arguments.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Done {
        let output = self.command(args).output().unwrap();
        Done::of(args, &output)
    }

    /// The command that [`Caller::run`] runs.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(postern());
        command.args(args);
        self.set(&mut command);
        command
    }

    /// Has a command that starts `postern` start it as this caller.
    pub fn set(&self, command: &mut Command) {
        command
            .env("POSTERN_URL", &self.url)
            .env("POSTERN_TOKEN", &self.token)
            .env("HOME", &self.home)
            .envs(self.settings.iter().cloned())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME");
    }

    /// Asks for access and gives the request's id.
    #[must_use]
    pub fn request(&self, connection: &str, role: &str, duration: &str) -> String {
        let args = ["request", connection, "--role", role, "--for", duration];
        let args = [&args[..], &["--reason", "a test", "--json"]].concat();
        let request = self.run(&args).json();
        request["id"].as_str().unwrap().to_owned()
    }

    /// The newest open grant's id.
    #[must_use]
    pub fn newest_grant(&self) -> String {
        let grants = self.run(&["grants", "--json"]).json();
        grants[0]["id"].as_str().unwrap().to_owned()
    }

    /// The audit's statements with this text, newest first.
    #[must_use]
    pub fn statements(&self, text: &str) -> Vec<Value> {
        let found = self.run(&["audit", "search", "--text", text, "--json"]).json();
        found.as_array().unwrap().clone()
    }
}

impl Done {
    fn of(args: &[&str], output: &Output) -> Self {
        Self {
            line: args.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// Its answer; panics unless it did what it was to do.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// The same, as JSON.
    #[must_use]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// A running `postern dev`.
pub struct Dev {
    process: Process,
    /// Holds the data folder and the callers' home.
    folder: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ready: Value,
    /// The port for PostgreSQL clients.
    pub pg_port: u16,
    http_port: u16,
}

impl Dev {
    /// Starts it with these further arguments, in a clean folder on free ports, and waits until it is ready.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// The same with environment variables.
    #[must_use]
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("postern-e2e-dev-").tempdir().unwrap();
        let (pg_port, http_port) = (free_port(), free_port());
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut process = launch(folder.path(), &args, &env, pg_port, http_port);
        let ready = until_ready(&mut process, folder.path());
        Self { process, folder, args, env, ready, pg_port, http_port }
    }

    /// Stops it and starts it again on the same folder and ports.
    pub fn restart(&mut self) {
        assert!(self.process.stop().success(), "{}", self.log());
        self.process = launch(self.folder.path(), &self.args, &self.env, self.pg_port, self.http_port);
        self.ready = until_ready(&mut self.process, self.folder.path());
    }

    /// What `dev.json` says.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The admin's command line.
    #[must_use]
    pub fn admin(&self) -> Caller {
        self.caller("admin_token")
    }

    /// The agent's command line.
    #[must_use]
    pub fn agent(&self) -> Caller {
        self.caller("agent_token")
    }

    fn caller(&self, token: &str) -> Caller {
        let field = |name: &str| self.ready[name].as_str().unwrap().to_owned();
        Caller::new(&field("http_url"), &field(token), &self.folder.path().join("home"))
    }

    /// The agent asks, the admin approves.
    #[must_use]
    pub fn grant(&self, role: &str, duration: &str) -> Grant {
        grant(&self.agent(), &self.admin(), "demo", role, duration)
    }
}

/// One asks, the other approves, the first gets the URL.
#[must_use]
pub fn grant(requester: &Caller, reviewer: &Caller, connection: &str, role: &str, duration: &str) -> Grant {
    let request = requester.request(connection, role, duration);
    let approved = reviewer.run(&["approve", &request, "--json"]).json();
    let url = requester.run(&["url", connection, "--role", role]).ok();
    Grant { id: approved["grant_id"].as_str().unwrap().to_owned(), url: url.trim_end().to_owned() }
}

fn launch(folder: &Path, args: &[String], env: &[(String, String)], pg_port: u16, http_port: u16) -> Process {
    std::fs::create_dir_all(folder.join("home")).unwrap();
    let mut command = Command::new(postern());
    command
        .arg("dev")
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--pg-port", &pg_port.to_string()])
        .args(["--http-port", &http_port.to_string()])
        .args(args)
        .env("HOME", folder.join("home"))
        .env_remove("PGPASSWORD")
        .env_remove("POSTERN_DEV_POSTGRES")
        .envs(env.iter().map(|(name, value)| (name, value)));
    Process::spawn("postern dev", &mut command, &folder.join("log"))
}

fn until_ready(process: &mut Process, folder: &Path) -> Value {
    let start = Instant::now();
    wait::until_now("postern dev is ready", READY_WITHIN * 2, || {
        process.assert_running();
        assert!(
            start.elapsed() < READY_WITHIN,
            "postern dev is not ready within {READY_WITHIN:?}:\n{}",
            tail(&process.output())
        );
        let text = std::fs::read(folder.join("data/dev.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    })
}
