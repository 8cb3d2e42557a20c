//! With which grant somebody connects who comes with a token in the place of a grant's secret.
//!
//! They name the connection as the database and the access role as the user. Their newest open grant of it is used; where
//! there is none and a rule would give one at once, it does.

use crate::{
    Core,
    grants::{self, LoginGrant, ask_again},
    identity::Actor,
    problem::{Problem, shorten},
    requests::{self, AtOnce, Need},
    rights::{Action, is_allowed},
    store::{StoreError, access},
};
use postern_api::access::GrantStatus;
use postern_proto::v1::ClientError;
use postern_types::{
    id::{CredentialId, GrantId},
    time::Micros,
};
use std::net::IpAddr;

/// What is recorded as the reason of a grant that a rule gives to whoever connects.
const REASON: &str = "a session by a token";

/// What a client names when it connects.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The startup packet's `user`.
    pub user: &'a str,
    /// Its `database`; empty when absent.
    pub database: &'a str,
    /// From where it comes.
    pub client: IpAddr,
}

/// The grant, or why there is none.
///
/// # Errors
/// When the store fails.
pub async fn grant(
    core: &Core,
    actor: &Actor,
    named: Named<'_>,
    now: Micros,
) -> Result<Result<LoginGrant, ClientError>, StoreError> {
    if named.user.parse::<CredentialId>().is_ok() {
        let message = "a token does not go with the id of one of a grant's secrets";
        return Ok(Err(refusal(message.to_owned(), String::new(), how_to_connect())));
    }
    let found = match named.user.parse::<GrantId>() {
        Ok(id) => own(core, actor, &id).await?,
        Err(_) => match newest(core, actor, named, now).await? {
            Some(id) => Some(id),
            None => match at_once(core, actor, named, now).await? {
                Ok(id) => Some(id),
                Err(error) => return Ok(Err(error)),
            },
        },
    };
    let login = match found {
        Some(id) => grants::login_without_secret(&core.store, &id, now).await?,
        None => None,
    };
    Ok(login.ok_or_else(|| {
        let message = format!("there is no grant \"{}\" of the token's principal", shorten(named.user));
        refusal(message, String::new(), how_to_connect())
    }))
}

/// The grant of that id, if it is one that the token is good for.
async fn own(core: &Core, actor: &Actor, id: &GrantId) -> Result<Option<GrantId>, StoreError> {
    let mut tx = core.store.read().await?;
    let grant = access::grant(&mut tx, id).await?;
    let fits = |grant: &access::GrantRow| {
        is_allowed(actor, Action::Claim, &grant.resource())
            && actor.reaches(&grant.connection, &grant.role)
            && actor.may_use(grant)
    };
    Ok(grant.filter(fits).map(|grant| grant.id))
}

/// The newest open grant for what is named, as `postern url` takes it.
async fn newest(core: &Core, actor: &Actor, named: Named<'_>, now: Micros) -> Result<Option<GrantId>, StoreError> {
    if !actor.reaches(named.database, named.user) {
        return Ok(None);
    }
    let mut tx = core.store.read().await?;
    let open = access::open_grants_for(&mut tx, &actor.principal.id, named.database, named.user, now).await?;
    let open = open.into_iter().filter(|grant| grant.status(now) == GrantStatus::Open && actor.may_use(grant));
    Ok(open.max_by(|one, other| one.starts_at.cmp(&other.starts_at)).map(|grant| grant.id))
}

/// A grant that a rule gives.
async fn at_once(
    core: &Core,
    actor: &Actor,
    named: Named<'_>,
    now: Micros,
) -> Result<Result<GrantId, ClientError>, StoreError> {
    let Named { user: role, database: connection, client } = named;
    let who = &actor.principal;
    if connection.is_empty() || connection == role {
        let message = "with a token, the database is the connection's name and the user is the access role's";
        return Ok(Err(refusal(message.to_owned(), String::new(), how_to_connect())));
    }
    let client = (!client.is_unspecified()).then_some(client);
    let need = Need { connection, role, client, reason: REASON };
    match requests::at_once(&core.store, actor, need, core.config.request_lifetime, now).await {
        Ok(AtOnce::Granted(id)) => Ok(Ok(id)),
        Ok(AtOnce::Asks(rule)) => {
            let message = format!("{} {} has no open grant for `{role}` of `{connection}`", who.kind, who.name);
            Ok(Err(refusal(message, format!("There is none at once: {rule}."), ask_again(connection, role))))
        }
        Err(Problem::Fault(cause)) => Err(StoreError::corrupt("request", cause)),
        Err(Problem::Told(error)) => {
            let message = format!("{} {} gets no session: {}", who.kind, who.name, error.message);
            let hint = error.hint.unwrap_or_else(how_to_connect);
            Ok(Err(refusal(message, error.detail.unwrap_or_default(), hint)))
        }
    }
}

fn how_to_connect() -> String {
    "connect to the connection's name as an access role's name: `postern connections` lists what you can ask for, \
     `postern whoami --on CONNECTION` tells how"
        .to_owned()
}

fn refusal(message: String, detail: String, hint: String) -> ClientError {
    ClientError { sqlstate: "28000".to_owned(), message, detail, hint }
}
