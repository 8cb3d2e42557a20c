//! Masked values given back to PostgreSQL: they are valid for their type, and text and binary form mean the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

#[path = "../../sql/tests/common/mod.rs"]
mod common;

use common::Cluster;
use postern_mask::{Encoding, Format, Key, Mask, Masker, Put, Type, copy::Copy, types::Width};
use postern_sql::facts::{CopyFormat, CopyOut};
use std::collections::BTreeSet;

const MASKS: [Mask; 5] = [Mask::Partial { keep: 4 }, Mask::Email, Mask::Hash, Mask::DateYear, Mask::Noise];

struct Case {
    sql: &'static str,
    send: &'static str,
    ty: Type,
    values: &'static [&'static str],
}

const TEXTS: &[&str] = &["jane@example.com", "", "x", "4111 1111", "\"q\\uoted, {b}\"", "NULL", "ünïcödé"];
const WHOLE: &[&str] = &["0", "1", "-1", "7", "1234", "-999", "32767", "-32768"];
const DATES: &[&str] =
    &["1997-12-17", "2000-01-01", "1970-02-28", "2024-02-29", "0044-03-15 BC", "infinity", "9999-12-31", "0001-01-01"];
const TIMES: &[&str] = &[
    "1997-12-17 07:37:16.5",
    "1999-12-31 23:59:59.999999",
    "2000-01-01",
    "1904-06-01 00:00",
    "-infinity",
    "0100-03-04 05:06 BC",
    "20000-01-01",
];

