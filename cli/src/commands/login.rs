//! `postern login` and `postern logout`.

use super::Context;
use crate::{
    client::{Client, DEFAULT_URL, parse_base},
    credentials::{self, Login},
    failure::Failure,
    output, secret,
};
use postern_api::identity::Whoami;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, IsTerminal};

/// Save a token, so that later commands need no POSTERN_TOKEN
///
/// The token is checked with the control plane before it is saved. It is read from standard input, never
/// taken from the command line, where other users of the machine could read it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern login --url https://postern.example.com
  postern login --url https://postern.example.com --token - < token.txt
  postern login --url https://postern.example.com --id-token - <<< \"$CI_JOB_TOKEN\"")]
pub struct LoginArgs {
    /// `-`: read the token from standard input instead of asking for it
    #[arg(long, value_name = "-", value_parser = ["-"])]
    token: Option<String>,

    /// `-`: read the identity token that a machine's platform gave it from standard input, and exchange it for a token
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with = "token")]
    id_token: Option<String>,
}

/// Forget the saved login
///
/// The token itself stays good until it expires or is deleted with `postern tokens delete`.
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {}

/// Runs `login`.
pub async fn login(context: &Context, args: LoginArgs) -> Result<(), Failure> {
    let base = parse_base(context.client_args.url.as_deref().unwrap_or(DEFAULT_URL))?;
    if args.id_token.is_some() {
        let id_token = checked(&secret::from_stdin()?)?;
        return save(context, &Client::with_id_token(&context.client_args, base, &id_token).await?).await;
    }
    let token = if args.token.is_some() || !io::stdin().is_terminal() {
        secret::from_stdin()?
    } else {
        secret::ask(&format!("Token for {base}"))?
    };
    let token = checked(&token)?;
    let client = Client::with_token(&context.client_args, base, token)?;
    save(context, &client).await
}

async fn save(context: &Context, client: &Client) -> Result<(), Failure> {
    let (base, token) = (client.base(), client.token().clone());
    let whoami: Whoami = client.get("whoami").await?;
    let path = credentials::save(&Login { url: base.to_string(), token })?;
    output::one(context.format, &whoami, || {
        format!("Logged in to {base} as {} {}. Saved in {}.", whoami.kind, whoami.name, path.display())
    })
}

/// Runs `logout`.
pub fn logout(context: &Context) -> Result<(), Failure> {
    let was = credentials::forget()?;
    output::one(context.format, &serde_json::json!({ "forgotten": was }), || {
        if was { "The saved login is forgotten.".to_owned() } else { "There was no saved login.".to_owned() }
    })
}

fn checked(token: &SecretString) -> Result<SecretString, Failure> {
    let trimmed = token.expose_secret().trim();
    if trimmed.is_empty() || trimmed.contains(char::is_whitespace) {
        return Err(Failure::usage("that is no token").hint("An admin makes one with `postern tokens create`."));
    }
    Ok(SecretString::from(trimmed))
}
