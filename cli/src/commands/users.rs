//! `postern users`, `postern agents` and `postern groups`: who there is. They are made with `postern apply`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column},
};
use postern_api::identity::{Agent, Group, Stop, User};

/// List users
#[derive(Debug, clap::Args)]
#[command(after_help = "Users are made and changed by files: see `postern apply --help`.")]
pub struct UsersArgs {}

/// List agents
#[derive(Debug, clap::Args)]
#[command(after_help = "Agents are made and changed by files: see `postern apply --help`.")]
pub struct AgentsArgs {}

/// List groups and their members
#[derive(Debug, clap::Args)]
#[command(after_help = "Groups are made and changed by files: see `postern apply --help`.")]
pub struct GroupsArgs {}

/// Runs `users`.
pub async fn users(context: &Context) -> Result<(), Failure> {
    let users: Vec<User> = context.client()?.get("users").await?;
    let columns = [
        Column::text("NAME", |user: &User| user.name.clone()),
        Column::text("GROUPS", |user| user.groups.join(", ")),
        Column::text("MAY", |user| {
            let rights = [(user.admin, "admin"), (user.auditor, "auditor")];
            rights.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        }),
        Column::text("STATUS", |user| status(user.disabled, user.stopped.as_ref())),
        Column::text("LAST HERE", |user| output::maybe_time(user.last_used_at)),
        Column::text("SINCE", |user| output::time(user.created_at)),
    ];
    output::list(context.format, &users, &columns, "There are no users.")
}

/// Runs `agents`.
pub async fn agents(context: &Context) -> Result<(), Failure> {
    let agents: Vec<Agent> = context.client()?.get("agents").await?;
    let columns = [
        Column::text("NAME", |agent: &Agent| agent.name.clone()),
        Column::text("GROUPS", |agent| agent.groups.join(", ")),
        Column::text("OWNER", |agent| agent.owner.clone().unwrap_or_default()),
        Column::text("STATUS", |agent| status(agent.disabled, agent.stopped.as_ref())),
        Column::text("LAST HERE", |agent| output::maybe_time(agent.last_used_at)),
        Column::text("SINCE", |agent| output::time(agent.created_at)),
    ];
    output::list(context.format, &agents, &columns, "There are no agents.")
}

/// Runs `groups`.
pub async fn groups(context: &Context) -> Result<(), Failure> {
    let groups: Vec<Group> = context.client()?.get("groups").await?;
    let columns = [
        Column::text("NAME", |group: &Group| group.name.clone()),
        Column::text("MEMBERS", |group| group.members.join(", ")),
        Column::text("SINCE", |group| output::time(group.created_at)),
    ];
    output::list(context.format, &groups, &columns, "There are no groups.")
}

fn status(disabled: bool, stopped: Option<&Stop>) -> String {
    match (disabled, stopped) {
        (true, _) => "disabled",
        (false, Some(_)) => "stopped",
        (false, None) => "active",
    }
    .to_owned()
}