fn cases() -> Vec<Case> {
    let case = |sql, send, ty, values| Case { sql, send, ty, values };
    let numeric = |digits: i32, scale: i32| Type::of(1700, (digits << 16) + scale + 4);
    vec![
        case("text", "textsend", Type::of(25, -1), TEXTS),
        case("varchar(12)", "varcharsend", Type::of(1043, 16), &["jane@x.com", "", "x", "4111 1111", "NULL"]),
        case("char(12)", "bpcharsend", Type::of(1042, 16), &["jane@x.com", "", "x", "4111 1111", "NULL"]),
        case("name", "namesend", Type::of(19, -1), TEXTS),
        case("\"char\"", "charsend", Type::of(18, -1), &["x", "@"]),
        case("int2", "int2send", Type::of(21, -1), WHOLE),
        case("int4", "int4send", Type::of(23, -1), WHOLE),
        case("int8", "int8send", Type::of(20, -1), &["0", "-5", "9223372036854775807", "-9223372036854775808"]),
        case("float4", "float4send", Type::of(700, -1), &["0", "-1.5", "1e30", "3.4e38", "NaN", "Infinity", "0.1"]),
        case("float8", "float8send", Type::of(701, -1), &["0", "-1.5", "1e300", "1e-7", "NaN", "Infinity", "0.1"]),
        case(
            "numeric",
            "numeric_send",
            numeric(0, -4),
            &[
                "0",
                "0.00",
                "1.0",
                "1.00",
                "-12345.6789",
                "10000",
                "123456789012345678901234567890",
                "NaN",
                "0.00001",
                "1e40",
            ],
        ),
        case(
            "numeric(9,2)",
            "numeric_send",
            numeric(9, 2),
            &["0", "-1.5", "9999999.99", "0.01", "-9999999.99", "40000"],
        ),
        case("numeric(6,6)", "numeric_send", numeric(6, 6), &["0", "0.999999", "0.000001"]),
        case("date", "date_send", Type::of(1082, -1), DATES),
        case("timestamp", "timestamp_send", Type::of(1114, -1), TIMES),
        case("timestamptz", "timestamptz_send", Type::of(1184, -1), TIMES),
        case(
            "uuid",
            "uuid_send",
            Type::of(2950, -1),
            &["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        ),
        case("bytea", "byteasend", Type::of(17, -1), &["", "\\x00ff5c", "plain"]),
        case(
            "text[]",
            "array_send",
            Type::of(1009, -1),
            &["{}", "{a,NULL,\"NULL\",\"\",\"a b\",\"q\\\"\\\\{\"}", "[2:3][0:0]={{jane@x.com},{x}}"],
        ),
        case("varchar(8)[]", "array_send", Type::of(1015, 12), &["{jane@x.c,b}"]),
        case("int4[]", "array_send", Type::of(1007, -1), &["{1,2,NULL}", "{{1},{2}}"]),
        case("numeric[]", "array_send", Type::of(1231, -1), &["{1.50,NaN,NULL}"]),
        case("date[]", "array_send", Type::of(1182, -1), &["{2000-01-01,infinity}"]),
        case("timestamptz[]", "array_send", Type::of(1185, -1), &["{\"2000-01-01 01:00:00+02\"}"]),
        case("uuid[]", "array_send", Type::of(2951, -1), &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
        case("bytea[]", "array_send", Type::of(1001, -1), &["{\"\\\\x00ff\",plain}"]),
    ]
}

fn rows(cluster: &Cluster, script: &str) -> Vec<Vec<String>> {
    let (out, ok) = cluster.psql(script, &["--csv", "-t", "-v", "ON_ERROR_STOP=1"]);
    assert!(ok, "{script}: {out}");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(out.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn put(masker: &Masker, format: Format, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    (masker.put(format, value, &mut out) == Put::Value).then_some(out)
}

/// As a string constant, without escapes.
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Masks the values of a case in both formats and has the server compare them.
fn check(cluster: &Cluster, case: &Case, settings: &str, ambiguous: bool) {
    let Case { sql, send, ty, values } = case;
    let list: Vec<String> = values.iter().map(|value| format!("({}::{sql})", literal(value))).collect();
    let query = format!("{settings} SELECT v, encode({send}(v), 'hex') FROM (VALUES {}) t(v);", list.join(", "));
    let given = rows(cluster, &query);
    assert_eq!(given.len(), values.len());
    let key = Key::new(&[9; 32]);
    for mask in MASKS.into_iter().filter(|mask| mask.suits(ty).is_ok()) {
        let masker = Masker::new(Some(mask), ty.clone(), &key);
        let mut copy = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        let mut texts = Vec::new();
        for (number, row) in given.iter().enumerate() {
            let text = put(&masker, Format::Text, row[0].as_bytes());
            let mut binary = put(&masker, Format::Binary, &unhex(&row[1]));
            assert!(text.is_none() || binary.is_some(), "{mask} of {sql}: {row:?}");
            if text.is_none() && ambiguous {
                binary = None;
            }
            assert_eq!(text.is_some(), binary.is_some(), "{mask} of {sql}: {row:?}");
            copy.extend_from_slice(&[0, 2, 0, 0, 0, 4]);
            copy.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
            let length = binary.as_ref().map_or(-1, |binary| i32::try_from(binary.len()).unwrap());
            copy.extend_from_slice(&length.to_be_bytes());
            copy.extend_from_slice(&binary.unwrap_or_default());
            texts.push(text.map(|text| String::from_utf8(text).unwrap()));
        }
        copy.extend_from_slice(&[0xff, 0xff]);
        let file = std::env::temp_dir().join(format!("postern-mask-{}.copy", std::process::id()));
        std::fs::write(&file, copy).unwrap();
        let literals: Vec<String> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| {
                format!("({number}, {}::{sql})", text.as_ref().map_or("NULL".to_owned(), |text| literal(text)))
            })
            .collect();
        let script = format!(
            "{settings} CREATE TEMP TABLE b (id int, v {sql});\n\\copy b FROM '{}' (FORMAT binary)\n\
             SELECT id, b.v, t.v, b.v IS NOT DISTINCT FROM t.v FROM b JOIN (VALUES {}) t(id, v) USING (id) ORDER BY id;",
            file.display(),
            literals.join(", ")
        );
        let masked = rows(cluster, &script);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(masked.len(), values.len());
        for (row, text) in masked.iter().zip(&texts) {
            assert_eq!(row[3], "t", "{mask} of {sql}: {row:?}");
            // It is also written as the server writes it, but for the spaces of char(n), floats, and the zone.
            if !sql.starts_with("char(") && !sql.starts_with("float") && !sql.starts_with("timestamptz") {
                assert_eq!(row[2], text.as_deref().unwrap_or_default(), "{mask} of {sql}");
            }
        }
    }
}

#[test]
fn masked_values_are_the_types_own() {
    let cluster = Cluster::start();
    for case in cases() {
        check(&cluster, &case, "SET extra_float_digits = 1; SET TimeZone = 'America/New_York';", false);
    }
    for style in ["ISO, DMY", "SQL, DMY", "SQL, MDY", "German", "Postgres, MDY", "Postgres, DMY"] {
        for case in cases().iter().filter(|case| ["date", "timestamp", "timestamptz"].contains(&case.sql)) {
            check(&cluster, case, &format!("SET DateStyle = '{style}'; SET TimeZone = 'Asia/Kolkata';"), true);
        }
    }
}

/// Values that are hard to write.
const HARD: &[&str] = &[
    "jane@example.com",
    "",
    "NULL",
    "nil",
    "\\N",
    "\\.",
    "tab\there",
    "line\nfeed\n",
    "return\rhere\r",
    "\"quoted\"",
    "'single'",
    "back\\slash\\",
    "a,b;c|d",
    "\u{8}\u{c}\u{b}",
    "\"",
    "\\",
    "ünïcödé ü,ü",
    "[redacted]",
];

fn options(format: CopyFormat, delimiter: u8, null: &str, quote: u8, escape: u8) -> CopyOut {
    CopyOut {
        format,
        delimiter,
        null: null.into(),
        quote,
        escape,
        header: false,
        force_quote: BTreeSet::new(),
        encoding: None,
    }
}

/// What is said to the server, what besides where data goes out, and what is said to us.
fn forms(major: u16) -> Vec<(&'static str, &'static str, CopyOut)> {
    let (text, csv, binary) = (CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary);
    let with_header = |options| CopyOut { header: true, ..options };
    let plain_csv = || options(csv, b',', "", b'"', b'"');
    let odd_csv = with_header(options(csv, b';', "nil", b'\'', b'\\'));
    let mut forms = vec![
        ("FORMAT text", "", options(text, b'\t', "\\N", b'"', b'"')),
        ("DELIMITER '|', NULL '<null>'", "", options(text, b'|', "<null>", b'"', b'"')),
        ("FORMAT csv", "", plain_csv()),
        ("FORMAT csv, HEADER", "", with_header(plain_csv())),
        ("FORMAT csv", ", FORCE_QUOTE *", CopyOut { force_quote: (0..5).collect(), ..plain_csv() }),
        ("FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', ESCAPE '\\', HEADER", "", odd_csv),
        ("FORMAT binary", "", options(binary, 0, "", 0, 0)),
    ];
    if major >= 15 {
        forms.push(("HEADER", "", with_header(options(text, b'\t', "\\N", b'"', b'"'))));
    }
    forms
}

fn copied(options: &CopyOut, columns: &[Option<Masker>], pieces: &[&[u8]]) -> Vec<u8> {
    let mut copy = Copy::new(options.clone(), Encoding::Utf8, columns.to_vec()).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        copy.feed(piece, &mut out).unwrap();
    }
    out
}

fn masked_text(masker: &Masker, value: &str) -> String {
    String::from_utf8(put(masker, Format::Text, value.as_bytes()).unwrap()).unwrap()
}

#[test]
fn copied_data_can_be_copied_back() {
    let cluster = Cluster::start();
    let key = Key::new(&[9; 32]);
    let partial = Masker::new(Some(Mask::Partial { keep: 4 }), Type::text(), &key);
    let hash = Masker::new(Some(Mask::Hash), Type::Int(Width::Four), &key);
    let columns = [None, Some(partial.clone()), None, Some(hash.clone()), Some(Masker::new(None, Type::Date, &key))];
    let hard = || HARD.iter().enumerate();
    let values: Vec<String> =
        hard().map(|(id, value)| format!("({id}, {0}, {0}, {id}, date '2000-01-01')", literal(value))).collect();
    let expect: Vec<String> = hard()
        .map(|(id, value)| {
            let (secret, number) = (masked_text(&partial, value), masked_text(&hash, &id.to_string()));
            format!("({id}, {}, {number})", literal(&secret))
        })
        .collect();
    let create =
        |name| format!("CREATE TEMP TABLE {name} (id int, secret text, \"other\nname\" text, number int, day date);\n");
    let fill = format!("{}INSERT INTO t VALUES {}, (-1, NULL, NULL, NULL, NULL);\n", create("t"), values.join(", "));
    let file = std::env::temp_dir().join(format!("postern-copy-{}", std::process::id()));
    let path = file.display();
    for (said, only_out, options) in forms(cluster.major) {
        rows(&cluster, &format!("{fill}\\copy t TO '{path}' ({said}{only_out})\n"));
        let given = std::fs::read(&file).unwrap();
        let whole = copied(&options, &columns, &[&given]);
        let single: Vec<&[u8]> = given.chunks(1).collect();
        assert!(copied(&options, &columns, &single) == whole, "{said}");
        for cut in 0..given.len() {
            let (first, second) = given.split_at(cut);
            assert!(copied(&options, &columns, &[first, second]) == whole, "{said}, cut at {cut}");
        }
        std::fs::write(&file, &whole).unwrap();
        let script = format!(
            "{fill}{}\\copy b FROM '{path}' ({said})\n\
             SELECT b.secret, e.secret, b.number, e.number, b.secret IS NOT DISTINCT FROM e.secret \
             AND b.number IS NOT DISTINCT FROM e.number AND b.day IS NULL \
             AND b.\"other\nname\" IS NOT DISTINCT FROM t.\"other\nname\" \
             FROM b JOIN t USING (id) JOIN (VALUES {}, (-1, NULL, NULL)) e(id, secret, number) USING (id);",
            create("b"),
            expect.join(", ")
        );
        let compared = rows(&cluster, &script);
        assert_eq!(compared.len(), HARD.len() + 1, "{said}");
        for row in compared {
            assert_eq!(row[4], "t", "{said}: {row:?}");
        }
    }
    std::fs::remove_file(&file).unwrap();
}
