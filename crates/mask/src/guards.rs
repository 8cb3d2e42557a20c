//! What stops a statement that would tell what is masked, each by a name.
//!
//! Outside of this crate's tests each of them always stops what it finds. The tests take one away, and see that what it is
//! there for gets through.

use postern_sql::facts::Place;

/// The masks of the output's columns.
pub(crate) const MASK: &str = "mask";
/// The texts of errors and notices are withheld.
pub(crate) const WITHHELD: &str = "withheld";
pub(crate) const EXPLAIN: &str = "explain";
pub(crate) const UNRESOLVED: &str = "unresolved";
/// Ways around the masks.
pub(crate) const RELATIONS: &str = "relations";
pub(crate) const FUNCTIONS: &str = "functions";
pub(crate) const CHANNELS: &str = "channels";
pub(crate) const CHANGES: &str = "changes";

/// The guard of a place.
pub(crate) const fn of(place: Place) -> &'static str {
    match place {
        Place::Output => "output",
        Place::Derived => "derived",
        Place::Counted => "counted",
        Place::Compared => "compared",
        Place::Filter => "filter",
        Place::Joined => "joined",
        Place::Join => "join",
        Place::Group => "group",
        Place::Order => "order",
        Place::Window => "window",
        Place::Write => "write",
        Place::Overwrite => "overwrite",
        Place::Source => "source",
        Place::Argument => "argument",
        Place::Inside => "inside",
    }
}

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
