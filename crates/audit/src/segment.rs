//! A segment is a run of records that stands by itself. In a connector's outbox it is a file of frames; on the
//! way and in the control plane's store it is zstd of the same frames.
//!
//! A frame is `u32 LE length of body`, `u32 LE CRC-32 of body`, body: an [`AuditRecord`] in protobuf. A frame
//! whose length or checksum is wrong ends the segment: it was torn by a crash, and what it would have recorded
//! was never forwarded.

use bytes::{Buf, BufMut};
use postern_proto::v1::AuditRecord;
use prost::Message;
use thiserror::Error;

/// Longest body of one frame: a statement's text is bounded at 1 MiB, so that twice that is never reached.
pub const MAX_RECORD_BYTES: usize = 2 << 20;

/// Longest segment once unpacked. A connector begins a new one long before (see its outbox).
pub const MAX_SEGMENT_BYTES: usize = 32 << 20;

const HEADER_BYTES: usize = 8;

/// A segment that cannot be read, or a record that cannot be written.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// Compression failed, or what was unpacked is not zstd or is over [`MAX_SEGMENT_BYTES`].
    #[error("the segment cannot be packed or unpacked")]
    Zstd(#[source] std::io::Error),
    /// A frame is damaged, where no torn tail is allowed.
    #[error("the frame at byte {at} is damaged")]
    Damaged {
        /// Offset in the unpacked segment.
        at: usize,
    },
    /// A frame's body is not a record.
    #[error("the record at byte {at} cannot be decoded")]
    Decode {
        /// Offset in the unpacked segment.
        at: usize,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// A record is over [`MAX_RECORD_BYTES`].
    #[error("a record of {0} bytes is over the limit of {MAX_RECORD_BYTES}")]
    TooLarge(usize),
}

/// Appends one frame to `out`.
///
/// # Errors
/// When the record is over [`MAX_RECORD_BYTES`]; `out` is then as it was.
pub fn append(out: &mut Vec<u8>, record: &AuditRecord) -> Result<(), SegmentError> {
    let length = record.encoded_len();
    if length > MAX_RECORD_BYTES {
        return Err(SegmentError::TooLarge(length));
    }
    out.reserve(HEADER_BYTES + length);
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    record.encode_raw(out);
    if let Some((header, body)) = out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(HEADER_BYTES)) {
        let mut header = header;
        // Bounded by MAX_RECORD_BYTES above, so it fits.
        header.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        header.put_u32_le(crc32fast::hash(body));
    }
    Ok(())
}

/// How many bytes from the start of `frames` are whole frames: where a torn file is to be cut.
#[must_use]
pub fn whole_prefix(frames: &[u8]) -> usize {
    let mut rest = frames;
    while let Some((_, after)) = split_frame(rest) {
        rest = after;
    }
    frames.len() - rest.len()
}

/// Packs frames for the way.
///
/// # Errors
/// When compression fails.
pub fn pack(frames: &[u8]) -> Result<Vec<u8>, SegmentError> {
    zstd::bulk::compress(frames, 1).map_err(SegmentError::Zstd)
}

/// Frames and packs records.
///
/// # Errors
/// When a record is too large or compression fails.
pub fn encode(records: &[AuditRecord]) -> Result<Vec<u8>, SegmentError> {
    let mut frames = Vec::new();
    for record in records {
        append(&mut frames, record)?;
    }
    pack(&frames)
}

/// Unpacks a segment into its frames. The bytes come from a peer: their size is bounded.
///
/// # Errors
/// When it is not zstd, or too large.
pub fn unpack(payload: &[u8]) -> Result<Vec<u8>, SegmentError> {
    let told = zstd::zstd_safe::get_frame_content_size(payload).ok().flatten();
    let capacity = told.and_then(|told| usize::try_from(told).ok()).unwrap_or(MAX_SEGMENT_BYTES).min(MAX_SEGMENT_BYTES);
    zstd::bulk::decompress(payload, capacity).map_err(SegmentError::Zstd)
}

/// The records of frames, one after another; after an error there is no other.
pub fn records(frames: &[u8]) -> impl Iterator<Item = Result<AuditRecord, SegmentError>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = frames.len() - rest.len();
        let Some((body, after)) = split_frame(rest) else {
            rest = &[];
            return Some(Err(SegmentError::Damaged { at }));
        };
        let record = AuditRecord::decode(body).map_err(|source| SegmentError::Decode { at, source });
        rest = if record.is_ok() { after } else { &[] };
        Some(record)
    })
}

/// Unpacks a segment into its records.
///
/// # Errors
/// When anything in it is damaged, too large or not a record.
pub fn decode(payload: &[u8]) -> Result<Vec<AuditRecord>, SegmentError> {
    records(&unpack(payload)?).collect()
}

/// The first frame's body and what follows it, if it is whole and undamaged.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let length = usize::try_from(header.get_u32_le()).ok()?;
    let checksum = header.get_u32_le();
    if length > MAX_RECORD_BYTES {
        return None;
    }
    let (body, after) = rest.split_at_checked(length)?;
    (crc32fast::hash(body) == checksum).then_some((body, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_proto::v1::{StatementText, audit_record::Record};

    fn text(reference: u32, text: &[u8]) -> AuditRecord {
        let text =
            StatementText { r#ref: reference, text: text.to_vec().into(), length: 0, sha256: Default::default() };
        AuditRecord { record: Some(Record::Text(text)) }
    }

    #[test]
    fn round_trip() {
        let records: Vec<_> = (0..100).map(|i| text(i, b"SELECT 1")).collect();
        assert_eq!(decode(&encode(&records).unwrap()).unwrap(), records);
        assert_eq!(decode(&encode(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_torn_tail_is_cut_at_every_byte() {
        let mut frames = Vec::new();
        append(&mut frames, &text(1, b"SELECT 1")).unwrap();
        let first = frames.len();
        append(&mut frames, &text(2, b"SELECT 2")).unwrap();
        for cut in 0..frames.len() {
            let expect = if cut < first { 0 } else { first };
            assert_eq!(whole_prefix(&frames[..cut]), expect, "cut at {cut}");
        }
        assert_eq!(whole_prefix(&frames), frames.len());
    }

    #[test]
    fn too_large_is_refused_and_nothing_written() {
        let mut frames = vec![7];
        assert!(append(&mut frames, &text(1, &vec![b'x'; MAX_RECORD_BYTES])).is_err());
        assert_eq!(frames, [7]);
    }
}
