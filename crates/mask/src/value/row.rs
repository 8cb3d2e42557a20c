//! Composite values in binary: each field has its type, so that detectors look through those that are text.

use super::{Detectors, Format, Masker, Put, array};
use crate::{fields::put_field, types::Type};

/// The length of a field that is NULL.
const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// A count of fields, and of each the object id of its type, its length and its bytes. A composite within it goes on as it is.
pub(super) fn binary(masker: &Masker, kinds: Detectors, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (count, mut rest) = value.split_first_chunk::<4>()?;
    out.extend_from_slice(count);
    for _ in 0..u32::from_be_bytes(*count) {
        let (oid, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        out.extend_from_slice(oid);
        if *length == NULL {
            out.extend_from_slice(&NULL);
            rest = after;
            continue;
        }
        let (given, after) = after.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        rest = after;
        let ty = Type::of(u32::from_be_bytes(*oid), -1);
        let _put = put_field(out, |out| {
            let looked = match &ty {
                Type::Text(_) | Type::Json | Type::Jsonb => masker.detected(kinds, &ty, Format::Binary, given, out),
                Type::Array(element) if matches!(**element, Type::Text(_) | Type::Json | Type::Jsonb) => {
                    array::binary(masker, element, given, out)
                }
                _ => {
                    out.extend_from_slice(given);
                    Some(())
                }
            };
            looked.map_or(Put::Null, |()| Put::Value)
        });
    }
    rest.is_empty().then_some(())
}
