//! `numeric`: digits with a point, as text or in groups of four.

use super::{Format, Masker, number::noisy};
use crate::{key::Purpose, mask::Mask, types::Precision};
use std::io::Write;

/// Of numbers with more digits nothing is made: NULL. They fit an `i128` with a group of four to spare.
const MOST_DIGITS: u32 = 34;

/// A hash has no more: they fit what clients count in.
const HASH_DIGITS: u32 = 18;

/// As the binary form has them.
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;

/// A group of four digits.
const GROUP: u128 = 10_000;

/// The digits that a hash has in such a column; none where there is no room.
pub(crate) fn hash_digits(precision: Option<Precision>) -> u32 {
    precision.map_or(HASH_DIGITS, |Precision { digits, scale }| {
        let whole = u32::from(digits.saturating_sub(scale));
        whole.min(HASH_DIGITS).min(MOST_DIGITS.saturating_sub(u32::from(scale)))
    })
}

/// `mantissa / 10^scale`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Masker {
    pub(super) fn numeric(
        &self,
        precision: Option<Precision>,
        format: Format,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let decimal = match format {
            Format::Text => Decimal::from_text(value)?,
            Format::Binary => Decimal::from_binary(value)?,
        };
        let Decimal { mantissa, scale } = decimal.shortest();
        let masked = match self.mask {
            Mask::Hash => {
                let digest = self.number(Purpose::Hash, format_args!("{mantissa}/{scale}"), out)?;
                let scale = precision.map_or(0, |precision| u32::from(precision.scale));
                let whole = i128::try_from(digest % power(hash_digits(precision))?).ok()?;
                Decimal { mantissa: whole.checked_mul(power(scale)?.try_into().ok()?)?, scale }
            }
            Mask::Noise => {
                let digest = self.number(Purpose::Noise, format_args!("{mantissa}/{scale}"), out)?;
                let digits = precision.map_or(MOST_DIGITS, |precision| u32::from(precision.digits).min(MOST_DIGITS));
                let end = power(digits)?;
                Decimal { mantissa: noisy(decimal.mantissa, digest, |noisy| noisy.unsigned_abs() < end)?, ..decimal }
            }
            _ => return None,
        };
        match format {
            Format::Text => masked.put_text(out),
            Format::Binary => masked.put_binary(out),
        }
    }
}

fn power(exponent: u32) -> Option<u128> {
    10u128.checked_pow(exponent)
}

impl Decimal {
    /// Only within the bound in digits.
    fn new(negative: bool, magnitude: u128, scale: u32) -> Option<Self> {
        if magnitude >= power(MOST_DIGITS)? || scale > MOST_DIGITS {
            return None;
        }
        let mantissa = i128::try_from(magnitude).ok()?;
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
        let (mut magnitude, mut point, mut scale, mut any) = (0u128, false, 0, false);
        for byte in digits {
            match byte {
                b'0'..=b'9' => {
                    magnitude = magnitude.checked_mul(10)?.checked_add(u128::from(byte - b'0'))?;
                    scale += u32::from(point);
                    any = true;
                }
                b'.' if !point => point = true,
                // Also NaN and Infinity.
                _ => return None,
            }
        }
        if any { Self::new(negative, magnitude, scale) } else { None }
    }

