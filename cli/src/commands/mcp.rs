//! `postern mcp`: the Model Context Protocol by standard input and output, for an AI agent's program.

use super::{Context, url::root_certificate};
use crate::{
    client::{Client, ClientArgs},
    failure::Failure,
};
use postern_api::access::Credential;
use postern_dial::OwnCertificate;
use postern_mcp::{Plane, Refusal, stdio};
use serde_json::Value;
use std::path::PathBuf;

/// Give an AI agent its tools by the Model Context Protocol, over standard input and output
///
/// A client of that protocol starts this command, with POSTERN_URL and POSTERN_TOKEN in its environment: the agent acts as
/// whoever has that token. The control plane serves the same tools over HTTP at /mcp.
#[derive(Debug, clap::Args)]
#[command(after_help = "In a client's configuration:
  {\"mcpServers\": {\"postern\": {\"command\": \"postern\", \"args\": [\"mcp\"],
    \"env\": {\"POSTERN_URL\": \"https://postern.example.com\", \"POSTERN_TOKEN\": \"…\"}}}}")]
pub struct McpArgs {}

/// Runs `mcp`.
pub async fn run(context: &Context) -> Result<(), Failure> {
    Ok(stdio::serve(Rest(context.client()?, context.client_args.clone())).await?)
}

struct Rest(Client, ClientArgs);

impl Plane for Rest {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        Ok(self.0.query(path, &query).await?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        Ok(self.0.post(path, body).await?)
    }

    fn root_certificate(&self, credential: &Credential) -> Result<Option<PathBuf>, Refusal> {
        Ok(root_certificate(credential)?)
    }

    fn own_certificate(&self) -> Result<Option<OwnCertificate>, Refusal> {
        Ok(self.1.own_certificate()?)
    }
}
