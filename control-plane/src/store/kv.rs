//! Secrets of the control plane, sealed, each under its name.

use super::{Store, StoreError};
use crate::{
    seal::{SealError, Sealer},
    values,
};
use postern_types::time::Micros;
use zeroize::Zeroizing;

/// The value of that name; made and kept first where there is none. Replicas that start together agree on one.
pub async fn get_or_create<E: From<StoreError> + From<SealError>>(
    store: &Store,
    sealer: &Sealer,
    name: &str,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, E>,
) -> Result<Zeroizing<Vec<u8>>, E> {
    if let Some(sealed) = get(store, name).await? {
        return Ok(sealer.open(name, &sealed)?);
    }
    let sealed = sealer.seal(name, &make()?)?;
    let mut tx = store.begin().await?;
    tx.execute(
        "INSERT INTO sealed_values (name, value, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        values![name, sealed, Micros::now()],
    )
    .await?;
    tx.commit().await?;
    let kept = get(store, name).await?.ok_or_else(|| StoreError::corrupt("sealed value", "it is gone"))?;
    Ok(sealer.open(name, &kept)?)
}

async fn get(store: &Store, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut tx = store.read().await?;
    let row = tx.row("SELECT value FROM sealed_values WHERE name = $1", values![name]).await?;
    row.map(|row| row.get("value")).transpose()
}
