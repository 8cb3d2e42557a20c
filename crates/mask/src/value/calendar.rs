//! Days and their dates in the Gregorian calendar, as PostgreSQL counts them.

/// Days from 0000-03-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH: i64 = 730_425;

/// In 400 years.
const ERA_DAYS: i64 = 146_097;

/// The years that a timestamp can have, those before Christ left out: they are written otherwise.
const YEARS: std::ops::RangeInclusive<i64> = 1..=294_276;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A day of a year that we handle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Day {
    pub year: i64,
    pub month: u8,
    pub day: u8,
}

impl Day {
    pub fn new(year: i64, month: u8, day: u8) -> Option<Self> {
        let this = Self { year, month, day };
        // The 30th of February is another day when counted.
        (YEARS.contains(&year) && Self::from_number(this.number()) == Some(this)).then_some(this)
    }

    /// Days since 2000-01-01.
    pub fn number(self) -> i64 {
        // Years begin in March, so that a leap day is a year's last.
        let year = self.year - i64::from(self.month <= 2);
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - EPOCH
    }

    /// The other way; `None` for a year that we do not handle.
    pub fn from_number(number: i64) -> Option<Self> {
        let days = number.checked_add(EPOCH)?;
        let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = u8::try_from(day_of_year - (153 * month + 2) / 5 + 1).ok()?;
        let month = u8::try_from(if month < 10 { month + 3 } else { month - 9 }).ok()?;
        let year = era.checked_mul(400)? + year_of_era + i64::from(month <= 2);
        YEARS.contains(&year).then_some(Self { year, month, day })
    }

    pub fn weekday(self) -> &'static str {
        // 2000-01-01 was a Saturday.
        let index = usize::try_from((self.number() + 6).rem_euclid(7)).unwrap_or(0);
        WEEKDAYS.get(index).copied().unwrap_or_default()
    }

    pub fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        let check = |year, month, day, number, weekday| {
            let date = Day::new(year, month, day).unwrap();
            assert_eq!((date.number(), date.weekday()), (number, weekday), "{date:?}");
            assert_eq!(Day::from_number(number), Some(date));
        };
        check(2000, 1, 1, 0, "Sat");
        check(1970, 1, 1, -10_957, "Thu");
        check(2024, 2, 29, 8_825, "Thu");
        check(1, 1, 1, -730_119, "Mon");
        for (year, month, day) in
            [(2023, 2, 29), (2024, 13, 1), (2024, 0, 1), (2024, 4, 31), (0, 1, 1), (294_277, 1, 1)]
        {
            assert_eq!(Day::new(year, month, day), None);
        }
        for number in (-730_119..200_000).step_by(37) {
            assert_eq!(Day::from_number(number).unwrap().number(), number);
        }
        assert_eq!(Day::from_number(i64::MAX), None);
        assert_eq!(Day::from_number(i64::MIN), None);
    }
}
