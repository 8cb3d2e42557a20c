//! What is found in text, and its twin that looks like it and is nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_mask::{
    Encoding, Format, Masker, Put, Type,
    detect::{Detector, Detectors, find, mask_json, mask_spans},
};

fn all() -> Detectors {
    Detector::ALL.into_iter().collect()
}

fn masked(text: &str) -> String {
    let mut out = Vec::new();
    let count = mask_spans(text.as_bytes(), all(), &mut out);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(count.total() > 0, out != text);
    out
}

/// Credentials are put together here, so that no scanner takes this file for a leak.
fn token(prefix: &str, rest: &str, count: usize) -> String {
    format!("{prefix}{}", rest.repeat(count))
}

#[test]
fn found_and_not_found() {
    let same = |text: &str| assert_eq!(masked(text), text);
    let check = |text: &str, expect: &str| assert_eq!(masked(text), expect, "{text}");
    check("write to jane.doe+x@mail.example.com.", "write to [email].");
    check("<élan@example.fr>,b@c.de", "<[email]>,[email]");
    for none in ["@", "a@b", "@example.com", "a@b.1", "jane at example.com", "a@.com", "pkg@1.2.3"] {
        same(none);
    }
    check("card 4111 1111 1111 1111 exp 12/27", "card [card] exp 12/27");
    check("4111-1111-1111-1111, 378282246310005; 5555555555554444", "[card], [card]; [card]");
    check("4111 1111 1111 1111 123", "[card] 123");
    for none in [
        "4111 1111 1111 1112",
        "x4111111111111111",
        "41111111111111111",
        "4111  1111 1111 1111",
        "1111111111111117",
        "1700000000000000",
        "4111111111111111a",
        "0.4111111111111111",
    ] {
        same(none);
    }
    check("DE89 3704 0044 0532 0130 00 and GB29NWBK60161331926819", "[iban] and [iban]");
    check("nl91abna0417164300", "[iban]");
    for none in
        ["DE89 3704 0044 0532 0130 01", "ZZ89370400440532013000", "DE893704004405320130001", "DE8937040044053201"]
    {
        same(none);
    }
    check("+49 30 1234567, +1 (212) 555-0123, +442079460123.", "[phone], [phone], [phone].");
    check("(212) 555-0123 212-555-0123 212.555.0123", "[phone] [phone] [phone]");
    for none in [
        "+49",
        "+0301234567",
        "2125550123",
        "112-555-0123",
        "212-155-0123",
        "212-555.0123",
        "+1234567890123456",
        "1+12345678",
    ] {
        same(none);
    }
    check("ssn: 123-45-6789", "ssn: [ssn]");
    check("itin: 923-45-6789", "itin: [ssn]");
    for none in ["000-45-6789", "666-45-6789", "123-00-6789", "123-45-0000", "123-45-67890", "1-123-45-6789"] {
        same(none);
    }
}

#[test]
fn keys_and_tokens() {
    let found = [
        token("AKIA", "ABCD", 4),
        token("ghp_", "abcDEF123456", 3),
        token("github_pat_", "abc_DEF12345", 3),
        token("xoxb-", "12345-", 3) + "abc",
        token("sk_live_", "abcd", 5),
        token("sk-", "ab-cd_ef", 6),
        token("glpat-", "abcde", 4),
        token("AIza", "abcde", 7),
        format!("{}.{}.{}", token("eyJ", "hbGc", 5), token("eyJ", "zdWI", 5), token("", "sig_", 5)),
        format!("-----BEGIN {0}PRIVATE KEY-----\nMIIE\n-----END {0}PRIVATE KEY-----", "RSA "),
        format!("-----BEGIN {}PRIVATE KEY-----\nMIIE and no end", ""),
    ];
    for key in &found {
        assert_eq!(masked(&format!("a {key}")), "a [token]", "{key}");
    }
    let none = [
        token("AKIA", "ABCD", 5),
        token("xAKIA", "ABCD", 4),
        token("ghp_", "abc", 3),
        token("task-", "abcdef12", 6),
        token("sk-", "ab", 3),
        token("eyJ", "hbGc", 5),
        format!("-----BEGIN {}-----\nMIIE\n-----END CERTIFICATE-----", "CERTIFICATE"),
    ];
    for text in &none {
        assert_eq!(masked(text), *text);
    }
}

#[test]
fn only_the_kinds_that_are_asked_for() {
    let text = b"a@example.com 123-45-6789";
    let kinds = |kinds: &[Detector]| {
        let spans: Vec<_> = find(text, kinds.iter().copied().collect()).collect();
        spans.iter().map(|span| (span.kind, &text[span.start..span.end])).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&[Detector::Ssn]), [(Detector::Ssn, &b"123-45-6789"[..])]);
    assert_eq!(kinds(&[Detector::Email, Detector::Card]), [(Detector::Email, &b"a@example.com"[..])]);
    assert_eq!(kinds(&[]), []);
}

