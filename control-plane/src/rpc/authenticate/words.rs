//! What a client reads that gets no session.

use crate::{
    grants::{LoginGrant, ask_again},
    identity::scram::ScramError,
    problem::shorten,
};
use bytes::Bytes;
use postern_api::access::GrantStatus;
use postern_proto::v1::{AuthBegin, AuthRefused, ClientError};
use postern_types::time::Micros;

pub(super) fn malformed(error: &ScramError) -> AuthRefused {
    let sqlstate = match error {
        ScramError::Negotiation | ScramError::ChannelBinding => "28000",
        _ => "08P01",
    };
    let hint = match error {
        ScramError::ChannelBinding | ScramError::Negotiation => {
            "something between client and gateway ends TLS; connect to the gateway directly"
        }
        _ => "use a driver that speaks SCRAM-SHA-256",
    };
    let error = ClientError {
        sqlstate: sqlstate.to_owned(),
        message: error.to_string(),
        detail: String::new(),
        hint: hint.to_owned(),
    };
    AuthRefused { error: Some(error), server_final: Bytes::new() }
}

/// What stands in the way of a session, whoever serves the connection.
pub(super) fn obstacle(begin: &AuthBegin, login: &LoginGrant, now: Micros) -> Option<ClientError> {
    if login.principal_disabled {
        return Some(ClientError {
            sqlstate: "28000".to_owned(),
            message: format!(
                "the {} {} is disabled or stopped, or the user for whom it acts",
                login.principal.kind, login.principal.name
            ),
            detail: String::new(),
            hint: "ask an admin".to_owned(),
        });
    }
    match login.status {
        GrantStatus::Revoked => {
            let at = login.revoked_at.map(|at| format!(" at {at}")).unwrap_or_default();
            return Some(over(login, format!("the grant was revoked{at}")));
        }
        GrantStatus::Expired => return Some(over(login, format!("the grant expired at {}", login.ends_at))),
        GrantStatus::Open if login.ends_at <= now => {
            return Some(over(login, format!("the grant expired at {}", login.ends_at)));
        }
        GrantStatus::Open if login.starts_at > now => {
            return Some(over(login, format!("the grant begins at {}", login.starts_at)));
        }
        GrantStatus::Open => {}
    }
    let database = begin.database.as_str();
    let name = login.connection.name();
    // Drivers that are given no database ask for the one that is called as the user.
    let is_default = database.is_empty() || database == begin.user;
    if is_default || database == name || database == login.connection.database_name() {
        return None;
    }
    Some(ClientError {
        sqlstate: "3D000".to_owned(),
        message: format!("database \"{}\" does not exist for this grant", shorten(database)),
        detail: format!("The grant is for the connection `{name}`."),
        hint: format!("connect to `{name}`; `postern connections` lists what you can ask for"),
    })
}

pub(super) fn over(login: &LoginGrant, message: String) -> ClientError {
    ClientError {
        sqlstate: "28000".to_owned(),
        message,
        detail: String::new(),
        hint: ask_again(login.connection.name(), &login.role_name),
    }
}

/// The proof was right; who has the secret is not where they have to be.
pub(super) fn elsewhere(login: &LoginGrant) -> ClientError {
    ClientError {
        sqlstate: "28000".to_owned(),
        message: "the grant is bound to another client's address".to_owned(),
        detail: String::new(),
        hint: format!(
            "connect from there; if its secret may have leaked, `postern revoke {}`; from here, {}",
            login.grant_id,
            ask_again(login.connection.name(), &login.role_name)
        ),
    }
}

pub(super) fn too_many(login: &LoginGrant, most: u32) -> ClientError {
    ClientError {
        sqlstate: "53300".to_owned(),
        message: format!("the grant's budget is {most} sessions at once, and there are as many"),
        detail: String::new(),
        hint: format!(
            "end one of them (`postern sessions`), or {}",
            ask_again(login.connection.name(), &login.role_name)
        ),
    }
}

pub(super) fn no_connector(login: &LoginGrant) -> ClientError {
    ClientError {
        sqlstate: "08006".to_owned(),
        message: format!(
            "no connector serves the connection `{}` through this gateway at the moment",
            login.connection.name()
        ),
        detail: "The hop from the gateway to the connector is missing.".to_owned(),
        hint: format!(
            "try again in a moment; an admin sees with `postern connections` whether the connector `{}` is attached",
            login.connection.document.connector
        ),
    }
}
