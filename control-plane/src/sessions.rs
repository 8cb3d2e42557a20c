//! Clients' sessions, as people see and end them.

use crate::{
    audit::{self, Event},
    effects::Effect,
    grants::checked_reason,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize, is_allowed},
    store::{Store, sessions},
};
use postern_api::session::{Session, SessionFilter, SessionStatus};
use postern_proto::v1::ClientError;
use postern_types::{id::SessionId, time::Micros};
use serde_json::json;

/// The sessions that the caller may see, newest first.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, actor: &Actor, filter: SessionFilter) -> Result<Vec<Session>, Problem> {
    let mut tx = store.read().await?;
    let everybody = is_allowed(actor, Action::See, &Resource::AllGrants);
    Ok(sessions::list(&mut tx, filter, (!everybody).then_some(&actor.principal.id)).await?)
}

/// One session that the caller may see.
///
/// # Errors
/// When there is none.
pub async fn get(store: &Store, actor: &Actor, id: &SessionId) -> Result<Session, Problem> {
    let mut tx = store.read().await?;
    let session = sessions::by_id(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &resource(&session)).map_err(|_| missing(id))?;
    Ok(session)
}

/// Ends a session; its grant stays.
///
/// # Errors
/// When there is none that the caller may end.
pub async fn kill(
    store: &Store,
    actor: &Actor,
    id: &SessionId,
    reason: Option<&str>,
    now: Micros,
) -> Result<(Session, Vec<Effect>), Problem> {
    let reason = checked_reason(reason)?;
    let mut tx = store.begin().await?;
    let session = sessions::by_id(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    authorize(actor, Action::See, &resource(&session)).map_err(|_| missing(id))?;
    authorize(actor, Action::End, &resource(&session))?;
    if session.status == SessionStatus::Ended || !sessions::end(&mut tx, id, sessions::KILLED, now).await? {
        return Err(Problem::conflict("the session is over already"));
    }
    let detail = json!({
        "grant": session.grant_id, "connection": session.connection, "principal": session.principal, "reason": reason,
    });
    audit::append_control(&mut tx, Event::new(now, "session.killed", Some(&actor.principal), id.as_str(), &detail))
        .await?;
    let session = sessions::by_id(&mut tx, id).await?.ok_or_else(|| missing(id))?;
    tx.commit().await?;
    let error = ClientError {
        sqlstate: "57P01".to_owned(),
        message: format!("the session was killed by {} at {now}", actor.principal.name),
        detail: reason.unwrap_or_default().to_owned(),
        hint: "the grant is still open: connect again".to_owned(),
    };
    Ok((session, vec![Effect::EndSession(id.clone(), error)]))
}

/// For deciding who may do what to it.
pub(crate) fn resource(session: &Session) -> Resource<'_> {
    let Session { principal, on_behalf_of, connector_id, .. } = session;
    Resource::Session { principal, on_behalf_of: on_behalf_of.as_ref(), connector: connector_id }
}

fn missing(id: &SessionId) -> Problem {
    Problem::not_found("session", id.as_str()).hint("`postern sessions` lists those that you can see")
}
