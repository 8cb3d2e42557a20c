//! Leaving `postern dev` running in the background, and stopping it.

use super::{
    DevArgs, announce,
    folder::{self, Ready},
};
use crate::{
    commands::Context,
    failure::Failure,
    files,
    output::{self, Format},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{process::Command, time::Instant};

/// How long a start may take, the making and loading of the cluster included.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// How long an end may take.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Lines of the log that are shown when a start fails.
const LOG_LINES: usize = 20;

/// Starts it in the background unless it runs already, and says what a newcomer types next.
pub async fn start(context: &Context, args: &DevArgs) -> Result<(), Failure> {
    let path = folder::path(args.folder.data_dir.as_deref())?;
    let failed = |error: std::io::Error| Failure::failed(format!("cannot use {}: {error}", path.display()));
    files::private_folder(&path).map_err(failed)?;
    if let Some(pid) = folder::holder(&path).map_err(failed)? {
        output::remark(format!("It runs already, as process {pid}."));
    } else {
        launch(&path, args).await?;
    }
    let ready = Ready::read(&path)?;
    match context.format {
        Format::Json => output::json(&serde_json::json!({ "ready": true, "file": path.join("dev.json") })),
        Format::Table | Format::Csv => {
            let path = path.canonicalize().map_err(failed)?;
            output::write(&announce::text(&path, &ready, args.postgres.is_some()))?;
            output::line(announce::background(&path))
        }
    }
}

async fn launch(path: &Path, args: &DevArgs) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot start in the background: {error}"));
    let ready = path.join("dev.json");
    // Nobody holds the folder, so this is a predecessor's.
    let _ = std::fs::remove_file(&ready);
    let log_path = path.join("dev.log");
    let _ = std::fs::remove_file(&log_path);
    let log = files::create_private(&log_path).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("dev").arg("--data-dir").arg(path);
    command.args(["--pg-port", &args.pg_port.to_string()]);
    command.args(["--http-port", &args.http_port.to_string()]);
    if let Some(url) = &args.postgres {
        // It may hold a password, and it will be there for long: not where process lists show it.
        command.env("POSTERN_DEV_POSTGRES", url.expose_secret());
    }
    for file in &args.config {
        command.arg("--config").arg(std::path::absolute(file).map_err(failed)?);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
    // Of its own group, so that Ctrl-C in this terminal does not reach it.
    command.process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let deadline = Instant::now() + START_DEADLINE;
    while !ready.exists() {
        if let Some(status) = child.try_wait().map_err(failed)? {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
            output::remark(last);
            return Err(Failure::failed(format!("it ended with {status}; its log is {}", log_path.display())));
        }
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!("it is not ready yet; its log is {}", log_path.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Stops the one that runs on this folder, and waits until it is gone.
pub async fn stop(path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot use {}: {error}", path.display()));
    let Some(pid) = folder::holder(path).map_err(failed)? else {
        output::remark("It does not run.");
        return Ok(());
    };
    // INVARIANT: the process that holds the lock wrote its own id into it.
    kill(Pid::from_raw(pid), Signal::SIGTERM)
        .map_err(|error| Failure::failed(format!("cannot stop process {pid}: {error}")))?;
    let deadline = Instant::now() + STOP_DEADLINE;
    while folder::holder(path).map_err(failed)?.is_some() {
        if Instant::now() >= deadline {
            return Err(Failure::failed(format!("process {pid} has not ended yet")));
        }
        tokio::time::sleep(LOOK).await;
    }
    output::remark("Stopped.");
    Ok(())
}
