//! A directory (an identity provider) that says who there is, and in which groups: SCIM 2.0, RFC 7643 and RFC 7644.
//!
//! It comes as an agent, with a token that is good for this alone. What it makes is its own; what documents have made, or
//! another directory, it neither sees nor changes. Whom it deactivates or deletes is disabled: all that they have ends.
//!
//! In reading order: [`schema`] (what a user and a group are; values checked by it), [`filter`] (what is looked for),
//! [`patch`] (changes of a part), [`users`], [`groups`], [`discovery`] (what a client is told of all this).

pub mod discovery;
pub mod filter;
pub mod groups;
pub mod patch;
pub mod schema;
pub mod users;

use crate::{
    apply,
    audit::{self, Event},
    identity::Actor,
    problem::Problem,
    store::{StoreError, Tx},
};
use postern_api::error::{ApiError, ErrorCode};
use postern_types::time::Micros;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Below which path of the HTTP listener it is.
pub const PATH: &str = "/scim/v2";

/// The most resources of one page.
pub const MAX_PAGE: usize = 200;

/// How many a page has that does not say.
pub const PAGE: usize = 100;

/// A resource's attributes.
pub type Document = Map<String, Value>;

/// Why something was not done, as RFC 7644, section 3.12 tells it.
#[derive(Debug, Error)]
pub enum Refused {
    /// The client's doing, or the state of things.
    #[error("{detail}")]
    Told {
        /// Of HTTP.
        status: u16,
        /// The `scimType`, where there is one.
        kind: Option<&'static str>,
        /// For people.
        detail: String,
    },
    /// Postern's own.
    #[error("the control plane failed")]
    Fault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refused {
    fn told(status: u16, kind: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self::Told { status, kind, detail: detail.into() }
    }

    /// A value that cannot be.
    #[must_use]
    pub fn value(detail: impl Into<String>) -> Self {
        Self::told(400, Some("invalidValue"), detail)
    }

    /// A body that is not what the call takes.
    #[must_use]
    pub fn syntax(detail: impl Into<String>) -> Self {
        Self::told(400, Some("invalidSyntax"), detail)
    }

    /// A path that cannot be read.
    #[must_use]
    pub fn path(detail: impl Into<String>) -> Self {
        Self::told(400, Some("invalidPath"), detail)
    }

    /// A filter that cannot be read, or is none that is known here.
    #[must_use]
    pub fn filter(detail: impl Into<String>) -> Self {
        Self::told(400, Some("invalidFilter"), detail)
    }

    /// Nothing is where it is to be changed.
    #[must_use]
    pub fn target(detail: impl Into<String>) -> Self {
        Self::told(400, Some("noTarget"), detail)
    }

    /// It is not the client's to change.
    #[must_use]
    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::told(400, Some("mutability"), detail)
    }

    /// There is one of that name.
    #[must_use]
    pub fn uniqueness(detail: impl Into<String>) -> Self {
        Self::told(409, Some("uniqueness"), detail)
    }

    /// There is none, or none of this directory's.
    #[must_use]
    pub fn missing(what: &str, id: &str) -> Self {
        Self::told(404, None, format!("there is no {what} `{}` of this directory", crate::problem::shorten(id)))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        if error.is_unique_violation() {
            return Self::uniqueness("somebody has just taken that name");
        }
        Self::Fault(Box::new(error))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let error = match problem {
            Problem::Fault(cause) => return Self::Fault(cause),
            Problem::Told(error) => *error,
        };
        let ApiError { code, message, .. } = error;
        match code {
            ErrorCode::Invalid => Self::value(message),
            ErrorCode::Unauthenticated => Self::told(401, None, message),
            ErrorCode::Forbidden | ErrorCode::Reauthenticate => Self::told(403, None, message),
            ErrorCode::NotFound => Self::told(404, None, message),
            ErrorCode::Conflict => Self::told(409, None, message),
            ErrorCode::TooLarge => Self::told(413, None, message),
            ErrorCode::Unavailable => Self::told(503, None, message),
            ErrorCode::Internal => Self::told(500, None, message),
        }
    }
}

/// Which part of what was found is told.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The first, from 1.
    pub start: usize,
    /// How many.
    pub count: usize,
}

impl Page {
    /// As a client asks for it: RFC 7644, section 3.4.2.4.
    #[must_use]
    pub fn new(start: Option<i64>, count: Option<i64>) -> Self {
        let number = |given: Option<i64>, default| given.map_or(default, |n| usize::try_from(n).unwrap_or(0));
        Self { start: number(start, 1).max(1), count: number(count, PAGE).min(MAX_PAGE) }
    }

    fn of<T>(self, found: Vec<T>) -> Vec<T> {
        found.into_iter().skip(self.start - 1).take(self.count).collect()
    }
}

/// What was found: how many, and those of the page.
#[derive(Debug)]
pub struct Found {
    /// Of all pages.
    pub total: usize,
    /// Of this one.
    pub resources: Vec<Document>,
}

/// What a resource says of itself beside what its directory has given.
fn with_meta(
    kind: &schema::Kind,
    id: &str,
    base: &str,
    (created, changed): (Micros, Micros),
    mut document: Document,
) -> Document {
    let meta = json!({
        "resourceType": kind.name, "created": created.to_string(), "lastModified": changed.to_string(),
        "location": format!("{base}{}/{id}", kind.endpoint),
    });
    document.insert("schemas".to_owned(), json!([kind.schema]));
    document.insert("id".to_owned(), json!(id));
    document.insert("meta".to_owned(), meta);
    document
}

/// That a name is somebody else's, recorded in the transaction that has found it so and has changed nothing.
async fn taken(mut tx: Tx, client: &Actor, subject: &str, why: String, now: Micros) -> Refused {
    let event = Event::new(now, "scim.refused", Some(&client.principal), subject, &json!({ "why": why }));
    let recorded = match audit::append_control(&mut tx, event).await {
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    recorded.err().map_or_else(|| Refused::uniqueness(why), Refused::from)
}

/// What differs, as the audit tells it.
fn changes(from: Option<&Document>, to: Option<&Document>) -> Value {
    let value = |side: Option<&Document>| side.map(|document| Value::Object(document.clone()));
    json!({ "over": "scim", "fields": apply::fields(value(from).as_ref(), value(to).as_ref()) })
}
