//! Credentials of databases that are kept in the control plane's store. A password goes in and never comes out.

use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `PUT /connections/{name}/credentials/{login}`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDatabaseCredential {
    /// The database role's password.
    #[schema(format = Password)]
    pub password: String,
}

impl std::fmt::Debug for SetDatabaseCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetDatabaseCredential").finish_non_exhaustive()
    }
}

/// A credential as it is listed: without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseCredential {
    /// The connection's name.
    pub connection: String,
    /// The database role.
    pub login: String,
    /// When it was first set.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// When it was last set.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Micros,
}
