//! What people do with a message in Slack. Slack signs what it sends; whoever pressed the button is a user of Postern
//! by the document's map, with that user's rights and no others.

use super::{Answer, blocks, call, whisper};
use crate::{
    Core,
    audit::{self, Event},
    grants::checked_reason,
    identity::{Actor, tokens},
    notify::deliver::secret,
    problem::{Problem, shorten},
    requests,
    reviews::vote,
    store::{notifications, principals},
};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use postern_api::{
    access::Verdict,
    identity::PrincipalKind,
    notification::{Destination, Slack},
    review::ApproveReview,
};
use postern_types::{id::ReviewId, time::Micros};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// What is older was recorded and is played again, or waited too long.
const MAX_AGE_S: i64 = 300;

/// The longest body that is looked at, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// Signatures that are checked at once: for each, secrets are read, for whoever asks.
static CHECKS: Semaphore = Semaphore::const_new(8);

/// Slack waits three seconds for an answer, and so do we for its.
const ANSWER_WITHIN: Duration = Duration::from_millis(2_500);

/// What Slack sends, unread.
pub(crate) struct Signed<'a> {
    /// `X-Slack-Request-Timestamp`
    pub(crate) timestamp: &'a str,
    /// `X-Slack-Signature`
    pub(crate) signature: &'a str,
    /// As it came.
    pub(crate) body: &'a [u8],
}

