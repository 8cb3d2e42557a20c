//! The console's own: a browser's session in place of a token.

use serde::Deserialize;
use utoipa::ToSchema;

/// The body of `POST /web/session`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebSession {
    /// An API token. A cookie takes its place.
    pub token: String,
}
