//! Takes what is due and has it delivered: for each notification beside the others, so that a receiver that hangs
//! holds up none but itself.

use super::{email, slack, webhook};
use crate::{
    Core,
    audit::{self, Event},
    store::{
        StoreError,
        notifications::{self, DeliveryRow},
    },
};
use aws_lc_rs::rand;
use postern_api::notification::{DeliveryStatus, Destination, Message};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::{Id, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often is looked for what is due. Events of any replica are in the store, so that looking finds them all.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many messages of one notification are under way at once, from one replica.
const BATCH: u32 = 8;

/// Whoever has taken a message and has said nothing for so long has lost it to the next.
const LEASE: Duration = Duration::from_secs(60);

/// An attempt is over by then, well before the lease.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// After so many attempts, which take about a day, a message is given up.
const MAX_ATTEMPTS: u32 = 12;

/// The pause after the first attempt; each is three times the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// How often old messages are forgotten, and counted.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// How long it is remembered that a message was delivered.
const REMEMBER_DELIVERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a message that was given up can be tried again.
const REMEMBER_DEAD: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much is kept of what is said of a failure, in characters.
const MAX_ERROR: usize = 500;

/// Why a message was not delivered.
#[derive(Debug)]
pub(super) enum Failed {
    /// It may work later; not before so long, if the receiver says so.
    Again { error: String, not_before: Option<Duration> },
    /// The receiver wants no message any more.
    Gone(String),
}

impl Failed {
    /// It may work later.
    pub(super) fn again(error: String) -> Self {
        Self::Again { error, not_before: None }
    }

    /// The receiver could not be reached. Its URL may hold a secret and is not repeated.
    pub(super) fn transport(error: reqwest::Error) -> Self {
        Self::again(crate::api::chain(&error.without_url()))
    }
}

/// A secret that a document names.
pub(super) async fn secret(core: &Core, name: &str) -> Result<SecretString, Failed> {
    core.config.notification_secret(name).await.map_err(|error| Failed::again(error.to_string()))
}

/// Delivers until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tidies = interval(TIDY_EVERY);
    let mut batches = Batches::default();
    let mut failing = false;
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => break,
            _ = tidies.tick() => tidy(&core).await,
            // What came meanwhile for a notification whose batch is done need not wait for the next look.
            () = batches.done(), if !batches.is_empty() => batches.start(&core).await,
            _ = looks.tick() => batches.start(&core).await,
        };
        // Said once for each outage, not four times a second.
        match result {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = crate::api::chain(&error), "notifications cannot be looked for; trying on");
            }
            Err(_) => {}
        }
    }
    while !batches.is_empty() {
        batches.done().await;
    }
}

/// The batches that run: one for a notification at a time.
#[derive(Default)]
struct Batches {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Batches {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    async fn done(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        self.names.remove(&id);
    }

    async fn start(&mut self, core: &Arc<Core>) -> Result<(), StoreError> {
        let due = notifications::due(&mut core.store.read().await?, Micros::now()).await?;
        let running: HashSet<_> = self.names.values().cloned().collect();
        for name in due.into_iter().filter(|name| !running.contains(name)) {
            let id = self.tasks.spawn(batch(Arc::clone(core), name.clone())).id();
            self.names.insert(id, name);
        }
        Ok(())
    }
}

async fn batch(core: Arc<Core>, notification: String) {
    let rows = match claim(&core, &notification, Micros::now()).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(error = crate::api::chain(&error), notification, "notifications cannot be taken");
            return;
        }
    };
    let mut attempts = JoinSet::new();
    for row in rows {
        attempts.spawn(attempt(Arc::clone(&core), row));
    }
    attempts.join_all().await;
}

async fn claim(core: &Core, notification: &str, now: Micros) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut tx = core.store.begin().await?;
    let rows = notifications::claim(&mut tx, notification, now, now.plus(LEASE), BATCH).await?;
    tx.commit().await?;
    Ok(rows)
}

async fn attempt(core: Arc<Core>, row: DeliveryRow) {
    let outcome = timeout(ATTEMPT_TIMEOUT, deliver(&core, &row)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(Failed::again("it took too long".to_owned())));
    if let Err(error) = settle(&core, &row, outcome, Micros::now()).await {
        // The lease runs out, and the message is delivered again.
        let error = crate::api::chain(&error);
        tracing::error!(error, delivery = %row.id, "it cannot be written what became of a notification");
    }
}

async fn deliver(core: &Core, row: &DeliveryRow) -> Result<(), Failed> {
    let failed = |error: StoreError| Failed::again(crate::api::chain(&error));
    let mut tx = core.store.read().await.map_err(failed)?;
    // Deleted meanwhile, and what was under way with it.
    let Some(target) = notifications::by_name(&mut tx, &row.notification).await.map_err(failed)? else {
        return Ok(());
    };
    drop(tx);
    let unreadable = |error: serde_json::Error| Failed::again(format!("the message cannot be read: {error}"));
    let mut message: Message = serde_json::from_str(&row.message).map_err(unreadable)?;
    message.data.url = address(core, &message);
    match target.document.destination() {
        Some(Destination::Webhook(to)) => {
            let body = serde_json::to_string(&message).map_err(unreadable)?;
            webhook::send(core, to, row.id.as_str(), body, Micros::now()).await
        }
        Some(Destination::Slack(to)) => slack::send(core, to, row, &message).await,
        Some(Destination::Email(to)) => email::send(core, to, row, &message).await,
        None => Err(Failed::again("it goes nowhere: apply the document again".to_owned())),
    }
}

/// Where people see what a message is about.
fn address(core: &Core, message: &Message) -> Option<String> {
    let base = core.config.http.public_url.as_deref()?.trim_end_matches('/');
    let id = message.data.request_id.as_ref().map_or(message.data.id.as_str(), |id| id.as_str());
    Some(format!("{base}/inbox?item={id}"))
}

