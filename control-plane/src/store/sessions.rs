//! Clients' sessions.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::{
    event::Subject,
    identity::PrincipalRef,
    session::{Session, SessionFilter, SessionStatus},
};
use postern_types::{
    id::{GrantId, PrincipalId, SessionId},
    time::Micros,
};

/// The most sessions that are listed.
const MAX_LISTED: i64 = 1000;

/// Why a session ended that somebody ended.
pub const KILLED: &str = "killed";

/// A session that is to be opened.
#[derive(Clone, Debug)]
pub struct NewSession<'a> {
    /// Its id.
    pub id: &'a SessionId,
    /// Under which grant.
    pub grant_id: &'a GrantId,
    /// Who.
    pub principal_id: &'a PrincipalId,
    /// For whom.
    pub on_behalf_of_id: Option<&'a PrincipalId>,
    /// The connection's name.
    pub connection: &'a str,
    /// The access role's name.
    pub role: &'a str,
    /// From where.
    pub client_address: &'a str,
    /// Through which gateway.
    pub gateway_id: &'a str,
    /// Through which connector.
    pub connector_id: &'a str,
    /// Which process of it.
    pub incarnation: &'a str,
    /// How the client proved itself.
    pub auth_method: &'a str,
}

/// A session that is not over, as a connector's word is compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// Under which grant.
    pub grant_id: GrantId,
    /// The connector's process in which it lives.
    pub incarnation: String,
    /// Whether it was opened: otherwise its ticket may still be under way.
    pub active: bool,
    /// When it was authorized.
    pub started_at: Micros,
    /// When the grant ends by itself.
    pub grant_ends_at: Micros,
    /// When the grant ended, by expiry or revocation.
    pub grant_ended_at: Option<Micros>,
    /// When the grant was revoked.
    pub grant_revoked_at: Option<Micros>,
    /// Whether the grant ends later than the session's ticket may say.
    pub grant_extended: bool,
}

impl OpenSession {
    /// Whether its grant is over.
    #[must_use]
    pub fn grant_is_over(&self, now: Micros) -> bool {
        self.grant_ended_at.is_some() || self.grant_revoked_at.is_some() || self.grant_ends_at <= now
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.grant_id, s.connection, s.access_role, s.database_role, s.client_address, s.gateway_id, ",
            "s.connector_id, s.backend_pid, s.application_name, s.auth_method, s.status, s.started_at, s.ended_at, ",
            "s.end_reason, p.id AS p_id, p.kind AS p_kind, p.name AS p_name, ",
            "o.id AS o_id, o.kind AS o_kind, o.name AS o_name FROM sessions s ",
            "JOIN principals p ON p.id = s.principal_id LEFT JOIN principals o ON o.id = s.on_behalf_of_id ",
            $rest
        )
    };
}

macro_rules! select_open {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.grant_id, s.incarnation, s.status, s.started_at, g.ends_at, g.ended_at, ",
            "g.revoked_at, g.extended ",
            "FROM sessions s JOIN grants g ON g.id = s.grant_id ",
            $rest
        )
    };
}

fn read_open(row: &Row) -> Result<OpenSession, StoreError> {
    Ok(OpenSession {
        id: row.parse("id")?,
        grant_id: row.parse("grant_id")?,
        incarnation: row.get("incarnation")?,
        active: parse_status(&row.get::<String>("status")?)? == SessionStatus::Active,
        started_at: row.time("started_at")?,
        grant_ends_at: row.time("ends_at")?,
        grant_ended_at: row.time_opt("ended_at")?,
        grant_revoked_at: row.time_opt("revoked_at")?,
        grant_extended: row.get("extended")?,
    })
}

fn parse_status(text: &str) -> Result<SessionStatus, StoreError> {
    match text {
        "authorized" => Ok(SessionStatus::Authorized),
        "active" => Ok(SessionStatus::Active),
        "ended" => Ok(SessionStatus::Ended),
        other => Err(StoreError::corrupt("status", other)),
    }
}