    fn from_binary(bytes: &[u8]) -> Option<Self> {
        let (header, groups) = bytes.split_first_chunk::<8>()?;
        let [count_a, count_b, weight_a, weight_b, sign_a, sign_b, scale_a, scale_b] = *header;
        let count = usize::from(u16::from_be_bytes([count_a, count_b]));
        let weight = i32::from(i16::from_be_bytes([weight_a, weight_b]));
        let negative = match u16::from_be_bytes([sign_a, sign_b]) {
            POSITIVE => false,
            NEGATIVE => true,
            _ => return None,
        };
        let scale = u16::from_be_bytes([scale_a, scale_b]);
        let (groups, rest) = groups.as_chunks::<2>();
        if groups.len() != count || !rest.is_empty() {
            return None;
        }
        let mut magnitude = 0u128;
        // The power of ten of the mantissa that a group's last digit stands at.
        let mut exponent = weight.checked_mul(4)?.checked_add(i32::from(scale))?;
        for group in groups {
            let group = u128::from(u16::from_be_bytes(*group));
            if group >= GROUP {
                return None;
            }
            let part = match u32::try_from(exponent) {
                _ if group == 0 => 0,
                Ok(exponent) => group.checked_mul(power(exponent)?)?,
                // Digits beyond the scale are zeros.
                Err(_) => {
                    let beyond = power(exponent.unsigned_abs())?;
                    if group % beyond != 0 {
                        return None;
                    }
                    group / beyond
                }
            };
            magnitude = magnitude.checked_add(part)?;
            exponent -= 4;
        }
        Self::new(negative, magnitude, u32::from(scale))
    }

    /// Equal numbers in one form.
    fn shortest(mut self) -> Self {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    fn put_text(self, out: &mut Vec<u8>) -> Option<()> {
        let unit = power(self.scale)?;
        let magnitude = self.mantissa.unsigned_abs();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        write!(out, "{sign}{}", magnitude / unit).ok()?;
        if self.scale > 0 {
            let width = usize::try_from(self.scale).ok()?;
            write!(out, ".{:0width$}", magnitude % unit).ok()?;
        }
        Some(())
    }

    fn put_binary(self, out: &mut Vec<u8>) -> Option<()> {
        let fraction_groups = self.scale.div_ceil(4);
        let mut rest = self.mantissa.unsigned_abs().checked_mul(power(fraction_groups * 4 - self.scale)?)?;
        // Zeros at the end are not written.
        let mut weight = -i16::try_from(fraction_groups).ok()? - 1;
        while rest != 0 && rest % GROUP == 0 {
            rest /= GROUP;
            weight += 1;
        }
        let mut divisor = 1u128;
        let mut count = 0u16;
        while rest / divisor != 0 {
            count += 1;
            match divisor.checked_mul(GROUP) {
                Some(larger) => divisor = larger,
                None => break,
            }
        }
        let weight = if count == 0 { 0 } else { weight + i16::try_from(count).ok()? };
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&if self.mantissa < 0 { NEGATIVE } else { POSITIVE }.to_be_bytes());
        out.extend_from_slice(&u16::try_from(self.scale).ok()?.to_be_bytes());
        for place in (0..u32::from(count)).rev() {
            let group = u16::try_from(rest / GROUP.checked_pow(place)? % GROUP).ok()?;
            out.extend_from_slice(&group.to_be_bytes());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "12345.6789",
            "10000",
            "100000000",
            "0.0001",
            "-0.00010",
            "1234567.5",
            "99999999999999999999999999999999.99",
        ] {
            let decimal = Decimal::from_text(text.as_bytes()).unwrap();
            let (mut again, mut binary) = (Vec::new(), Vec::new());
            decimal.put_text(&mut again).unwrap();
            assert_eq!(again, text.as_bytes());
            decimal.put_binary(&mut binary).unwrap();
            assert_eq!(Decimal::from_binary(&binary), Some(decimal), "{text}: {binary:?}");
        }
        for wrong in ["", "-", ".", "1.2.3", "1e5", "NaN", "Infinity", "1 ", "100000000000000000000000000000000000"] {
            assert_eq!(Decimal::from_text(wrong.as_bytes()), None, "{wrong}");
        }
        let nan = [0, 0, 0, 0, 0xc0, 0, 0, 0];
        let ten_thousand_in_a_group = [0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10];
        let too_short = [0, 2, 0, 0, 0, 0, 0, 0, 0, 1];
        for wrong in [&nan[..], &ten_thousand_in_a_group, &too_short, &[]] {
            assert_eq!(Decimal::from_binary(wrong), None, "{wrong:?}");
        }
    }
}
