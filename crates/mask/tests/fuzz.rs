//! Values, rows and COPY data of the right form and bent ones: nothing panics, and no marker comes through.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{Cuts, cuts, mangled, proptest, target, text};
use postern_mask::{
    Encoding, Format, Key, Mask, Masker, Put, Type,
    copy::Copy,
    detect::{Detector, Detectors, Found, find, mask_json},
    rows::{Masked, RowError, Rows},
};
use postern_sql::facts::{CopyFormat, CopyOut};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Longer than what a mask keeps.
const MARKER: &str = "4cret-marker";

fn leaks(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
}

fn mask() -> impl Strategy<Value = Option<Mask>> {
    option::of(select(vec![
        Mask::Redact,
        Mask::Null,
        Mask::Partial { keep: 4 },
        Mask::Email,
        Mask::Hash,
        Mask::DateYear,
        Mask::Noise,
    ]))
}

fn ty() -> impl Strategy<Value = Type> {
    let oids = vec![
        16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1009, 1014, 1015, 1016, 1001, 1021, 1042, 1043, 1082, 1114,
        1182, 1184, 1185, 1231, 1700, 2950, 2951, 3802, 3807, 3904,
    ];
    (select(oids), select(vec![-1, 12, (9 << 16) + 2 + 4])).prop_map(|(oid, modifier)| Type::of(oid, modifier))
}

fn encoding() -> impl Strategy<Value = Encoding> {
    select(vec![Encoding::Utf8, Encoding::SingleByte, Encoding::Multibyte, Encoding::AsciiInside])
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let texts = vec![
        MARKER,
        "4cret-marker@4cret-marker.4cret-marker",
        "{4cret-marker,\"4cret-marker\",NULL}",
        "[0:1]={{4cret-marker},{\"\\\\4cret-marker\"}}",
        "-1234.5678",
        "1999-12-31 23:59:59.5+05:30",
        "Wed Dec 17 07:37:16 1997",
        "31.12.1999",
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "\\x4c726574",
        "1.5e300",
    ];
    let array = b"\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x02\0\0\0\x01\0\0\0\x0c4cret-marker\xff\xff\xff\xff";
    let binary = vec![
        array.to_vec(),
        vec![0, 2, 0, 0, 0x40, 0, 0, 4, 0x04, 0xd2, 0x16, 0x2e],
        vec![0, 0, 0, 0],
        vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ];
    prop_oneof![select(texts).prop_map(|text| text.as_bytes().to_vec()), select(binary)]
}

fn format() -> impl Strategy<Value = Format> {
    select(vec![Format::Text, Format::Binary])
}

target!(fuzz_values, (mask(), ty(), encoding(), format(), mangled(value())), |(mask, ty, encoding, format, value)| {
    let masker = Masker::new(mask, ty, &Key::new(&[7; 32])).in_encoding(encoding);
    let mut out = b"before".to_vec();
    let put = masker.put(format, &value, &mut out);
    prop_assert!(out.starts_with(b"before") && (put != Put::Null || out.len() == 6));
    prop_assert!(!leaks(&out), "{}", String::from_utf8_lossy(&out));
    let mut again = Vec::new();
    prop_assert_eq!(masker.put(format, &value, &mut again), put);
    prop_assert_eq!(&again, &out[6..]);
    Ok(())
});

/// Columns of text: whether each is masked, and its value.
fn fields() -> impl Strategy<Value = Vec<(bool, Option<String>)>> {
    vec((any::<bool>(), option::weighted(0.8, text("4cret-marker\\\"\t\n,N.", 20))), 1..6)
}

fn maskers(masked: &[bool]) -> Vec<Option<Masker>> {
    let masker = || Masker::new(Some(Mask::Partial { keep: 4 }), Type::text(), &Key::new(&[7; 32]));
    masked.iter().map(|masked| masked.then(masker)).collect()
}

fn body(fields: &[(bool, Option<String>)]) -> Vec<u8> {
    let mut body = u16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
    for (_, value) in fields {
        let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
    }
    body
}

fn rewrite(masked: &[bool], body: &[u8], cuts: Option<&Cuts>) -> Result<Vec<u8>, RowError> {
    let columns = maskers(masked);
    let column = |masker: Option<Masker>| masker.map(|masker| Masked { masker, format: Format::Text });
    let mut rows = Rows::new(columns.into_iter().map(column).collect());
    let mut out = Vec::new();
    rows.begin(body.len());
    let pieces = cuts.map(|cuts| cuts.pieces(body)).filter(|pieces| !pieces.is_empty());
    for piece in pieces.unwrap_or_else(|| vec![body]) {
        rows.feed(piece, &mut out)?;
    }
    Ok(out)
}

target!(fuzz_rows, (fields(), any::<bool>(), cuts(), mangled(Just(Vec::new()))), |(fields, whole, cuts, tail)| {
    let masked: Vec<bool> = fields.iter().map(|(masked, _)| *masked).collect();
    let secret = fields.iter().map(|(masked, value)| (*masked, value.as_ref().map(|value| format!("{MARKER}{value}"))));
    let fields: Vec<_> = if whole { secret.collect() } else { fields.clone() };
    let body = [body(&fields), tail.clone()].concat();
    let once = rewrite(&masked, &body, None);
    // However it is cut, it is the same.
    prop_assert_eq!(&rewrite(&masked, &body, Some(&cuts)), &once);
    prop_assert_eq!(once.is_ok(), tail.is_empty());
    if let Ok(out) = once {
        let length = usize::try_from(u32::from_be_bytes(out[1..5].try_into().unwrap())).unwrap();
        prop_assert_eq!(length + 1, out.len());
        prop_assert!(masked.contains(&false) || !leaks(&out));
    }
    Ok(())
});

