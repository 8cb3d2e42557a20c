//! What must not come back, in whatever disguise.

use super::corpus::text;
use crate::client::Client;
use std::collections::HashSet;

/// So many characters of a secret in a row are taken for it.
const TELLING: usize = 6;

/// All secrets of a database.
#[derive(Default)]
pub struct Needles {
    /// Parts of texts, in lower case, by their length.
    parts: Vec<(usize, HashSet<Vec<u8>>)>,
    /// The two bytes with which they begin: most of what comes begins none.
    begin: HashSet<[u8; 2]>,
}

impl Needles {
    /// Those that are in the columns which are tagged, as the database has them now.
    pub async fn of(owner: &Client) -> Self {
        let mut needles = Self::default();
        for line in text("leaks.yaml").lines() {
            let Some((column, tag)) = line.strip_prefix("  shop.").and_then(|rest| rest.split_once(": ")) else {
                continue;
            };
            let (table, column) = column.split_once('.').unwrap();
            let sql = format!(
                "select {column}::text, pg_typeof({column})::text, md5({column}::text), \
                 encode(sha256(convert_to({column}::text, 'UTF8')), 'hex') from shop.{table} where {column} is not null"
            );
            let rows = owner.query(&sql, &[]).await.unwrap();
            assert!(!rows.is_empty(), "{column} of {table} has no secrets");
            for row in rows {
                let [value, ty, md5, sha]: [String; 4] = std::array::from_fn(|at| row.get(at));
                needles.put_value(&value, &ty, tag.contains("ssn") || tag.contains("pan"));
                for digest in [md5, sha] {
                    needles.put(digest.as_bytes().to_vec());
                    needles.put(from_hex(&digest));
                }
            }
        }
        needles
    }

    fn put_value(&mut self, value: &str, ty: &str, ends_openly: bool) {
        match ty {
            "integer" => self.put_number(value),
            // Noise may come near it by chance, not to all of its digits.
            "numeric" => self.put(value.into()),
            "date" => self.put_date(value),
            "mood" | "int4range" => {}
            "bytea" => self.put_text(&String::from_utf8(from_hex(&value[2..])).unwrap()),
            _ => {
                let value = if ends_openly { &value[..value.len() - 4] } else { value };
                let words = value.split(|c: char| !c.is_ascii_alphanumeric() && !"@.+-".contains(c));
                words.filter(|word| word.len() >= TELLING && secret(word)).for_each(|word| self.put_text(word));
            }
        }
    }

    fn put_number(&mut self, value: &str) {
        self.put(value.into());
        let number: i32 = value.parse().unwrap();
        self.put(number.to_be_bytes().to_vec());
        self.put(format!("{number:x}").into_bytes());
    }

    fn put_date(&mut self, value: &str) {
        let (year, month, day) = (&value[..4], &value[5..7], &value[8..]);
        let name = if month == "09" { "sep" } else { "apr" };
        for form in [
            value.to_owned(),
            format!("{month}-{day}-{year}"),
            format!("{month}/{day}/{year}"),
            format!("{day}.{month}.{year}"),
            format!("{day}/{month}/{year}"),
            format!("{year}{month}{day}"),
            format!("{day} {name}"),
        ] {
            self.put(form.into_bytes());
        }
    }

    fn put_text(&mut self, word: &str) {
        let word = word.to_lowercase().into_bytes();
        let reversed: Vec<u8> = word.iter().rev().copied().collect();
        for part in word.windows(TELLING).chain(reversed.windows(TELLING)) {
            self.put(part.to_vec());
            self.put(part.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
        }
        for case in [word.to_ascii_uppercase(), word] {
            case.windows(TELLING).for_each(|part| self.put(base64(part)));
        }
    }

    fn put(&mut self, part: Vec<u8>) {
        let part = part.to_ascii_lowercase();
        self.begin.insert([part[0], part[1]]);
        match self.parts.iter_mut().find(|(length, _)| *length == part.len()) {
            Some((_, parts)) => _ = parts.insert(part),
            None => self.parts.push((part.len(), HashSet::from([part]))),
        }
    }

    /// A secret among bytes that came, unless it was sent: what stands around it.
    #[must_use]
    pub fn found(&self, came: &[u8], sent: &str) -> Option<String> {
        let (lower, sent) = (came.to_ascii_lowercase(), sent.to_ascii_lowercase().into_bytes());
        let was_sent = |part: &[u8]| sent.windows(part.len()).any(|window| window == part);
        let found = |at: usize| {
            let mut lengths = self.parts.iter().filter(|(length, parts)| {
                lower.get(at..at + length).is_some_and(|part| parts.contains(part) && !was_sent(part))
            });
            lengths.next().map(|(length, _)| *length)
        };
        let mut begins = lower.windows(2).enumerate().filter(|(_, two)| self.begin.contains(&[two[0], two[1]]));
        let (at, length) = begins.find_map(|(at, _)| Some((at, found(at)?)))?;
        let around = &came[at.saturating_sub(20)..(at + length + 20).min(came.len())];
        Some(String::from_utf8_lossy(around).into_owned())
    }
}

/// Whether a word has what marks a secret, in the one database or the other.
fn secret(word: &str) -> bool {
    ["kx", "vj", "73", "28", "mbr-"].iter().any(|mark| word.to_lowercase().contains(mark))
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Of bytes that begin where a group of base64 begins. Six of them are two groups.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).flat_map(|three| {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63])
    });
    groups.collect()
}