fn read(row: &Row) -> Result<Session, StoreError> {
    let on_behalf_of = match row.parse_opt("o_id")? {
        Some(id) => Some(PrincipalRef { id, kind: row.parse("o_kind")?, name: row.get("o_name")? }),
        None => None,
    };
    let backend_pid = row.get::<Option<i64>>("backend_pid")?;
    Ok(Session {
        id: row.parse("id")?,
        status: parse_status(&row.get::<String>("status")?)?,
        grant_id: row.parse("grant_id")?,
        principal: PrincipalRef { kind: row.parse("p_kind")?, id: row.parse("p_id")?, name: row.get("p_name")? },
        on_behalf_of,
        connection: row.get("connection")?,
        role: row.get("access_role")?,
        database_role: row.get("database_role")?,
        client_address: row.get("client_address")?,
        gateway_id: row.get("gateway_id")?,
        connector_id: row.get("connector_id")?,
        backend_pid: backend_pid
            .map(i32::try_from)
            .transpose()
            .map_err(|error| StoreError::corrupt("backend_pid", error))?,
        application_name: row.get("application_name")?,
        auth_method: row.get("auth_method")?,
        started_at: row.time("started_at")?,
        ended_at: row.time_opt("ended_at")?,
        end_reason: row.get("end_reason")?,
    })
}

/// Writes a session, if its grant is open and its principal enabled at this moment; tells whether it was
/// written. What ends a grant does so before it looks for sessions, so that none escapes.
pub async fn authorize(tx: &mut Tx, session: &NewSession<'_>, now: Micros) -> Result<bool, StoreError> {
    let written = tx
        .execute(
            "INSERT INTO sessions (id, grant_id, principal_id, on_behalf_of_id, connection, access_role, \
             client_address, gateway_id, connector_id, incarnation, auth_method, status, started_at) \
             SELECT $1, g.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'authorized', $12 \
             FROM grants g JOIN principals p ON p.id = g.principal_id \
             WHERE g.id = $2 AND g.revoked_at IS NULL AND g.ended_at IS NULL AND g.ends_at > $12 AND NOT p.disabled",
            values![
                session.id,
                session.grant_id,
                session.principal_id,
                session.on_behalf_of_id,
                session.connection,
                session.role,
                session.client_address,
                session.gateway_id,
                session.connector_id,
                session.incarnation,
                session.auth_method,
                now
            ],
        )
        .await?;
    Ok(noted(tx, session.id, written))
}

/// Notes a session of which something was written; tells whether anything was.
fn noted(tx: &mut Tx, id: &SessionId, written: u64) -> bool {
    if written > 0 {
        tx.note(Subject::Session, id.as_str());
    }
    written > 0
}

/// Notes what the database said of a session when it opened. A session that was ended meanwhile stays so.
pub async fn opened(
    tx: &mut Tx,
    id: &SessionId,
    connector_id: &str,
    backend_pid: i32,
    database_role: &str,
    application_name: &str,
) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE sessions SET status = 'active', backend_pid = $3, database_role = $4, application_name = $5 \
             WHERE id = $1 AND connector_id = $2 AND status <> 'ended'",
            values![id, connector_id, backend_pid, database_role, application_name],
        )
        .await?;
    Ok(noted(tx, id, changed))
}

/// Notes that a session is open whose opening was not heard of. A session that was ended meanwhile stays so.
pub async fn found_open(tx: &mut Tx, id: &SessionId) -> Result<(), StoreError> {
    let sql = "UPDATE sessions SET status = 'active' WHERE id = $1 AND status = 'authorized'";
    let written = tx.execute(sql, values![id]).await?;
    noted(tx, id, written);
    Ok(())
}

/// Ends a session with a reason in a word; false when there is none of that id or it was ended before: the first
/// reason counts.
pub async fn end(tx: &mut Tx, id: &SessionId, reason: &str, at: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE sessions SET status = 'ended', ended_at = $3, end_reason = $2 WHERE id = $1 AND status <> 'ended'",
            values![id, reason, at],
        )
        .await?;
    Ok(noted(tx, id, changed))
}

/// Ends a session on a connector's word, which counts only for its own.
pub async fn closed(
    tx: &mut Tx,
    id: &SessionId,
    connector_id: &str,
    reason: &str,
    at: Micros,
) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE sessions SET status = 'ended', ended_at = $4, end_reason = $3 \
             WHERE id = $1 AND connector_id = $2 AND status <> 'ended'",
            values![id, connector_id, reason, at],
        )
        .await?;
    Ok(noted(tx, id, changed))
}

/// The session of that id.
pub async fn by_id(tx: &mut Tx, id: &SessionId) -> Result<Option<Session>, StoreError> {
    tx.row(select!("WHERE s.id = $1"), values![id]).await?.as_ref().map(read).transpose()
}

