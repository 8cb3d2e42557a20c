//! `postern credentials`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column},
    secret,
};
use postern_api::database::{DatabaseCredential, SetDatabaseCredential};
use secrecy::{ExposeSecret, SecretString};
use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

/// Keep databases' passwords in the control plane, for connectors that have none of their own
///
/// A password is sealed in the control plane's database and given to the connector of the connection, which keeps
/// it in memory. It is never shown again. What a connector's own configuration says goes first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern credentials set orders orders_reader
  postern credentials set orders orders_reader --password-file /run/secrets/orders_reader
  vault kv get -field=password secret/orders | postern credentials set orders orders_reader --password-file -
  postern credentials list orders
  postern credentials remove orders orders_reader")]
pub struct CredentialsArgs {
    #[command(subcommand)]
    command: CredentialsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CredentialsCommand {
    /// Set the password of a database role: new sessions use it at once
    Set {
        /// The connection's name
        connection: String,
        /// The database role
        login: String,
        /// Read the password from this file, or with `-` from standard input, instead of asking for it
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List the database roles of a connection that have a password here
    List {
        /// The connection's name
        connection: String,
    },
    /// Remove a password: sessions that run go on
    Remove {
        /// The connection's name
        connection: String,
        /// The database role
        login: String,
    },
}

/// Runs `credentials`.
pub async fn run(context: &Context, args: CredentialsArgs) -> Result<(), Failure> {
    match args.command {
        CredentialsCommand::Set { connection, login, password_file } => {
            let client = context.client()?;
            let password = password(password_file, &connection, &login)?;
            let body = SetDatabaseCredential { password: password.expose_secret().to_owned() };
            let set: DatabaseCredential =
                client.put(&["connections", &connection, "credentials", &login], &body).await?;
            output::one(context.format, &set, || {
                format!("The password of {} on {} is set: new sessions use it.", set.login, set.connection)
            })
        }
        CredentialsCommand::List { connection } => list(context, &connection).await,
        CredentialsCommand::Remove { connection, login } => {
            context.client()?.delete_at(&["connections", &connection, "credentials", &login]).await?;
            let removed = serde_json::json!({ "connection": connection, "login": login });
            output::one(context.format, &removed, || format!("The password of {login} on {connection} is removed."))
        }
    }
}

async fn list(context: &Context, connection: &str) -> Result<(), Failure> {
    let credentials: Vec<DatabaseCredential> =
        context.client()?.get(&format!("connections/{connection}/credentials")).await?;
    let columns = [
        Column::text("LOGIN", |credential: &DatabaseCredential| credential.login.clone()),
        Column::text("FIRST SET", |credential| output::time(credential.created_at)),
        Column::text("LAST SET", |credential| output::time(credential.updated_at)),
    ];
    let nothing = format!("No password is kept here for {connection}; its connector may have its own.");
    output::list(context.format, &credentials, &columns, &nothing)
}

fn password(file: Option<PathBuf>, connection: &str, login: &str) -> Result<SecretString, Failure> {
    if let Some(file) = file {
        return secret::from_file(&file);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal at which to ask for the password")
            .hint("Give a file with --password-file, or `--password-file -` for standard input."));
    }
    let password = secret::ask(&format!("Password of {login} on {connection}"))?;
    let again = secret::ask("The same again")?;
    if password.expose_secret() != again.expose_secret() {
        return Err(Failure::usage("the two are not the same"));
    }
    Ok(password)
}
