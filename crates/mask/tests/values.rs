//! What each mask makes of values of each type.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_mask::{
    Encoding, Format, Key, Mask, Masker, Put, Type,
    types::{Most, Text, Width},
    value::LONGEST_VALUE,
};

fn key() -> Key {
    Key::new(&[7; 32])
}

fn masked(masker: &Masker, format: Format, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let put = masker.put(format, value, &mut out);
    let value = out.strip_prefix(b"before").unwrap().to_vec();
    match put {
        Put::Value => Some(value),
        Put::Null => {
            assert!(value.is_empty());
            None
        }
    }
}

fn text(mask: Mask, ty: Type, value: &str) -> Option<String> {
    masked(&Masker::new(Some(mask), ty, &key()), Format::Text, value.as_bytes())
        .map(|value| String::from_utf8(value).unwrap())
}

fn binary(mask: Mask, ty: Type, value: &[u8]) -> Option<Vec<u8>> {
    masked(&Masker::new(Some(mask), ty, &key()), Format::Binary, value)
}

fn varchar(most: u32) -> Type {
    Type::Text(Text { most: Most::Characters(most), padded: false })
}

fn char(most: u32) -> Type {
    Type::Text(Text { most: Most::Characters(most), padded: true })
}

const KEEP_4: Mask = Mask::Partial { keep: 4 };

/// Each type once, with a value in both formats.
fn types() -> Vec<(Type, &'static str, Vec<u8>)> {
    vec![
        (Type::text(), "secret", b"secret".to_vec()),
        (Type::Int(Width::Two), "1234", 1234i16.to_be_bytes().to_vec()),
        (Type::Int(Width::Four), "1234", 1234i32.to_be_bytes().to_vec()),
        (Type::Int(Width::Eight), "1234", 1234i64.to_be_bytes().to_vec()),
        (Type::Float4, "12.5", 12.5f32.to_be_bytes().to_vec()),
        (Type::Float8, "12.5", 12.5f64.to_be_bytes().to_vec()),
        (Type::Numeric(None), "1234", vec![0, 1, 0, 0, 0, 0, 0, 0, 0x04, 0xd2]),
        (Type::Date, "2000-05-06", 126i32.to_be_bytes().to_vec()),
        (Type::Timestamp, "2000-01-02 00:00:00", 86_400_000_000i64.to_be_bytes().to_vec()),
        (Type::TimestampTz, "2000-01-02 00:00:00+00", 86_400_000_000i64.to_be_bytes().to_vec()),
        (Type::Uuid, "00010203-0405-0607-0809-0a0b0c0d0e0f", (0..16).collect()),
        (Type::Bytea, "\\x00ff", vec![0, 0xff]),
        (Type::Json, "{\"a\": 1}", b"{\"a\": 1}".to_vec()),
        (Type::Jsonb, "{\"a\": 1}", b"\x01{\"a\": 1}".to_vec()),
        (Type::Other, "t", vec![1]),
    ]
}

const MASKS: [Mask; 7] = [Mask::Redact, Mask::Null, KEEP_4, Mask::Email, Mask::Hash, Mask::DateYear, Mask::Noise];

