//! `postern whoami`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column, Format},
};
use postern_api::{
    document::RoleMode,
    identity::{Role, Whoami},
    ways::{Foreseen, OpenGrant, WayIn, WaysIn, WaysInQuery},
};

/// Show who the control plane takes you for, and what you get of a connection
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern whoami
  postern whoami --on orders-prod
  postern whoami --on orders-prod --on-behalf-of alice")]
pub struct WhoamiArgs {
    /// Which access roles of this connection you can ask for, why, and what the answer would be
    #[arg(long, value_name = "CONN")]
    on: Option<String>,
    /// With --on: the user for whom an agent would ask
    #[arg(long, value_name = "USER", requires = "on")]
    on_behalf_of: Option<String>,
}

/// Runs `whoami`.
pub async fn run(context: &Context, args: WhoamiArgs) -> Result<(), Failure> {
    let client = context.client()?;
    if let Some(connection) = args.on {
        let query = WaysInQuery { on_behalf_of: args.on_behalf_of };
        let ways: WaysIn = client.query(&format!("connections/{connection}/access"), &query).await?;
        return show(context.format, &ways);
    }
    let whoami: Whoami = client.get("whoami").await?;
    output::one(context.format, &whoami, || sentence(client.base().as_str(), &whoami))
}

fn show(format: Format, ways: &WaysIn) -> Result<(), Failure> {
    if format == Format::Json {
        return output::json(ways);
    }
    if format == Format::Table {
        let groups = if ways.groups.is_empty() { "no group".to_owned() } else { ways.groups.join(", ") };
        let behalf = ways.on_behalf_of.as_ref().map(|user| format!(", on behalf of {}", user.name));
        let WaysIn { principal, connection, .. } = ways;
        let text =
            format!("{} {} on {connection}{}; in {groups}", principal.kind, principal.name, behalf.unwrap_or_default());
        output::line(output::printable(&text))?;
    }
    let columns = [
        Column::text("ROLE", |way: &WayIn| way.role.clone()),
        Column::text("DATABASE ROLE", database_role),
        Column::text("BECAUSE", |way| way.because.clone()),
        Column::text("A REQUEST IS", answer),
        Column::text("POLICIES", policies),
        Column::text("OPEN GRANT", grant),
    ];
    output::list(format, &ways.roles, &columns, "It has no access role that you may know of.")
}

/// As what sessions run.
pub fn database_role(way: &WayIn) -> String {
    match (way.mode, &way.database_role) {
        (RoleMode::Ephemeral, Some(role)) => format!("a new one in {role}"),
        (_, Some(role)) => role.clone(),
        (_, None) => "the connector's login".to_owned(),
    }
}

/// What would become of a request.
pub fn answer(way: &WayIn) -> String {
    let answer = match way.answer {
        Foreseen::Granted => "granted at once",
        Foreseen::Review => "for people to answer",
        Foreseen::Denied => "denied",
    };
    if way.rule.is_empty() { answer.to_owned() } else { format!("{answer}: {}", way.rule) }
}

/// Whether policies let a session begin.
pub fn policies(way: &WayIn) -> String {
    let verdict = if way.connects { "let in" } else { "keep out" };
    format!("{verdict}: {}", if way.policies.is_empty() { "none permits".to_owned() } else { way.policies.join(", ") })
}

/// The grant that is open.
pub fn grant(way: &WayIn) -> String {
    let Some(OpenGrant { id, expires_at, on_behalf_of }) = &way.grant else { return String::new() };
    let behalf = on_behalf_of.as_ref().map(|user| format!(" for {}", user.name)).unwrap_or_default();
    format!("{id}{behalf} until {}", output::time(*expires_at))
}

fn sentence(base: &str, whoami: &Whoami) -> String {
    let mut text = format!("{} {} at {base}", whoami.kind, output::printable(&whoami.name));
    if let Some(user) = &whoami.on_behalf_of {
        text.push_str(&format!("\non behalf of {}, proved", output::printable(&user.name)));
    }
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
