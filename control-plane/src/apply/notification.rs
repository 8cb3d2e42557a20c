//! Where people are told of events.

use super::{Difference, Run, check, typed};
use crate::{
    notify::email::server,
    outward,
    problem::{Problem, shorten},
    store::notifications,
};
use lettre::message::Mailbox;
use postern_api::notification::{Destination, EVENTS, Email, EmailTls, NotificationDocument, Slack, Webhook};
use serde_json::{Map, Value};
use std::net::IpAddr;

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
        Some(Destination::Slack(to)) => slack(to),
        Some(Destination::Email(to)) => email(to),
        None => Err(Problem::invalid("webhook", "say where it goes, by one of `webhook`, `slack` and `email`")),
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

fn slack(slack: &Slack) -> Result<(), Problem> {
    let is_id = |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_id(&slack.channel) {
        return Err(Problem::invalid("slack.channel", "write the channel's id, as `C0123456789`"));
    }
    check::named("slack.token", &slack.token)?;
    if let Some(name) = &slack.signing_secret {
        check::named("slack.signing_secret", name)?;
    } else if !slack.users.is_empty() {
        let message = "without `signing_secret` nobody can answer from Slack";
        return Err(Problem::invalid("slack.users", message));
    }
    if slack.users.len() > MAX_ENTRIES {
        return Err(Problem::invalid("slack.users", format!("at most {MAX_ENTRIES} entries")));
    }
    for (id, user) in &slack.users {
        if !is_id(id) {
            let message = format!("`{}` is not a Slack user's id, as `U0123456789`", shorten(id));
            return Err(Problem::invalid("slack.users", message));
        }
        check::named("slack.users", user)?;
    }
    slack.api_url.as_deref().map_or(Ok(()), |api| url("slack.api_url", api))
}

/// The most addresses of one mail.
const MAX_ADDRESSES: usize = 50;

/// The longest address, with its name.
const MAX_ADDRESS: usize = 320;

fn email(email: &Email) -> Result<(), Problem> {
    let Some((host, _)) = server(&email.server) else {
        return Err(Problem::invalid("email.server", "write `smtp.example.com:587`"));
    };
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if email.tls == EmailTls::None && !is_loopback {
        return Err(Problem::invalid("email.tls", "`none` is for servers on loopback: use `starttls` or `tls`"));
    }
    if email.user.is_some() != email.password.is_some() {
        return Err(Problem::invalid("email.user", "`user` and `password`, the name of its secret, go together"));
    }
    if let Some(name) = &email.password {
        check::named("email.password", name)?;
    }
    if email.to.is_empty() || email.to.len() > MAX_ADDRESSES {
        return Err(Problem::invalid("email.to", format!("name 1 to {MAX_ADDRESSES} addresses")));
    }
    let addresses = email.to.iter().map(|to| ("email.to", to)).chain([("email.from", &email.from)]);
    for (field, address) in addresses {
        if address.len() > MAX_ADDRESS || address.chars().any(char::is_control) || address.parse::<Mailbox>().is_err() {
            return Err(Problem::invalid(field, format!("`{}` is not a mail address", shorten(address))));
        }
    }
    Ok(())
}