#[test]
fn which_mask_suits_which_type() {
    let suited = |ty: &Type| -> Vec<&str> {
        MASKS.iter().filter(|mask| mask.suits(ty).is_ok()).map(|mask| mask.as_str()).collect()
    };
    for (ty, ..) in types() {
        let expect: &[&str] = match ty {
            Type::Text(_) => &["redact", "null", "partial", "email", "hash"],
            Type::Int(_) | Type::Numeric(_) => &["redact", "null", "hash", "noise"],
            Type::Float4 | Type::Float8 => &["redact", "null", "noise"],
            Type::Date | Type::Timestamp | Type::TimestampTz => &["redact", "null", "date_year", "noise"],
            Type::Uuid | Type::Bytea => &["redact", "null", "hash"],
            _ => &["redact", "null"],
        };
        assert_eq!(suited(&ty), expect, "{ty:?}");
        assert_eq!(suited(&ty.clone().into_array()), expect, "array of {ty:?}");
    }
    let says = |mask: Mask, ty: &Type| mask.suits(ty).unwrap_err().to_string();
    assert_eq!(
        says(Mask::Email, &Type::Date),
        "the mask email is for text types and arrays of them; use redact or null, which mask every type"
    );
    assert!(says(Mask::Hash, &varchar(7)).starts_with("a hash needs at least 8 characters"));
    assert_eq!(Mask::Hash.suits(&varchar(8)), Ok(()));
    // numeric(4,4) and numeric(5,4)
    assert!(says(Mask::Hash, &Type::of(1700, (4 << 16) + 4 + 4)).starts_with("the hash of a number"));
    assert_eq!(Mask::Hash.suits(&Type::of(1700, (5 << 16) + 4 + 4)), Ok(()));
}

#[test]
fn both_formats_mean_the_same_and_are_never_the_value() {
    for (ty, as_text, as_binary) in types() {
        for mask in MASKS {
            let (text, binary) = (text(mask, ty.clone(), as_text), binary(mask, ty.clone(), &as_binary));
            assert_ne!(text.as_deref(), Some(as_text), "{mask} of {ty:?}");
            assert_ne!(binary.as_ref(), Some(&as_binary), "{mask} of {ty:?}");
            assert_eq!(text.is_some(), binary.is_some(), "{mask} of {ty:?}");
            // What no mask of its own takes is redacted, and of a type that is not text that is NULL.
            let is_null = mask == Mask::Null || matches!(mask, Mask::Redact) && !matches!(ty, Type::Text(_));
            let expect = !is_null && (mask.suits(&ty).is_ok() || matches!(ty, Type::Text(_)));
            assert_eq!(text.is_some(), expect, "{mask} of {ty:?}");
            if let (Type::Int(width), Some(text), Some(binary)) = (&ty, text, binary) {
                let number: i64 = text.parse().unwrap();
                let (bytes, fits) = match width {
                    Width::Two => (2, i16::try_from(number).is_ok()),
                    Width::Four => (4, i32::try_from(number).is_ok()),
                    Width::Eight => (8, true),
                };
                assert!(fits && number >= 0, "{number}");
                assert_eq!(binary, number.to_be_bytes()[8 - bytes..]);
            }
        }
    }
}

#[test]
fn text_masks() {
    let check = |mask, ty: Type, value: &str, expect: &str| {
        assert_eq!(text(mask, ty.clone(), value).as_deref(), Some(expect), "{mask} of {value}");
        assert_eq!(binary(mask, ty, value.as_bytes()).as_deref(), Some(expect.as_bytes()), "{mask} of {value}");
    };
    check(Mask::Redact, Type::text(), "", "[redacted]");
    check(Mask::Redact, varchar(4), "abcd", "[red");
    check(Mask::Redact, Type::of(18, -1), "x", "[");
    check(KEEP_4, Type::text(), "4111111111111111", "****1111");
    check(KEEP_4, Type::text(), "111-22-3333", "****3333");
    check(KEEP_4, Type::text(), "1234", "****");
    check(KEEP_4, Type::text(), "", "****");
    check(KEEP_4, Type::text(), "ééééé", "****éééé");
    check(KEEP_4, Type::text(), "éééé", "****");
    check(KEEP_4, varchar(6), "123456", "**3456");
    check(KEEP_4, varchar(2), "12", "**");
    check(KEEP_4, char(10), "12345     ", "****2345");
    check(KEEP_4, char(10), "1234      ", "****");
    check(KEEP_4, Type::of(19, -1), &"é".repeat(31), "****éééé");
    check(Mask::Partial { keep: 0 }, Type::text(), "1234", "****");
    check(Mask::Partial { keep: u16::MAX }, Type::text(), "1234", "****");
    check(Mask::Partial { keep: 30 }, Type::of(19, -1), &"é".repeat(31), &format!("***{}", "é".repeat(30)));
    check(Mask::Email, Type::text(), "jane.doe@mail.example.com", "j***@***.com");
    check(Mask::Email, Type::text(), "élan@example.fr", "é***@***.fr");
    check(Mask::Email, Type::text(), "root@localhost", "r***@***");
    check(Mask::Email, Type::text(), "a@[10.1.2.3]", "a***@***");
    check(Mask::Email, Type::text(), "a@10.1.2.33", "a***@***");
    check(Mask::Email, Type::text(), "a@x.secretsecretsecrets", "a***@***");
    check(Mask::Email, varchar(8), "jane@a.b", "j***@***");
    check(Mask::Email, varchar(1), "@", "[");
    for no_address in ["", "jane", "@example.com", "\"j\"@example.com"] {
        check(Mask::Email, Type::text(), no_address, "[redacted]");
    }
    check(Mask::Hash, Type::text(), "jane", "42waua7lvr2kccezw6qxfiufga");
}

