//! Policies as files: which are in force. They change by [`crate::apply`] alone. [`trial`] tells what they would say of a
//! statement, [`replay`] what changed ones would have said of those that are on record.

pub mod replay;
pub mod trial;

use crate::{
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{
        Store, StoreError, Tx,
        policies::{self, PolicyRow, PolicyState},
    },
};
use postern_api::{
    identity::{PrincipalKind, PrincipalRef},
    policy::{Policy, PolicyFile, PolicyVersion},
};
use postern_policy::{Policies, builtin};
use std::collections::BTreeMap;

/// The files that are in force, the newest first.
///
/// # Errors
/// When the caller may not see them.
pub async fn list(store: &Store, actor: &Actor) -> Result<Vec<Policy>, Problem> {
    let mut all = all(store, actor).await?;
    all.sort_by(|one, other| other.version.cmp(&one.version).then_with(|| one.name.cmp(&other.name)));
    Ok(all.into_iter().map(|policy| Policy { text: None, ..policy }).collect())
}

/// One file that is in force, with its text.
///
/// # Errors
/// When there is none of that name or the caller may not see it.
pub async fn get(store: &Store, actor: &Actor, name: &str) -> Result<Policy, Problem> {
    let found = all(store, actor).await?.into_iter().find(|policy| policy.name == name);
    found.ok_or_else(|| Problem::not_found("policy file", name).hint("`postern policy list` shows which there are"))
}

/// The most versions of a file that are told.
const MOST_VERSIONS: u32 = 100;

/// A file as it stands and stood, the newest version first. A version is put in force again as any file is: by `apply`.
///
/// # Errors
/// When no file of that name was ever applied, or the caller may not see policies.
pub async fn versions(store: &Store, actor: &Actor, name: &str) -> Result<Vec<PolicyVersion>, Problem> {
    authorize(actor, Action::See, &Resource::Policies)?;
    let mut tx = store.read().await?;
    let rows = policies::versions(&mut tx, name, MOST_VERSIONS).await?;
    if rows.is_empty() && name != builtin::DEFAULT.0 {
        return Err(Problem::not_found("policy file", name).hint("`postern policy list` shows which there are"));
    }
    let version = |version: i64| u64::try_from(version).unwrap_or(0);
    let shown = |row: PolicyRow| PolicyVersion {
        version: version(row.since_version),
        until_version: row.until_version.map(version),
        applied_by: row.applied_by,
        applied_at: row.applied_at,
        text: row.text,
    };
    Ok(rows.into_iter().map(shown).collect())
}

async fn all(store: &Store, actor: &Actor) -> Result<Vec<Policy>, Problem> {
    authorize(actor, Action::See, &Resource::Policies)?;
    let mut tx = store.read().await?;
    if policies::state(&mut tx).await?.version == 0 {
        let (name, text) = builtin::DEFAULT;
        let (name, text) = (name.to_owned(), Some(text.to_owned()));
        return Ok(vec![Policy { name, version: 0, applied_by: None, applied_at: None, text }]);
    }
    let shown = |row: PolicyRow| Policy {
        name: row.name,
        version: u64::try_from(row.since_version).unwrap_or(0),
        applied_by: row.applied_by,
        applied_at: Some(row.applied_at),
        text: Some(row.text),
    };
    Ok(policies::files(&mut tx).await?.into_iter().map(shown).collect())
}

/// Names and texts of the files that are in force. Where none was ever applied, those are Postern's own; where all
/// were removed there are none, and nothing is permitted.
///
/// # Errors
/// When the store fails.
pub async fn in_force(tx: &mut Tx, state: &PolicyState) -> Result<Vec<(String, String)>, StoreError> {
    if state.version == 0 {
        let (name, text) = builtin::DEFAULT;
        return Ok(vec![(name.to_owned(), text.to_owned())]);
    }
    Ok(policies::files(tx).await?.into_iter().map(|row| (row.name, row.text)).collect())
}

/// The files as they would be with these among them: each stands beside the others, or in the place of the one of its name.
/// Those that come with Postern hold only while nothing was applied.
///
/// # Errors
/// When the store fails.
pub(crate) async fn merged(
    tx: &mut Tx,
    state: &PolicyState,
    files: &[PolicyFile],
) -> Result<BTreeMap<String, String>, Problem> {
    crate::apply::policies::check_files(files, &[])?;
    let mut merged: BTreeMap<_, _> = if files.is_empty() {
        in_force(tx, state).await?.into_iter().collect()
    } else {
        policies::files(tx).await?.into_iter().map(|row| (row.name, row.text)).collect()
    };
    merged.extend(files.iter().map(|file| (file.name.clone(), file.text.clone())));
    Ok(merged)
}

/// Validates files that are to hold together.
///
/// # Errors
/// What is wrong with them.
pub(crate) async fn load(files: BTreeMap<String, String>) -> Result<Policies, Problem> {
    let files: Vec<_> = files.into_iter().collect();
    // Validating a large set takes a while: not on a thread that serves others.
    let loaded = tokio::task::spawn_blocking(move || Policies::load(&files)).await.map_err(Problem::fault)?;
    loaded.map_err(|problems| Problem::policies(&problems))
}

/// Somebody as policies know them.
pub(crate) fn principal(principal: &PrincipalRef, groups: &[String]) -> postern_policy::Principal {
    postern_policy::Principal {
        kind: match principal.kind {
            PrincipalKind::User => postern_policy::PrincipalKind::User,
            PrincipalKind::Agent => postern_policy::PrincipalKind::Agent,
        },
        name: principal.name.as_str().into(),
        groups: groups.iter().map(|group| group.as_str().into()).collect(),
    }
}
