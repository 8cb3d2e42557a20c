//! Notifications: where people are told what they have to know, what they are told, and what did not arrive.

use crate::identity::PrincipalRef;
use postern_types::{
    id::{DeliveryId, GrantId, RequestId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// All events of which somebody can be told. A document names them, or all of a kind: `request.*`.
pub const EVENTS: [&str; 17] = [
    "request.created",
    "request.approved",
    "request.denied",
    "request.withdrawn",
    "request.expired",
    "grant.created",
    "grant.revoked",
    "grant.expired",
    "grant.extended",
    "grant.break_glass",
    "review.created",
    "review.escalated",
    "review.approved",
    "review.denied",
    "review.expired",
    "review.withdrawn",
    "review.claimed",
];

/// The event of which everybody is told, whatever their documents ask for.
pub const TOLD_EVERYWHERE: &str = "grant.break_glass";

/// Where people are told of events: a document for `plan` and `apply`. It has one of `webhook`, `slack`, `email`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationDocument {
    /// Unique.
    pub name: String,
    /// Of which events; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Of which connections; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<String>,
    /// Of what any of these groups reviews; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// An HTTP receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A channel in Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// Mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
}

/// A receiver of webhooks, as Standard Webhooks has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to: `https://…`, or `http://` on loopback.
    pub url: String,
    /// The names of the secrets that sign: one, or two while one takes the other's place.
    pub secrets: Vec<String>,
}

/// A channel in Slack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The channel's id: `C0123456789`.
    pub channel: String,
    /// The name of the secret that is the bot's token.
    pub token: String,
    /// The name of the secret by which Slack signs what it sends; absent: messages have no buttons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
    /// Who is who: a Slack user's id → a user's name. Nobody else answers from Slack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, String>,
    /// Where Slack's API is, if elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// Mail, by SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Email {
    /// `smtp.example.com:587`.
    pub server: String,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: EmailTls,
    /// The login, where the server wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of the secret that is the login's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `Postern <postern@example.com>`.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmailTls {
    /// By STARTTLS, always.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all; on loopback only.
    None,
}

/// Where a notification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// An HTTP receiver.
    Webhook(&'a Webhook),
    /// A channel in Slack.
    Slack(&'a Slack),
    /// Mail.
    Email(&'a Email),
}

impl NotificationDocument {
    /// Where it goes: none, unless there is exactly one place.
    #[must_use]
    pub fn destination(&self) -> Option<Destination<'_>> {
        match (&self.webhook, &self.slack, &self.email) {
            (Some(webhook), None, None) => Some(Destination::Webhook(webhook)),
            (None, Some(slack), None) => Some(Destination::Slack(slack)),
            (None, None, Some(email)) => Some(Destination::Email(email)),
            _ => None,
        }
    }

    /// Whether it is of this event, or of all of its kind, or of everything.
    #[must_use]
    pub fn is_of(&self, event: &str) -> bool {
        let kind = event.split('.').next().unwrap_or(event);
        self.events.is_empty()
            || self.events.iter().any(|wanted| wanted == event || wanted.strip_suffix(".*") == Some(kind))
    }
}

/// What is told: the body of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// The event: `request.created`.
    pub r#type: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Micros,
    /// What happened.
    pub data: Happening,
}

/// What happened to a request, a review or a grant. No secret is in it, and no value of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happening {
    /// The request's, review's or grant's id.
    pub id: String,
    /// Where it stands since then: `pending`, `approved`, `open`, `revoked`.
    pub status: String,
    /// Where people see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// Who asks, or has the grant.
    pub principal: PrincipalRef,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PrincipalRef>,
    /// Why.
    pub reason: String,
    /// The ticket behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// For how long: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// When it ends by itself: the wait for an answer, or the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Micros>,
    /// The groups that review; empty: admins.
    #[serde(default)]
    pub reviewers: Vec<String>,
    /// The request of which a grant is the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub request_id: Option<RequestId>,
    /// The grant that a request has led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub grant_id: Option<GrantId>,
    /// Who did it; absent: Postern itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PrincipalRef>,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Of a review: the statement, as it is recorded; the beginning, where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// Of a review: what the statement would do, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// A notification as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Unique.
    pub name: String,
    /// `webhook`, `slack` or `email`.
    pub kind: String,
    /// The receiver's address, the channel, the mail addresses.
    pub to: String,
    /// Of which events; empty: of all.
    pub events: Vec<String>,
    /// How many messages wait to be delivered, or to be tried again.
    pub queued: u64,
    /// How many were given up.
    pub dead: u64,
    /// Set once the receiver has said that it wants no more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_at: Option<Micros>,
    /// What it said.
    pub disabled_because: Option<String>,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// It waits to be delivered, or to be tried again.
    Queued,
    /// The receiver has it.
    Delivered,
    /// It was given up: only somebody who asks for it has it tried again.
    Dead,
}

impl DeliveryStatus {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl std::str::FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Queued, Self::Delivered, Self::Dead]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not the status of a delivery: queued, delivered or dead"))
    }
}

/// One message to one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The same at each attempt: a webhook's `webhook-id`.
    #[schema(value_type = String)]
    pub id: DeliveryId,
    /// The notification's name.
    pub notification: String,
    /// The event.
    pub event: String,
    /// The request, review or grant.
    pub subject: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Micros>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it happened of which it tells.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub done_at: Option<Micros>,
}

/// Which messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DeliveriesQuery {
    /// Of this status; absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<DeliveryStatus>,
    /// Of this notification; absent: of any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_by_name_and_by_kind() {
        let of = |events: &[&str]| NotificationDocument {
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            ..NotificationDocument::default()
        };
        for (events, expect) in [
            (&[][..], true),
            (&["request.created"], true),
            (&["request.*"], true),
            (&["grant.*", "request.denied"], false),
            (&["request"], false),
        ] {
            assert_eq!(of(events).is_of("request.created"), expect, "{events:?}");
        }
    }
}
