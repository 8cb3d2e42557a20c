//! A gateway's configuration file, validated once.

use postern_ops::{
    secret::Source,
    setting::{self, Metrics},
};
use postern_types::time::deserialize_duration;
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the identity is kept.
    pub data_dir: PathBuf,
    /// How the control plane is reached.
    pub control_plane: ControlPlane,
    /// Needed for the first start only.
    pub join_token: Option<Source>,
    /// Where clients connect.
    pub clients: Clients,
    /// Where connectors connect.
    pub connectors: Connectors,
    /// Cancel requests find their session on any gateway of the same region.
    #[serde(default = "default_region")]
    pub region: String,
    /// Threads of the data path, each with sessions of its own.
    pub workers: Option<usize>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub metrics: Option<Metrics>,
    /// Sessions that run have this long to finish when the gateway is told to stop.
    #[serde(default = "setting::default_drain", deserialize_with = "deserialize_duration")]
    pub drain: Duration,
}

/// The control plane's gRPC address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlPlane {
    /// `host:port`.
    pub address: String,
}

/// The PostgreSQL listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// The address to bind.
    pub listen: SocketAddr,
    /// `host:port` as URLs show it; the bound address when absent.
    pub advertise: Option<String>,
    /// The certificate that clients see; without one, the gateway makes itself one that nobody can verify.
    pub tls: Option<ServerTls>,
    /// Whether plaintext is refused.
    #[serde(default)]
    pub client_tls: ClientTls,
    /// Whether who has no grant's secret is asked for a token in the place of a password, instead of by OAUTHBEARER.
    #[serde(default)]
    pub token_as_password: bool,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whether clients must use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTls {
    /// Plaintext is refused.
    #[default]
    Required,
    /// Both are taken.
    Optional,
}

/// The connectors' listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connectors {
    /// The address to bind.
    pub listen: SocketAddr,
    /// `host:port` as connectors reach it; the bound address when absent.
    pub advertise: Option<String>,
}

fn default_region() -> String {
    "default".to_owned()
}
