//! The control plane's configuration: read once, checked once, then unchanged.

use metrics_exporter_prometheus::PrometheusHandle;
use postern_types::time::deserialize_duration;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// How long a command that prints a secret may take.
const SECRET_COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Certificates are renewed when a third of their life is left, which must be enough for a few attempts.
const MIN_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10);

/// The bounds of `identity.check_every`.
const MIN_CHECK_EVERY: Duration = Duration::from_secs(1);
const MAX_CHECK_EVERY: Duration = Duration::from_secs(3600);

/// What the environment variable of a secret begins with that `notifications.secrets` or `identity.secrets` does not list.
const SECRET_VARIABLE: &str = "POSTERN_SECRET_";

/// The longest secret that is read, in bytes.
const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The control plane's configuration file. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept that is not in the database, and SQLite's file.
    pub data_dir: PathBuf,
    /// The database.
    #[serde(default)]
    pub store: StoreSetting,
    /// The listener for the REST API and the console.
    pub http: HttpConfig,
    /// The listener for connectors and gateways.
    pub grpc: GrpcConfig,
    /// What clients are told of how to connect.
    #[serde(default)]
    pub clients: ClientsConfig,
    /// The key under which secrets are sealed: 32 bytes in base64. Absent: `DATA_DIR/master.key`, made at the
    /// first start.
    #[serde(default)]
    pub master_key: Option<SecretSource>,
    /// How long certificates of connectors and gateways are good.
    #[serde(default = "defaults::certificate_lifetime", deserialize_with = "deserialize_duration")]
    pub certificate_lifetime: Duration,
    /// How long running sessions go on without the control plane, in seconds.
    #[serde(default = "defaults::lease_seconds")]
    pub lease_seconds: u32,
    /// How long a request waits for reviewers.
    #[serde(default = "defaults::request_lifetime", deserialize_with = "deserialize_duration")]
    pub request_lifetime: Duration,
    /// What notifications need.
    #[serde(default)]
    pub notifications: NotificationsConfig,
    /// What signing in at identity providers needs.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// What is logged.
    #[serde(default)]
    pub log: LogConfig,
    /// What `/metrics` shows: the process's own recorder, which whoever starts it installs.
    #[serde(skip)]
    pub metrics: Option<PrometheusHandle>,
}

/// The listener for the REST API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key, in PEM. Without them only a loopback address is listened on.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// The address under which people reach it, as errors and hints name it.
    #[serde(default)]
    pub public_url: Option<String>,
}

/// The listener for connectors and gateways.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// What clients are told of how to connect.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsConfig {
    /// `host:port` at which clients find a gateway. Absent: what an attached gateway says of itself.
    pub address: Option<String>,
    /// As libpq takes it.
    pub sslmode: SslMode,
    /// The root by which clients know the gateways' certificate, in PEM; absent for a public one.
    pub root_certificate: Option<PathBuf>,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self { address: None, sslmode: SslMode::VerifyFull, root_certificate: None }
    }
}

/// How clients check the gateway, as libpq names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// TLS where the server has it.
    Prefer,
    /// TLS, without a look at the certificate.
    Require,
    /// A certificate of that root.
    VerifyCa,
    /// A certificate of that root and for that host.
    VerifyFull,
}

impl SslMode {
    /// As libpq takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// What notifications need.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationsConfig {
    /// Where the secrets are that documents name. Only what is named here can be sent to where a document says.
    pub secrets: BTreeMap<String, SecretSource>,
}

/// What signing in at identity providers needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Where the secrets are that documents of providers name. Only what is named here can be sent to where a document says.
    pub secrets: BTreeMap<String, SecretSource>,
    /// How often providers are asked whether people are still there.
    #[serde(deserialize_with = "deserialize_duration")]
    pub check_every: Duration,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { secrets: BTreeMap::new(), check_every: defaults::check_every() }
    }
}

/// What is logged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// As `RUST_LOG` takes it.
    pub filter: Option<String>,
    /// For people or for machines; absent: people on a terminal, machines elsewhere.
    pub format: Option<LogFormat>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a secret is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file's content.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a program prints: the program and its arguments, no shell.
    Command(Vec<String>),
}

/// The database as the file names it: `sqlite`, a `postgresql://` URL, `{sqlite: PATH}`, or
/// `{postgres: {env: NAME}}` so that the URL's password is in no file.
#[derive(Clone, Debug, Default)]
pub enum StoreSetting {
    /// `DATA_DIR/postern.db`, or a path.
    #[default]
    DefaultSqlite,
    /// A file.
    Sqlite(PathBuf),
    /// A URL, written out.
    PostgresUrl(SecretString),
    /// A URL, kept elsewhere.
    PostgresSource(SecretSource),
}

