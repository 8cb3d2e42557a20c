//! `postern login` and `postern logout`.

use super::{Context, device};
use crate::{
    client::{Client, DEFAULT_URL, parse_base},
    credentials::{self, Login},
    failure::Failure,
    output, secret,
};
use postern_api::identity::Whoami;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, IsTerminal};

/// Sign in by a browser, or save a token, so that later commands need no POSTERN_TOKEN
///
/// The browser opens the console, where you sign in at your identity provider and say yes to the code that is shown here;
/// the login ends with that sign-in. With --cert-file and --key-file that certificate is exchanged for a token, which is good
/// together with it alone: later commands need both too. Where nobody signs in at a provider, and with --token, a token is asked for, or read
/// from standard input where that is no terminal: never taken from the command line, where other users of the machine
/// could read it. It is checked with the control plane before it is saved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern login --url https://postern.example.com
  postern login --url https://postern.example.com --no-browser
  postern login --url https://postern.example.com --token - < token.txt
  postern login --url https://postern.example.com --id-token - <<< \"$CI_JOB_TOKEN\"
  postern login --url https://postern.example.com --cert-file svid.pem --key-file svid.key")]
pub struct LoginArgs {
    /// `-`: read the token from standard input instead of asking for it
    #[arg(long, value_name = "-", value_parser = ["-"])]
    token: Option<String>,

    /// Only show the address and the code: open them in a browser anywhere
    #[arg(long, conflicts_with_all = ["token", "id_token"])]
    no_browser: bool,

    /// `-`: read the identity token that a machine's platform gave it from standard input, and exchange it for a token
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with = "token")]
    id_token: Option<String>,
}

/// Forget the saved login
///
/// A login by a browser ends. A token that was given stays good until it expires or is deleted with `postern tokens
/// delete`.
#[derive(Debug, clap::Args)]
pub struct LogoutArgs {}

/// Runs `login`.
pub async fn login(context: &Context, args: LoginArgs) -> Result<(), Failure> {
    let base = parse_base(context.client_args.url.as_deref().unwrap_or(DEFAULT_URL))?;
    if args.id_token.is_some() {
        let id_token = checked(&secret::from_stdin()?)?;
        return save(context, &Client::with_id_token(&context.client_args, base, &id_token).await?).await;
    }
    if args.token.is_none() && context.client_args.own_certificate()?.is_some() {
        return save(context, &Client::with_certificate(&context.client_args, base).await?).await;
    }
    let terminal = io::stdin().is_terminal();
    if args.no_browser || (args.token.is_none() && terminal) {
        let client = Client::with_token(&context.client_args, base.clone(), SecretString::default())?;
        match device::sign_in(&client, !args.no_browser).await? {
            Some(token) => return save(context, &client.with(token)).await,
            None if args.no_browser || !terminal => {
                return Err(Failure::failed(format!("nobody signs in to {base} at an identity provider")).hint(
                    "An admin connects one by a document of `kind: IdentityProvider`; until then `postern login --token -`.",
                ));
            }
            None => {}
        }
    }
    let token = if args.token.is_some() || !terminal {
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
pub async fn logout(context: &Context) -> Result<(), Failure> {
    if let Some(login) = credentials::load()? {
        end(context, login).await;
    }
    let was = credentials::forget()?;
    output::one(context.format, &serde_json::json!({ "forgotten": was }), || {
        if was { "The saved login is forgotten.".to_owned() } else { "There was no saved login.".to_owned() }
    })
}

/// Ends a login by a browser at the control plane. Forgotten here it is in any case.
async fn end(context: &Context, Login { url, token }: Login) {
    let Ok(client) = parse_base(&url).and_then(|base| Client::with_token(&context.client_args, base, token)) else {
        return;
    };
    if let Ok(Whoami { token, signed_in: Some(_), .. }) = client.get("whoami").await {
        let _ = client.delete(&format!("tokens/{}", token.id)).await;
    }
}

fn checked(token: &SecretString) -> Result<SecretString, Failure> {
    let trimmed = token.expose_secret().trim();
    if trimmed.is_empty() || trimmed.contains(char::is_whitespace) {
        return Err(Failure::usage("that is no token").hint("An admin makes one with `postern tokens create`."));
    }
    Ok(SecretString::from(trimmed))
}
