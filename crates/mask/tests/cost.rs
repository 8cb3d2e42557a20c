//! What masking costs. Not run by default: `cargo test --release -p postern-mask --test cost -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests fail by panicking, too")]

use postern_mask::{
    Format, Key, Mask, Masker, Type,
    rows::{Masked, Rows},
    types::Width,
};
use std::{hint::black_box, time::Instant};

const ROUNDS: u32 = 500_000;

fn measure(what: &str, mut run: impl FnMut(&mut Vec<u8>)) {
    let mut out = Vec::with_capacity(64 * 1024);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        if out.len() > 60 * 1024 {
            out.clear();
        }
        run(&mut out);
        black_box(&mut out);
    }
    eprintln!("| {what} | {:.0} |", start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
}

fn row(fields: &[&[u8]]) -> Vec<u8> {
    let mut body = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        body.extend_from_slice(&(field.len() as u32).to_be_bytes());
        body.extend_from_slice(field);
    }
    body
}

#[test]
#[ignore = "measures"]
fn cost() {
    let key = Key::new(&[7; 32]);
    let partial = Mask::Partial { keep: 4 };
    let values: [(Mask, Type, &[u8]); 10] = [
        (Mask::Redact, Type::text(), b"jane.doe@example.com"),
        (Mask::Null, Type::text(), b"jane.doe@example.com"),
        (partial, Type::text(), b"4111111111111111"),
        (Mask::Email, Type::text(), b"jane.doe@example.com"),
        (Mask::Hash, Type::text(), b"jane.doe@example.com"),
        (Mask::Hash, Type::Int(Width::Four), b"123456"),
        (Mask::DateYear, Type::Date, b"1990-02-03"),
        (Mask::Noise, Type::Int(Width::Four), b"123456"),
        (Mask::Noise, Type::Numeric(None), b"1234.56"),
        (Mask::Noise, Type::Float8, b"1234.56"),
    ];
    eprintln!("| masked value | ns |\n|---|---|");
    for (mask, ty, value) in values {
        let masker = Masker::new(Some(mask), ty.clone(), &key);
        measure(&format!("{mask} of {ty:?}"), |out| {
            let _put = black_box(masker.put(Format::Text, value, out));
        });
    }
    let fields: [&[u8]; 10] = [
        b"123456",
        b"jane.doe@example.com",
        b"Jane Doe",
        b"4111111111111111",
        b"1990-02-03",
        b"1234.56",
        b"t",
        b"Some words that say what it is about",
        b"2024-02-29 12:13:14.567+00",
        b"42",
    ];
    let body = row(&fields);
    for masks in [[None, None], [Some(Mask::Email), Some(partial)], [Some(Mask::Hash), Some(Mask::Redact)]] {
        let mut columns: Vec<Option<Masked>> = (0..10).map(|_| None).collect();
        for (column, mask) in columns.iter_mut().skip(1).step_by(2).zip(masks) {
            *column =
                mask.map(|mask| Masked { masker: Masker::new(Some(mask), Type::text(), &key), format: Format::Text });
        }
        let mut rows = Rows::new(columns);
        measure(&format!("a row of ten columns, {masks:?}"), |out| {
            rows.begin(body.len());
            rows.feed(&body, out).unwrap();
        });
    }
}