/// The database, with everything that is needed to open it.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A file.
    Sqlite {
        /// Its path.
        path: PathBuf,
    },
    /// A server.
    Postgres {
        /// Its URL, with the password.
        url: SecretString,
    },
}

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A secret's file, variable or command failed.
    #[error("the secret {what} cannot be read from {source_name}: {problem}")]
    Secret {
        /// Which setting.
        what: &'static str,
        /// The file, variable or program.
        source_name: String,
        /// Why; never the secret.
        problem: String,
    },
    /// Plain HTTP where others could listen.
    #[error("http.listen is {0}, which others can reach: set http.tls, or listen on a loopback address")]
    PlaintextHttp(SocketAddr),
    /// A value is out of its bounds.
    #[error("{key}: {problem}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// Why.
        problem: String,
    },
}

impl Config {
    /// A configuration with defaults for everything that has one.
    #[must_use]
    pub fn new(data_dir: PathBuf, http: SocketAddr, grpc: SocketAddr) -> Self {
        Self {
            data_dir,
            store: StoreSetting::default(),
            http: HttpConfig { listen: http, tls: None, public_url: None },
            grpc: GrpcConfig { listen: grpc },
            master_key: None,
            certificate_lifetime: defaults::certificate_lifetime(),
            lease_seconds: defaults::lease_seconds(),
            request_lifetime: defaults::request_lifetime(),
            notifications: NotificationsConfig::default(),
            identity: IdentityConfig::default(),
            log: LogConfig::default(),
            clients: ClientsConfig::default(),
            metrics: None,
        }
    }

    /// The address of this control plane, as tokens and their clients name it.
    #[must_use]
    pub fn issuer(&self) -> String {
        let HttpConfig { listen, tls, public_url } = &self.http;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = public_url.clone().unwrap_or_else(|| format!("{scheme}://{listen}"));
        url.trim_end_matches('/').to_owned()
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// Names the key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.http.tls.is_none() && !self.http.listen.ip().is_loopback() {
            return Err(ConfigError::PlaintextHttp(self.http.listen));
        }
        if !(5..=3600).contains(&self.lease_seconds) {
            return Err(ConfigError::Value { key: "lease_seconds", problem: "must be from 5 to 3600".to_owned() });
        }
        if !(MIN_CHECK_EVERY..=MAX_CHECK_EVERY).contains(&self.identity.check_every) {
            let problem = "must be from 1s to 1h".to_owned();
            return Err(ConfigError::Value { key: "identity.check_every", problem });
        }
        if self.certificate_lifetime < MIN_CERTIFICATE_LIFETIME {
            let problem = format!("must be at least {}s", MIN_CERTIFICATE_LIFETIME.as_secs());
            return Err(ConfigError::Value { key: "certificate_lifetime", problem });
        }
        Ok(())
    }

    /// The database, its URL read from where it is kept.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub async fn store_config(&self) -> Result<StoreConfig, ConfigError> {
        Ok(match &self.store {
            StoreSetting::DefaultSqlite => StoreConfig::Sqlite { path: self.data_dir.join("postern.db") },
            StoreSetting::Sqlite(path) => StoreConfig::Sqlite { path: path.clone() },
            StoreSetting::PostgresUrl(url) => StoreConfig::Postgres { url: url.clone() },
            StoreSetting::PostgresSource(source) => StoreConfig::Postgres { url: source.read("store.postgres").await? },
        })
    }

    /// A secret that a notification's document names. One that `notifications.secrets` does not list is an environment
    /// variable whose name says what it is for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn notification_secret(&self, name: &str) -> Result<SecretString, ConfigError> {
        named(&self.notifications.secrets, name).read("of a notification").await
    }

    /// The same, of an identity provider's document, by `identity.secrets`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn provider_secret(&self, name: &str) -> Result<SecretString, ConfigError> {
        named(&self.identity.secrets, name).read("of an identity provider").await
    }
}

fn named(listed: &BTreeMap<String, SecretSource>, name: &str) -> SecretSource {
    let from_environment = || {
        let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
        SecretSource::Env(letters.fold(SECRET_VARIABLE.to_owned(), |variable, letter| format!("{variable}{letter}")))
    };
    listed.get(name).cloned().unwrap_or_else(from_environment)
}

