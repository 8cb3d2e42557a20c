//! Drops what a crash left: at the start, and now and then.

use super::{Maker, PREFIX, Roles, literal, unmake};
use crate::{
    session::open,
    worker::{Common, Connection},
};
use postern_dial::DialError;
use postern_proto::v1::{RoleMode, Ticket};
use std::time::Duration;
use tokio::time::sleep;

/// What a role's end did not take with it is tried again after this.
const EVERY: Duration = Duration::from_secs(60);

/// Roles of a connector that is no more are everybody's, once their grant has ended for so long.
const ABANDONED_AFTER: &str = "10 minutes";

/// What stands behind [`PREFIX`]: the connector's id and the session's, without their kinds.
const NAME: &str = "[0-9a-z]{26}_[0-9a-z]{26}";

/// Reaps until it is told to stop.
pub async fn forever(common: Common) {
    loop {
        let ephemeral = |(name, connection): (&String, &Connection)| connection.ephemeral.then(|| name.clone());
        let names: Vec<_> = common.connections.load().iter().filter_map(ephemeral).collect();
        for name in names {
            reap(&common, &name).await;
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = common.roles.shared.look.notified() => {}
            () = common.stop.cancelled() => return,
        }
    }
}

async fn reap(common: &Common, connection: &str) {
    let ticket =
        Ticket { connection: connection.to_owned(), role_mode: RoleMode::Ephemeral.into(), ..Ticket::default() };
    // Why there is none is told to who wants a session.
    let Ok(login) = open::target(common, &ticket).await else { return };
    let maker = Maker { connection: connection.to_owned(), login };
    if let Err(error) = left_over(&common.roles, &maker).await {
        tracing::warn!(%error, connection, "it cannot be seen which ephemeral roles are left over");
    }
}

async fn left_over(roles: &Roles, maker: &Maker) -> Result<(), DialError> {
    let mut tool = roles.shared.workshops.tool(maker).await?;
    if tool.is_standby() {
        return Ok(());
    }
    let sql = format!(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^{PREFIX}{NAME}$' AND (starts_with(rolname::text, {}) \
         OR rolvaliduntil < now() - interval '{ABANDONED_AFTER}')",
        literal(&roles.shared.prefix)
    );
    for name in tool.ask(&sql).await?.into_iter().flatten().flatten() {
        if roles.shared.live.lock().contains(&name) {
            continue;
        }
        match unmake::with(&mut tool, &name).await {
            Ok(()) => tracing::info!(role = name, "an ephemeral role that was left over is dropped"),
            Err(error) => tracing::warn!(%error, role = name, "an ephemeral role that is left over cannot be dropped"),
        }
    }
    Ok(())
}
