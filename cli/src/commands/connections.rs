//! `postern connections`.

use super::{Context, policy};
use crate::{
    failure::Failure,
    output::{self, Column, Format},
};
use postern_api::access::{Approval, Connection, ConnectionRole, ConnectionStatus};
use serde::Serialize;

/// List the databases that you can ask for, and how
#[derive(Debug, clap::Args)]
pub struct ConnectionsArgs {}

/// A line of the list: one way in to one connection.
#[derive(Serialize)]
struct Line<'a> {
    connection: &'a Connection,
    role: Option<&'a ConnectionRole>,
}

/// Runs `connections`.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let connections: Vec<Connection> = context.client()?.get("connections").await?;
    if context.format == Format::Json {
        return output::json(&connections);
    }
    let lines: Vec<Line<'_>> = connections.iter().flat_map(lines_of).collect();
    let columns = [
        Column::text("CONNECTION", |line: &Line<'_>| line.connection.name.clone()),
        Column::text("ROLE", |line| role(line, |role| role.name.clone())),
        Column::text("ACCESS", |line| {
            role(line, |role| if role.read_only { "read-only" } else { "read-write" }.to_owned())
        }),
        Column::text("APPROVAL", |line| role(line, approval)),
        Column::text("UP TO", |line| role(line, |role| role.max_duration.clone())),
        Column::text("STATUS", |line| status(line.connection)),
    ];
    output::list(context.format, &lines, &columns, "There is no connection that you can ask for.")
}

fn lines_of(connection: &Connection) -> Vec<Line<'_>> {
    if connection.roles.is_empty() {
        return vec![Line { connection, role: None }];
    }
    connection.roles.iter().map(|role| Line { connection, role: Some(role) }).collect()
}

fn role(line: &Line<'_>, of: impl Fn(&ConnectionRole) -> String) -> String {
    line.role.map(of).unwrap_or_default()
}

fn approval(role: &ConnectionRole) -> String {
    match role.approval {
        Approval::Auto => "by rule, at once".to_owned(),
        Approval::Review => role.quorum.as_ref().map(|quorum| format!("by {quorum}")).unwrap_or_default(),
        Approval::NotAllowed => "not for you".to_owned(),
    }
}

fn status(connection: &Connection) -> String {
    let status = match connection.status {
        ConnectionStatus::Up => "up",
        ConnectionStatus::DatabaseDown => "database down",
        ConnectionStatus::NoConnector => "no connector",
    };
    let status = match &connection.problem {
        Some(problem) => format!("{status}: {problem}"),
        None => status.to_owned(),
    };
    match &connection.freeze {
        Some(freeze) => format!("{status}, {}", policy::since(freeze)),
        None => status,
    }
}
