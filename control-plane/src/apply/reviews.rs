//! How statements wait for people on a connection: what a document's types do not say.

use super::check::named;
use crate::problem::Problem;
use postern_api::document::ReviewTerms;
use postern_types::time::{format_duration, parse_duration};
use std::time::Duration;

/// The longest that a client waits: its session holds a connection to the database meanwhile.
const MAX_HOLD: Duration = Duration::from_secs(600);

/// The longest that it waits with locks, for which others wait in turn.
const MAX_HOLD_LOCKS: Duration = Duration::from_secs(60);

/// The longest that a review can be answered, and then used.
const MAX_VALID: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most groups that may answer too.
const MAX_GROUPS: usize = 20;

pub(super) fn terms(terms: &ReviewTerms) -> Result<(), Problem> {
    length("reviews.hold", terms.hold.as_deref(), MAX_HOLD)?;
    length("reviews.valid", terms.valid.as_deref(), MAX_VALID)?;
    if terms.hold_locks.as_deref() != Some("0s") {
        length("reviews.hold_locks", terms.hold_locks.as_deref(), MAX_HOLD_LOCKS)?;
    }
    if terms.hold_locks() > terms.hold() {
        return Err(Problem::invalid("reviews.hold_locks", "is longer than `reviews.hold`"));
    }
    length("reviews.fresh", terms.fresh.as_deref(), MAX_VALID)?;
    if terms.acr.iter().any(|acr| acr.is_empty() || acr.contains(char::is_whitespace)) || terms.acr.len() > MAX_GROUPS {
        return Err(Problem::invalid(
            "reviews.acr",
            format!("name 1 to {MAX_GROUPS} ways of signing in, as the identity provider names them"),
        ));
    }
    let Some(escalate) = &terms.escalate else { return Ok(()) };
    length("reviews.escalate.after", Some(&escalate.after), MAX_VALID)?;
    if escalate.after() >= terms.valid() {
        return Err(Problem::invalid("reviews.escalate.after", "is not before the review expires: `reviews.valid`"));
    }
    if escalate.to.is_empty() || escalate.to.len() > MAX_GROUPS {
        return Err(Problem::invalid("reviews.escalate.to", format!("name 1 to {MAX_GROUPS} groups")));
    }
    escalate.to.iter().try_for_each(|group| named("reviews.escalate.to", group))
}

fn length(field: &str, text: Option<&str>, most: Duration) -> Result<(), Problem> {
    let Some(text) = text else { return Ok(()) };
    let length = parse_duration(text).map_err(|error| Problem::invalid(field, error.to_string()))?;
    if length > most {
        return Err(Problem::invalid(field, format!("at most {}", format_duration(most))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::problem::Problem;
    use serde_json::{Value, json};

    fn check(terms: Value, field: Option<&str>) {
        let checked = super::terms(&serde_json::from_value(terms.clone()).unwrap());
        let wrong = checked.err().map(|problem| match problem {
            Problem::Told(error) => error.field.unwrap(),
            Problem::Fault(cause) => panic!("{cause}"),
        });
        assert_eq!(wrong.as_deref(), field, "{terms}");
    }

    #[test]
    fn what_can_be_said_of_reviews() {
        check(json!({}), None);
        let all = json!({ "hold": "20s", "hold_locks": "5s", "valid": "1h", "escalate": { "after": "10m", "to": ["oncall"] } });
        check(all, None);
        check(json!({ "hold_locks": "0s" }), None);
        check(json!({ "fresh": "5m", "acr": ["phr"] }), None);
        check(json!({ "fresh": "soon" }), Some("reviews.fresh"));
        check(json!({ "acr": ["a b"] }), Some("reviews.acr"));
        for (key, bad) in [("hold", "11m"), ("hold", "soon"), ("hold", "0s"), ("hold_locks", "2m"), ("valid", "8d")] {
            check(json!({ key: bad }), Some(&format!("reviews.{key}")));
        }
        check(json!({ "hold": "2s", "hold_locks": "3s" }), Some("reviews.hold_locks"));
        let escalate = |after: &str, to: Value| json!({ "escalate": { "after": after, "to": to } });
        check(escalate("1h", json!(["oncall"])), Some("reviews.escalate.after"));
        check(escalate("59m", json!(["oncall"])), None);
        check(escalate("1m", json!([])), Some("reviews.escalate.to"));
        check(escalate("1m", json!(["on call"])), Some("reviews.escalate.to"));
    }
}
