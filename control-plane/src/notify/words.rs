//! What is told, in words for people: the same for Slack and mail. Plain text, without anything that a receiver reads
//! as more than text: each way of delivering writes it in a form in which nothing needs to be escaped, or escapes it.

use postern_api::{identity::PrincipalRef, notification::Message};
use postern_types::time::Micros;

/// A statement is shown up to so many characters.
const MAX_STATEMENT: usize = 2_500;

/// What somebody wrote is shown up to so many characters.
const MAX_VALUE: usize = 1_000;

/// What happened, on one line.
pub(super) fn headline(message: &Message) -> String {
    let data = &message.data;
    let who = &data.principal.name;
    let what = format!("{} on {}", data.role, data.connection);
    let by = data.by.as_ref().map(|by| format!(" by {}", by.name)).unwrap_or_default();
    let line = match message.r#type.as_str() {
        "request.approved" => format!("{who} asks for {what}: approved{by}"),
        "request.denied" => format!("{who}'s request for {what} was denied{by}"),
        "request.withdrawn" => format!("{who} has withdrawn the request for {what}"),
        "request.expired" => format!("{who}'s request for {what} has expired: nobody answered in time"),
        "grant.created" => format!("{who} has {what}"),
        "grant.revoked" => format!("{who}'s {what} was revoked{by}"),
        "review.approved" => format!("{who}'s statement on {} was approved{by}", data.connection),
        "review.denied" => format!("{who}'s statement on {} was denied{by}", data.connection),
        "review.expired" => format!("{who}'s statement on {} has expired", data.connection),
        "review.withdrawn" => format!("{who}'s statement on {} waits no more", data.connection),
        "review.claimed" => format!("{who}'s statement on {} has begun to run", data.connection),
        "review.escalated" => format!("{who}'s statement on {} still waits for reviewers", data.connection),
        "review.created" => format!("{who}'s statement on {} waits for reviewers", data.connection),
        "grant.extended" => format!("{who} has {what} for longer"),
        "grant.break_glass" => format!("BREAK-GLASS: {who} has taken {what} without asking"),
        "grant.expired" => format!("{who}'s {what} has ended"),
        _ => format!("{who} asks for {what}"),
    };
    one_line(&line)
}

/// What there is to know, by name.
pub(super) fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let data = &message.data;
    let kind = |principal: &PrincipalRef| format!("{} ({})", principal.name, principal.kind);
    let reviewers = if data.reviewers.is_empty() { "admins".to_owned() } else { data.reviewers.join(", ") };
    let until = if data.status == "pending" { "Waits until" } else { "Until" };
    let facts = [
        ("Who", Some(kind(&data.principal))),
        ("For", data.on_behalf_of.as_ref().map(kind)),
        ("What", Some(format!("{} on {}", data.role, data.connection))),
        ("Why", Some(data.reason.clone())),
        ("Ticket", data.ticket.clone()),
        ("Effect", data.effect.clone()),
        ("For how long", data.duration.clone()),
        (until, data.expires_at.filter(|_| matches!(data.status.as_str(), "pending" | "open")).map(to_the_second)),
        ("Reviewers", Some(reviewers).filter(|_| data.status == "pending")),
        ("Answer", data.answer.clone()),
        ("Id", Some(data.id.clone())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, shown(&value?, MAX_VALUE)))).collect()
}

/// The statement, of a review.
pub(super) fn statement(message: &Message) -> Option<String> {
    message.data.statement.as_deref().map(|statement| shown(statement, MAX_STATEMENT))
}

fn to_the_second(at: Micros) -> String {
    Micros(at.0 - at.0.rem_euclid(1_000_000)).to_string()
}

/// Text of at most so many characters, with a mark where some are missing.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).map(printable).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { printable(c) }).collect()
}

/// No character that reorders what is shown, or moves a cursor.
fn printable(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}
