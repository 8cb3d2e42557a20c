//! `postern tokens`.

use super::{Context, duration_text, principal};
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::identity::{CreateToken, CreatedToken, PrincipalName, Token};
use postern_types::id::TokenId;

/// List API tokens, make one, delete one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern tokens
  postern tokens create --for agent:ci --name \"CI runner\" --expires 90d
  postern tokens create --for agent:okta --name \"Okta provisioning\" --may scim
  postern tokens delete tok_01k…")]
pub struct TokensArgs {
    #[command(subcommand)]
    command: Option<TokensCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum TokensCommand {
    /// Make a token, and print it: it is shown this once
    Create {
        /// Whose it is, as `user:alice` or `agent:ci` [default: your own]
        #[arg(long = "for", value_name = "PRINCIPAL", value_parser = principal)]
        principal: Option<PrincipalName>,
        /// What it is for, in a few words
        #[arg(long)]
        name: String,
        /// How long it lives [default: until it is deleted]
        #[arg(long, value_name = "DURATION", value_parser = duration_text)]
        expires: Option<String>,
        /// What may be asked for with it, as CONNECTION/ROLE; may be given several times. `scim` alone: to say, as a directory, who there is [default: whatever its owner may]
        #[arg(long, value_name = "CONNECTION/ROLE|scim")]
        may: Vec<String>,
    },
    /// Delete a token: from then on it is refused
    Delete {
        /// The token's id, not its secret
        id: TokenId,
    },
}

/// Runs `tokens`.
pub async fn run(context: &Context, args: TokensArgs) -> Result<(), Failure> {
    let client = context.client()?;
    match args.command {
        None => list(context).await,
        Some(TokensCommand::Create { principal, name, expires, may }) => {
            let may = (!may.is_empty()).then_some(may);
            let created: CreatedToken = client.post("tokens", &CreateToken { principal, name, expires, may }).await?;
            output::remark(format!("Token {} of {} {}:", created.id, created.principal.kind, created.principal.name));
            output::one(context.format, &created, || created.token.clone())
        }
        Some(TokensCommand::Delete { id }) => {
            client.delete(&format!("tokens/{id}")).await?;
            output::one(context.format, &serde_json::json!({ "id": id }), || format!("Token {id} is deleted."))
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let tokens: Vec<Token> = context.client()?.get("tokens").await?;
    let columns = [
        Column::text("ID", |token: &Token| token.id.to_string()),
        Column::text("WHOSE", |token| format!("{}:{}", token.principal.kind, token.principal.name)),
        Column::text("NAME", |token| token.name.clone()),
        Column::text("MAY ASK FOR", |token| token.may.as_ref().map_or_else(String::new, |may| may.join(", "))),
        Column::text("MADE", |token| output::time(token.created_at)),
        Column::text("EXPIRES", |token| token.expires_at.map_or_else(|| "never".to_owned(), output::time)),
        Column::text("LAST USED", |token| output::maybe_time(token.last_used_at)),
    ];
    output::list(context.format, &tokens, &columns, "There are no tokens.")
}
