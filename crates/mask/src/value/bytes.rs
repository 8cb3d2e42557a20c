//! `uuid` and `bytea`.

use super::{Format, Masker};
use crate::{key::Purpose, mask::Mask};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;

/// Of a digest, as much as a uuid has.
const HASH_BYTES: usize = 16;

/// Where a uuid's text has a hyphen, in hexadecimal digits.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl Masker {
    pub(super) fn uuid(&self, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut id = [0; HASH_BYTES];
        match format {
            Format::Text => {
                let mut digits = [0; 2 * HASH_BYTES];
                let [a, b, c, d, e] = GROUPS;
                let groups: [&[u8]; 5] = {
                    let mut parts = value.split(|byte| *byte == b'-');
                    let groups = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
                    (parts.next().is_none() && groups.map(<[u8]>::len) == [a, b, c, d, e]).then_some(groups)?
                };
                digits.iter_mut().zip(groups.concat()).for_each(|(to, from)| *to = from);
                HEX.decode_mut(&digits, &mut id).ok()?;
            }
            Format::Binary => id = value.try_into().ok()?,
        }
        let mut masked = self.hash(&id)?;
        // Version 8: whatever its maker means by it (RFC 9562).
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut masked;
        *version = 0x80 | *version & 0x0f;
        *variant = 0x80 | *variant & 0x3f;
        match format {
            Format::Binary => out.extend_from_slice(&masked),
            Format::Text => {
                let mut digits = [0; 2 * HASH_BYTES];
                HEX.encode_mut(&masked, &mut digits);
                let mut rest = &digits[..];
                for (at, length) in GROUPS.into_iter().enumerate() {
                    if at > 0 {
                        out.push(b'-');
                    }
                    let (group, after) = rest.split_at_checked(length)?;
                    out.extend_from_slice(group);
                    rest = after;
                }
            }
        }
        Some(())
    }

    pub(super) fn bytea(&self, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let masked = match format {
            Format::Binary => self.hash(value)?,
            Format::Text => self.hash(&decode(value)?)?,
        };
        match format {
            Format::Binary => out.extend_from_slice(&masked),
            // Whatever `bytea_output` says: those who read its older form read this one too.
            Format::Text => {
                out.extend_from_slice(b"\\x");
                let mut digits = [0; 2 * HASH_BYTES];
                HEX.encode_mut(&masked, &mut digits);
                out.extend_from_slice(&digits);
            }
        }
        Some(())
    }

    fn hash(&self, value: &[u8]) -> Option<[u8; HASH_BYTES]> {
        if self.mask != Mask::Hash {
            return None;
        }
        self.key.digest(Purpose::Hash, value).first_chunk().copied()
    }
}

/// What a `bytea`'s text stands for: `\x` and digits, or, by `bytea_output = escape`, bytes with `\\` and `\ooo` among them.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix(b"\\x") {
        return HEX.decode(digits).ok();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Some(bytes)
}
