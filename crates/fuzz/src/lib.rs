//! Fuzz targets that run on stable Rust: a property, and a strategy for its inputs that knows the form of what a
//! parser reads and how a hostile peer would bend it. proptest makes the inputs, makes a failing one small and keeps
//! its seed; this crate says for how long, and shows how far it has come.
//!
//! A target runs for `FUZZ_SECONDS` (a second or two without it, as in `make test`), from `FUZZ_SEED` if that is set.
//! What failed once stands in the crate's `regressions/`, and is tried again first in each run.
//!
//! For tests only: no part of Postern depends on it.

mod input;
mod run;

pub use input::{Cuts, cuts, mangled, text};
pub use proptest;
pub use run::run;

/// A fuzz target: a test by this name that gives inputs of the strategy to the property.
#[macro_export]
macro_rules! target {
    ($(#[$doc:meta])* $name:ident, $strategy:expr, $property:expr $(,)?) => {
        $(#[$doc])*
        #[test]
        fn $name() {
            let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/", stringify!($name), ".txt");
            $crate::run(concat!(module_path!(), "::", stringify!($name)), kept, &$strategy, $property);
        }
    };
}