/// Sessions, newest first: everybody's, or those of one principal and for it.
pub async fn list(tx: &mut Tx, filter: SessionFilter, of: Option<&PrincipalId>) -> Result<Vec<Session>, StoreError> {
    let (open, ended) = match filter {
        SessionFilter::Active => (true, false),
        SessionFilter::Ended => (false, true),
        SessionFilter::All => (true, true),
    };
    let rows = tx
        .rows(
            select!(
                "WHERE ((s.status <> 'ended' AND $1) OR (s.status = 'ended' AND $2)) \
                 AND ($3 IS NULL OR s.principal_id = $3 OR s.on_behalf_of_id = $3) \
                 ORDER BY s.started_at DESC, s.id DESC LIMIT $4"
            ),
            values![open, ended, of, MAX_LISTED],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Of these ids, those of sessions that were ever authorized for the connector of that identity. Identities of one
/// name count as one connector: one that enrolled again delivers what its predecessor recorded.
pub async fn known_at(tx: &mut Tx, connector_id: &str, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    macro_rules! select_known {
        ($ids:literal) => {
            concat!(
                "SELECT s.id FROM sessions s JOIN identities at ON at.id = s.connector_id ",
                "JOIN identities me ON me.kind = at.kind AND me.name = at.name ",
                "WHERE me.id = $1 AND me.kind = 'connector' AND s.id IN (",
                $ids,
                ")"
            )
        };
    }
    let sql = if tx.is_postgres() {
        select_known!("SELECT json_array_elements_text($2::json)")
    } else {
        select_known!("SELECT value FROM json_each($2)")
    };
    let rows = tx.rows(sql, values![connector_id, list_of(ids)?]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Of these ids, those of sessions that are over.
pub async fn ended(tx: &mut Tx, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    macro_rules! select_ended {
        ($ids:literal) => {
            concat!("SELECT id FROM sessions WHERE status = 'ended' AND id IN (", $ids, ")")
        };
    }
    let sql = if tx.is_postgres() {
        select_ended!("SELECT json_array_elements_text($1::json)")
    } else {
        select_ended!("SELECT value FROM json_each($1)")
    };
    let rows = tx.rows(sql, values![list_of(ids)?]).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// One parameter for any number of ids.
fn list_of(ids: &[&str]) -> Result<String, StoreError> {
    serde_json::to_string(ids).map_err(|error| StoreError::corrupt("session", error))
}

/// The sessions of a connector that are not over.
pub async fn open_of_connector(tx: &mut Tx, connector_id: &str) -> Result<Vec<OpenSession>, StoreError> {
    let rows = tx
        .rows(select_open!("WHERE s.connector_id = $1 AND s.status <> 'ended' ORDER BY s.id"), values![connector_id])
        .await?;
    rows.iter().map(read_open).collect()
}

/// The session of that id, if it is not over.
pub async fn open_session(tx: &mut Tx, id: &SessionId) -> Result<Option<OpenSession>, StoreError> {
    let row = tx.row(select_open!("WHERE s.id = $1 AND s.status <> 'ended'"), values![id]).await?;
    row.as_ref().map(read_open).transpose()
}

/// Sessions that were authorized before then and are not open still, and those whose grant ended before then,
/// each with the reason in a word. At most 100.
pub async fn forgotten(tx: &mut Tx, before: Micros) -> Result<Vec<(SessionId, &'static str)>, StoreError> {
    let rows = tx
        .rows(
            "SELECT s.id, CASE WHEN g.revoked_at IS NOT NULL THEN 'revoked' WHEN g.ends_at < $1 THEN 'expired' \
             ELSE 'unopened' END AS reason FROM sessions s JOIN grants g ON g.id = s.grant_id \
             WHERE s.status <> 'ended' AND (g.ends_at < $1 OR g.ended_at < $1 OR g.revoked_at < $1 \
             OR (s.status = 'authorized' AND s.started_at < $1)) ORDER BY s.id LIMIT 100",
            values![before],
        )
        .await?;
    let forgotten = |row: &Row| {
        let reason = match row.get::<String>("reason")?.as_str() {
            "revoked" => "revoked",
            "expired" => "expired",
            _ => "unopened",
        };
        Ok((row.parse("id")?, reason))
    };
    rows.iter().map(forgotten).collect()
}
