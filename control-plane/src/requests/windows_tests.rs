//! Examples around midnight and where clocks are changed, and a comparison with what clocks show.

use super::*;
use postern_api::error::ApiError;
use postern_fuzz::{
    proptest::{
        collection::vec,
        prelude::*,
        sample::{select, subsequence},
    },
    target,
};

fn window(text: &str) -> Window {
    text.parse().unwrap()
}

fn micros(text: &str) -> Micros {
    text.parse::<Timestamp>().unwrap().into()
}

/// Until when it is open at that moment, however far.
fn until(windows: &[&str], at: &str) -> Option<String> {
    let windows: Vec<_> = windows.iter().map(|text| window(text)).collect();
    let at = micros(at);
    open_until(&windows, at, Micros(at.0 + 7 * 86_400_000_000)).map(|end| end.to_string())
}

fn is(time: &str) -> Option<String> {
    Some(time.to_owned())
}

#[test]
fn on_a_day() {
    // 2026-01-05 is a Monday; Berlin is an hour ahead.
    let office = ["mon-fri 09:00-17:00 Europe/Berlin"];
    assert_eq!(until(&office, "2026-01-05T07:59:59Z"), None);
    assert_eq!(until(&office, "2026-01-05T08:00:00Z"), is("2026-01-05T16:00:00Z"));
    assert_eq!(until(&office, "2026-01-05T15:59:59Z"), is("2026-01-05T16:00:00Z"));
    assert_eq!(until(&office, "2026-01-05T16:00:00Z"), None);
    assert_eq!(until(&office, "2026-01-10T10:00:00Z"), None);
    // In summer it is two.
    assert_eq!(until(&office, "2026-07-06T07:00:00Z"), is("2026-07-06T15:00:00Z"));
}

#[test]
fn over_midnight() {
    let night = ["fri 22:00-06:00 America/New_York"];
    // Friday the 9th, 22:00 there.
    assert_eq!(until(&night, "2026-01-10T02:59:59Z"), None);
    assert_eq!(until(&night, "2026-01-10T03:00:00Z"), is("2026-01-10T11:00:00Z"));
    assert_eq!(until(&night, "2026-01-10T10:59:59Z"), is("2026-01-10T11:00:00Z"));
    assert_eq!(until(&night, "2026-01-10T11:00:00Z"), None);
    // Early on a Friday is the night from Thursday.
    assert_eq!(until(&night, "2026-01-09T08:00:00Z"), None);
    // One after the other without a break.
    let nights = ["mon-tue 22:00-06:00 UTC", "tue 06:00-08:00 UTC"];
    assert_eq!(until(&nights, "2026-01-05T23:00:00Z"), is("2026-01-06T08:00:00Z"));
    assert_eq!(until(&["mon-tue 00:00-00:00 UTC"], "2026-01-05T12:00:00Z"), is("2026-01-07T00:00:00Z"));
}

#[test]
fn where_clocks_are_put_forward() {
    // 2026-03-29 in Berlin: 02:00 becomes 03:00, which is 01:00 UTC.
    assert_eq!(until(&["sun 01:00-04:00 Europe/Berlin"], "2026-03-29T00:30:00Z"), is("2026-03-29T02:00:00Z"));
    // What begins or ends in the hour that is left out begins or ends as it is left out.
    assert_eq!(until(&["sun 02:30-03:30 Europe/Berlin"], "2026-03-29T00:59:59Z"), None);
    assert_eq!(until(&["sun 02:30-03:30 Europe/Berlin"], "2026-03-29T01:00:00Z"), is("2026-03-29T01:30:00Z"));
    assert_eq!(until(&["sun 01:00-02:30 Europe/Berlin"], "2026-03-29T00:30:00Z"), is("2026-03-29T01:00:00Z"));
    assert_eq!(until(&["sun 02:10-02:50 Europe/Berlin"], "2026-03-29T01:00:00Z"), None);
    assert_eq!(until(&["sat 22:00-06:00 Europe/Berlin"], "2026-03-29T03:59:59Z"), is("2026-03-29T04:00:00Z"));
}

