//! What documents leave to a directory that keeps users and groups over SCIM: whether its users may act, and which people
//! its groups have. Once the directory's agent is disabled, documents decide again.

use crate::{
    problem::Problem,
    store::{
        Tx, principals,
        scim::{self, UserRow},
    },
};
use postern_types::id::PrincipalId;

/// The user as its directory keeps it.
pub(super) async fn kept(tx: &mut Tx, id: &PrincipalId) -> Result<Option<UserRow>, Problem> {
    let Some(user) = scim::user(tx, id).await? else { return Ok(None) };
    let keeper = principals::by_id(tx, &user.client_id).await?;
    Ok(keeper.is_some_and(|keeper| !keeper.disabled).then_some(user))
}

/// Keeps a user in the groups of directories where they are, and out of the others.
pub(super) async fn keep_groups(tx: &mut Tx, before: &[String], wanted: &mut Vec<String>) -> Result<(), Problem> {
    for group in before.iter().filter(|group| !wanted.contains(group)).cloned().collect::<Vec<_>>() {
        if scim::keeper_of(tx, &group).await?.is_some() {
            wanted.push(group);
        }
    }
    for group in wanted.iter().filter(|group| !before.contains(group)) {
        refuse_kept(tx, "groups", group).await?;
    }
    wanted.sort();
    Ok(())
}

/// Keeps people in a group of a directory, and others out of it.
pub(super) async fn keep_members(
    tx: &mut Tx,
    group: &str,
    before: &[String],
    wanted: &mut Vec<String>,
) -> Result<(), Problem> {
    if scim::keeper_of(tx, group).await?.is_none() {
        return Ok(());
    }
    let is_user = |member: &&String| member.starts_with("user:");
    if wanted.iter().filter(is_user).any(|member| !before.contains(member)) {
        return refuse_kept(tx, "members", group).await;
    }
    let missing: Vec<_> = before.iter().filter(is_user).filter(|member| !wanted.contains(member)).cloned().collect();
    wanted.extend(missing);
    Ok(())
}

/// Whether documents may delete a group.
pub(super) async fn may_delete(tx: &mut Tx, group: &str) -> Result<(), Problem> {
    refuse_kept(tx, "delete", group).await
}

async fn refuse_kept(tx: &mut Tx, field: &str, group: &str) -> Result<(), Problem> {
    let Some(keeper) = scim::keeper_of(tx, group).await? else { return Ok(()) };
    Err(Problem::invalid(field, format!("which people are in `{group}` is said over SCIM by agent {keeper}"))
        .hint("change it there, or disable that agent"))
}
