//! The values with which statements are run, where policies want them recorded, or where they ask about masked columns.
//! They may be large, and stream past: of each of them, and of all of one Bind, only the beginning is kept.
//!
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND>

use postern_proto::v1::BoundValue;
use postern_wire::error::Report;
use std::collections::BTreeMap;

/// As much of one value is recorded.
const MAX_VALUE_BYTES: usize = 4 * 1024;

/// As much of one Bind is recorded, each value counted with [`VALUE_COST`] more.
const MAX_BIND_BYTES: usize = 64 * 1024;

/// What a value takes besides its bytes.
const VALUE_COST: usize = 16;

/// What a portal takes besides its name and its values, about.
const PORTAL_COST: usize = 128;

/// As much is kept for a session's portals that were not executed yet.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// The values of one Bind.
#[derive(Debug, Default, PartialEq)]
pub struct Bound {
    /// The first of them.
    pub values: Vec<BoundValue>,
    /// How many more there are.
    pub omitted: u32,
    cost: usize,
}

/// The values of a session's portals.
#[derive(Debug, Default)]
pub struct Binds {
    waiting: BTreeMap<Box<[u8]>, Bound>,
    cost: usize,
    /// Of the Bind that is passing.
    passing: Option<(Box<[u8]>, Reader)>,
}

impl Binds {
    /// Whether the values of another Bind can be kept.
    ///
    /// # Errors
    /// When too many wait: what cannot be recorded may not run.
    pub fn has_room(&self) -> Result<(), Report> {
        if self.cost + MAX_BIND_BYTES <= MAX_WAITING_BYTES {
            return Ok(());
        }
        Err(Report::new(
            "54000",
            "too many portals are bound and not closed for their values to be kept",
            "Execute or close some, or end the transaction, before you bind more.",
        ))
    }

    /// A Bind for this portal goes on, and its values are to be recorded. They follow.
    pub fn begin(&mut self, portal: &[u8]) {
        self.passing = Some((portal.into(), Reader::default()));
    }

    /// The next bytes after a Bind's names, if its values are to be recorded.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some((_, reader)) = &mut self.passing {
            reader.take(bytes);
        }
    }

    /// All of the message has passed.
    pub fn end(&mut self) {
        if let Some((portal, reader)) = self.passing.take() {
            let mut bound = reader.finish();
            bound.cost += portal.len() + PORTAL_COST;
            self.cost += bound.cost;
            self.waiting.insert(portal, bound);
        }
    }

    /// The values with which a portal was bound, if they are kept.
    pub fn of(&self, portal: &[u8]) -> Option<&Bound> {
        self.waiting.get(portal)
    }

    /// No portal is left.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.cost = 0;
    }

    /// A portal is executed, closed or bound anew: the values with which it was bound, if they are to be recorded.
    pub fn take(&mut self, portal: &[u8]) -> Option<Bound> {
        let bound = self.waiting.remove(portal)?;
        self.cost -= bound.cost;
        Some(bound)
    }
}

/// What comes next.
#[derive(Debug, Default)]
enum Step {
    #[default]
    FormatCount,
    /// So many formats.
    Format(u32),
    ValueCount,
    Length,
    /// The rest of a value, of so many bytes.
    Value(usize),
    /// The formats of the results, which are of no interest.
    Done,
}

/// Reads a Bind behind its names, as it comes.
#[derive(Debug, Default)]
struct Reader {
    step: Step,
    /// The start of a number, and how many bytes of it there are.
    number: (u32, u8),
    /// Whether each value is binary.
    formats: Vec<bool>,
    /// Values that have not begun.
    left: u32,
    /// The value that is passing; none where it is omitted.
    value: Option<(Vec<u8>, usize)>,
    /// How many have ended.
    ended: usize,
    bound: Bound,
}

