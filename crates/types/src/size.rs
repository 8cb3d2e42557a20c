//! Numbers of bytes as people write them.

use thiserror::Error;

/// Text that is not a number of bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a number of bytes: write for example `64MiB`, `500KiB` or `1GiB`")]
pub struct ParseBytesError(String);

/// Reads `64MiB`: a positive number of `B`, `KiB`, `MiB` or `GiB` (`kB`, `MB` and `GB` are the same, as PostgreSQL has
/// it).
///
/// # Errors
/// When the text is anything else.
pub fn parse_bytes(text: &str) -> Result<u64, ParseBytesError> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: Option<u64> = match text.strip_prefix(digits).map(str::trim) {
        Some("" | "B") => Some(1),
        Some("KiB" | "kB") => Some(1 << 10),
        Some("MiB" | "MB") => Some(1 << 20),
        Some("GiB" | "GB") => Some(1 << 30),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    number.filter(|number| *number > 0).ok_or_else(|| ParseBytesError(text.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        for (text, expected) in [("1", 1), ("500 B", 500), ("2KiB", 2 << 10), ("64MiB", 64 << 20), ("1GB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "MiB", "-1", "1TiB", "1.5MiB", "99999999999GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
