//! Needs that come again and again: granted by rule until a date, at certain times of the week.

use postern_types::time::Micros;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use utoipa::ToSchema;

/// The body of `POST /standing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStanding {
    /// The connection's name.
    pub connection: String,
    /// The access role's name.
    pub role: String,
    /// The longest that one grant lasts: `30m`.
    pub duration: String,
    /// No grant lasts longer.
    #[schema(value_type = String, format = DateTime)]
    pub until: Micros,
    /// At any of these times; none: always.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Why.
    pub reason: String,
    /// The name of the user for whom an agent asks.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
    /// The ticket behind it.
    #[serde(default)]
    pub ticket: Option<String>,
    /// The relations that are needed, as `schema.name`; none: whatever the role reaches.
    #[serde(default)]
    pub relations: Vec<String>,
}

/// Until when something is granted by rule, and at which times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recurring {
    /// No grant lasts longer.
    #[schema(value_type = String, format = DateTime)]
    pub until: Micros,
    /// At any of these times; none: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

/// A time of the week: `mon-fri 22:00-06:00 Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// When it begins, by the clocks of the time zone: `22:00`.
    pub from: String,
    /// When it ends: on the next day where that is not after its beginning.
    pub to: String,
    /// An IANA time zone: `Europe/Berlin`.
    pub time_zone: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "their names say it")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    /// All of them, from Monday.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }

    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|day| day.as_str() == text)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<_> = self.days.iter().map(|day| day.as_str()).collect();
        write!(f, "{} {}-{} {}", days.join(","), self.from, self.to, self.time_zone)
    }
}

/// Reads `mon-fri 22:00-06:00 Europe/Berlin`; days are also `mon,wed`, and `daily`. What the times and the zone are is
/// for the control plane to say.
impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of the week: write `mon-fri 22:00-06:00 Europe/Berlin`");
        let parts: Vec<_> = text.split_whitespace().collect();
        let [days, times, time_zone] = parts.as_slice() else { return Err(wrong()) };
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let days = days_of(&days.to_ascii_lowercase()).ok_or_else(wrong)?;
        Ok(Self { days, from: from.to_owned(), to: to.to_owned(), time_zone: (*time_zone).to_owned() })
    }
}

fn days_of(text: &str) -> Option<Vec<Weekday>> {
    if text == "daily" {
        return Some(Weekday::ALL.to_vec());
    }
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (Weekday::read(first)?, Weekday::read(last)?);
        // `fri-mon` goes over the end of the week.
        let from_first = Weekday::ALL.into_iter().cycle().skip_while(|day| *day != first);
        let after_last = from_first.take(Weekday::ALL.len()).scan(false, |over, day| {
            let kept = !*over;
            *over |= day == last;
            kept.then_some(day)
        });
        days.extend(after_last);
    }
    days.sort();
    days.dedup();
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Weekday::{Fri, Mon, Sat, Sun, Tue, Wed};

    #[test]
    fn windows_are_read_and_written() {
        for (text, days) in [
            ("mon 09:00-17:00 Europe/Berlin", vec![Mon]),
            ("mon-wed 22:00-06:00 UTC", vec![Mon, Tue, Wed]),
            ("Sat,mon 22:00-06:00 UTC", vec![Mon, Sat]),
            ("fri-mon 00:00-00:00 UTC", vec![Mon, Fri, Sat, Sun]),
            ("daily 00:00-00:00 UTC", Weekday::ALL.to_vec()),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(window.days, days, "{text}");
            assert_eq!(window.to_string().parse(), Ok(window), "{text}");
        }
        for text in ["", "mon", "mon 09:00 UTC", "mon 09:00-17:00", "day 09:00-17:00 UTC", "mon- 09:00-17:00 UTC"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
