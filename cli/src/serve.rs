//! `postern control-plane`, `postern gateway` and `postern agent`: one part, from its configuration file, until
//! it is told to end.

use crate::{
    failure::Failure,
    logging::{self, Form},
};
use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use postern_control_plane::config::LogFormat;
use serde::de::DeserializeOwned;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often histograms give back what they no longer need.
const UPKEEP: Duration = Duration::from_secs(5);

/// Run the control plane: requests, grants, audit, the REST API, and gRPC for gateways and connectors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern control-plane --config /etc/postern/control-plane.yaml")]
pub struct ControlPlaneArgs {
    #[command(flatten)]
    file: ConfigFile,
}

/// Run a gateway: where clients and connectors connect
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern gateway --config /etc/postern/gateway.yaml")]
pub struct GatewayArgs {
    #[command(flatten)]
    file: ConfigFile,
}

/// Run a connector: next to a database, dialling out to the gateways
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern agent --config /etc/postern/agent.yaml")]
pub struct AgentArgs {
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The YAML file; an unknown setting in it is an error
    #[arg(long = "config", value_name = "FILE")]
    path: PathBuf,
}

/// The wish to end: SIGTERM, or Ctrl-C.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From now on these signals end the process in good order.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the wish.
    ///
    /// Cancel safe.
    pub async fn wished(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs `control-plane`.
pub async fn control_plane(args: ControlPlaneArgs) -> Result<(), Failure> {
    let mut config: postern_control_plane::Config = read(&args.file.path)?;
    let form = match config.log.format {
        Some(LogFormat::Text) => Form::Text,
        Some(LogFormat::Json) => Form::Json,
        None => Form::by_terminal(),
    };
    logging::init(form, config.log.filter.as_deref())?;
    let mut stop = Stop::listen()?;
    config.metrics = Some(metrics()?);
    let started = postern_control_plane::start(config).await;
    let running = started.context("the control plane cannot start")?;
    match running.core.bootstrap_admin().await.context("the first admin cannot be made") {
        Ok(Some(file)) => {
            tracing::info!(file = %file.display(), "a user `admin` was made; its token is in this file")
        }
        Ok(None) => {}
        Err(error) => {
            running.shutdown().await;
            return Err(error.into());
        }
    }
    stop.wished().await;
    tracing::info!("the control plane ends");
    running.shutdown().await;
    Ok(())
}

/// Runs `gateway`.
pub async fn gateway(args: GatewayArgs) -> Result<(), Failure> {
    let config: postern_gateway::Config = read(&args.file.path)?;
    logging::init(Form::by_terminal(), None)?;
    let mut stop = Stop::listen()?;
    let drain = config.drain;
    let started = postern_gateway::start(config, Some(metrics()?)).await;
    let running = started.context("the gateway cannot start")?;
    tracing::info!(clients = %running.client_addr, connectors = %running.connector_addr, "the gateway is up");
    stop.wished().await;
    tracing::info!("the gateway ends");
    running.shutdown(drain).await;
    Ok(())
}

/// Runs `agent`.
pub async fn agent(args: AgentArgs) -> Result<(), Failure> {
    let config: postern_agent::Config = read(&args.file.path)?;
    logging::init(Form::by_terminal(), None)?;
    let mut stop = Stop::listen()?;
    let drain = config.drain;
    let started = postern_agent::start(config, Some(metrics()?)).await;
    let running = started.context("the connector cannot start")?;
    tracing::info!("the connector is up");
    tokio::select! {
        () = stop.wished() => {
            tracing::info!("the connector ends");
            running.shutdown(drain).await;
            Ok(())
        }
        () = running.revoked() => {
            running.shutdown(Duration::ZERO).await;
            Err(Failure::failed("this connector's identity was revoked: enrol it anew with a join token"))
        }
    }
}

/// Reads a configuration file. The error names the line and the setting; it does not quote the file, which may
/// hold a secret.
fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let message = error.without_snippet().to_string();
        anyhow::anyhow!("{name}: {message}")
    })
}

/// Installs the process's metrics recorder. Each part serves what it has gathered on its own listener.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().context("cannot set up metrics")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_named_and_nothing_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, "data_dir: /x\njoin_token: {value: hush}\nconection: 1\n").unwrap();
        let error = format!("{:#}", read::<postern_gateway::Config>(&path).err().unwrap());
        assert!(error.contains("conection") && error.contains("gateway.yaml"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
