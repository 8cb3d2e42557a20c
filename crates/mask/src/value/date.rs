//! Dates and timestamps.
//!
//! Their text depends on the client's `DateStyle` and `TimeZone`. It is read by its form, and where that leaves open
//! what is meant (`02-03-1990`, the offset of `PST`), or the year is before Christ, the value becomes NULL. A masked
//! timestamp is at midnight; one with a time zone at midnight in UTC, so that both formats mean the same moment.

use super::{
    Format, Masker,
    calendar::{Day, MONTHS},
};
use crate::{key::Purpose, mask::Mask, types::Type};
use std::io::Write;

/// The farthest that noise shifts a day.
const NOISE_DAYS: u128 = 90;

const DAY_MICROS: i64 = 86_400_000_000;

/// How a day is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    /// `1997-12-17`
    Iso,
    /// `17.12.1997`
    German,
    /// `Wed Dec 17 07:37:16 1997`
    Postgres,
    /// The same with the day before the month.
    PostgresDayFirst,
    /// `12/17/1997` or `17/12/1997`
    Slashes,
    /// `12-17-1997` or `17-12-1997`
    Dashes,
}

/// What was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Read {
    Day(Day),
    /// Of a form that does not tell the day from the month.
    Year(i64),
}

impl Masker {
    pub(super) fn date(&self, ty: &Type, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match format {
            Format::Text => {
                let text = std::str::from_utf8(value).ok()?;
                let (style, read) = match ty {
                    Type::Date => day(text)?,
                    Type::Timestamp => timestamp(text)?,
                    _ => zoned(text)?,
                };
                write_text(ty, style, self.day(read, out)?, out)
            }
            Format::Binary if *ty == Type::Date => {
                let number = i32::from_be_bytes(value.try_into().ok()?);
                let masked = self.day(Read::Day(Day::from_number(number.into())?), out)?;
                out.extend_from_slice(&i32::try_from(masked.number()).ok()?.to_be_bytes());
                Some(())
            }
            Format::Binary => {
                let micros = i64::from_be_bytes(value.try_into().ok()?);
                let masked = self.day(Read::Day(Day::from_number(micros.div_euclid(DAY_MICROS))?), out)?;
                out.extend_from_slice(&masked.number().checked_mul(DAY_MICROS)?.to_be_bytes());
                Some(())
            }
        }
    }

    fn day(&self, read: Read, scratch: &mut Vec<u8>) -> Option<Day> {
        match (self.mask, read) {
            (Mask::DateYear, Read::Day(Day { year, .. }) | Read::Year(year)) => Day::new(year, 1, 1),
            (Mask::Noise, Read::Day(day)) => {
                let number = day.number();
                let digest = self.number(Purpose::Noise, format_args!("{number}"), scratch)?;
                let shift = i64::try_from(1 + (digest >> 1) % NOISE_DAYS).ok()?;
                let shift = if digest & 1 == 0 { shift } else { -shift };
                [number + shift, number - shift].into_iter().find_map(Day::from_number)
            }
            _ => None,
        }
    }
}

fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    // What `parse` takes besides: a sign.
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// A year has four digits at least, so that it can be told from a month and a day.
fn year(digits: &str) -> Option<i64> {
    if digits.len() < 4 { None } else { number(digits) }
}

fn day(text: &str) -> Option<(Style, Read)> {
    let separator = text.find(|letter: char| !letter.is_ascii_digit())?;
    let separator = text.get(separator..)?.chars().next()?;
    let mut parts = text.split(separator);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let exact = |year_text, month, day| Some(Read::Day(Day::new(year(year_text)?, number(month)?, number(day)?)?));
    // Either order may be right.
    let ambiguous = || {
        let (a, b) = (number::<u8>(first)?, number::<u8>(second)?);
        let year = year(third)?;
        Day::new(year, a, b).or_else(|| Day::new(year, b, a)).map(|_| Read::Year(year))
    };
    match separator {
        '-' if first.len() >= 4 => Some((Style::Iso, exact(first, second, third)?)),
        '-' => Some((Style::Dashes, ambiguous()?)),
        '.' => Some((Style::German, exact(third, second, first)?)),
        '/' => Some((Style::Slashes, ambiguous()?)),
        _ => None,
    }
}

