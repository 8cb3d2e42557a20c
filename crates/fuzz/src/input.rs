//! Inputs as a hostile peer would choose them: mostly of the right form, wrong where it hurts, cut anywhere.

use proptest::{collection::vec, prelude::*, sample::Index};

/// Places at which a stream is cut into what single reads bring.
#[derive(Clone, Debug)]
pub struct Cuts(Vec<Index>);

impl Cuts {
    /// The pieces of `bytes`, none of them empty. No cut at all is likely, and so is one for each byte.
    #[must_use]
    pub fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = self.0.iter().map(|index| index.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.dedup();
        places.iter().zip(places.iter().skip(1)).filter_map(|(from, to)| bytes.get(*from..*to)).collect()
    }
}

/// Up to a dozen cuts.
pub fn cuts() -> impl Strategy<Value = Cuts> {
    vec(any::<Index>(), 0..12).prop_map(Cuts)
}

/// Numbers at which lengths and counts go wrong.
const EDGES: [u32; 12] = [0, 1, 3, 4, 5, 0x7f, 0xff, 0xffff, 0x0001_0000, 0x3fff_ffff, 0x7fff_ffff, 0xffff_ffff];

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Cut(Index),
    Repeat(Index, u8),
    Number(Index, u32),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let end = |at: usize, count: u8, length: usize| at.saturating_add(usize::from(count)).min(length);
        match self {
            Self::Flip(at, with) => {
                let at = at.index(bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            Self::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(bytes.len() + 1);
                bytes.drain(at..end(at, *count, bytes.len()));
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
            Self::Repeat(at, count) => {
                let at = at.index(bytes.len() + 1);
                let end = end(at, *count, bytes.len());
                let again = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(end..end, again);
            }
            Self::Number(at, number) => {
                let at = at.index(bytes.len() + 1);
                for (to, from) in bytes.iter_mut().skip(at).zip(number.to_be_bytes()) {
                    *to = from;
                }
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 1u8..).prop_map(|(at, with)| Change::Flip(at, with)),
        (at(), vec(any::<u8>(), 1..9)).prop_map(|(at, more)| Change::Insert(at, more)),
        (at(), 1u8..40).prop_map(|(at, count)| Change::Remove(at, count)),
        at().prop_map(Change::Cut),
        (at(), 1u8..40).prop_map(|(at, count)| Change::Repeat(at, count)),
        (at(), prop::sample::select(&EDGES[..])).prop_map(|(at, number)| Change::Number(at, number)),
    ]
}

/// These bytes, with up to four changes; now and then bytes that were never anything.
pub fn mangled(right: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (right, vec(change(), 0..5)).prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    });
    prop_oneof![9 => changed, 1 => vec(any::<u8>(), 0..200)]
}

/// Text of up to `most` characters: mostly of the given ones, which mean something to the parser, some of any.
pub fn text(meaning: &'static str, most: usize) -> impl Strategy<Value = String> {
    let known: Vec<char> = meaning.chars().collect();
    let character = prop_oneof![8 => prop::sample::select(known), 1 => any::<char>()];
    vec(character, 0..=most).prop_map(|characters| characters.into_iter().collect())
}
