//! What one replica tells the others.

use postern_api::event::Subject;
use postern_proto::v1::ClientError;
use postern_types::time::Micros;
use serde::{Deserialize, Serialize};

/// PostgreSQL takes payloads of less than 8000 bytes.
const MAX_PAYLOAD: usize = 7900;

/// Longest detail of an error in an event, in characters: what is over is not worth losing the event for.
const MAX_DETAIL: usize = 400;

/// Something that all replicas have to tell their peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A grant is over.
    EndGrant {
        /// Which.
        grant: String,
        /// What clients read.
        error: ErrorText,
    },
    /// A grant ends later.
    GrantExtended {
        /// Which.
        grant: String,
        /// When.
        ends_at: Micros,
    },
    /// A session is over.
    EndSession {
        /// Which.
        session: String,
        /// What the client reads.
        error: ErrorText,
    },
    /// The connections or the gateways may differ.
    SetsChanged,
    /// An identity was revoked.
    IdentityRevoked {
        /// Which.
        id: String,
    },
    /// A cancel request.
    Cancel {
        /// The gateway that it came to.
        from: String,
        /// That gateway's region: the others of it may know the key.
        region: String,
        /// Its process id.
        pid: i32,
        /// Its secret.
        secret: Vec<u8>,
    },
    /// Things that callers or sessions may wait for.
    Changed {
        /// What they are.
        subject: Subject,
        /// Their ids.
        ids: Vec<String>,
    },
    /// Events were lost: everything has to be compared with the store.
    Recheck,
}

/// A [`ClientError`] that can be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorText {
    sqlstate: String,
    message: String,
    detail: String,
    hint: String,
}

impl From<ClientError> for ErrorText {
    fn from(error: ClientError) -> Self {
        let ClientError { sqlstate, message, detail, hint } = error;
        Self { sqlstate, message, detail, hint }
    }
}

impl From<ErrorText> for ClientError {
    fn from(error: ErrorText) -> Self {
        let ErrorText { sqlstate, message, detail, hint } = error;
        Self { sqlstate, message, detail, hint }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    replica: String,
    #[serde(flatten)]
    event: Event,
}

/// An event as it is published.
#[must_use]
pub fn encode(replica: &str, event: &Event) -> Option<String> {
    let write =
        |event: &Event| serde_json::to_string(&Envelope { replica: replica.to_owned(), event: event.clone() }).ok();
    let text = write(event)?;
    if text.len() <= MAX_PAYLOAD { Some(text) } else { write(&shortened(event)) }
}

/// The event that was published, and by whom.
#[must_use]
pub fn decode(text: &str) -> Option<(String, Event)> {
    let envelope: Envelope = serde_json::from_str(text).ok()?;
    Some((envelope.replica, envelope.event))
}

fn shortened(event: &Event) -> Event {
    let cut = |text: &str| text.chars().take(MAX_DETAIL).collect::<String>();
    let mut event = event.clone();
    if let Event::EndGrant { error, .. } | Event::EndSession { error, .. } = &mut event {
        error.message = cut(&error.message);
        error.detail = cut(&error.detail);
        error.hint = cut(&error.hint);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_way_and_fit() {
        let error = |detail: String| ErrorText {
            sqlstate: "57P01".to_owned(),
            message: "the grant was revoked".to_owned(),
            detail,
            hint: String::new(),
        };
        for event in [
            Event::EndGrant { grant: "grt_x".to_owned(), error: error("because".to_owned()) },
            Event::GrantExtended { grant: "grt_x".to_owned(), ends_at: Micros(1_800_000_000_123_456) },
            Event::EndSession { session: "ses_x".to_owned(), error: error(String::new()) },
            Event::SetsChanged,
            Event::IdentityRevoked { id: "con_x".to_owned() },
            Event::Cancel { from: "gwy_x".to_owned(), region: "eu".to_owned(), pid: -7, secret: vec![0, 255, 7] },
            Event::Changed { subject: Subject::Review, ids: vec!["rev_x".to_owned()] },
            Event::Recheck,
        ] {
            let text = encode("r1", &event).unwrap();
            assert_eq!(decode(&text), Some(("r1".to_owned(), event)), "{text}");
        }
        let long = Event::EndGrant { grant: "grt_x".to_owned(), error: error("\u{1f512}".repeat(2000)) };
        let text = encode("r1", &long).unwrap();
        assert!(text.len() <= MAX_PAYLOAD);
        assert!(matches!(decode(&text).unwrap().1, Event::EndGrant { grant, .. } if grant == "grt_x"));
        // None of many is lost.
        let ids =
            (0..super::super::changes::MAX_IDS).map(|_| postern_types::id::SessionId::new().to_string()).collect();
        let many = Event::Changed { subject: Subject::Session, ids };
        let text = encode(&"r".repeat(26), &many).unwrap();
        assert!(text.len() <= MAX_PAYLOAD, "{}", text.len());
        assert_eq!(decode(&text).unwrap().1, many);
        assert_eq!(decode("{}"), None);
    }
}
