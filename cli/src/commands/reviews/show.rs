//! One review, laid out for a person who has to answer it.

use super::who;
use crate::{
    commands::proof,
    output::{self, printable},
};
use postern_api::review::{Effect, Preview, Proposal, RelationEffect, Review, ReviewStatus, Sample, SampleValue};

/// The longest value of a sample, in characters.
const MAX_VALUE: usize = 32;

/// Everything that is known of a review, and what to type next.
pub fn whole(review: &Review) -> String {
    let mut lines = head(review);
    lines.push(String::new());
    lines.extend(review.statement.sql.lines().map(|line| format!("    {}", printable(line))));
    if let Some(bytes) = review.statement.sql_bytes {
        lines.push(format!("    … of {} bytes", grouped(bytes)));
    }
    lines.push(String::new());
    lines.extend(preview(&review.preview, review.statement.not_boundable_because.as_deref()));
    lines.push(String::new());
    lines.extend(answers(review));
    lines.extend(next(review));
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n")
}

fn head(review: &Review) -> Vec<String> {
    let mut lines = vec![
        format!("review      {}", review.id),
        format!("status      {}", status(review)),
        format!("who         {} {}", review.principal.kind, who(&review.principal, review.on_behalf_of.as_ref())),
        format!("why         {}", review.reason),
    ];
    lines.extend(proof(review.on_behalf_of.as_ref(), review.behalf_proof.as_ref()));
    lines.extend(review.ticket.iter().map(|ticket| format!("ticket      {ticket}")));
    lines.push(format!("access      {} on {} ({})", review.role, review.connection, review.grant_id));
    lines.push(format!("session     {}", review.session_id));
    lines.push(format!("sent        {}", output::time(review.created_at)));
    if matches!(review.status, ReviewStatus::Pending | ReviewStatus::Approved) {
        lines.push(format!("expires     {}", output::time(review.expires_at)));
    }
    if review.status == ReviewStatus::Pending {
        let needed: Vec<_> = review.needed.iter().map(ToString::to_string).collect();
        let others = review.escalated_at.map(|_| format!("; or of {}", review.escalate_to.join(", ")));
        lines.push(format!("waits for   {}{}", needed.join(" and "), others.unwrap_or_default()));
        lines.push(match review.waiting {
            0 => "client      has a ticket and sends it again".to_owned(),
            _ => "client      waits".to_owned(),
        });
    }
    lines.extend(review.statement.policies.iter().map(|policy| format!("policy      {policy}")));
    lines.extend(review.statement.message.iter().map(|message| format!("            {message}")));
    lines.extend(review.url.iter().map(|url| format!("page        {url}")));
    lines.iter().map(|line| printable(line)).collect()
}

fn status(review: &Review) -> String {
    let because = review.because.as_ref().map(|because| format!(": {because}")).unwrap_or_default();
    let used = match review.decision.as_ref() {
        Some(decision) if decision.for_grant => format!(", used {} times", review.uses),
        _ => String::new(),
    };
    format!("{}{used}{because}", review.status.as_str())
}

fn preview(preview: &Preview, not_boundable: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    match (&preview.effect, &preview.not_made, &preview.fails) {
        (Some(effect), _, _) => lines.extend(effect_lines(effect)),
        (_, Some(why), _) => lines.push(format!("Not tried: {}", printable(why))),
        (_, _, Some(error)) => {
            lines.push(format!("It fails: {} ({})", printable(&error.message), printable(&error.sqlstate)));
        }
        _ => lines.push("Not tried.".to_owned()),
    }
    lines
        .extend(not_boundable.map(|why| format!("note        cannot be held to a number of rows: {}", printable(why))));
    lines.extend(preview.notes.iter().map(|note| format!("note        {}", printable(note))));
    lines.extend(preview.plan.iter().map(|plan| format!("plan        {}", printable(plan))));
    lines
}

fn effect_lines(effect: &Effect) -> Vec<String> {
    let mut lines: Vec<String> = effect.relations.iter().flat_map(relation).collect();
    let how = if effect.exact { "counted" } else { "estimated" };
    lines.push(format!("{} {} in all, {how}", grouped(effect.rows), plural(effect.rows)));
    lines.extend(effect.samples.iter().flat_map(sample));
    lines
}

/// `312 rows of 48,110 in public.orders would be deleted`.
fn relation(effect: &RelationEffect) -> Vec<String> {
    let of = effect.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
    let indirect = if effect.indirect { ", by a cascade or a trigger" } else { "" };
    let name = printable(&effect.relation);
    let line = |count: u64, what: &str| {
        let of = if what == "inserted" { "" } else { of.as_str() };
        format!("{} {}{of} in {name} would be {what}{indirect}", grouped(count), plural(count))
    };
    let kinds = [(effect.deleted, "deleted"), (effect.updated, "updated"), (effect.inserted, "inserted")];
    kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| line(count, what)).collect()
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "row" } else { "rows" }
}