#[test]
fn where_clocks_are_put_back() {
    // 2026-10-25 in Berlin: 03:00 becomes 02:00, which is 01:00 UTC.
    assert_eq!(until(&["sun 01:00-04:00 Europe/Berlin"], "2026-10-24T23:00:00Z"), is("2026-10-25T03:00:00Z"));
    // What comes twice counts the first time.
    assert_eq!(until(&["sun 02:30-04:00 Europe/Berlin"], "2026-10-25T00:30:00Z"), is("2026-10-25T03:00:00Z"));
    assert_eq!(until(&["sun 01:00-02:30 Europe/Berlin"], "2026-10-25T00:29:59Z"), is("2026-10-25T00:30:00Z"));
    assert_eq!(until(&["sun 01:00-02:30 Europe/Berlin"], "2026-10-25T01:10:00Z"), None);
}

#[test]
fn what_cannot_be_understood_is_told_and_closed() {
    for (bad, part) in [
        ("mon 9-17:00 UTC", "time of day"),
        ("mon 09:00-24:00 UTC", "time of day"),
        ("mon 09:00-17:00 Mars/Olympus", "time zone"),
    ] {
        let Problem::Told(error) = check(&[window(bad)]).unwrap_err() else { panic!("{bad}") };
        let ApiError { field, message, .. } = *error;
        assert!(field.as_deref() == Some("windows") && message.contains(part), "{message}");
        assert_eq!(open_until(&[window(bad)], micros("2026-01-05T12:00:00Z"), Micros(i64::MAX)), None);
    }
    assert!(check(&[Window { days: Vec::new(), ..window("mon 09:00-17:00 UTC") }]).is_err());
    assert!(check(&vec![window("mon 09:00-17:00 UTC"); MAX_WINDOWS + 1]).is_err());
    check(&vec![window("mon 09:00-17:00 UTC"); MAX_WINDOWS]).unwrap();
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let time = || (0u8..24, select(vec![0u8, 15, 30, 59])).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"));
    let zone = select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]);
    let window = (subsequence(Weekday::ALL.to_vec(), 1..=7), time(), time(), zone)
        .prop_map(|(days, from, to, zone)| Window { days, from, to, time_zone: zone.to_owned() });
    vec(window, 1..4)
}

/// Whether clocks show a time within the window.
fn shows(window: &Window, at: Micros) -> bool {
    let Read { from, to, zone } = read(window).unwrap();
    let shown = zone.to_datetime(Timestamp::from(at));
    let on = |day: Day| window.days.iter().any(|known| weekday(*known) == day);
    let (today, before) = (on(shown.weekday()), on(shown.weekday().previous()));
    let time = shown.time();
    if to > from { today && from <= time && time < to } else { (today && time >= from) || (before && time < to) }
}

/// Whether clocks show it once, and did so a day before and will a day after: no change of clocks is near.
fn is_plain(window: &Window, at: Micros) -> bool {
    let zone = read(window).unwrap().zone;
    let offset = |hours: i64| zone.to_offset(Micros(at.0 + hours * 3_600_000_000).into());
    offset(-30) == offset(30)
}

target!(fuzz_windows_are_what_clocks_show, (windows(), 1_700_000_000i64..1_800_000_000, 1i64..200_000), |(
    windows,
    second,
    length,
)| {
    let (now, limit) = (Micros(second * 1_000_000), Micros((second + length) * 1_000_000));
    let until = open_until(&windows, now, limit);
    if windows.iter().all(|window| is_plain(window, now)) {
        prop_assert_eq!(until.is_some(), windows.iter().any(|window| shows(window, now)));
    }
    let Some(end) = until else { return Ok(()) };
    prop_assert!(now < end && end <= limit);
    // Open until then, and not beyond.
    for part in 0..8 {
        let between = Micros(now.0 + (end.0 - now.0) / 8 * part);
        prop_assert_eq!(open_until(&windows, between, limit), Some(end));
    }
    if end < limit {
        prop_assert_eq!(open_until(&windows, end, limit), None);
    }
    Ok(())
});
