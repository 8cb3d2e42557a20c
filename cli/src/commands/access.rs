//! `postern access`: what somebody can reach, and who can reach a connection.

use super::{
    Context, principal,
    whoami::{answer, database_role, grant, policies},
};
use crate::{
    failure::Failure,
    output::{self, Column, Format},
};
use postern_api::{
    identity::PrincipalName,
    ways::{EffectiveAccess, Reach, ReachQuery, WayIn, WaysIn},
};

/// Show what somebody can reach, or who can reach a connection, and why
///
/// Of somebody: each access role of each connection, whether they may ask for it and by which of their groups, what would
/// become of a request and by which rule, which policies let a session begin, and the grant that is open. It is for admins and
/// auditors, for the user who answers for an agent, and for oneself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern access agent:ci
  postern access --to orders-prod")]
pub struct AccessArgs {
    /// `agent:NAME` or `user:NAME`
    #[arg(value_name = "PRINCIPAL", value_parser = principal, required_unless_present = "to", conflicts_with = "to")]
    principal: Option<PrincipalName>,
    /// Everybody who can reach this connection
    #[arg(long, value_name = "CONN")]
    to: Option<String>,
}

/// Runs `access`.
pub async fn run(context: &Context, args: AccessArgs) -> Result<(), Failure> {
    match args {
        AccessArgs { to: Some(connection), .. } => to(context, &connection).await,
        AccessArgs { principal: Some(name), .. } => of(context, &name).await,
        AccessArgs { .. } => Ok(()),
    }
}

async fn of(context: &Context, name: &PrincipalName) -> Result<(), Failure> {
    let PrincipalName { kind, name } = name;
    let access: EffectiveAccess = context.client()?.get(&format!("principals/{kind}:{name}/access")).await?;
    if context.format == Format::Json {
        return output::json(&access);
    }
    if context.format == Format::Table {
        output::line(output::printable(&sentence(&access)))?;
    }
    let rows = rows(access.connections, |ways| ways.connection.clone());
    output::list(
        context.format,
        &rows,
        &columns("CONNECTION"),
        "There is no access role that they, or you, may know of.",
    )
}

async fn to(context: &Context, connection: &str) -> Result<(), Failure> {
    let client = context.client()?;
    let (mut all, mut query) = (Vec::new(), ReachQuery::default());
    loop {
        let Reach { principals, next } = client.query(&format!("connections/{connection}/principals"), &query).await?;
        all.extend(principals);
        query.after = next;
        if query.after.is_none() {
            break;
        }
    }
    if context.format == Format::Json {
        return output::json(&all);
    }
    let rows = rows(all, |ways| format!("{}:{}", ways.principal.kind, ways.principal.name));
    output::list(context.format, &rows, &columns("WHO"), "Nobody can reach it.")
}

/// What a line tells: of whom or which connection, and the way in.
type Line = (String, WayIn);

fn rows(all: Vec<WaysIn>, of: fn(&WaysIn) -> String) -> Vec<Line> {
    all.into_iter().flat_map(|ways| ways.roles.clone().into_iter().map(move |way| (of(&ways), way))).collect()
}

fn columns(first: &'static str) -> [Column<Line>; 7] {
    [
        Column::text(first, |(first, _)| first.clone()),
        Column::text("ROLE", |(_, way)| way.role.clone()),
        Column::text("DATABASE ROLE", |(_, way)| database_role(way)),
        Column::text("BECAUSE", |(_, way)| way.because.clone()),
        Column::text("A REQUEST IS", |(_, way)| answer(way)),
        Column::text("POLICIES", |(_, way)| policies(way)),
        Column::text("OPEN GRANT", |(_, way)| grant(way)),
    ]
}

/// Who they are.
fn sentence(access: &EffectiveAccess) -> String {
    let EffectiveAccess { principal, groups, owner, admin, auditor, disabled, stopped, last_used_at, .. } = access;
    let mut text = format!("{} {}", principal.kind, principal.name);
    if let Some(owner) = owner {
        text.push_str(&format!(", for which {owner} answers"));
    }
    text.push_str(&format!("; in {}", if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") }));
    for (is, what) in
        [(*admin, "admin"), (*auditor, "auditor"), (*disabled, "disabled"), (stopped.is_some(), "stopped")]
    {
        if is {
            text.push_str(&format!("; {what}"));
        }
    }
    match last_used_at {
        Some(at) => text.push_str(&format!("; last here {}", output::time(*at))),
        None => text.push_str("; never here"),
    }
    text
}
