//! What stops a statement that may do more than it says, each by a name.
//!
//! Outside of this crate's tests each of them always stops what it finds. The tests take one away, and see that what it is
//! there for gets through.

/// What looks at whole strings and at names. What [`mod@crate::read_only`] says no to has its own names there.
pub(crate) const GRAMMAR: &str = "grammar";
pub(crate) const NUMBERS: &str = "numbers of newer servers";
pub(crate) const WORDS: &str = "words of newer servers";
pub(crate) const FUNCTIONS: &str = "functions that are not there";
pub(crate) const ORDER: &str = "names after what changes them";
pub(crate) const PREPARED: &str = "statements prepared unseen";
pub(crate) const CURSORS: &str = "cursors opened unseen";

/// Whether the guard of this name, which is about to stop something, does.
#[cfg(not(test))]
pub(crate) const fn stops(_: &str) -> bool {
    true
}

#[cfg(test)]
pub(crate) fn stops(name: &str) -> bool {
    tests::stops(name)
}

#[cfg(test)]
mod tests;