impl Reader {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.step {
                Step::Done => return,
                Step::Value(left) => {
                    let (of_value, after) = bytes.split_at(left.min(bytes.len()));
                    self.keep(of_value);
                    self.step = Step::Value(left - of_value.len());
                    bytes = after;
                    if left == of_value.len() {
                        self.value_ended();
                    }
                }
                Step::FormatCount | Step::Format(_) | Step::ValueCount | Step::Length => {
                    bytes = rest;
                    self.digit(*first);
                }
            }
        }
    }

    fn digit(&mut self, byte: u8) {
        let (number, have) = self.number;
        let number = number << 8 | u32::from(byte);
        let wanted = if matches!(self.step, Step::Length) { 4 } else { 2 };
        if have + 1 < wanted {
            self.number = (number, have + 1);
            return;
        }
        self.number = (0, 0);
        match self.step {
            Step::FormatCount => self.expect_formats(number),
            Step::Format(left) => {
                self.formats.push(number == 1);
                self.expect_formats(left - 1);
            }
            Step::ValueCount => {
                self.left = number;
                self.expect_value();
            }
            Step::Length => self.value_begins(number),
            Step::Value(_) | Step::Done => {}
        }
    }

    fn expect_formats(&mut self, left: u32) {
        self.step = if left == 0 { Step::ValueCount } else { Step::Format(left) };
    }

    fn expect_value(&mut self) {
        self.step = if self.left == 0 { Step::Done } else { Step::Length };
    }

    /// A length below zero is NULL.
    fn value_begins(&mut self, length: u32) {
        self.left -= 1;
        let has_room = self.bound.cost + VALUE_COST <= MAX_BIND_BYTES;
        if has_room {
            self.bound.cost += VALUE_COST;
        } else {
            self.bound.omitted += 1;
        }
        match i32::try_from(length).ok().and_then(|length| usize::try_from(length).ok()) {
            None => {
                if has_room {
                    let binary = self.is_binary();
                    self.bound.values.push(BoundValue { value: None, length: 0, binary });
                }
                self.ended += 1;
                self.expect_value();
            }
            Some(length) => {
                self.value = has_room.then(|| (Vec::new(), length));
                self.step = Step::Value(length);
                if length == 0 {
                    self.value_ended();
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some((value, _)) = &mut self.value else { return };
        let room = (MAX_VALUE_BYTES - value.len()).min(MAX_BIND_BYTES.saturating_sub(self.bound.cost));
        let kept = bytes.get(..room).unwrap_or(bytes);
        value.extend_from_slice(kept);
        self.bound.cost += kept.len();
    }

    fn value_ended(&mut self) {
        if let Some((value, length)) = self.value.take() {
            let length = if value.len() < length { length as u64 } else { 0 };
            let binary = self.is_binary();
            self.bound.values.push(BoundValue { value: Some(value.into()), length, binary });
        }
        self.ended += 1;
        self.expect_value();
    }

    /// Of no formats all are text; one is for all.
    fn is_binary(&self) -> bool {
        let at = if self.formats.len() == 1 { 0 } else { self.ended };
        self.formats.get(at).copied().unwrap_or(false)
    }

    /// A message that ends too early is refused by the server.
    fn finish(mut self) -> Bound {
        if matches!(self.step, Step::Value(left) if left > 0) {
            self.value_ended();
        }
        self.bound.omitted += self.left;
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands behind the names: formats, values, and one format of the results.
    fn body(formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u16::try_from(formats.len()).unwrap().to_be_bytes());
        formats.iter().for_each(|format| out.extend_from_slice(&format.to_be_bytes()));
        out.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value.unwrap_or_default());
        }
        out.extend_from_slice(&[0, 1, 0, 1]);
        out
    }

    fn read(body: &[u8], piece: usize) -> Bound {
        let mut binds = Binds::default();
        binds.begin(b"p");
        body.chunks(piece).for_each(|piece| binds.pass(piece));
        binds.end();
        let bound = binds.take(b"p").unwrap();
        assert_eq!(binds.cost, 0);
        bound
    }

    fn value(value: Option<&[u8]>, length: u64, binary: bool) -> BoundValue {
        BoundValue { value: value.map(|value| value.to_vec().into()), length, binary }
    }

    #[test]
    fn values_are_read_however_they_come() {
        let long = vec![b'x'; MAX_VALUE_BYTES + 1];
        let values: [Option<&[u8]>; 5] = [Some(b"ab"), None, Some(b""), Some(&long), Some(b"last")];
        for (formats, binary) in
            [(&[][..], [false; 5]), (&[1], [true; 5]), (&[0, 1, 0, 1, 1], [false, true, false, true, true])]
        {
            let body = body(formats, &values);
            let whole = read(&body, body.len());
            let lengths = [0, 0, 0, MAX_VALUE_BYTES as u64 + 1, 0];
            let expect: Vec<_> = values
                .iter()
                .zip(lengths.iter().zip(binary))
                .map(|(of, (length, binary))| {
                    value(of.map(|of| of.get(..MAX_VALUE_BYTES).unwrap_or(of)), *length, binary)
                })
                .collect();
            assert_eq!((&whole.values, whole.omitted), (&expect, 0));
            for piece in 1..body.len().min(50) {
                assert_eq!(read(&body, piece), whole, "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn one_bind_is_bounded() {
        let large = vec![b'x'; MAX_VALUE_BYTES];
        let values = vec![Some(large.as_slice()); 20];
        let bound = read(&body(&[], &values), 1000);
        let kept: usize = bound.values.iter().map(|value| value.value.as_ref().unwrap().len()).sum();
        assert!(
            bound.cost <= MAX_BIND_BYTES + "p".len() + PORTAL_COST && kept > MAX_BIND_BYTES - MAX_VALUE_BYTES,
            "{kept}"
        );
        assert_eq!(bound.values.len() + bound.omitted as usize, 20);
        assert!(bound.values.last().unwrap().length > 0, "the last is cut");
        let nulls = vec![None; 65_535];
        let bound = read(&body(&[], &nulls), 1000);
        assert_eq!((bound.values.len(), bound.omitted), (4096, 65_535 - 4096));
    }

    #[test]
    fn a_message_that_ends_early_tells_what_is_missing() {
        let body = body(&[], &[Some(b"abc"), Some(b"def"), None]);
        let cut = read(&body[..10], 3);
        assert_eq!(cut.values, [value(Some(b"ab"), 3, false)]);
        assert_eq!(cut.omitted, 2);
        assert_eq!(read(&[0], 1), Bound { cost: "p".len() + PORTAL_COST, ..Bound::default() });
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut binds = Binds::default();
        let large = vec![b'x'; MAX_VALUE_BYTES];
        let body = body(&[], &vec![Some(large.as_slice()); 20]);
        let mut portals = 0;
        while binds.has_room().is_ok() {
            binds.begin(format!("p{portals}").as_bytes());
            binds.pass(&body);
            binds.end();
            portals += 1;
        }
        assert_eq!(portals, MAX_WAITING_BYTES / MAX_BIND_BYTES - 1, "their names count, too");
        binds.take(b"p3").unwrap();
        assert!(binds.has_room().is_ok());
        binds.clear();
        let mut without_values = 0;
        while binds.has_room().is_ok() {
            binds.begin(format!("p{without_values}").as_bytes());
            binds.end();
            without_values += 1;
        }
        assert!(without_values <= MAX_WAITING_BYTES / PORTAL_COST, "{without_values}");
    }

    mod fuzz {
        use super::*;
        use postern_fuzz::{Cuts, cuts, mangled, proptest, target};
        use proptest::{collection::vec, option, prelude::*};

        fn bodies() -> impl Strategy<Value = Vec<u8>> {
            let value = option::weighted(0.8, vec(any::<u8>(), 0..40));
            let parts = (vec(0_u16..2, 0..4), vec(value, 0..6));
            mangled(
                parts.prop_map(|(formats, values)| {
                    body(&formats, &values.iter().map(Option::as_deref).collect::<Vec<_>>())
                }),
            )
        }

        target!(
            /// What stands behind a Bind's names, however it comes.
            fuzz_binds,
            (bodies(), cuts()),
            |(body, cuts): (Vec<u8>, Cuts)| {
                let read = |pieces: Vec<&[u8]>| {
                    let mut reader = Reader::default();
                    pieces.into_iter().for_each(|piece| reader.take(piece));
                    reader.finish()
                };
                let whole = read(vec![&body]);
                prop_assert_eq!(&whole, &read(cuts.pieces(&body)));
                let kept: usize = whole.values.iter().map(|value| value.value.as_ref().map_or(0, |value| value.len())).sum();
                prop_assert!(kept <= body.len() && whole.cost <= MAX_BIND_BYTES);
                prop_assert!(whole.values.len() + whole.omitted as usize <= 65_535);
                Ok(())
            }
        );
    }
}
