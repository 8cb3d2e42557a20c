//! Enrolled connectors and gateways.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_api::fleet::{Part, PartKind};
use postern_types::time::Micros;
use std::time::Duration;

/// A control stream that has not been heard of for so long is taken for dead, whatever the row says.
pub const ATTACHMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// An identity, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRow {
    /// `con_…` or `gwy_…`.
    pub id: String,
    /// Connector or gateway.
    pub kind: PartKind,
    /// The name under which it was enrolled.
    pub name: String,
    /// When it was enrolled.
    pub enrolled_at: Micros,
    /// When its newest certificate ends.
    pub certificate_expires_at: Micros,
    /// When it was revoked.
    pub revoked_at: Option<Micros>,
    /// What it runs, as it last said.
    pub version: Option<String>,
    /// A gateway's region.
    pub region: Option<String>,
    /// A gateway's address for connectors.
    pub connector_address: Option<String>,
    /// A gateway's address for clients.
    pub client_address: Option<String>,
    /// The process of a connector that attached last.
    pub incarnation: Option<String>,
    /// When its control stream was last heard of; absent while none is up.
    pub attached_seen_at: Option<Micros>,
}

impl IdentityRow {
    /// Whether its control stream is up, at any replica.
    #[must_use]
    pub fn is_attached(&self, now: Micros) -> bool {
        self.attached_seen_at.is_some_and(|seen| seen.plus(ATTACHMENT_TIMEOUT) > now)
    }

    /// As the API shows it.
    #[must_use]
    pub fn into_part(self, now: Micros) -> Part {
        Part {
            attached: self.is_attached(now),
            seen_at: self.attached_seen_at,
            id: self.id,
            kind: self.kind,
            name: self.name,
            version: self.version,
            region: self.region,
            client_address: self.client_address,
            connector_address: self.connector_address,
            enrolled_at: self.enrolled_at,
            certificate_expires_at: Some(self.certificate_expires_at),
            revoked_at: self.revoked_at,
        }
    }
}

/// What a part says of itself when it attaches.
#[derive(Clone, Debug, Default)]
pub struct Attachment<'a> {
    /// Names the control stream.
    pub attachment: &'a str,
    /// What it runs.
    pub version: &'a str,
    /// A gateway's region.
    pub region: Option<&'a str>,
    /// A gateway's address for connectors.
    pub connector_address: Option<&'a str>,
    /// A gateway's address for clients.
    pub client_address: Option<&'a str>,
    /// A connector's process.
    pub incarnation: Option<&'a str>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, name, enrolled_at, certificate_expires_at, revoked_at, version, region, ",
            "connector_address, client_address, incarnation, ",
            "CASE WHEN attachment IS NULL THEN NULL ELSE seen_at END AS attached_seen_at FROM identities ",
            $rest
        )
    };
}

pub(super) fn parse_kind(text: &str) -> Result<PartKind, StoreError> {
    match text {
        "connector" => Ok(PartKind::Connector),
        "gateway" => Ok(PartKind::Gateway),
        other => Err(StoreError::corrupt("kind", other)),
    }
}

fn read(row: &Row) -> Result<IdentityRow, StoreError> {
    Ok(IdentityRow {
        id: row.get("id")?,
        kind: parse_kind(&row.get::<String>("kind")?)?,
        name: row.get("name")?,
        enrolled_at: row.time("enrolled_at")?,
        certificate_expires_at: row.time("certificate_expires_at")?,
        revoked_at: row.time_opt("revoked_at")?,
        version: row.get("version")?,
        region: row.get("region")?,
        connector_address: row.get("connector_address")?,
        client_address: row.get("client_address")?,
        incarnation: row.get("incarnation")?,
        attached_seen_at: row.time_opt("attached_seen_at")?,
    })
}

/// Writes a new identity.
pub async fn insert(
    tx: &mut Tx,
    id: &str,
    kind: PartKind,
    name: &str,
    now: Micros,
    certificate_expires_at: Micros,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO identities (id, kind, name, enrolled_at, certificate_expires_at) VALUES ($1, $2, $3, $4, $5)",
        values![id, kind.as_str(), name, now, certificate_expires_at],
    )
    .await?;
    Ok(())
}

/// The identity of that id.
pub async fn by_id(tx: &mut Tx, id: &str) -> Result<Option<IdentityRow>, StoreError> {
    tx.row(select!("WHERE id = $1"), values![id]).await?.as_ref().map(read).transpose()
}

/// All identities of a kind, newest first.
pub async fn list(tx: &mut Tx, kind: PartKind) -> Result<Vec<IdentityRow>, StoreError> {
    let rows = tx.rows(select!("WHERE kind = $1 ORDER BY enrolled_at DESC, id DESC"), values![kind.as_str()]).await?;
    rows.iter().map(read).collect()
}

/// The gateways that connectors should attach to: not revoked, known by an address, and with a certificate that
/// is still good, so that one that was taken down for ever is forgotten.
pub async fn reachable_gateways(tx: &mut Tx, now: Micros) -> Result<Vec<IdentityRow>, StoreError> {
    let rows = tx
        .rows(
            select!(
                "WHERE kind = 'gateway' AND revoked_at IS NULL AND connector_address IS NOT NULL \
                 AND certificate_expires_at > $1 ORDER BY id"
            ),
            values![now],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The ids of revoked identities whose certificates would still be good.
pub async fn revoked(tx: &mut Tx, now: Micros) -> Result<Vec<String>, StoreError> {
    let rows = tx
        .rows(
            "SELECT id FROM identities WHERE revoked_at IS NOT NULL AND certificate_expires_at > $1 ORDER BY id",
            values![now],
        )
        .await?;
    rows.iter().map(|row| row.get("id")).collect()
}

/// Notes a new certificate, unless the identity was revoked; tells whether it was noted.
pub async fn renewed(tx: &mut Tx, id: &str, certificate_expires_at: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE identities SET certificate_expires_at = $2 WHERE id = $1 AND revoked_at IS NULL",
            values![id, certificate_expires_at],
        )
        .await?;
    Ok(changed > 0)
}

/// Revokes an identity; false when there is none of that kind and id, or it was revoked before.
pub async fn revoke(tx: &mut Tx, kind: PartKind, id: &str, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE identities SET revoked_at = $3 WHERE kind = $1 AND id = $2 AND revoked_at IS NULL",
            values![kind.as_str(), id, now],
        )
        .await?;
    Ok(changed > 0)
}

/// Notes a control stream, unless the identity was revoked; tells whether it was noted.
pub async fn attached(tx: &mut Tx, id: &str, attachment: &Attachment<'_>, now: Micros) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE identities SET attachment = $2, version = $3, region = $4, connector_address = $5, \
             client_address = $6, incarnation = $7, seen_at = $8 WHERE id = $1 AND revoked_at IS NULL",
            values![
                id,
                attachment.attachment,
                attachment.version,
                attachment.region,
                attachment.connector_address,
                attachment.client_address,
                attachment.incarnation,
                now
            ],
        )
        .await?;
    Ok(changed > 0)
}

/// Notes that a control stream is still up.
pub async fn seen(tx: &mut Tx, id: &str, attachment: &str, now: Micros) -> Result<(), StoreError> {
    tx.execute("UPDATE identities SET seen_at = $3 WHERE id = $1 AND attachment = $2", values![id, attachment, now])
        .await?;
    Ok(())
}

/// Notes that a control stream is over, unless a newer one has taken its place.
pub async fn detached(tx: &mut Tx, id: &str, attachment: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE identities SET attachment = NULL WHERE id = $1 AND attachment = $2", values![id, attachment])
        .await?;
    Ok(())
}
