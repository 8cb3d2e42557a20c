//! Where a secret comes from. A configuration names the source, never (outside throwaway set-ups) the secret.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{io, path::PathBuf, process::Stdio, time::Duration};
use thiserror::Error;
use tokio::{process::Command, time::timeout};

/// Vault must have answered by then.
const VAULT_DEADLINE: Duration = Duration::from_secs(10);

/// A command that gives a secret must be done by then.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// A source. It is asked each time that the secret is needed, so that a rotated one is used at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A file's content, without the line's end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a command writes to its standard output: program and arguments, no shell.
    Command(Vec<String>),
    /// A field of a secret in HashiCorp Vault's key-value engine, version 1 or 2.
    Vault(Vault),
    /// The secret itself. For throwaway set-ups.
    Value(SecretString),
}

/// Where in Vault, and how to get in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// `https://vault.example.org:8200`.
    pub address: String,
    /// The API's path of the secret, without `v1/`: `secret/data/shop` (version 2), `kv/shop` (version 1).
    pub path: String,
    /// The field's name.
    pub field: String,
    /// The token that may read it, from any source; a file that Vault's agent renews is the usual one.
    pub token: Box<Source>,
    /// Vault's namespace, where there is one.
    pub namespace: Option<String>,
    /// The certificate to trust instead of the system's, PEM.
    pub root_certificate: Option<PathBuf>,
}

/// A secret could not be had. Names the source, never what came of it.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The file.
    #[error("the secret file {path} cannot be read")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The variable.
    #[error("the environment variable {0} is not set")]
    Env(String),
    /// The command.
    #[error("the secret command {program} failed: {problem}")]
    Command {
        /// What was run.
        program: String,
        /// What went wrong.
        problem: String,
    },
    /// Vault.
    #[error("Vault gave no secret: {0}")]
    Vault(String),
    /// There was nothing in it.
    #[error("the secret is empty")]
    Empty,
}

impl Source {
    /// The secret as it is now.
    ///
    /// Cancel safe: a command that was started is killed.
    ///
    /// # Errors
    /// When the source gives none.
    pub async fn read(&self) -> Result<SecretString, SecretError> {
        let text = match self {
            Self::Value(secret) => return Ok(secret.clone()),
            Self::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|source| SecretError::File { path: path.clone(), source })?,
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?,
            Self::Command(command) => run(command).await?,
            // Boxed: a token may come from any source, this one among them.
            Self::Vault(vault) => Box::pin(vault.read()).await?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() { Err(SecretError::Empty) } else { Ok(SecretString::from(text)) }
    }
}

impl Vault {
    async fn read(&self) -> Result<String, SecretError> {
        let failed = |error: reqwest::Error| SecretError::Vault(error.without_url().to_string());
        let mut client = reqwest::Client::builder().timeout(VAULT_DEADLINE).redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &self.root_certificate {
            let pem = tokio::fs::read(path).await.map_err(|source| SecretError::File { path: path.clone(), source })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(failed)?;
            client = client.tls_certs_only(certificates);
        }
        let token = self.token.read().await?;
        let url = format!("{}/v1/{}", self.address.trim_end_matches('/'), self.path.trim_start_matches('/'));
        let mut request = client.build().map_err(failed)?.get(url).header("X-Vault-Token", token.expose_secret());
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let answer: VaultAnswer = response.json().await.map_err(failed)?;
        // Version 2 wraps the fields once more, beside its metadata.
        let fields = match answer.data.get("data") {
            Some(serde_json::Value::Object(inner)) if answer.data.contains_key("metadata") => inner,
            _ => &answer.data,
        };
        let field = fields.get(&self.field).and_then(serde_json::Value::as_str);
        field.map(str::to_owned).ok_or_else(|| SecretError::Vault(format!("it has no text field `{}`", self.field)))
    }
}

#[derive(Deserialize)]
struct VaultAnswer {
    data: serde_json::Map<String, serde_json::Value>,
}

async fn run(command: &[String]) -> Result<String, SecretError> {
    let (program, arguments) = command.split_first().ok_or(SecretError::Empty)?;
    let problem = |problem: String| SecretError::Command { program: program.clone(), problem };
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(COMMAND_DEADLINE, output)
        .await
        .map_err(|_| problem("it took too long".to_owned()))?
        .map_err(|error| problem(error.to_string()))?;
    if !output.status.success() {
        return Err(problem(output.status.to_string()));
    }
    String::from_utf8(output.stdout).map_err(|_| problem("its output is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sources() {
        let folder = std::env::temp_dir().join(format!("postern-secret-{}", std::process::id()));
        std::fs::write(&folder, "from-file\n").unwrap();
        let echo = |text: &str| Source::Command(vec!["/bin/echo".into(), text.into()]);
        for (source, expect) in [(Source::File(folder.clone()), "from-file"), (echo("from command"), "from command")] {
            assert_eq!(source.read().await.unwrap().expose_secret(), expect);
        }
        std::fs::remove_file(&folder).unwrap();
        for source in [
            Source::File(folder),
            echo(""),
            Source::Env("POSTERN_NO_SUCH".into()),
            Source::Command(vec!["/bin/false".into()]),
        ] {
            assert!(source.read().await.is_err(), "{source:?}");
        }
        assert!(!format!("{:?}", Source::Value("hunter2".to_owned().into())).contains("hunter2"));
    }
}
