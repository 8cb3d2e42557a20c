//! What happens, as it happens: the stream of `GET /events`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What something that changed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
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

    /// Of what an event of the audit speaks, by its name: `review.approved`.
    #[must_use]
    pub fn of_action(action: &str) -> Option<Self> {
        let (what, _) = action.split_once('.')?;
        [Self::Request, Self::Review, Self::Grant, Self::Session].into_iter().find(|subject| subject.as_str() == what)
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