/// Writes what became of an attempt.
async fn settle(core: &Core, row: &DeliveryRow, outcome: Result<(), Failed>, now: Micros) -> Result<(), StoreError> {
    let mut tx = core.store.begin().await?;
    let label = match outcome {
        Ok(()) => {
            notifications::delivered(&mut tx, row, now).await?;
            "delivered"
        }
        Err(Failed::Again { error, not_before }) if row.attempts < MAX_ATTEMPTS => {
            let pause = pause(row.attempts, dice()).max(not_before.unwrap_or_default().min(LONGEST_PAUSE));
            notifications::postpone(&mut tx, row, &bounded(&error), now.plus(pause)).await?;
            "failed"
        }
        Err(Failed::Again { error, .. }) => {
            notifications::give_up(&mut tx, row, &bounded(&error), now).await?;
            "dead"
        }
        Err(Failed::Gone(error)) => {
            if notifications::give_up(&mut tx, row, &error, now).await? {
                notifications::disable(&mut tx, &row.notification, &error, now).await?;
                let subject = format!("notification/{}", row.notification);
                let event = Event::new(now, "notification.disabled", None, &subject, &json!({ "because": error }));
                audit::append_control(&mut tx, event).await?;
            }
            "dead"
        }
    };
    tx.commit().await?;
    metrics::counter!("postern_notifications_total", "outcome" => label).increment(1);
    Ok(())
}

fn bounded(error: &str) -> String {
    error.chars().take(MAX_ERROR).collect()
}

/// How long until the next attempt: longer each time, and up to a quarter more by the dice, so that what failed
/// together does not come back together.
fn pause(attempts: u32, dice: u8) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(3_u32.saturating_pow(attempts.saturating_sub(1))).min(LONGEST_PAUSE);
    pause + pause / 4 * u32::from(dice) / u32::from(u8::MAX)
}

fn dice() -> u8 {
    let mut byte = [0];
    // Without randomness there is no jitter, which harms nothing.
    let _ = rand::fill(&mut byte);
    byte[0]
}

/// Forgets what is old, and counts what is left.
async fn tidy(core: &Core) -> Result<(), StoreError> {
    let now = Micros::now();
    let before = |age: Duration| Micros(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)));
    let mut tx = core.store.begin().await?;
    notifications::forget(&mut tx, before(REMEMBER_DELIVERED), before(REMEMBER_DEAD)).await?;
    let counts = notifications::counts(&mut tx).await?;
    tx.commit().await?;
    for (status, gauge) in [
        (DeliveryStatus::Queued, metrics::gauge!("postern_notifications_queued")),
        (DeliveryStatus::Dead, metrics::gauge!("postern_notifications_dead")),
    ] {
        let sum: i64 = counts.iter().filter(|((_, of), _)| *of == status).map(|(_, n)| n).sum();
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
        gauge.set(sum as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use postern_api::notification::NotificationDocument;
    use postern_types::id::DeliveryId;

    #[tokio::test]
    async fn a_message_is_given_up_after_its_last_attempt_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let free = "127.0.0.1:0".parse().unwrap();
        let core = Core::load(Config::new(folder.path().join("data"), free, free)).await.unwrap();
        let (id, mut now) = (DeliveryId::new(), Micros(1_700_000_000_000_000));
        let row = DeliveryRow {
            id: id.clone(),
            notification: "hook".to_owned(),
            thread: "req".to_owned(),
            event: "request.created".to_owned(),
            subject: "req".to_owned(),
            message: String::new(),
            status: DeliveryStatus::Queued,
            attempts: 0,
            next_at: now,
            error: None,
            created_at: now,
            done_at: None,
        };
        let mut tx = core.store.begin().await.unwrap();
        let document = NotificationDocument { name: "hook".to_owned(), ..NotificationDocument::default() };
        notifications::put(&mut tx, &document, now).await.unwrap();
        notifications::insert(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        for attempt in 1..=MAX_ATTEMPTS {
            let taken = claim(&core, "hook", now).await.unwrap().remove(0);
            assert_eq!(taken.attempts, attempt);
            // What a receiver asks for is kept to, within reason.
            let not_before = (attempt == 1).then_some(Duration::from_secs(u64::MAX));
            settle(&core, &taken, Err(Failed::Again { error: "503".to_owned(), not_before }), now).await.unwrap();
            let stands = notifications::delivery(&mut core.store.read().await.unwrap(), &id).await.unwrap().unwrap();
            let expect = if attempt < MAX_ATTEMPTS { DeliveryStatus::Queued } else { DeliveryStatus::Dead };
            assert_eq!((stands.status, stands.error.as_deref()), (expect, Some("503")), "{attempt}");
            if attempt == 1 {
                assert_eq!(stands.next_at, now.plus(LONGEST_PAUSE));
            }
            now = stands.next_at;
        }
        assert!(claim(&core, "hook", now.plus(LONGEST_PAUSE)).await.unwrap().is_empty());
    }

    #[test]
    fn attempts_take_about_a_day() {
        let day = Duration::from_secs(24 * 3600);
        let all = |dice| (1..MAX_ATTEMPTS).map(|n| pause(n, dice)).sum::<Duration>();
        assert!(all(0) > day * 9 / 10 && all(u8::MAX) < day * 5 / 4, "{:?} to {:?}", all(0), all(u8::MAX));
        assert_eq!(pause(1, 0), FIRST_PAUSE);
        assert!((1..40).all(|n| pause(n, 0) <= pause(n + 1, 0) && pause(n, u8::MAX) <= LONGEST_PAUSE * 5 / 4));
        assert!(ATTEMPT_TIMEOUT < LEASE);
    }
}