fn timestamp(text: &str) -> Option<(Style, Read)> {
    if text.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return postgres(text);
    }
    let (date, time) = text.split_once(' ')?;
    seconds(time)?;
    day(date)
}

/// `Wed Dec 17 07:37:16.5 1997`
fn postgres(text: &str) -> Option<(Style, Read)> {
    let mut words = text.split(' ');
    let (_weekday, first, second) = (words.next()?, words.next()?, words.next()?);
    let (time, year_text) = (words.next()?, words.next()?);
    seconds(time)?;
    if words.next().is_some() {
        return None;
    }
    let month = |name: &str| {
        let index = MONTHS.iter().position(|month| *month == name)?;
        u8::try_from(index + 1).ok()
    };
    let (style, month, day) = match month(first) {
        Some(month) => (Style::Postgres, month, second),
        None => (Style::PostgresDayFirst, month(second)?, first),
    };
    Some((style, Read::Day(Day::new(year(year_text)?, month, number(day)?)?)))
}

/// With an offset in digits, which only ISO is sure to have. The day is that in UTC.
fn zoned(text: &str) -> Option<(Style, Read)> {
    let (date, time) = text.split_once(' ')?;
    let sign = time.find(['+', '-'])?;
    let (time, offset) = time.split_at_checked(sign)?;
    let (Style::Iso, Read::Day(local)) = day(date)? else { return None };
    let mut parts = offset.get(1..)?.split(':');
    let mut offset_seconds: i64 = 0;
    for unit in [3600, 60, 1] {
        match parts.next() {
            Some(digits) => offset_seconds += unit * number::<u8>(digits).map(i64::from)?,
            None if unit == 3600 => return None,
            None => {}
        }
    }
    if parts.next().is_some() {
        return None;
    }
    let utc = seconds(time)? - if offset.starts_with('-') { -offset_seconds } else { offset_seconds };
    Some((Style::Iso, Read::Day(Day::from_number(local.number() + utc.div_euclid(86_400))?)))
}

/// Of `07:37:16.123`, without the fraction.
fn seconds(time: &str) -> Option<i64> {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    number::<u32>(fraction)?;
    let mut parts = whole.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let [hours, minutes, seconds] =
        [number::<u8>(hours)?, number::<u8>(minutes)?, number::<u8>(seconds)?].map(i64::from);
    let fits = hours <= 24 && minutes < 60 && seconds <= 60 && parts.next().is_none();
    fits.then_some(hours * 3600 + minutes * 60 + seconds)
}

fn write_text(ty: &Type, style: Style, date: Day, out: &mut Vec<u8>) -> Option<()> {
    let Day { year, month, day } = date;
    match style {
        Style::Iso => write!(out, "{year:04}-{month:02}-{day:02}"),
        Style::German => write!(out, "{day:02}.{month:02}.{year:04}"),
        // Only the first of January comes here, which both orders write alike.
        Style::Slashes => write!(out, "{month:02}/{day:02}/{year:04}"),
        Style::Dashes => write!(out, "{month:02}-{day:02}-{year:04}"),
        Style::Postgres | Style::PostgresDayFirst => {
            let (weekday, name) = (date.weekday(), date.month_name());
            return match style {
                Style::Postgres => write!(out, "{weekday} {name} {day:02} 00:00:00 {year:04}").ok(),
                _ => write!(out, "{weekday} {day:02} {name} 00:00:00 {year:04}").ok(),
            };
        }
    }
    .ok()?;
    out.extend_from_slice(match ty {
        Type::Date => b"",
        Type::Timestamp => b" 00:00:00",
        _ => b" 00:00:00+00",
    });
    Some(())
}