target!(fuzz_bent_rows, (vec(any::<bool>(), 0..6), mangled(fields().prop_map(|fields| body(&fields))), cuts()), |(
    masked,
    body,
    cuts,
)| {
    prop_assert_eq!(rewrite(&masked, &body, Some(&cuts)), rewrite(&masked, &body, None));
    Ok(())
});

fn copy_options() -> impl Strategy<Value = CopyOut> {
    let formats = select(vec![CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary]);
    (
        formats,
        select(b"\t,;|\\n".to_vec()),
        select(vec!["\\N", "", "N", "\\"]),
        select(b"\"'\\".to_vec()),
        any::<bool>(),
    )
        .prop_map(|(format, delimiter, null, escape, header)| CopyOut {
            format,
            delimiter,
            null: null.into(),
            quote: b'"',
            escape,
            header,
            force_quote: [1].into(),
            encoding: None,
        })
}

fn copy_data() -> impl Strategy<Value = Vec<u8>> {
    let lines = text("4cret-marker\\\"\t\n,;N.", 60).prop_map(String::into_bytes);
    let binary = fields().prop_map(|fields| {
        let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        data.extend_from_slice(&body(&fields));
        data.extend_from_slice(&[0xff, 0xff]);
        data
    });
    prop_oneof![lines, binary]
}

target!(fuzz_copy, (copy_options(), vec(any::<bool>(), 0..4), mangled(copy_data()), cuts()), |(
    options,
    masked,
    data,
    cuts,
)| {
    let run = |pieces: Vec<&[u8]>| {
        let mut out = Vec::new();
        let mut copy = Copy::new(options.clone(), Encoding::Utf8, maskers(&masked)).ok()?;
        let result = pieces.iter().try_for_each(|piece| copy.feed(piece, &mut out));
        Some((out, result, copy.done()))
    };
    prop_assert_eq!(run(cuts.pieces(&data)), run(vec![&data]));
    Ok(())
});

/// A line with nothing but markers in its masked columns shows none of them, whatever they are written with.
fn line(fields: &[(bool, Option<String>)], csv: bool) -> Vec<u8> {
    let mut line = Vec::new();
    for (place, (masked, value)) in fields.iter().enumerate() {
        if place > 0 {
            line.push(if csv { b',' } else { b'\t' });
        }
        let value = if *masked { MARKER.to_owned() + value.as_deref().unwrap_or_default() } else { "plain".to_owned() };
        if csv {
            line.extend_from_slice(format!("\"{}\"", value.replace('"', "\"\"")).as_bytes());
        } else {
            let escaped = value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
            line.extend_from_slice(escaped.as_bytes());
        }
    }
    line.push(b'\n');
    line
}

target!(fuzz_copied_markers, (fields(), any::<bool>(), cuts()), |(fields, csv, cuts)| {
    let format = if csv { CopyFormat::Csv } else { CopyFormat::Text };
    let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
    let options = CopyOut {
        format,
        delimiter,
        null: null.into(),
        quote: b'"',
        escape: b'"',
        header: false,
        force_quote: [].into(),
        encoding: None,
    };
    let masked: Vec<bool> = fields.iter().map(|(masked, _)| *masked).collect();
    let mut copy = Copy::new(options, Encoding::Utf8, maskers(&masked)).unwrap();
    let mut out = Vec::new();
    for piece in cuts.pieces(&line(&fields, csv)) {
        prop_assert_eq!(copy.feed(piece, &mut out), Ok(()));
    }
    prop_assert!(!leaks(&out), "{}", String::from_utf8_lossy(&out));
    prop_assert_eq!(out.last(), Some(&b'\n'));
    Ok(())
});

fn speech() -> impl Strategy<Value = Vec<u8>> {
    let parts = vec![
        "jane@example.com",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "+49 30 1234567",
        "123-45-6789",
        "eyJ",
        ".",
        "@",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "-----END ",
        "\"",
        "\\u0040",
        "{",
        ":",
        "-",
        " ",
        "é",
        "4",
    ];
    mangled(vec(select(parts), 0..8).prop_map(|parts| parts.concat().into_bytes()))
}

target!(fuzz_spans, speech(), |text| {
    let kinds: Detectors = Detector::ALL.into_iter().collect();
    let mut floor = 0;
    for span in find(&text, kinds) {
        prop_assert!(floor <= span.start && span.start < span.end && span.end <= text.len());
        prop_assert!(std::str::from_utf8(&text).is_err() || std::str::from_utf8(&text[span.start..span.end]).is_ok());
        floor = span.end;
    }
    Ok(())
});

target!(fuzz_documents, speech(), |text| {
    let kinds: Detectors = Detector::ALL.into_iter().collect();
    let mut out = Vec::new();
    if let Some(count) = mask_json(&text, kinds, &mut out) {
        prop_assert_eq!(count.total() == 0, out == text);
        // Masked again there is nothing left.
        let mut again = Vec::new();
        prop_assert_eq!(
            mask_json(&out, kinds, &mut again),
            Some(Found::default()),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
    Ok(())
});
