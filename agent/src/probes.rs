//! How much grants may find out about masked columns by asking whether they have a value: so many different ones of each
//! column, counted together for all sessions of a grant in this process.

use parking_lot::Mutex;
use postern_mask::{plan::Probe, rules::Column};
use postern_proto::v1::Ticket;
use postern_sql::facts::Constant;
use postern_types::time::Micros;
use postern_wire::error::Report;
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The values of one column that a grant may ask for.
const MOST: usize = 100;

/// What a constant is, where it is known.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A literal as it stands in the text, or a parameter in text format.
    Text(&'a [u8]),
    /// A parameter in binary format.
    Binary(&'a [u8]),
    /// A parameter that was not looked at to its end: of an array it is not known how many elements it has.
    TooLong,
    /// NULL, which asks for nothing.
    Null,
}

/// What one grant has asked for.
#[derive(Debug, Default)]
pub struct Asked {
    hasher: RandomState,
    /// Values by a keyed hash: they are not kept. What has no value is numbered.
    columns: Mutex<HashMap<Column, HashSet<u64>>>,
}

impl Asked {
    /// Counts what a statement asks for. `value` says what a constant is; of one that it does not know, each is another one.
    ///
    /// # Errors
    /// When it is too much.
    pub fn draw<'p, 'v>(
        &self,
        probes: impl IntoIterator<Item = &'p Probe>,
        value: impl Fn(Constant) -> Option<Value<'v>>,
    ) -> Result<(), Report> {
        let mut columns = self.columns.lock();
        for Probe { column, constant } in probes {
            let seen = columns.entry(column.clone()).or_default();
            let room = match constant.and_then(&value) {
                Some(value) => self.see(seen, value),
                None => see(seen, self.hasher.hash_one(("unknown", seen.len()))),
            };
            if !room {
                return Err(spent(column));
            }
        }
        Ok(())
    }

    fn see(&self, seen: &mut HashSet<u64>, value: Value<'_>) -> bool {
        match value {
            Value::Null => true,
            Value::TooLong => false,
            // An array is as many questions as it has elements. Where commas stand in values, too many are counted.
            Value::Text(text) if text.contains(&b'{') => {
                text.split(|byte| *byte == b',').all(|part| see(seen, self.hasher.hash_one(part)))
            }
            Value::Text(text) => see(seen, self.hasher.hash_one(text)),
            Value::Binary(bytes) => match elements(bytes) {
                Some(mut elements) => elements.all(|element| see(seen, self.hasher.hash_one(element))),
                None => see(seen, self.hasher.hash_one(bytes)),
            },
        }
    }
}

fn see(seen: &mut HashSet<u64>, value: u64) -> bool {
    seen.contains(&value) || (seen.len() < MOST && seen.insert(value))
}

fn spent(column: &Column) -> Report {
    Report::new(
        "53400",
        format!("this grant has asked about {MOST} different values of {column}, which is masked"),
        "Ask for values that it has asked for before, or ask for an access role that may unmask the column.",
    )
}

/// The elements of an array in binary format; nothing where it is none.
fn elements(bytes: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let mut rest = bytes;
    let mut next = || {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = next().filter(|dimensions| (0..=6).contains(dimensions))?;
    next().filter(|flags| matches!(flags, 0 | 1))?;
    let _element_type = next()?;
    let mut count = usize::from(dimensions > 0);
    for _ in 0..dimensions {
        count = count.checked_mul(usize::try_from(next()?).ok()?)?;
        let _lower_bound = next()?;
    }
    let mut found = Vec::new();
    for _ in 0..count {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*head);
        let (element, tail) = tail.split_at_checked(usize::try_from(length).unwrap_or(0))?;
        found.push(element);
        rest = tail;
    }
    rest.is_empty().then(|| found.into_iter())
}

/// Of all grants.
#[derive(Debug, Default)]
pub struct Probes {
    grants: Mutex<HashMap<String, (Arc<Asked>, Micros)>>,
}

impl Probes {
    /// Of a ticket's grant. It is kept until the grant ends.
    #[must_use]
    pub fn of(&self, ticket: &Ticket, now: Micros) -> Arc<Asked> {
        let mut grants = self.grants.lock();
        grants.retain(|_, (_, ends_at)| *ends_at > now);
        let new = || (Arc::default(), Micros(ticket.grant_ends_at_us));
        let (asked, ends_at) = grants.entry(ticket.grant_id.clone()).or_insert_with(new);
        *ends_at = (*ends_at).max(Micros(ticket.grant_ends_at_us));
        Arc::clone(asked)
    }

    /// A grant ends later.
    pub fn extend(&self, grant: &str, later: Micros) {
        if let Some((_, ends_at)) = self.grants.lock().get_mut(grant) {
            *ends_at = later.max(*ends_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_sql::facts::Name;

    fn column(name: &str) -> Column {
        Column { relation: Name { schema: "public".into(), name: "customers".into() }, name: name.into() }
    }

    fn probe(name: &str, constant: Option<Constant>) -> [Probe; 1] {
        [Probe { column: column(name), constant }]
    }

    fn ask(asked: &Asked, name: &str, value: Value<'_>) -> bool {
        asked.draw(&probe(name, Some(Constant::Parameter(1))), |_| Some(value)).is_ok()
    }

    fn array(elements: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = i32::try_from(elements.len()).unwrap();
        for number in [1, 0, 25, count, 1] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for element in elements {
            bytes.extend_from_slice(&i32::try_from(element.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(element);
        }
        bytes
    }

    #[test]
    fn the_hundred_and_first_value_is_one_too_many() {
        let asked = Asked::default();
        for n in 0..MOST {
            assert!(ask(&asked, "ssn", Value::Text(n.to_string().as_bytes())), "{n}");
        }
        assert!(!ask(&asked, "ssn", Value::Text(b"another")));
        // What it knows already it may ask again, and of other columns others.
        assert!(ask(&asked, "ssn", Value::Text(b"7")) && ask(&asked, "ssn", Value::Null));
        assert!(!ask(&asked, "email", Value::TooLong));
        assert!(ask(&asked, "email", Value::Text(b"another")));
        let refused = asked.draw(&probe("ssn", None), |_| None).unwrap_err();
        assert_eq!((refused.sqlstate.as_str(), refused.hint.is_empty()), ("53400", false));
    }

    #[test]
    fn arrays_ask_for_each_element() {
        let elements: Vec<String> = (0..=MOST).map(|n| n.to_string()).collect();
        let bytes: Vec<&[u8]> = elements.iter().map(|element| element.as_bytes()).collect();
        let (few, many) = (array(&bytes[..10]), array(&bytes));
        let asked = Asked::default();
        assert!(ask(&asked, "ssn", Value::Binary(&few)) && ask(&asked, "ssn", Value::Binary(&few)));
        assert_eq!(asked.columns.lock()[&column("ssn")].len(), 10);
        assert!(!ask(&asked, "ssn", Value::Binary(&many)));
        let text = |elements: &[String]| format!("'{{{}}}'", elements.join(","));
        let asked = Asked::default();
        assert!(ask(&asked, "ssn", Value::Text(text(&elements[..MOST]).as_bytes())));
        assert!(!ask(&Asked::default(), "ssn", Value::Text(text(&elements).as_bytes())));
        // What is none is one value.
        let asked = Asked::default();
        assert!(ask(&asked, "ssn", Value::Binary(&many[..many.len() - 1])));
        assert_eq!(asked.columns.lock()[&column("ssn")].len(), 1);
    }

    #[test]
    fn what_is_not_known_is_another_value_each_time() {
        let asked = Asked::default();
        for _ in 0..MOST {
            asked.draw(&probe("ssn", None), |_| None).unwrap();
        }
        assert!(asked.draw(&probe("ssn", None), |_| None).is_err());
    }

    #[test]
    fn sessions_of_a_grant_have_one_count() {
        let ticket = |id: &str| Ticket { grant_id: id.into(), grant_ends_at_us: 100, ..Ticket::default() };
        let probes = Probes::default();
        let one = probes.of(&ticket("a"), Micros(0));
        assert!(Arc::ptr_eq(&one, &probes.of(&ticket("a"), Micros(1))));
        assert!(!Arc::ptr_eq(&one, &probes.of(&ticket("b"), Micros(1))));
        let _ = probes.of(&ticket("b"), Micros(100));
        assert_eq!(probes.grants.lock().len(), 1, "what is over is forgotten");
    }
}
