//! What happens, as it happens: the stream of `GET /events`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What something that changed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A request for access.
    Request,
    /// A statement that waits for people.
    Review,
    /// A grant.
    Grant,
    /// A client's session.
    Session,
}

impl Subject {
    /// As it is written: the name of the event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Review => "review",
            Self::Grant => "grant",
            Self::Session => "session",
        }
    }
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// What changed.
    pub kind: Subject,
    /// Its id.
    pub id: String,
    /// How it stands now.
    pub status: String,
}