fn sample(sample: &Sample) -> Vec<String> {
    let titles: Vec<&str> = sample.columns.iter().map(String::as_str).collect();
    let mut lines = Vec::new();
    for (when, rows) in [("as it is", &sample.before), ("as it would be", &sample.after)] {
        if rows.is_empty() {
            continue;
        }
        lines.push(String::new());
        lines.push(format!("{}, {when}", printable(&sample.relation)));
        let rows = rows.iter().map(|row| row.iter().map(value).collect());
        let left = vec![false; titles.len()];
        lines.extend(output::table(&titles, &left, rows).lines().map(|line| format!("    {line}")));
    }
    lines
}

fn value(value: &SampleValue) -> String {
    match (&value.text, value.masked) {
        (None, true) => "masked".to_owned(),
        (None, false) => "NULL".to_owned(),
        (Some(text), true) => format!("{} (masked)", output::shortened(text, MAX_VALUE)),
        (Some(text), false) => output::shortened(text, MAX_VALUE),
    }
}

fn answers(review: &Review) -> Vec<String> {
    let mut lines = Vec::new();
    for vote in &review.votes {
        let reason = vote.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let what = match &vote.approves {
            Some(proposal) => format!("approved, to run {}", decision(proposal)),
            None => "denied".to_owned(),
        };
        lines.push(format!("vote        {} {what}, {}{reason}", vote.reviewer.name, output::time(vote.at)));
    }
    for comment in &review.comments {
        lines.push(format!("comment     {}, {}: {}", comment.author.name, output::time(comment.at), comment.text));
    }
    let mut lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    if let Some(sql) = review.decision.as_ref().and_then(|decision| decision.edited_sql.as_ref()) {
        lines.push("runs instead".to_owned());
        lines.extend(sql.lines().map(|line| format!("    {}", printable(line))));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// `once, changing at most 312 rows`.
pub fn decision(proposal: &Proposal) -> String {
    let times = match (proposal.for_grant, proposal.free.as_slice()) {
        (false, _) => "once".to_owned(),
        (true, []) => "as often as its grant lasts".to_owned(),
        (true, free) => format!("as often as its grant lasts, with any {}", printable(&free.join(", "))),
    };
    let text = if proposal.edited_sql.is_some() { ", as edited" } else { "" };
    let rows = proposal.max_rows.map(|rows| format!(", changing at most {} {}", grouped(rows), plural(rows)));
    format!("{times}{text}{}", rows.unwrap_or_default())
}

/// What to type next.
fn next(review: &Review) -> Vec<String> {
    if review.status != ReviewStatus::Pending {
        return Vec::new();
    }
    let id = &review.id;
    let statement = &review.statement;
    let counted = review.preview.effect.as_ref().filter(|effect| effect.exact);
    let mut lines = match counted.filter(|_| statement.not_boundable_because.is_none()) {
        Some(effect) => vec![format!("postern approve {id}    once, changing at most {}", grouped(effect.rows))],
        None => vec![format!("postern approve {id}    once")],
    };
    if statement.not_boundable_because.is_none() {
        lines.push(format!("postern approve {id} --max-rows N"));
    }
    if statement.editable {
        lines.push(format!("postern approve {id} --edit SQL"));
    }
    if !statement.literals.is_empty() {
        let names: Vec<_> = statement.literals.iter().map(|literal| literal.name.as_str()).collect();
        lines.push(format!("postern approve {id} --for-grant --free {}", printable(&names.join(","))));
    }
    lines.push(format!("postern deny {id} --reason \"…\""));
    lines
}

/// The rows of the preview, for a list.
pub fn rows(review: &Review) -> String {
    match &review.preview.effect {
        Some(effect) if effect.exact => grouped(effect.rows),
        Some(effect) => format!("~{}", grouped(effect.rows)),
        None => String::new(),
    }
}

/// `48,110`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let grouped = digits.char_indices().flat_map(|(at, digit)| {
        let comma = (at > 0 && at % 3 == first).then_some(',');
        comma.into_iter().chain([digit])
    });
    grouped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_as_sentences() {
        assert_eq!([0, 312, 1204, 48_110, 1_234_567].map(grouped), ["0", "312", "1,204", "48,110", "1,234,567"]);
        let of = |deleted, indirect, total| RelationEffect {
            relation: "public.orders".to_owned(),
            inserted: 0,
            updated: 0,
            deleted,
            indirect,
            total,
        };
        assert_eq!(relation(&of(312, false, Some(48_110))), ["312 rows of 48,110 in public.orders would be deleted"]);
        assert_eq!(
            relation(&of(1, true, None)),
            ["1 row in public.orders would be deleted, by a cascade or a trigger"]
        );
        assert!(relation(&of(0, false, None)).is_empty());
    }
}
