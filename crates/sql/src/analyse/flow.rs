//! Where values come from. Lineage is built on this.

use std::rc::Rc;

/// A column, by its relation's object id and its place among the columns that the catalog has of it, from 1. The place 0 is
/// any of them.
pub(super) type Key = u64;

/// The object id of a key's relation, and the place of its column from 0; `None`: any.
pub(super) fn key_parts(key: Key) -> (u32, Option<usize>) {
    let at = usize::try_from(key & 0xFFFF).unwrap_or_default();
    (u32::try_from(key >> 16).unwrap_or_default(), at.checked_sub(1))
}

/// A set of numbers. What is large is shared, and copied when it changes.
#[derive(Clone, Debug, Default)]
pub(super) enum Set {
    #[default]
    Empty,
    One(u64),
    /// In order, each once.
    Many(Rc<Vec<u64>>),
}

impl Set {
    pub(super) fn as_slice(&self) -> &[u64] {
        match self {
            Self::Empty => &[],
            Self::One(number) => std::slice::from_ref(number),
            Self::Many(numbers) => numbers,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.as_slice().iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.as_slice().binary_search(&number).is_ok()
    }

    pub(super) fn insert(&mut self, number: u64) {
        match self {
            Self::Empty => *self = Self::One(number),
            Self::One(own) if *own == number => {}
            Self::One(own) => *self = Self::Many(Rc::new(vec![number.min(*own), number.max(*own)])),
            Self::Many(numbers) => {
                if let Err(at) = numbers.binary_search(&number) {
                    Rc::make_mut(numbers).insert(at, number);
                }
            }
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Empty) => {}
            (Self::Empty, _) => *self = other.clone(),
            (_, Self::One(number)) => self.insert(*number),
            (Self::One(own), Self::Many(_)) => {
                let own = *own;
                *self = other.clone();
                self.insert(own);
            }
            (Self::Many(own), Self::Many(more)) => {
                if Rc::ptr_eq(own, more) || more.iter().all(|number| own.binary_search(number).is_ok()) {
                    return;
                }
                let mut merged: Vec<u64> = own.iter().chain(more.iter()).copied().collect();
                merged.sort_unstable();
                merged.dedup();
                *own = Rc::new(merged);
            }
        }
    }
}

impl FromIterator<u64> for Set {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        match numbers.as_slice() {
            [] => Self::Empty,
            [one] => Self::One(*one),
            _ => Self::Many(Rc::new(numbers)),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// The columns.
    pub(super) origins: Set,
    /// Those of them to which something was done on the way, or which only decide what the value is.
    pub(super) changed: Set,
    /// The constants of the statement's text, and its parameters.
    pub(super) constants: Set,
}

impl Flow {
    pub(super) fn of(key: Key) -> Self {
        Self { origins: Set::One(key), ..Self::default() }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.origins.extend(&other.origins);
        self.changed.extend(&other.changed);
        self.constants.extend(&other.constants);
    }

    /// Adds what decides what the value is, or is made into something else.
    pub(super) fn derive(&mut self, other: &Self) {
        self.origins.extend(&other.origins);
        self.changed.extend(&other.origins);
        self.constants.extend(&other.constants);
    }

    /// Something is done to the value.
    pub(super) fn change(&mut self) {
        self.changed = self.origins.clone();
    }

    /// Whether the value is that of columns as they stand, and nothing else.
    pub(super) const fn is_direct(&self) -> bool {
        self.changed.is_empty() && self.constants.is_empty() && !self.origins.is_empty()
    }

    /// The columns that it is as they stand, where it comes from them.
    pub(super) fn direct(&self) -> impl Iterator<Item = Key> + '_ {
        self.origins.iter().filter(|key| !self.changed.contains(*key))
    }

    /// How much there is of it.
    pub(super) fn size(&self) -> usize {
        self.origins.len() + self.constants.len()
    }
}

/// What a parameter has besides its number among constants; a literal is known by where it stands.
const PARAMETER: u64 = 1 << 32;

/// A constant among [`Flow::constants`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Met {
    /// A literal that stands here.
    Literal(usize),
    /// A parameter of this number.
    Parameter(u16),
}

pub(super) fn literal(location: i32) -> Option<u64> {
    u64::try_from(location).ok()
}

pub(super) fn parameter(number: i32) -> Option<u64> {
    u16::try_from(number).ok().map(|number| PARAMETER | u64::from(number))
}

pub(super) fn met(constant: u64) -> Option<Met> {
    match constant.checked_sub(PARAMETER) {
        Some(number) => u16::try_from(number).ok().map(Met::Parameter),
        None => usize::try_from(constant).ok().map(Met::Literal),
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, Set};

    #[test]
    fn sets_are_sets() {
        let mut set = Set::default();
        for number in [5, 3, 5, 9, 3] {
            set.insert(number);
        }
        assert_eq!(set.as_slice(), [3, 5, 9]);
        let shared = set.clone();
        set.extend(&[4, 9, 1].into_iter().collect());
        assert_eq!((set.as_slice(), shared.as_slice()), (&[1, 3, 4, 5, 9][..], &[3, 5, 9][..]));
        let mut one = Set::One(7);
        one.extend(&shared);
        assert_eq!(one.as_slice(), [3, 5, 7, 9]);
    }

    #[test]
    fn what_was_changed_in_one_part_is_not_direct_in_the_whole() {
        let mut whole = Flow::of(1);
        whole.extend(&Flow::of(2));
        assert_eq!(whole.direct().collect::<Vec<_>>(), [1, 2]);
        let mut changed = Flow::of(2);
        changed.change();
        whole.extend(&changed);
        assert_eq!(whole.direct().collect::<Vec<_>>(), [1]);
        assert!(!whole.is_direct());
    }
}
