//! Ids, durations and times as people and peers write them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{mangled, proptest, target, text};
use postern_types::{
    id::{GrantId, SessionId},
    time::{Micros, format_duration, parse_duration},
};
use proptest::prelude::*;
use std::time::Duration;

target!(fuzz_ids, mangled(Just("grt_01arz3ndektsv4rrffq69g5fav".as_bytes().to_vec())), |text| {
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.parse::<GrantId>() {
        Ok(id) => {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(
                text.len() == 30 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            prop_assert!(text.parse::<SessionId>().is_err(), "an id of two kinds");
        }
        // An error repeats what was sent, but not at any length.
        Err(error) => prop_assert!(error.to_string().chars().count() < 200),
    }
    Ok(())
});

target!(fuzz_durations, text("1290 hmsdwyPT.-+", 14), |text| {
    if let Ok(duration) = parse_duration(&text) {
        prop_assert!(!duration.is_zero());
        let again = parse_duration(&format_duration(duration));
        let whole = Duration::from_secs(duration.as_secs());
        prop_assert!(whole.is_zero() || again == Ok(whole), "{duration:?} is written and read as {again:?}");
    }
    Ok(())
});

target!(fuzz_times, (any::<i64>(), any::<i64>(), any::<u64>()), |(a, b, seconds)| {
    let (a, b) = (Micros(a), Micros(b));
    prop_assert!(a.plus(Duration::from_secs(seconds)) >= a);
    prop_assert!(a.since(b).is_zero() || a > b);
    let time = jiff::Timestamp::from(a);
    prop_assert!(Micros::from(time) == a || time == jiff::Timestamp::MIN || time == jiff::Timestamp::MAX);
    prop_assert!(!a.to_string().is_empty());
    Ok(())
});
