//! Drops a role, once nothing is left of its session.

use super::{
    Roles, identifier, literal,
    make::FOR,
    shield,
    workshop::{Maker, Tool},
};
use postern_dial::DialError;
use std::{io, time::Duration};
use tokio::time::{Instant, sleep};

/// A session that has just ended is gone by then; what is not is ended.
const GRACE: Duration = Duration::from_millis(300);

/// What was ended is gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(20);

/// Drops one role of this connector's.
pub(super) async fn one(roles: &Roles, maker: &Maker, name: &str) -> Result<(), DialError> {
    let mut tool = roles.shared.workshops.tool(maker).await?;
    with(&mut tool, name).await
}

/// The same, with a connection at hand.
pub(super) async fn with(tool: &mut Tool, name: &str) -> Result<(), DialError> {
    let known = format!("SELECT FROM pg_roles WHERE rolname = {}", literal(name));
    if tool.ask(&known).await?.is_empty() {
        return Ok(());
    }
    end(tool, name).await?;
    let role = identifier(name);
    let hand_on = match heir(tool, name).await? {
        Some(Heir { name: heir, is_joined }) => {
            let (heir, lock, as_role) = (identifier(&heir), shield::alone(), as_role(name));
            let (reassign, drop) = (format!("REASSIGN OWNED BY {role} TO {heir}"), format!("DROP OWNED BY {role}"));
            if is_joined {
                format!("{lock}; {as_role}; {reassign}; {drop}; RESET ROLE; ")
            } else {
                // What it was given itself, the login that makes roles takes from it.
                format!("{lock}; GRANT {heir} TO {role}; {as_role}; {reassign}; RESET ROLE; {drop}; ")
            }
        }
        // The mapped role is gone, and nobody is there to own what this one may own: then it cannot be dropped.
        None => String::new(),
    };
    let sql = format!("{hand_on}DROP ROLE IF EXISTS {role}");
    tool.change(&sql, &sql).await
}

/// To whom what a role owns is handed on.
struct Heir {
    name: String,
    /// Whether the role has its rights already.
    is_joined: bool,
}

/// The mapped role, which the role's comment says; without one, that of which it is a member.
async fn heir(tool: &mut Tool, name: &str) -> Result<Option<Heir>, DialError> {
    let said = format!("mapped.rolname = substring(shobj_description(own.oid, 'pg_authid') from '{FOR}(.*)$')");
    let sql = format!(
        "SELECT mapped.rolname, pg_has_role(own.oid, mapped.oid, 'USAGE') FROM pg_roles own JOIN pg_roles mapped ON {said} \
         OR EXISTS (SELECT FROM pg_auth_members WHERE member = own.oid AND roleid = mapped.oid) WHERE own.rolname = {} \
         ORDER BY ({said}) IS TRUE DESC LIMIT 1",
        literal(name)
    );
    let mut fields = tool.ask(&sql).await?.into_iter().flatten().flatten();
    let Some(name) = fields.next() else { return Ok(None) };
    Ok(Some(Heir { name, is_joined: fields.next().is_some_and(|joined| joined == "t") }))
}

/// Makes what follows in the transaction the role's own doing: as a member of the mapped role it may hand on to it what it
/// owns, and end its own session, none of which the login that makes roles could do by itself.
fn as_role(name: &str) -> String {
    let role = identifier(name);
    format!("GRANT {role} TO CURRENT_USER; SET LOCAL ROLE {role}")
}

/// Waits until the role's session is gone, and ends it if it is not.
async fn end(tool: &mut Tool, name: &str) -> Result<(), DialError> {
    let (alive, since) = (format!("FROM pg_stat_activity WHERE usename = {}", literal(name)), Instant::now());
    let mut ended = false;
    while !tool.ask(&format!("SELECT pid {alive}")).await?.is_empty() {
        if since.elapsed() > GONE_WITHIN {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its session does not end").into());
        }
        if !ended && since.elapsed() > GRACE {
            let sql = format!("{}; SELECT pg_terminate_backend(pid) {alive}", as_role(name));
            tool.change(&sql, &sql).await?;
            ended = true;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
