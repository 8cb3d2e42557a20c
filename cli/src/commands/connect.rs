//! `postern connect`: psql through an open grant.

use super::{
    Context,
    grants::{self, Selection},
    url::root_certificate,
};
use crate::{failure::Failure, files, output};
use postern_api::access::{Credential, CredentialUse};
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// Open psql through an open grant
///
/// The secret is given to psql in a file that only you can read and that is gone when psql ends: it is in no
/// process list, no history and no environment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern connect demo --role read
  postern connect demo -- -c '\\d' --no-psqlrc")]
pub struct ConnectArgs {
    #[command(flatten)]
    selection: Selection,
    /// Further arguments for psql
    #[arg(last = true, value_name = "PSQL-ARGUMENT")]
    psql: Vec<OsString>,
}

/// Runs `connect`.
pub async fn run(context: &Context, args: ConnectArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let (grant, credential) = grants::credential(&client, &args.selection, CredentialUse::Exec).await?;
    let root = root_certificate(&credential)?;
    let secret = SecretFile::new(&credential)
        .map_err(|error| Failure::failed(format!("cannot write the file that psql reads the secret from: {error}")))?;
    output::remark(format!(
        "Connecting to {} as {} until {}.",
        credential.database,
        grant.role,
        output::time(credential.expires_at)
    ));
    let mut psql = Command::new("psql");
    psql.args(&args.psql).env_remove("PGPASSWORD").env("PGPASSFILE", &secret.path);
    psql.env_remove("PGHOSTADDR").env_remove("PGSERVICE").env_remove("PGOPTIONS");
    psql.env("PGHOST", &credential.host).env("PGPORT", credential.port.to_string());
    psql.env("PGUSER", &credential.user).env("PGDATABASE", &credential.database);
    psql.env("PGSSLMODE", &credential.sslmode);
    match root {
        Some(root) => psql.env("PGSSLROOTCERT", root),
        None => psql.env_remove("PGSSLROOTCERT"),
    };
    if let Some(own) = context.client_args.own_certificate()? {
        psql.env("PGSSLCERT", own.certificate).env("PGSSLKEY", own.key);
    }
    let status = wait_for(psql).await.map_err(|error| no_psql(&error));
    drop(secret);
    let status = status?;
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("psql ended with {status}"))) }
}

/// Runs psql to its end. Ctrl-C is for psql, which cancels its statement by it: this process outlives it. When
/// this process is told to end, psql ends too, and what was made for it is tidied up.
async fn wait_for(mut psql: Command) -> std::io::Result<std::process::ExitStatus> {
    // A handler, unlike an ignored signal, is not inherited by psql.
    let _interrupts = signal(SignalKind::interrupt())?;
    let _quits = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut child = psql.spawn()?;
    tokio::select! {
        status = child.wait() => return status,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    child.start_kill()?;
    child.wait().await
}

fn no_psql(error: &std::io::Error) -> Failure {
    let failure = Failure::failed(format!("cannot run psql: {error}"));
    if error.kind() == std::io::ErrorKind::NotFound {
        return failure
            .hint("Install PostgreSQL's client (Debian: postgresql-client), or use `postern exec` or `postern url`.");
    }
    failure
}

/// A password file as libpq reads it, gone when this is dropped.
struct SecretFile {
    folder: PathBuf,
    path: PathBuf,
}

impl SecretFile {
    fn new(credential: &Credential) -> std::io::Result<Self> {
        let folder = private_temporary_folder()?;
        let path = folder.join("pgpass");
        // From here on, dropping removes what has been made.
        let this = Self { folder, path };
        let line = format!("*:*:*:{}:{}\n", pgpass_escaped(&credential.user), pgpass_escaped(&credential.secret));
        files::create_private(&this.path)?.write_all(line.as_bytes())?;
        Ok(this)
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// A folder with a name that cannot be guessed, in the user's runtime folder (in memory) where there is one.
fn private_temporary_folder() -> std::io::Result<PathBuf> {
    use secrecy::ExposeSecret;
    let parent = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir());
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    let name = postern_types::token::generate("postern-").map_err(std::io::Error::other)?;
    let folder = Path::new(&parent).join(name.expose_secret());
    files::private_folder(&folder)?;
    Ok(folder)
}

fn pgpass_escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:")
}