#[test]
fn equal_text_has_equal_hashes() {
    let hash = |ty, value| text(Mask::Hash, ty, value).unwrap();
    let jane = hash(Type::text(), "jane");
    assert_eq!(jane.len(), 26);
    assert_eq!(hash(Type::text(), "jane"), jane);
    assert_eq!(hash(char(30), "jane                          "), jane);
    assert_eq!(hash(varchar(8), "jane"), jane[..8]);
    assert_ne!(hash(Type::text(), "Jane"), jane);
    let other = Masker::new(Some(Mask::Hash), Type::text(), &Key::new(&[8; 32]));
    assert_ne!(masked(&other, Format::Text, b"jane").unwrap(), jane.as_bytes());
}

#[test]
fn characters_that_cannot_be_told_are_not_kept() {
    let check = |encoding, mask, value: &[u8], expect: &[u8]| {
        let masker = Masker::new(Some(mask), Type::text(), &key()).in_encoding(encoding);
        assert_eq!(masked(&masker, Format::Text, value).unwrap(), expect, "{encoding:?} {value:?}");
    };
    let latin = b"caf\xe9 cr\xe8me";
    check(Encoding::SingleByte, KEEP_4, latin, b"****r\xe8me");
    check(Encoding::Utf8, KEEP_4, latin, b"[redacted]");
    check(Encoding::Multibyte, KEEP_4, latin, b"[redacted]");
    check(Encoding::AsciiInside, KEEP_4, latin, b"[redacted]");
    for encoding in [Encoding::SingleByte, Encoding::Utf8, Encoding::Multibyte, Encoding::AsciiInside] {
        check(encoding, KEEP_4, b"12345", b"****2345");
        check(encoding, Mask::Email, b"jane@example.com", b"j***@***.com");
    }
    check(Encoding::AsciiInside, Mask::Email, b"\x83\x40jane@example.com", b"[redacted]");
    let named = |name| Encoding::named(name);
    assert_eq!([named("UTF8"), named("unicode")], [Encoding::Utf8; 2]);
    assert_eq!([named("LATIN1"), named("WIN1252"), named("ISO_8859_5")], [Encoding::SingleByte; 3]);
    assert_eq!([named("EUC_JP"), named("SQL_ASCII")], [Encoding::Multibyte; 2]);
    assert_eq!([named("SJIS"), named("GB18030"), named("WIN949"), named("")], [Encoding::AsciiInside; 4]);
}

