//! Masked values given back to PostgreSQL: they are valid for their type, and text and binary form mean the same.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

#[path = "../../sql/tests/common/mod.rs"]
mod common;

use common::Cluster;
use postern_mask::{Format, Key, Mask, Masker, Put, Type};

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
