//! Integers and floating-point numbers.

use super::{Format, Masker};
use crate::{
    key::Purpose,
    mask::Mask,
    types::{Type, Width},
};
use std::io::Write;

impl Masker {
    pub(super) fn int(&self, width: Width, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let number: i64 = match format {
            Format::Text => std::str::from_utf8(value).ok()?.parse().ok()?,
            Format::Binary => match width {
                Width::Two => i16::from_be_bytes(value.try_into().ok()?).into(),
                Width::Four => i32::from_be_bytes(value.try_into().ok()?).into(),
                Width::Eight => i64::from_be_bytes(value.try_into().ok()?),
            },
        };
        let range = match width {
            Width::Two => i16::MIN.into()..=i16::MAX.into(),
            Width::Four => i32::MIN.into()..=i32::MAX.into(),
            Width::Eight => i64::MIN..=i64::MAX,
        };
        let masked: i64 = match self.mask {
            // The top bits, as many as a number of the width has that is not negative.
            Mask::Hash => {
                let most = u128::from(range.end().unsigned_abs());
                let digest = self.number(Purpose::Hash, format_args!("{number}"), out)?;
                i64::try_from(digest >> (most.leading_zeros())).ok()?
            }
            Mask::Noise => {
                let shift = self.number(Purpose::Noise, format_args!("{number}"), out)?;
                let within = |noisy: &i128| i64::try_from(*noisy).is_ok_and(|noisy| range.contains(&noisy));
                i64::try_from(noisy(number.into(), shift, within)?).ok()?
            }
            _ => return None,
        };
        if !range.contains(&number) {
            return None;
        }
        match (format, width) {
            (Format::Text, _) => write!(out, "{masked}").ok()?,
            (Format::Binary, Width::Two) => out.extend_from_slice(&i16::try_from(masked).ok()?.to_be_bytes()),
            (Format::Binary, Width::Four) => out.extend_from_slice(&i32::try_from(masked).ok()?.to_be_bytes()),
            (Format::Binary, Width::Eight) => out.extend_from_slice(&masked.to_be_bytes()),
        }
        Some(())
    }

    pub(super) fn float(&self, ty: &Type, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let narrow = *ty == Type::Float4;
        let text = || std::str::from_utf8(value).ok();
        let number: f64 = match (format, narrow) {
            (Format::Text, true) => text()?.parse::<f32>().ok()?.into(),
            (Format::Text, false) => text()?.parse().ok()?,
            (Format::Binary, true) => f32::from_be_bytes(value.try_into().ok()?).into(),
            (Format::Binary, false) => f64::from_be_bytes(value.try_into().ok()?),
        };
        if self.mask != Mask::Noise || !number.is_finite() {
            return None;
        }
        // Text may have been rounded (extra_float_digits): what is the same to six digits is shifted alike.
        let digest = self.number(Purpose::Noise, format_args!("{number:.5e}"), out)?;
        let part = share(digest);
        let shifted = |part: f64| {
            let noisy = if number == 0.0 { part } else { number * (1.0 + part) };
            // Of the column's own precision, so that both formats give the same.
            #[expect(clippy::cast_possible_truncation, reason = "rounded, as the column's values are")]
            if narrow { f64::from(noisy as f32) } else { noisy }
        };
        let noisy = Some(shifted(part)).filter(|noisy| noisy.is_finite()).unwrap_or_else(|| shifted(-part.abs()));
        // Too small for a tenth of it to be told from it.
        if !noisy.is_finite() || noisy == number {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is of that precision already")]
        let single = noisy as f32;
        match (format, narrow) {
            // Without an exponent, where hundreds of digits would be written.
            (Format::Text, true) if plain(noisy) => write!(out, "{single}").ok()?,
            (Format::Text, true) => write!(out, "{single:e}").ok()?,
            (Format::Text, false) if plain(noisy) => write!(out, "{noisy}").ok()?,
            (Format::Text, false) => write!(out, "{noisy:e}").ok()?,
            (Format::Binary, true) => out.extend_from_slice(&single.to_be_bytes()),
            (Format::Binary, false) => out.extend_from_slice(&noisy.to_be_bytes()),
        }
        Some(())
    }
}

fn plain(number: f64) -> bool {
    (1e-5..1e15).contains(&number.abs())
}

/// Up to a tenth either way, evenly and finely enough that no candidate stands out; never next to nothing.
fn share(digest: u128) -> f64 {
    let fine = u32::try_from(digest >> 96).unwrap_or(u32::MAX);
    let finer = u32::try_from(digest >> 64 & u128::from(u32::MAX)).unwrap_or(u32::MAX);
    let even = (f64::from(fine) + f64::from(finer) / 4_294_967_296.0) / 4_294_967_296.0;
    let part = 0.001 + 0.099 * even;
    if digest & 1 == 0 { part } else { -part }
}

/// A whole number shifted by up to a tenth of it, at least by one, so that it is never the number itself; to the other
/// side where it would leave the range.
pub(super) fn noisy(number: i128, digest: u128, within: impl Fn(&i128) -> bool) -> Option<i128> {
    let most = number.unsigned_abs().div_ceil(10).max(1);
    let shift = i128::try_from(1 + (digest >> 1) % most).ok()?;
    let shift = if digest & 1 == 0 { shift } else { -shift };
    [shift, -shift].into_iter().filter_map(|shift| number.checked_add(shift)).find(within)
}