#[test]
fn dates() {
    let check = |mask, ty: Type, value: &str, expect: Option<&str>| {
        assert_eq!(text(mask, ty, value).as_deref(), expect, "{mask} of {value}");
    };
    let year = Mask::DateYear;
    check(year, Type::Date, "1997-12-17", Some("1997-01-01"));
    check(year, Type::Date, "12/17/1997", Some("01/01/1997"));
    check(year, Type::Date, "17/12/1997", Some("01/01/1997"));
    check(year, Type::Date, "17.12.1997", Some("01.01.1997"));
    check(year, Type::Date, "12-17-1997", Some("01-01-1997"));
    check(year, Type::Timestamp, "1997-12-17 07:37:16.5", Some("1997-01-01 00:00:00"));
    check(year, Type::Timestamp, "12/17/1997 07:37:16.00", Some("01/01/1997 00:00:00"));
    check(year, Type::Timestamp, "Wed Dec 17 07:37:16 1997", Some("Wed Jan 01 00:00:00 1997"));
    check(year, Type::Timestamp, "Wed 17 Dec 07:37:16 1997", Some("Wed 01 Jan 00:00:00 1997"));
    check(year, Type::TimestampTz, "1997-12-17 07:37:16-08", Some("1997-01-01 00:00:00+00"));
    // The same moment in two zones is in one year.
    check(year, Type::TimestampTz, "1997-12-31 23:30:00-00:30", Some("1998-01-01 00:00:00+00"));
    check(year, Type::TimestampTz, "1998-01-01 05:00:00+05:30:15", Some("1997-01-01 00:00:00+00"));
    check(Mask::Noise, Type::Date, "12/17/1997", None);
    for wrong in
        ["infinity", "-infinity", "0044-03-15 BC", "1997-02-30", "1997-13-01", "17-12", "secret", "", "1997-12-17 1"]
    {
        check(year, Type::Date, wrong, None);
    }
    for wrong in ["1997-12-17", "1997-12-17 secret", "1997-12-17 07:37:16 BC", "Wed Dec 17 07:37:16 1997 PST"] {
        check(year, Type::Timestamp, wrong, None);
    }
    for wrong in ["12/17/1997 07:37:16.00 PST", "1997-12-17 07:37:16", "1997-12-17 07:37:16-08 BC"] {
        check(year, Type::TimestampTz, wrong, None);
    }
    for infinite in [i32::MAX, i32::MIN] {
        assert_eq!(binary(year, Type::Date, &infinite.to_be_bytes()), None);
    }
    for infinite in [i64::MAX, i64::MIN] {
        assert_eq!(binary(year, Type::Timestamp, &infinite.to_be_bytes()), None);
    }
}

#[test]
fn noise_stays_near_and_in_range() {
    for number in [0i64, 1, -1, 9, 10, 1000, -12345, 32767, -32768] {
        let noisy: i64 = text(Mask::Noise, Type::Int(Width::Two), &number.to_string()).unwrap().parse().unwrap();
        assert!(noisy != number && (noisy - number).abs() <= (number.abs() + 9) / 10 + 1, "{number}: {noisy}");
        assert!(i16::try_from(noisy).is_ok());
    }
    for extreme in [i64::MAX, i64::MIN] {
        let noisy: i64 = text(Mask::Noise, Type::Int(Width::Eight), &extreme.to_string()).unwrap().parse().unwrap();
        assert!(noisy != extreme && noisy.signum() == extreme.signum());
    }
    for number in ["1.5", "-0.001", "1e300", "1.7976931348623157e308", "0", "123456.789"] {
        let (truth, noisy): (f64, f64) =
            (number.parse().unwrap(), text(Mask::Noise, Type::Float8, number).unwrap().parse().unwrap());
        assert!(
            noisy.is_finite()
                && noisy != truth
                && (noisy - truth).abs() <= (truth.abs() * 0.1001).max(if truth == 0.0 { 0.1 } else { 0.0 }),
            "{number}: {noisy}"
        );
    }
    for none in ["NaN", "Infinity", "-Infinity", "5e-324", "x", ""] {
        assert_eq!(text(Mask::Noise, Type::Float8, none), None, "{none}");
    }
    // numeric(4,2)
    let price = Type::of(1700, (4 << 16) + 2 + 4);
    let noisy = text(Mask::Noise, price, "99.99").unwrap();
    assert!(noisy.len() == 5 && ("89.98".."99.99").contains(&noisy.as_str()), "{noisy}");
    for day in ["2000-05-06", "1999-12-31"] {
        assert_eq!(text(Mask::Noise, Type::Date, day), text(Mask::Noise, Type::Date, day));
        assert_ne!(text(Mask::Noise, Type::Date, day).unwrap(), day);
    }
}

