//! Where people are told of events.

use super::{Difference, Run, check, typed};
use crate::{
    notify::outward,
    problem::{Problem, shorten},
    store::notifications,
};
use postern_api::notification::{Destination, EVENTS, NotificationDocument, Webhook};
use serde_json::{Map, Value};

impl Run<'_> {
    pub(super) async fn notification(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
    ) -> Result<Difference, Problem> {
        let stored = notifications::by_name(&mut self.tx, name).await?.map(|row| row.document);
        let from = stored.as_ref().map(serde_json::to_value).transpose().map_err(Problem::fault)?;
        let difference = |from, to| Difference { kind: "Notification", name: name.to_owned(), from, to };
        if delete {
            notifications::delete(&mut self.tx, name).await?;
            return Ok(difference(from, None));
        }
        let document: NotificationDocument = typed(from.clone().filter(|_| self.merge), fields)?;
        checked(&document)?;
        let to = serde_json::to_value(&document).map_err(Problem::fault)?;
        if from.as_ref() != Some(&to) {
            notifications::put(&mut self.tx, &document, self.now).await?;
        }
        Ok(difference(from, Some(to)))
    }
}

/// The longest list of a document.
const MAX_ENTRIES: usize = 1000;

/// The longest URL.
const MAX_URL: usize = 1000;

fn checked(document: &NotificationDocument) -> Result<(), Problem> {
    let NotificationDocument { events, connections, groups, .. } = document;
    for event in events {
        let is_known = EVENTS.contains(&event.as_str())
            || event
                .strip_suffix(".*")
                .is_some_and(|kind| EVENTS.iter().any(|known| known.split('.').next() == Some(kind)));
        if !is_known {
            return Err(Problem::invalid("events", format!("there is no event `{}`", shorten(event)))
                .hint(format!("there is {}; `request.*` is all of a kind", EVENTS.join(", "))));
        }
    }
    for (field, names) in [("events", events), ("connections", connections), ("groups", groups)] {
        if names.len() > MAX_ENTRIES {
            return Err(Problem::invalid(field, format!("at most {MAX_ENTRIES} entries")));
        }
    }
    connections.iter().try_for_each(|name| check::named("connections", name))?;
    groups.iter().try_for_each(|name| check::named("groups", name))?;
    match document.destination() {
        Some(Destination::Webhook(to)) => webhook(to),
        None => Err(Problem::invalid("webhook", "say where it goes: `webhook`")),
    }
}

fn webhook(webhook: &Webhook) -> Result<(), Problem> {
    url("webhook.url", &webhook.url)?;
    if !(1..=2).contains(&webhook.secrets.len()) {
        let message = "name the secret that signs, or two while one takes the other's place";
        return Err(Problem::invalid("webhook.secrets", message));
    }
    webhook.secrets.iter().try_for_each(|name| check::named("webhook.secrets", name))
}

fn url(field: &str, url: &str) -> Result<(), Problem> {
    if url.len() > MAX_URL {
        return Err(Problem::invalid(field, format!("has more than {MAX_URL} bytes")));
    }
    outward::address(url).map(drop).map_err(|problem| Problem::invalid(field, format!("it {problem}")))
}
