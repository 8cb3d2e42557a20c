//! The control plane's REST API, as whoever the tools act for: what they may do is decided there, and at each call.

use crate::Refusal;
use postern_api::access::Credential;
use postern_dial::OwnCertificate;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::PathBuf;

/// The REST API, with the caller's own token.
pub trait Plane: Send + Sync + 'static {
    /// Reads what is at this path, below the API's prefix.
    fn get(&self, path: &str, query: &[(&str, &str)]) -> impl Future<Output = Result<Value, Refusal>> + Send;

    /// Makes or does something.
    fn post(&self, path: &str, body: &Value) -> impl Future<Output = Result<Value, Refusal>> + Send;

    /// The file with the root by which the gateway's certificate is known, where it is not a public one.
    ///
    /// # Errors
    /// When there should be one, and it cannot be had.
    fn root_certificate(&self, credential: &Credential) -> Result<Option<PathBuf>, Refusal>;

    /// The caller's certificate that the gateway is shown, where its key is at hand.
    ///
    /// # Errors
    /// When half of it is there.
    fn own_certificate(&self) -> Result<Option<OwnCertificate>, Refusal> {
        Ok(None)
    }
}

/// Reads a resource.
pub(crate) async fn get<T: DeserializeOwned>(
    plane: &impl Plane,
    path: &str,
    query: &[(&str, &str)],
) -> Result<T, Refusal> {
    read(plane.get(path, query).await?)
}

/// Makes or does something.
pub(crate) async fn post<T: DeserializeOwned>(
    plane: &impl Plane,
    path: &str,
    body: &impl Serialize,
) -> Result<T, Refusal> {
    let body = serde_json::to_value(body).map_err(|error| Refusal::internal(&error))?;
    read(plane.post(path, &body).await?)
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal::internal(&error))
}
