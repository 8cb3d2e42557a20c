//! Segments, as connectors send them and as a crash leaves them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

use postern_audit::segment::{self, MAX_RECORD_BYTES};
use postern_fuzz::{mangled, proptest, target};
use postern_proto::v1::{AuditRecord, SessionEnded, StatementText, audit_record::Record};
use proptest::{collection::vec, prelude::*};

fn records() -> impl Strategy<Value = Vec<AuditRecord>> {
    let text = (any::<u32>(), vec(any::<u8>(), 0..60)).prop_map(|(reference, text)| {
        Record::Text(StatementText { r#ref: reference, text: text.into(), ..StatementText::default() })
    });
    let ended = (any::<u64>(), "[a-z]{0,9}").prop_map(|(statements, reason)| {
        Record::SessionEnded(SessionEnded { statements, reason, ..SessionEnded::default() })
    });
    vec(prop_oneof![text, ended].prop_map(|record| AuditRecord { record: Some(record) }), 0..6)
}

fn frames(records: &[AuditRecord]) -> Vec<u8> {
    let mut out = Vec::new();
    records.iter().for_each(|record| segment::append(&mut out, record).unwrap());
    out
}

target!(fuzz_segments_come_back, records(), |records| {
    prop_assert_eq!(segment::decode(&segment::encode(&records).unwrap()).unwrap(), records);
    Ok(())
});

target!(fuzz_segments, mangled(records().prop_map(|records| segment::encode(&records).unwrap())), |packed| {
    if let Ok(read) = segment::decode(&packed) {
        prop_assert_eq!(segment::decode(&segment::encode(&read).unwrap()).unwrap(), read);
    }
    Ok(())
});

target!(
    /// What is kept of a torn file can be read, all of it, and nothing more could be kept.
    fuzz_torn_files,
    (records(), mangled(records().prop_map(|records| frames(&records)))),
    |(before, torn)| {
        let whole = frames(&before);
        let file = [&whole[..], &torn].concat();
        let kept = segment::whole_prefix(&file);
        prop_assert!((whole.len()..=file.len()).contains(&kept));
        prop_assert_eq!(segment::whole_prefix(&file[..kept]), kept);
        if let Ok(read) = segment::decode(&segment::pack(&file[..kept]).unwrap()) {
            prop_assert_eq!(&read[..before.len()], &before[..]);
        }
        let next = file.get(kept..kept + 4).map(|length| u32::from_le_bytes(length.try_into().unwrap()) as usize);
        prop_assert!(next.is_none_or(|length| length > MAX_RECORD_BYTES || segment::decode(&segment::pack(&file).unwrap()).is_err()));
        Ok(())
    }
);
