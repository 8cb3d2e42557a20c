//! Times of the week, by the clocks of a time zone. Pure, but for the zones' rules, which the system has.
//!
//! A window is from its beginning on a day to its end, on that day or the next. Where clocks are put forward over one of
//! them, it is the moment of that; where they are put back, so that it comes twice, the first time counts.

use crate::problem::{Problem, shorten};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time, Weekday as Day},
    tz::{AmbiguousOffset, TimeZone},
};
use postern_api::standing::{Weekday, Window};
use postern_types::time::Micros;

/// The most windows of one standing approval.
const MAX_WINDOWS: usize = 50;

/// A window, read.
struct Read {
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// Whether these can be understood.
///
/// # Errors
/// Which cannot, and why.
pub fn check(windows: &[Window]) -> Result<(), Problem> {
    if windows.len() > MAX_WINDOWS {
        return Err(Problem::invalid("windows", format!("at most {MAX_WINDOWS} windows")));
    }
    for window in windows {
        if window.days.is_empty() {
            return Err(Problem::invalid("windows", "a window has a day on which it begins"));
        }
        read(window).map_err(|problem| Problem::invalid("windows", problem))?;
    }
    Ok(())
}

/// Until when windows are open without a break, from `now` on; no further than `limit` is looked. None: none is open.
/// What cannot be understood any more is closed.
#[must_use]
pub fn open_until(windows: &[Window], now: Micros, limit: Micros) -> Option<Micros> {
    let mut until = now;
    while until < limit {
        // One may begin as another ends.
        let Some(end) = windows.iter().filter_map(|window| end_of_open(window, until)).max() else { break };
        until = end;
    }
    (until > now).then(|| until.min(limit))
}

/// When a window ends that is open then.
fn end_of_open(window: &Window, at: Micros) -> Option<Micros> {
    let Read { from, to, zone } = read(window).ok()?;
    let today = zone.to_datetime(Timestamp::from(at)).date();
    let open = |began: Date| {
        if !window.days.iter().any(|day| weekday(*day) == began.weekday()) {
            return None;
        }
        let ends = if to > from { began } else { began.tomorrow().ok()? };
        let (start, end) = (moment(began.to_datetime(from), &zone)?, moment(ends.to_datetime(to), &zone)?);
        (start <= at && at < end).then_some(end)
    };
    // The one that began yesterday may go on over midnight.
    [today.yesterday().ok(), Some(today)].into_iter().flatten().filter_map(open).max()
}

/// When clocks show this for the first time, or would.
fn moment(shown: DateTime, zone: &TimeZone) -> Option<Micros> {
    let ambiguous = zone.to_ambiguous_timestamp(shown);
    let gap = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    let earlier = ambiguous.earlier().ok()?;
    let at = if gap { zone.following(earlier).next()?.timestamp() } else { earlier };
    Some(at.into())
}

fn read(window: &Window) -> Result<Read, String> {
    let time = |text: &str| {
        Time::strptime("%H:%M", text).map_err(|_| format!("`{}` is not a time of day: write `22:00`", shorten(text)))
    };
    let (from, to) = (time(&window.from)?, time(&window.to)?);
    let zone = TimeZone::get(&window.time_zone).map_err(|_| {
        format!(
            "`{}` is no time zone that the control plane's host knows: write `Europe/Berlin`",
            shorten(&window.time_zone)
        )
    })?;
    Ok(Read { from, to, zone })
}

fn weekday(day: Weekday) -> Day {
    match day {
        Weekday::Mon => Day::Monday,
        Weekday::Tue => Day::Tuesday,
        Weekday::Wed => Day::Wednesday,
        Weekday::Thu => Day::Thursday,
        Weekday::Fri => Day::Friday,
        Weekday::Sat => Day::Saturday,
        Weekday::Sun => Day::Sunday,
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
