//! COPY data that is not as it should be, and forms of it that are refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_mask::{
    Encoding, Key, Mask, Masker, Type,
    copy::{Copy, RowError, Unsupported},
    value::LONGEST_VALUE,
};
use postern_sql::facts::{CopyFormat, CopyOut};
use std::collections::BTreeSet;

fn options(format: CopyFormat) -> CopyOut {
    let (delimiter, null) = if format == CopyFormat::Csv { (b',', "") } else { (b'\t', "\\N") };
    CopyOut {
        format,
        delimiter,
        null: null.to_owned(),
        quote: b'"',
        escape: b'"',
        header: false,
        force_quote: BTreeSet::new(),
        encoding: None,
    }
}

fn columns() -> Vec<Option<Masker>> {
    vec![None, Some(Masker::new(Some(Mask::Partial { keep: 4 }), Type::text(), &Key::new(&[7; 32])))]
}

/// What is given out, also when it ends with an error.
fn feed(options: &CopyOut, data: &[u8], size: usize) -> (Vec<u8>, Result<(), RowError>) {
    let mut copy = Copy::new(options.clone(), Encoding::Utf8, columns()).unwrap();
    let mut out = Vec::new();
    let result = data.chunks(size).try_for_each(|piece| copy.feed(piece, &mut out));
    (out, result)
}

#[test]
fn data_that_is_not_as_announced_ends() {
    let check = |format, data: &[u8], out: &[u8], expect| {
        for size in [1, 2, 3, data.len()] {
            let (got, result) = feed(&options(format), data, size);
            assert_eq!(result, Err(expect), "{data:?}");
            assert!(got.starts_with(out) && !got.windows(6).any(|bytes| bytes == b"secret"), "{got:?}");
        }
    };
    let (text, csv, binary) = (CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary);
    check(text, b"1\n", b"1", RowError::Fields { expected: 2, found: 1 });
    check(text, b"1\tsecret\tsecret\n", b"1\t", RowError::Fields { expected: 2, found: 3 });
    check(csv, b"1,\"secret\"secret\n", b"1,", RowError::Malformed);
    check(csv, b"1,sec\"ret\"\n", b"1,", RowError::Malformed);
    check(csv, b"1,\"secret\",\n", b"1,", RowError::Fields { expected: 2, found: 3 });
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let with = |rest: &[u8]| [&header[..], rest].concat();
    check(binary, b"PGCOPY\n\xfe\r\n\0\0\0\0\0\0\0\0\0", b"", RowError::Malformed);
    check(binary, &with(b"\0\x03"), header, RowError::Fields { expected: 2, found: 3 });
    check(binary, &with(b"\0\x02\xff\xff\xff\xfe"), header, RowError::Malformed);
    check(binary, &with(b"\xff\xffsecret"), header, RowError::Malformed);
    // As it should be: two rows and the trailer.
    let rows = b"\0\x02\0\0\0\x011\0\0\0\x06secret\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    let masked = b"\0\x02\0\0\0\x011\0\0\0\x08****cret\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(feed(&options(binary), &with(rows), 1), (with(masked), Ok(())));
}

#[test]
fn nothing_of_a_value_goes_on_before_its_end() {
    assert_eq!(feed(&options(CopyFormat::Text), b"1\tsecret", 1), (b"1\t".to_vec(), Ok(())));
    assert_eq!(feed(&options(CopyFormat::Csv), b"1,\"secret\n\"\"", 1), (b"1,".to_vec(), Ok(())));
}

#[test]
fn what_is_too_long_is_redacted() {
    let line = |length| [b"1\t", &b"x".repeat(length)[..], b"\\\\\n"].concat();
    let (kept, _) = feed(&options(CopyFormat::Text), &line(LONGEST_VALUE - 1), 8192);
    assert_eq!(kept, b"1\t****xxx\\\\\n");
    let (redacted, _) = feed(&options(CopyFormat::Text), &line(LONGEST_VALUE), 8192);
    assert_eq!(redacted, b"1\t[redacted]\n");
}

#[test]
fn forms_that_cannot_be_told_apart_are_refused() {
    let (text, csv) = (CopyFormat::Text, CopyFormat::Csv);
    let encoded = |format, encoding| Copy::new(options(format), encoding, columns()).err();
    assert_eq!(encoded(text, Encoding::AsciiInside), Some(Unsupported::Encoding));
    assert_eq!(encoded(csv, Encoding::AsciiInside), Some(Unsupported::Encoding));
    assert_eq!(encoded(CopyFormat::Binary, Encoding::AsciiInside), None);
    assert_eq!(encoded(text, Encoding::Multibyte), None);
    let check = |format, change: fn(&mut CopyOut), expect| {
        let mut options = options(format);
        change(&mut options);
        assert_eq!(Copy::new(options, Encoding::Utf8, columns()).err(), expect);
    };
    // `\` and a tab would be read as a tab in the value, and the next column's value as this one's.
    check(text, |options| options.null = "\\".to_owned(), Some(Unsupported::Null));
    check(text, |options| options.null = "NULL".to_owned(), None);
    check(csv, |options| options.null = "\\".to_owned(), None);
    check(csv, |options| options.null = "\"".to_owned(), Some(Unsupported::Delimiters));
    check(csv, |options| options.quote = b',', Some(Unsupported::Delimiters));
    check(csv, |options| options.quote = b'\'', None);
    check(text, |options| options.delimiter = b'\\', Some(Unsupported::Delimiters));
    check(text, |options| options.delimiter = b'n', Some(Unsupported::Delimiters));
    check(text, |options| options.delimiter = b'|', None);
    check(csv, |options| options.delimiter = b'\n', Some(Unsupported::Delimiters));
}
