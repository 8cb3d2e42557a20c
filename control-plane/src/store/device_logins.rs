//! Command lines that wait to be signed in (RFC 8628), by the fingerprint of their device code.

use super::{Row, StoreError, Tx};
use crate::values;
use postern_types::{id::SignInId, time::Micros};

/// The most that wait: anybody can ask, and nobody fills the database by that.
const MOST: i64 = 1000;

/// A command line that waits.
#[derive(Clone, Debug)]
pub struct DeviceLoginRow {
    /// Of its device code.
    pub fingerprint: String,
    /// What people compare.
    pub user_code: String,
    /// When it asked.
    pub created_at: Micros,
    /// When it is over.
    pub expires_at: Micros,
    /// How long it has to wait between two calls, in seconds.
    pub interval_seconds: i64,
    /// When it last called.
    pub polled_at: Option<Micros>,
    /// Whether somebody said no.
    pub denied: bool,
    /// By whose sign-in somebody said yes.
    pub sign_in: Option<SignInId>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT fingerprint, user_code, created_at, expires_at, interval_seconds, polled_at, denied, sign_in ",
            "FROM device_logins ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<DeviceLoginRow, StoreError> {
    Ok(DeviceLoginRow {
        fingerprint: row.get("fingerprint")?,
        user_code: row.get("user_code")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        interval_seconds: row.get("interval_seconds")?,
        polled_at: row.time_opt("polled_at")?,
        denied: row.get("denied")?,
        sign_in: row.parse_opt("sign_in")?,
    })
}

/// Writes a new one; false when too many wait.
pub async fn insert(tx: &mut Tx, row: &DeviceLoginRow, forget_before: Micros) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM device_logins WHERE expires_at <= $1", values![forget_before]).await?;
    let kept = tx.row("SELECT COUNT(*) AS kept FROM device_logins", []).await?;
    if kept.map(|row| row.get::<i64>("kept")).transpose()?.unwrap_or(0) >= MOST {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO device_logins (fingerprint, user_code, created_at, expires_at, interval_seconds, denied) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        values![&row.fingerprint, &row.user_code, row.created_at, row.expires_at, row.interval_seconds, row.denied],
    )
    .await?;
    Ok(true)
}

/// The one of that device code.
pub async fn by_fingerprint(tx: &mut Tx, fingerprint: &str) -> Result<Option<DeviceLoginRow>, StoreError> {
    tx.row(select!("WHERE fingerprint = $1"), values![fingerprint]).await?.as_ref().map(read).transpose()
}

/// The one that shows this code, while nobody has answered.
pub async fn waiting(tx: &mut Tx, user_code: &str, now: Micros) -> Result<Option<DeviceLoginRow>, StoreError> {
    let row = tx
        .row(
            select!("WHERE user_code = $1 AND expires_at > $2 AND sign_in IS NULL AND denied = $3"),
            values![user_code, now, false],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Notes a call, and how long it has to wait from now on.
pub async fn polled(tx: &mut Tx, fingerprint: &str, interval_seconds: i64, now: Micros) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE device_logins SET polled_at = $2, interval_seconds = $3 WHERE fingerprint = $1",
        values![fingerprint, now, interval_seconds],
    )
    .await?;
    Ok(())
}

/// Notes an answer: by whose sign-in yes, or no. False when there was one already.
pub async fn answer(tx: &mut Tx, fingerprint: &str, sign_in: Option<&SignInId>) -> Result<bool, StoreError> {
    let changed = tx
        .execute(
            "UPDATE device_logins SET sign_in = $2, denied = $3 WHERE fingerprint = $1 AND sign_in IS NULL AND denied = $4",
            values![fingerprint, sign_in, sign_in.is_none(), false],
        )
        .await?;
    Ok(changed > 0)
}

/// Removes one; false when it was not there.
pub async fn remove(tx: &mut Tx, fingerprint: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM device_logins WHERE fingerprint = $1", values![fingerprint]).await? > 0)
}
