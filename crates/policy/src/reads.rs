//! What a policy reads of that which changes while a grant lasts: the statement, the time, the client's address.

use crate::{decision::Lifetime, subject::Moment};
use postern_types::time::Micros;
use serde_json::Value;

/// The hours and weekdays of all zones change at these borders, and so do the zones' offsets from UTC.
const QUARTER_US: i64 = 15 * 60 * 1_000_000;

const MINUTE_US: i64 = 60 * 1_000_000;

/// What is read. By default nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Reads {
    pub(crate) statement: bool,
    pub(crate) client: bool,
    pub(crate) time: Clock,
}

/// How finely the time is read.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Clock {
    /// Not at all.
    #[default]
    None,
    /// The hour, the weekday, the offset.
    Quarter,
    /// The minute.
    Minute,
    /// The time itself.
    Exact,
}

impl Reads {
    pub(crate) const EVERYTHING: Self = Self { statement: true, client: true, time: Clock::Exact };

    /// Whether nothing is read, so that an answer holds as long as the grant and the policies.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            statement: self.statement || other.statement,
            client: self.client || other.client,
            time: self.time.max(other.time),
        }
    }

    /// How long an answer holds that was given at a moment.
    pub(crate) fn lifetime(self, moment: &Moment) -> Lifetime {
        let border = |at: i64, step: i64| at.div_euclid(step).saturating_add(1).saturating_mul(step);
        // Zones change their offsets at borders of UTC; hours and minutes change at those of the zone.
        let next = |step: i64| {
            let offset = i64::from(moment.offset) * 1_000_000;
            let local = border(moment.now.0.saturating_add(offset), step).saturating_sub(offset);
            Micros(border(moment.now.0, step).min(local))
        };
        match self.time {
            Clock::None => Lifetime::Unlimited,
            Clock::Quarter => Lifetime::Until(next(QUARTER_US)),
            Clock::Minute => Lifetime::Until(next(MINUTE_US)),
            Clock::Exact => Lifetime::Once,
        }
    }

    /// What the conditions of a policy read, from Cedar's JSON. What is not understood counts as reading everything.
    pub(crate) fn of(conditions: &Value) -> Self {
        match conditions {
            Value::Object(node) => {
                if let Some(attribute) = attribute(conditions, is_context) {
                    return Self::of_attribute(attribute);
                }
                if let Some(field) = attribute(conditions, |left| attribute(left, is_context) == Some("time")) {
                    return Self { time: clock(field), ..Self::default() };
                }
                if is_context(conditions) {
                    return Self::EVERYTHING;
                }
                node.values().map(Self::of).fold(Self::default(), Self::with)
            }
            Value::Array(items) => items.iter().map(Self::of).fold(Self::default(), Self::with),
            _ => Self::default(),
        }
    }

    fn of_attribute(attribute: &str) -> Self {
        match attribute {
            // INVARIANT: these are the same for all statements of a grant on one access. A plan relies on it.
            "grant" | "connection" | "access" => Self::default(),
            "statement" => Self { statement: true, ..Self::default() },
            "client" => Self { client: true, ..Self::default() },
            "time" => Self { time: Clock::Exact, ..Self::default() },
            _ => Self::EVERYTHING,
        }
    }
}

fn clock(field: &str) -> Clock {
    match field {
        "hour" | "weekday" | "offset" => Clock::Quarter,
        "minute" => Clock::Minute,
        _ => Clock::Exact,
    }
}

/// The attribute, where a node is `left.attribute`.
fn attribute(node: &Value, left: impl Fn(&Value) -> bool) -> Option<&str> {
    let access = node.as_object().filter(|node| node.len() == 1)?.get(".")?;
    access.get("left").filter(|node| left(node))?;
    access.get("attr")?.as_str()
}

fn is_context(node: &Value) -> bool {
    node.as_object().is_some_and(|node| node.get("Var").and_then(Value::as_str) == Some("context"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::Policy;

    #[test]
    fn reads_of_conditions() {
        let nothing = Reads::default();
        let statement = Reads { statement: true, ..nothing };
        let time = |time| Reads { time, ..nothing };
        for (condition, expected) in [
            ("true", nothing),
            (r#"principal in Group::"a" && resource.tags.contains("x")"#, nothing),
            (r#"context.grant.role == "read" || context.connection.freeze"#, nothing),
            (r#"context["access"].manner == "copy""#, nothing),
            ("context.statement.filtered", statement),
            (r#"["a"].contains(context.statement.tag)"#, statement),
            (r#"if context.grant.tainted then context.statement.nested else false"#, statement),
            ("context.time.hour >= 9 && context.time.weekday < 6", time(Clock::Quarter)),
            ("context.time.hour >= 9 && context.time.minute < 6", time(Clock::Minute)),
            (r#"context.time.now < datetime("2027-01-01")"#, time(Clock::Exact)),
            ("context.time == context.time", time(Clock::Exact)),
            (r#"context.client.address.isInRange(ip("10.0.0.0/8"))"#, Reads { client: true, ..nothing }),
            ("context has statement", Reads::EVERYTHING),
            (r#"{a: context}.a.grant.role == "x""#, Reads::EVERYTHING),
        ] {
            let text = format!("permit(principal, action, resource) when {{ {condition} }};");
            let json = Policy::parse(None, text).unwrap().to_json().unwrap();
            let found = Reads::of(&json["conditions"]);
            assert_eq!(found, expected, "{condition}");
        }
    }

    #[test]
    fn lifetimes() {
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let of = |time, now, offset| {
            Reads { time, ..Reads::default() }.lifetime(&Moment { now: Micros(now), offset, client })
        };
        let at = |time, now| of(time, now, 0);
        assert_eq!(at(Clock::None, 5), Lifetime::Unlimited);
        assert_eq!(at(Clock::Quarter, 5), Lifetime::Until(Micros(QUARTER_US)));
        assert_eq!(at(Clock::Quarter, QUARTER_US), Lifetime::Until(Micros(2 * QUARTER_US)));
        assert_eq!(at(Clock::Minute, -1), Lifetime::Until(Micros(0)));
        assert_eq!(at(Clock::Exact, 5), Lifetime::Once);
        // Zones of whole quarters share the borders of UTC; any other has its own as well.
        assert_eq!(of(Clock::Quarter, 5, 5 * 3600 + 2700), Lifetime::Until(Micros(QUARTER_US)));
        assert_eq!(of(Clock::Quarter, 5, 60), Lifetime::Until(Micros(QUARTER_US - MINUTE_US)));
        assert_eq!(of(Clock::Quarter, 5, -60), Lifetime::Until(Micros(MINUTE_US)));
        assert_eq!(of(Clock::Minute, 0, 1), Lifetime::Until(Micros(MINUTE_US - 1_000_000)));
    }
}
