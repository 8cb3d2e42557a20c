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
    /// What admins have made or changed: connections, principals, groups, policies, tokens, connectors, gateways.
    Configuration,
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
            Self::Configuration => "configuration",
        }
    }

    /// Of what an event of the audit speaks, by its name: `review.approved`.
    #[must_use]
    pub fn of_action(action: &str) -> Option<Self> {
        let (what, _) = action.split_once('.')?;
        match what {
            // A standing approval is a request, and so is what is looked at after break-glass.
            "request" | "standing" | "break_glass" => Some(Self::Request),
            "review" => Some(Self::Review),
            "grant" => Some(Self::Grant),
            "session" => Some(Self::Session),
            "connection" | "user" | "agent" | "group" | "policy" | "issuer" | "identity_provider" | "notification"
            | "token" | "join_token" | "identity" => Some(Self::Configuration),
            _ => None,
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

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn what_events_speak_of() {
        for (action, subject) in [
            ("request.created", Some(Subject::Request)),
            ("standing.ended", Some(Subject::Request)),
            ("break_glass.reviewed", Some(Subject::Request)),
            ("review.approved", Some(Subject::Review)),
            ("connection.frozen", Some(Subject::Configuration)),
            ("policy.updated", Some(Subject::Configuration)),
            ("audit.searched", None),
            ("request", None),
        ] {
            assert_eq!(Subject::of_action(action), subject, "{action}");
        }
    }
}