#[test]
fn arrays() {
    let check = |mask, value: &str, expect: Option<&str>| {
        assert_eq!(text(mask, Type::text().into_array(), value).as_deref(), expect, "{value}");
    };
    check(KEEP_4, "{}", Some("{}"));
    check(KEEP_4, "{secret,NULL,\"NULL\",\"\"}", Some("{****cret,NULL,****,****}"));
    check(KEEP_4, r#"{"a\"b\\c{d","x, y}z"}"#, Some(r#"{"****\\c{d","**** y}z"}"#));
    check(KEEP_4, "[2:3][0:0]={{secret},{secrets}}", Some("[2:3][0:0]={{****cret},{****rets}}"));
    for wrong in [
        "",
        "secret",
        "{secret",
        "{secret}}",
        "{secret}secret",
        "{a b}",
        "{a\"b}",
        "{\"a}",
        "{,}",
        "{a,}",
        "{a{b}}",
        "[secret]={a}",
        "[1:2]{a,b}",
        "{\"a\"b}",
        "{{{{{{{a}}}}}}}",
    ] {
        check(KEEP_4, wrong, None);
    }
    check(Mask::Redact, "{a,b}", None);
    let ints = Type::Int(Width::Four).into_array();
    assert_eq!(text(Mask::Hash, ints.clone(), "{1,x}").unwrap().matches("NULL").count(), 1);
    let mut array = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1];
    array.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    let masked = binary(Mask::Hash, ints.clone(), &array).unwrap();
    assert_eq!((masked.len(), masked[7]), (array.len(), 0));
    // An element that is not understood becomes NULL, and the header says that there is one.
    array[23] = 3;
    array.remove(24);
    let masked = binary(Mask::Hash, ints.clone(), &array).unwrap();
    assert_eq!((masked.len(), masked[7]), (28, 1));
    for cut in 0..array.len() {
        assert_eq!(binary(Mask::Hash, ints.clone(), &array[..cut]), None, "{cut}");
    }
    array.push(0);
    assert_eq!(binary(Mask::Hash, ints, &array), None);
}

#[test]
fn what_is_too_long_is_redacted() {
    let long = |length| format!("{}7777", "x".repeat(length));
    assert_eq!(text(KEEP_4, Type::text(), &long(LONGEST_VALUE - 4)).unwrap(), "****7777");
    assert_eq!(text(KEEP_4, Type::text(), &long(LONGEST_VALUE - 3)).unwrap(), "[redacted]");
    assert_eq!(text(Mask::Hash, Type::Bytea, &long(LONGEST_VALUE)), None);
}

#[test]
fn malformed_values_are_null() {
    for (ty, ..) in types() {
        if matches!(ty, Type::Text(_)) {
            continue;
        }
        for mask in MASKS {
            for wrong in ["secret", "", "12 secret", "secret\0", "\\x secret"] {
                assert_eq!(text(mask, ty.clone(), wrong).filter(|_| ty != Type::Bytea), None, "{mask} of {ty:?}");
                assert_eq!(binary(mask, ty.clone(), wrong.as_bytes()).filter(|_| ty != Type::Bytea), None);
            }
        }
    }
    assert_eq!(text(Mask::Hash, Type::Bytea, "\\xsecret"), None);
}

#[test]
fn a_key_is_not_printed() {
    let masker = Masker::new(Some(Mask::Hash), Type::Uuid, &key());
    assert!(format!("{masker:?}").contains("Key(..)"));
}