/// What is read of an interaction.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Interaction {
    BlockActions {
        user: Id,
        channel: Option<Id>,
        trigger_id: String,
        actions: Vec<Pressed>,
    },
    ViewSubmission {
        user: Id,
        view: View,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Pressed {
    action_id: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct View {
    callback_id: String,
    private_metadata: String,
    state: State,
}

#[derive(Deserialize)]
struct State {
    values: HashMap<String, HashMap<String, Input>>,
}

#[derive(Deserialize)]
struct Input {
    value: Option<String>,
}

/// Does what somebody wants in Slack; gives what Slack is answered.
///
/// # Errors
/// When it is not signed, too old, or cannot be read.
pub(crate) async fn handle(core: &Core, signed: Signed<'_>, now: Micros) -> Result<Value, Problem> {
    let apps = signed_by(core, &signed, now).await?;
    let form = url::form_urlencoded::parse(signed.body).find(|(name, _)| name == "payload");
    let payload = form.map(|(_, payload)| payload).unwrap_or_default();
    let interaction: Interaction = serde_json::from_str(&payload)
        .map_err(|error| Problem::invalid("payload", format!("it cannot be read: {error}")))?;
    match interaction {
        Interaction::BlockActions { user, channel, trigger_id, actions } => {
            for pressed in actions {
                press(core, &apps, &user.id, channel.as_ref(), &trigger_id, &pressed).await;
            }
            Ok(json!({}))
        }
        Interaction::ViewSubmission { user, view } if view.callback_id == blocks::DENY => {
            Ok(submitted(core, &apps, &user.id, &view).await)
        }
        Interaction::ViewSubmission { .. } | Interaction::Other => Ok(json!({})),
    }
}

/// The apps whose secret signed it: one at least.
async fn signed_by(core: &Core, signed: &Signed<'_>, now: Micros) -> Result<Vec<Slack>, Problem> {
    let refused = || Problem::unauthenticated("the request is not signed by a Slack app that is configured here");
    let at: i64 = signed.timestamp.parse().map_err(|_| refused())?;
    if now.0.div_euclid(1_000_000).abs_diff(at) > MAX_AGE_S.unsigned_abs() {
        return Err(Problem::unauthenticated("the request is too old, or the clocks differ"));
    }
    let tag = signed.signature.strip_prefix("v0=").and_then(|tag| HEXLOWER.decode(tag.as_bytes()).ok());
    let tag = tag.ok_or_else(refused)?;
    if signed.body.len() > MAX_BODY {
        return Err(Problem::too_large("the body is too large"));
    }
    let Ok(_permit) = CHECKS.try_acquire() else {
        return Err(Problem::unavailable("too many requests at once"));
    };
    let message = [b"v0:", signed.timestamp.as_bytes(), b":", signed.body].concat();
    let mut apps = Vec::new();
    let rows = notifications::list(&mut core.store.read().await?).await?;
    for row in rows {
        let Some(Destination::Slack(slack)) = row.document.destination() else { continue };
        let Some(name) = &slack.signing_secret else { continue };
        match secret(core, name).await {
            Ok(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
                // In constant time.
                if hmac::verify(&key, &message, &tag).is_ok() {
                    apps.push(slack.clone());
                }
            }
            Err(error) => tracing::error!(?error, notification = row.document.name, "no interaction can be verified"),
        }
    }
    if apps.is_empty() { Err(refused()) } else { Ok(apps) }
}

/// A button was pressed. What came of it shows in the message itself; why nothing came of it is said to whoever
/// pressed it.
async fn press(core: &Core, apps: &[Slack], user: &str, channel: Option<&Id>, trigger: &str, pressed: &Pressed) {
    let done = match pressed.action_id.as_str() {
        blocks::APPROVE => decide(core, apps, user, &pressed.value, Verdict::Approve, None).await,
        blocks::DENY => ask_why(core, apps, user, trigger, &pressed.value).await,
        // A link, which Slack has opened.
        _ => return,
    };
    let Err(problem) = done else { return };
    let (Some(channel), Some(app)) = (channel, apps.first()) else { return };
    match timeout(ANSWER_WITHIN, whisper(core, app, &channel.id, user, &said(&problem))).await {
        Ok(Ok(())) => {}
        failed => tracing::warn!(?failed, "somebody in Slack could not be told why nothing was done"),
    }
}

/// Why nothing was done, in words for whoever wanted it.
fn said(problem: &Problem) -> String {
    match problem {
        Problem::Told(error) => match &error.hint {
            Some(hint) => format!("{}. {hint}", error.message),
            None => error.message.clone(),
        },
        Problem::Fault(cause) => {
            tracing::error!(error = crate::api::chain(cause.as_ref()), "an interaction failed");
            "the control plane failed; its log says why".to_owned()
        }
    }
}

async fn ask_why(core: &Core, apps: &[Slack], user: &str, trigger: &str, id: &str) -> Result<(), Problem> {
    let app = mapped(core, apps, user).await?.1;
    let body = json!({ "trigger_id": trigger, "view": blocks::why(id) });
    match timeout(ANSWER_WITHIN, call(core, app, "views.open", &body)).await {
        Ok(Ok(Answer::Done(_))) => Ok(()),
        Ok(Ok(Answer::Refused(error))) => {
            Err(Problem::unavailable(format!("Slack does not show the form: `{}`", shorten(&error))))
        }
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("Slack could not be asked to show the form: try again")),
    }
}

/// A reason was typed. What is wrong is shown beside it.
async fn submitted(core: &Core, apps: &[Slack], user: &str, view: &View) -> Value {
    let input = view.state.values.get(blocks::REASON).and_then(|block| block.get(blocks::REASON));
    let reason = input.and_then(|input| input.value.as_deref());
    match decide(core, apps, user, &view.private_metadata, Verdict::Deny, reason).await {
        Ok(()) => json!({}),
        Err(problem) => json!({ "response_action": "errors", "errors": { blocks::REASON: said(&problem) } }),
    }
}

/// Approves or denies, and records who it was in Slack, whatever came of it.
async fn decide(
    core: &Core,
    apps: &[Slack],
    user: &str,
    id: &str,
    verdict: Verdict,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let outcome = answer(core, apps, user, id, verdict, reason).await;
    let refused = outcome.as_ref().err().map(ToString::to_string);
    let detail = json!({ "slack_user": shorten(user), "verdict": verdict, "refused": refused });
    let mut tx = core.store.begin().await?;
    let event = Event::new(Micros::now(), "slack.answered", None, &shorten(id), &detail);
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    outcome
}

/// Approves or denies as the user whom the document names, by the very function that the REST API calls.
async fn answer(
    core: &Core,
    apps: &[Slack],
    user: &str,
    id: &str,
    verdict: Verdict,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let (actor, _) = mapped(core, apps, user).await?;
    let reason = checked_reason(reason)?;
    if verdict == Verdict::Deny && reason.is_none() {
        return Err(Problem::invalid("reason", "say why: the requester reads it"));
    }
    let now = Micros::now();
    if let Ok(id) = id.parse::<ReviewId>() {
        // Of what was shown, once.
        let yes = ApproveReview { reason: reason.map(str::to_owned), ..ApproveReview::default() };
        let answer = match verdict {
            Verdict::Approve => vote::Answer::Approve(&yes),
            Verdict::Deny => vote::Answer::Deny(reason.unwrap_or_default()),
        };
        let url = core.config.http.public_url.as_deref();
        vote::answer(&core.store, &actor, &id, answer, url, now).await?;
    } else {
        let answer = requests::Answer { verdict, reason, duration: None, relations: &[] };
        core.perform(requests::review(&core.store, &actor, &requests::id(id)?, answer, now).await?.1);
    }
    Ok(())
}

/// Who somebody in Slack is, and the app whose document says so.
async fn mapped<'a>(core: &Core, apps: &'a [Slack], user: &str) -> Result<(Actor, &'a Slack), Problem> {
    let unknown = || {
        Problem::forbidden("you are nobody here that Postern knows")
            .hint(format!("an admin adds `{}` to `slack.users` of the notification's document", shorten(user)))
    };
    let found = apps.iter().find_map(|app| app.users.get(user).map(|name| (name, app)));
    let (name, app) = found.ok_or_else(unknown)?;
    let mut tx = core.store.read().await?;
    let row = principals::by_name(&mut tx, PrincipalKind::User, name).await?.ok_or_else(unknown)?;
    let actor = tokens::actor(&mut tx, &row.principal).await?;
    let disabled = || Problem::forbidden(format!("the user {name} is disabled"));
    Ok((actor.ok_or_else(disabled)?, app))
}