#[test]
fn documents_stay_documents() {
    let check = |text: &str, expect: Option<(&str, u64)>| {
        let mut out = Vec::new();
        let count = mask_json(text.as_bytes(), all(), &mut out);
        assert_eq!(count.map(|count| (std::str::from_utf8(&out).unwrap(), count.total())), expect, "{text}");
    };
    check(
        r#"{"a": "x a@b.com \"y\"", "n": [1, -2.5e3, null]}"#,
        Some((r#"{"a": "x [email] \"y\"", "n": [1, -2.5e3, null]}"#, 1)),
    );
    check(r#"{"jane@example.com": 4111111111111111}"#, Some((r#"{"[email]": null}"#, 2)));
    check(r#""jane\u0040example.com\n\ud83d\ude00""#, Some((r#""[email]\n\ud83d\ude00""#, 1)));
    check(r#""\u00e9lan@example.fr \u00e9""#, Some((r#""[email] \u00e9""#, 1)));
    for wrong in [r#"{"a": "jane@example.com"#, r#""\x""#, r#""\u12"#, r#""\ud83dx""#, r#""\"#] {
        check(wrong, None);
    }
}

#[test]
fn columns_without_a_tag() {
    let put = |masker: &Masker, format, value: &[u8]| {
        let mut out = Vec::new();
        (masker.put(format, value, &mut out), out)
    };
    let masker = |ty| Masker::detecting(all(), ty).unwrap();
    let (text, binary) = (Format::Text, Format::Binary);
    assert_eq!(put(&masker(Type::text()), text, b"to a@b.com"), (Put::Value, b"to [email]".to_vec()));
    assert_eq!(put(&masker(Type::text()), text, b"nothing"), (Put::Same, b"nothing".to_vec()));
    // varchar(7): the name of what was found does not fit.
    let short = masker(Type::of(1043, 10));
    assert_eq!(put(&short, text, b"a@b.co"), (Put::Value, b"[redac".to_vec()));
    let texts = masker(Type::text().into_array());
    assert_eq!(put(&texts, text, b"{a@b.com,\"x y\"}"), (Put::Value, b"{[email],\"x y\"}".to_vec()));
    assert_eq!(put(&texts, text, b"{a,NULL}"), (Put::Same, b"{a,NULL}".to_vec()));
    assert_eq!(put(&masker(Type::Jsonb), binary, b"\x01\"a@b.com\""), (Put::Value, b"\x01\"[email]\"".to_vec()));
    assert_eq!(put(&masker(Type::Jsonb), binary, b"\x02\"a@b.com\""), (Put::Null, b"".to_vec()));
    assert_eq!(put(&masker(Type::Json), text, b"\"a@b.com"), (Put::Null, b"".to_vec()));
    let other = masker(Type::text()).in_encoding(Encoding::AsciiInside);
    assert_eq!(put(&other, text, b"\x83\x40a@b.com"), (Put::Value, b"[redacted]".to_vec()));
    assert!(Masker::detecting(all(), Type::Date).is_none());
    // A composite, and an array of them; in binary each field by its type.
    let rows = masker(Type::of(2249, -1));
    assert_eq!(put(&rows, text, b"(1,\"a \"\"b\"\" c@d.com\")"), (Put::Value, b"(1,\"a \"\"b\"\" [email]\")".to_vec()));
    assert_eq!(
        put(&masker(Type::of(2287, -1)), text, b"{\"(1,a@b.com)\"}"),
        (Put::Value, b"{\"(1,[email])\"}".to_vec())
    );
    let field = |oid: u32, value: &[u8]| {
        [&oid.to_be_bytes()[..], &u32::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    };
    let null = [&25u32.to_be_bytes()[..], &[0xff; 4]].concat();
    let row = |mail: &[u8]| {
        [&4u32.to_be_bytes()[..], &field(23, &[0, 0, 0, 7]), &field(25, mail), &null, &field(1043, b"x")].concat()
    };
    assert_eq!(put(&rows, binary, &row(b"a@b.com")), (Put::Value, row(b"[email]")));
    assert_eq!(put(&rows, binary, &row(b"none")), (Put::Same, row(b"none")));
    assert_eq!(put(&rows, binary, &row(b"none")[..9]), (Put::Null, b"".to_vec()));
    // What was found is counted by kind, and the values that it was found in.
    let counted = masker(Type::text());
    for value in [&b"a@b.com, c@d.com or 123-45-6789"[..], b"nothing", b"e@f.com"] {
        let _put = put(&counted, text, value);
    }
    let done = counted.done();
    assert_eq!(done.values, 2);
    assert!(done.found.kinds().eq([(Detector::Email, 3), (Detector::Ssn, 1)]));
}

/// Inputs on which a search that begins anew everywhere would never end.
#[test]
fn long_text_takes_no_longer_by_the_byte() {
    for part in ["eyJ-", "eyJa.", "-----BEGIN ", "@", "a@", "sk-", "1-", "4 ", "+1 ", "a", "DE8 ", "xoxb-", "("] {
        let text = part.repeat(400_000 / part.len());
        let mut out = Vec::new();
        let start = std::time::Instant::now();
        let _found = mask_spans(text.as_bytes(), all(), &mut out);
        // Each takes well under a second; what is quadratic takes minutes.
        assert!(start.elapsed().as_secs() < 20, "{part}");
    }
}