impl SecretSource {
    /// Reads the secret, without the line break at its end.
    ///
    /// # Errors
    /// When it cannot be read; the error names the source and never the secret.
    pub async fn read(&self, what: &'static str) -> Result<SecretString, ConfigError> {
        let error = |source_name: String, problem: String| ConfigError::Secret { what, source_name, problem };
        let text = match self {
            Self::File(path) => {
                let name = || format!("the file {}", path.display());
                tokio::fs::read_to_string(path).await.map_err(|cause| error(name(), cause.to_string()))?
            }
            Self::Env(variable) => std::env::var(variable)
                .map_err(|cause| error(format!("the environment variable {variable}"), cause.to_string()))?,
            Self::Command(command) => run(command).await.map_err(|problem| {
                error(format!("the command {}", command.first().map_or("(none)", String::as_str)), problem)
            })?,
        };
        if text.len() > MAX_SECRET_BYTES {
            return Err(error("its source".to_owned(), "it is too long".to_owned()));
        }
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

async fn run(command: &[String]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("it is empty")?;
    let mut process = tokio::process::Command::new(program);
    process.args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(SECRET_COMMAND_TIMEOUT, process.output())
        .await
        .map_err(|_| "it took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("it ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| "what it printed is not UTF-8".to_owned())
}

impl<'de> Deserialize<'de> for StoreSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Long {
            Sqlite(PathBuf),
            Postgres(SecretSource),
        }

        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = StoreSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`sqlite`, a postgresql:// URL, {sqlite: PATH} or {postgres: {file|env|command: …}}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StoreSetting, E> {
                if text == "sqlite" {
                    Ok(StoreSetting::DefaultSqlite)
                } else if text.starts_with("postgresql://") || text.starts_with("postgres://") {
                    Ok(StoreSetting::PostgresUrl(SecretString::from(text.to_owned())))
                } else {
                    // The text may hold a password, so it is not repeated.
                    Err(E::custom("expected `sqlite` or a postgresql:// URL"))
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<StoreSetting, A::Error> {
                Ok(match Long::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    Long::Sqlite(path) => StoreSetting::Sqlite(path),
                    Long::Postgres(source) => StoreSetting::PostgresSource(source),
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a configuration from YAML text. Paths in it are taken as they are. The error does not quote the text, which
/// may hold a password.
///
/// # Errors
/// Names the key that is unknown, missing or wrong.
pub fn parse(yaml: &str) -> Result<Config, String> {
    serde_saphyr::from_str(yaml).map_err(|error| error.without_snippet().to_string())
}

/// Makes the data folder, for its owner only.
///
/// # Errors
/// When it cannot be made.
pub fn create_data_dir(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

mod defaults {
    use std::time::Duration;

    pub(super) fn certificate_lifetime() -> Duration {
        Duration::from_secs(24 * 3600)
    }

    pub(super) fn request_lifetime() -> Duration {
        Duration::from_secs(24 * 3600)
    }

    pub(super) fn check_every() -> Duration {
        Duration::from_secs(60)
    }

    pub(super) fn lease_seconds() -> u32 {
        60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        "data_dir: /var/lib/postern\nhttp: {listen: '127.0.0.1:8080'}\ngrpc: {listen: '127.0.0.1:7444'}\n";

    #[test]
    fn unknown_keys_are_named() {
        for (extra, key) in [("stoer: sqlite\n", "stoer"), ("log: {levle: info}\n", "levle")] {
            let error = parse(&format!("{MINIMAL}{extra}")).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        let error =
            parse(&MINIMAL.replace("listen: '127.0.0.1:8080'", "listen: '127.0.0.1:8080', tsl: x")).unwrap_err();
        assert!(error.contains("tsl"), "{error}");
    }

    #[test]
    fn stores() {
        let store = |text: &str| parse(&format!("{MINIMAL}store: {text}\n")).map(|config| config.store);
        assert!(matches!(parse(MINIMAL).unwrap().store, StoreSetting::DefaultSqlite));
        assert!(matches!(store("sqlite").unwrap(), StoreSetting::DefaultSqlite));
        assert!(matches!(store("{sqlite: /x/y.db}").unwrap(), StoreSetting::Sqlite(_)));
        assert!(matches!(store("postgresql://u:p@h/d").unwrap(), StoreSetting::PostgresUrl(_)));
        assert!(matches!(store("{postgres: {env: URL}}").unwrap(), StoreSetting::PostgresSource(SecretSource::Env(_))));
        assert!(store("{postgres: {evn: URL}}").unwrap_err().to_string().contains("evn"));
        assert!(!store("mysql://u:hush@h/d").unwrap_err().to_string().contains("hush"));
    }

    #[test]
    fn plaintext_only_on_loopback() {
        let mut config = parse(MINIMAL).unwrap();
        config.validate().unwrap();
        config.http.listen = "0.0.0.0:8080".parse().unwrap();
        assert!(matches!(config.validate(), Err(ConfigError::PlaintextHttp(_))));
    }
}
