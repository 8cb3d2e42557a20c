//! Tokens that the user who answers for an agent has made for it. They are good for what both may ask for, at any moment, and
//! only while that user is one who may.

use super::{
    Actor,
    tokens::{MAX_PLACES, actor},
};
use crate::{
    problem::{Problem, shorten},
    rights::{self, Action, is_allowed},
    store::{StoreError, Tx, connections, principals, stops, tokens},
};
use postern_api::identity::{PrincipalRef, Token};

/// What such a token is made for: what the owner wants of what both may ask for, or all of that.
///
/// # Errors
/// When they want more, or there is nothing.
pub(super) async fn may(
    tx: &mut Tx,
    owner: &Actor,
    agent: &PrincipalRef,
    wanted: Option<&[String]>,
) -> Result<Vec<String>, Problem> {
    let Some(agent) = actor(tx, agent).await? else {
        return Err(Problem::conflict(format!("agent {} is disabled", agent.name)));
    };
    let both = askable(tx, [owner, &agent]).await?;
    let named = |what: String| {
        Problem::forbidden(what)
            .hint("a token for an agent of yours is for what both you and it may ask for: `postern connections`")
    };
    let more = wanted.and_then(|wanted| wanted.iter().find(|place| !both.contains(place)));
    match (more, wanted) {
        (Some(place), _) => {
            Err(named(format!("you and agent {} may not both ask for `{}`", agent.principal.name, shorten(place))))
        }
        (None, Some(wanted)) => Ok(wanted.to_vec()),
        (None, None) if both.is_empty() => {
            Err(named(format!("there is nothing that both you and agent {} may ask for", agent.principal.name)))
        }
        (None, None) if both.len() > MAX_PLACES => {
            Err(Problem::invalid("may", format!("name at most {MAX_PLACES} of the {} access roles", both.len())))
        }
        (None, None) => Ok(both),
    }
}

/// What a token is narrowed to at this moment; none: it is good for nothing any more.
pub(super) async fn may_now(
    tx: &mut Tx,
    token: &Token,
    agent: &Actor,
) -> Result<Option<Option<Vec<String>>>, StoreError> {
    let Some(maker) = tokens::made_by(tx, &token.id).await? else { return Ok(Some(token.may.clone())) };
    if principals::owner_of(tx, &agent.principal.id).await?.as_ref() != Some(&maker)
        || stops::of(tx, &maker).await?.is_some()
    {
        return Ok(None);
    }
    let row = principals::by_id(tx, &maker).await?;
    let owner = match row {
        Some(row) => actor(tx, &row.principal).await?,
        None => None,
    };
    let Some(owner) = owner else { return Ok(None) };
    let both = askable(tx, [&owner, agent]).await?;
    let made_for = token.may.iter().flatten();
    Ok(Some(Some(made_for.filter(|place| both.contains(place)).cloned().collect())))
}

/// What both may ask for, as `connection/role`.
async fn askable(tx: &mut Tx, both: [&Actor; 2]) -> Result<Vec<String>, StoreError> {
    let mut places = Vec::new();
    for row in connections::list(tx).await? {
        let roles = row.document.roles.iter();
        let may =
            roles.filter(|(_, role)| both.iter().all(|who| is_allowed(*who, Action::Create, &rights::role(role))));
        places.extend(may.map(|(name, _)| format!("{}/{name}", row.document.name)));
    }
    Ok(places)
}
