//! `postern dev`: everything in one process on loopback, the parts talking over their real interfaces.
//!
//! In reading order: [`folder`] (the data folder, its lock and `dev.json`), [`database`] (which database is
//! fronted: [`cluster`]'s throwaway one or the one that was named), [`parts`] (starting them in order),
//! [`announce`] (what a newcomer reads), [`detach`] (leaving it running).

mod announce;
mod binaries;
mod cluster;
mod database;
mod detach;
mod folder;
mod owner;
mod parts;
mod sql;

use crate::{
    commands::Context,
    documents,
    failure::Failure,
    logging::{self, Form},
    output::{self, Format},
    serve::Stop,
};
use database::Database;
use folder::{DataFolder, Ready};
use secrecy::SecretString;
use std::path::PathBuf;

/// Run everything in one process, with a demo database, on loopback
///
/// Without --postgres a throwaway PostgreSQL cluster is made from the installed server, loaded with a demo shop,
/// and removed at the end. Everything else is kept in the data folder, so that the next start goes on from there.
#[derive(Clone, Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  postern dev
  postern dev --detach && eval \"$(postern dev env agent)\"
  postern dev --postgres postgresql://app@127.0.0.1:5432/app --config roles.yaml
  postern dev stop"
)]
pub struct DevArgs {
    #[command(subcommand)]
    command: Option<DevCommand>,

    #[command(flatten)]
    folder: FolderArg,

    /// Front this database as the connection `demo`, instead of a throwaway one. A password is better left out
    /// of the URL and given in PGPASSWORD
    #[arg(long, value_name = "URL", env = "POSTERN_DEV_POSTGRES", hide_env_values = true, value_parser = secret)]
    postgres: Option<SecretString>,

    /// The port for PostgreSQL clients
    #[arg(long, value_name = "N", default_value_t = 15432)]
    pg_port: u16,

    /// The port of the console and the REST API
    #[arg(long, value_name = "N", default_value_t = 8080)]
    http_port: u16,

    /// Files to apply before it is ready; each states only what it changes
    #[arg(long = "config", value_name = "FILE", num_args = 1..)]
    config: Vec<PathBuf>,

    /// Leave it running in the background, and return once it is ready
    #[arg(long)]
    detach: bool,
}

/// The data folder, for `dev` and its subcommands alike.
#[derive(Clone, Debug, clap::Args)]
struct FolderArg {
    /// Where everything is kept [default: ~/.local/state/postern/dev]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum DevCommand {
    /// Print shell commands that set POSTERN_URL and POSTERN_TOKEN, for eval
    Env {
        /// Whose token
        #[arg(value_enum)]
        caller: Caller,
        #[command(flatten)]
        folder: FolderArg,
    },
    /// Stop the one that runs in the background
    Stop {
        #[command(flatten)]
        folder: FolderArg,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Caller {
    /// The agent, which asks.
    Agent,
    /// The admin, who approves.
    Admin,
}

fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

/// Runs `dev`.
pub async fn run(context: &Context, args: DevArgs) -> Result<(), Failure> {
    match &args.command {
        Some(DevCommand::Env { caller, folder }) => env(*caller, folder),
        Some(DevCommand::Stop { folder }) => detach::stop(&folder::path(folder.data_dir.as_deref())?).await,
        None if args.detach => detach::start(context, &args).await,
        None => foreground(context, args).await,
    }
}

fn env(caller: Caller, folder: &FolderArg) -> Result<(), Failure> {
    let ready = Ready::read(&folder::path(folder.data_dir.as_deref())?)?;
    let token = match caller {
        Caller::Agent => &ready.agent_token,
        Caller::Admin => &ready.admin_token,
    };
    // Both are letters, digits and a few marks that a shell takes as they are.
    output::line(format!("export POSTERN_URL={} POSTERN_TOKEN={token}", ready.http_url))
}

async fn foreground(context: &Context, args: DevArgs) -> Result<(), Failure> {
    // Read first: a mistake in a file is best known before anything is started.
    let files = if args.config.is_empty() { None } else { Some(documents::read(&args.config, true)?) };
    if let Some(url) = &args.postgres {
        Database::of_url(url).map_err(|error| Failure::usage(format!("{error:#}")))?;
    }
    let data = DataFolder::open(&folder::path(args.folder.data_dir.as_deref())?)?;
    logging::init(Form::by_terminal(), None)?;
    let mut stop = Stop::listen()?;
    let mut parts = parts::Parts::default();
    let started = tokio::select! {
        started = parts.start(&data, &args, files) => Some(started),
        () = stop.wished() => None,
    };
    let result = match started {
        Some(Ok(ready)) => match announce_ready(context, &data, &ready, args.postgres.is_some()) {
            Ok(()) => {
                stop.wished().await;
                Ok(())
            }
            Err(failure) => Err(failure),
        },
        Some(Err(failure)) => Err(failure),
        None => Ok(()),
    };
    tracing::info!("stopping");
    if let Err(error) = data.remove_ready() {
        // The next start removes it.
        tracing::warn!(%error, "cannot remove dev.json");
    }
    parts.stop().await;
    result
}

fn announce_ready(context: &Context, data: &DataFolder, ready: &Ready, foreign: bool) -> Result<(), Failure> {
    data.write_ready(ready)?;
    match context.format {
        Format::Json => output::json(&serde_json::json!({ "ready": true, "file": data.ready_file() })),
        Format::Table | Format::Csv => output::write(&announce::text(data.path(), ready, foreign)),
    }
}
