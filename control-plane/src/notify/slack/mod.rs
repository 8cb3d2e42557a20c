//! Slack: one message for each thing, changed as the thing changes; and the buttons on it.

mod blocks;
pub(crate) mod interactions;

use super::{
    deliver::{Failed, secret},
    webhook,
};
use crate::{
    Core, outward,
    store::{
        StoreError,
        notifications::{self, DeliveryRow},
    },
};
use postern_api::notification::{Message, Slack};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Where Slack's API is, unless a document says otherwise.
const API: &str = "https://slack.com/api";

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

/// Shows how a thing stands: in the message that does so already, or in a new one.
pub(super) async fn send(core: &Core, slack: &Slack, row: &DeliveryRow, message: &Message) -> Result<(), Failed> {
    let failed = |error: StoreError| Failed::again(crate::api::chain(&error));
    let mut tx = core.store.read().await.map_err(failed)?;
    let there = notifications::slack_message(&mut tx, &row.notification, &row.thread).await.map_err(failed)?;
    drop(tx);
    let message = blocks::of(message, slack.signing_secret.is_some());
    if let Some((channel, ts)) = there {
        let body = placed(&message, json!({ "channel": channel, "ts": ts }));
        match call(core, slack, "chat.update", &body).await? {
            // Somebody has deleted it.
            Answer::Refused(error) if error == "message_not_found" => {}
            answer => return answer.done("chat.update").map(drop),
        }
    }
    let body = placed(&message, json!({ "channel": slack.channel }));
    let answer = call(core, slack, "chat.postMessage", &body).await?.done("chat.postMessage")?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let (Some(channel), Some(ts)) = (text("channel"), text("ts")) else {
        return Err(Failed::again("Slack's answer names no message".to_owned()));
    };
    let mut tx = core.store.begin().await.map_err(failed)?;
    notifications::put_slack_message(&mut tx, &row.notification, &row.thread, channel, ts).await.map_err(failed)?;
    tx.commit().await.map_err(failed)
}

/// A message, and where it goes.
fn placed(message: &Value, place: Value) -> Value {
    let mut body = message.clone();
    if let (Value::Object(body), Value::Object(place)) = (&mut body, place) {
        body.extend(place);
    }
    body
}

/// Says something to one person in a channel, that nobody else sees.
async fn whisper(core: &Core, slack: &Slack, channel: &str, user: &str, text: &str) -> Result<(), Failed> {
    let body = json!({ "channel": channel, "user": user, "text": blocks::escaped(text) });
    call(core, slack, "chat.postEphemeral", &body).await?.done("chat.postEphemeral").map(drop)
}

/// What Slack says to a call.
enum Answer {
    Done(Value),
    /// Why not: `channel_not_found`.
    Refused(String),
}

impl Answer {
    fn done(self, method: &str) -> Result<Value, Failed> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::Refused(error) => Err(Failed::again(format!("Slack answered `{error}` to {method}"))),
        }
    }
}

/// Calls a method of Slack's API.
async fn call(core: &Core, slack: &Slack, method: &str, body: &Value) -> Result<Answer, Failed> {
    let base = slack.api_url.as_deref().unwrap_or(API).trim_end_matches('/');
    let url = outward::address(&format!("{base}/{method}"))
        .map_err(|problem| Failed::again(format!("the URL of Slack's API {problem}")))?;
    let token = secret(core, &slack.token).await?;
    let request = core.outward.post(url).bearer_auth(token.expose_secret()).json(body);
    let mut response = request.send().await.map_err(Failed::transport)?;
    let status = response.status();
    if !status.is_success() {
        return Err(Failed::Again {
            error: format!("Slack answered {status}"),
            not_before: webhook::retry_after(&response),
        });
    }
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failed::transport)? {
        if answer.len() + chunk.len() > MAX_ANSWER {
            return Err(Failed::again("Slack's answer is too long".to_owned()));
        }
        answer.extend_from_slice(&chunk);
    }
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|_| Failed::again("Slack's answer is no JSON".to_owned()))?;
    if answer.get("ok").and_then(Value::as_bool) == Some(true) {
        return Ok(Answer::Done(answer));
    }
    Ok(Answer::Refused(answer.get("error").and_then(Value::as_str).unwrap_or("no reason").to_owned()))
}
