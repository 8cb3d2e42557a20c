//! `postern whoami`.

use super::Context;
use crate::{failure::Failure, output};
use postern_api::identity::{Role, Whoami};

/// Show who the control plane takes you for
#[derive(Debug, clap::Args)]
pub struct WhoamiArgs {}

/// Runs `whoami`.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let whoami: Whoami = client.get("whoami").await?;
    output::one(context.format, &whoami, || sentence(client.base().as_str(), &whoami))
}

fn sentence(base: &str, whoami: &Whoami) -> String {
    let mut text = format!("{} {} at {base}", whoami.kind, output::printable(&whoami.name));
    if !whoami.groups.is_empty() {
        text.push_str(&format!("\ngroups: {}", output::printable(&whoami.groups.join(", "))));
    }
    if !whoami.roles.is_empty() {
        let roles: Vec<&str> = whoami.roles.iter().map(|role| role_name(*role)).collect();
        text.push_str(&format!("\nmay act as: {}", roles.join(", ")));
    }
    if let Some(may) = &whoami.token.may {
        text.push_str(&format!("\nthe token is for {} alone", output::printable(&may.join(", "))));
    }
    match whoami.token.expires_at {
        Some(at) => text.push_str(&format!("\ntoken {} expires {}", whoami.token.id, output::time(at))),
        None => text.push_str(&format!("\ntoken {} does not expire", whoami.token.id)),
    }
    text
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Reviewer => "reviewer",
        Role::Auditor => "auditor",
    }
}
