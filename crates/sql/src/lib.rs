//! What a statement would do, known before it runs.
//!
//! - [`facts`]: the words that everything after the analysis speaks: policy, masking, the record
//! - [`catalog`]: a snapshot of what the database's own catalog says of names, and how a connector loads one
//! - [`context`]: what the session itself decides of the meaning of names
//! - [`parse`]: from text to PostgreSQL's own syntax tree
//! - [`version`]: what older servers read otherwise
//! - [`mod@analyse`]: from tree, catalog and context to facts
//! - [`mod@read_only`]: whether a statement can change nothing at all
//! - [`mod@counting`]: how the rows that a string writes are counted, by its grammar alone
//! - [`mod@excerpt`]: the rows that it changes, before and after, by statements made of its own tree
//! - [`locks`]: what a schema change locks, and what it costs
//! - [`mod@literals`]: where the literals of a text stand
//! - [`values`]: whatever of a text might be a value
//! - [`shape`]: which statements have the same facts, so that only one of them is analysed
//!
//! Nothing here does I/O, reads a clock or waits. It runs on threads with [`parse::STACK_BYTES`] of stack.

#[cfg(test)]
extern crate self as postern_sql;

mod builtin;
mod guards;
mod literals;
mod memo;
mod settings;
mod total;

pub mod analyse;
pub mod catalog;
pub mod context;
pub mod counting;
pub mod excerpt;
pub mod facts;
pub mod locks;
pub mod parse;
pub mod read_only;
pub mod shape;
pub mod values;
pub mod version;

pub use analyse::{Analysis, Handle, analyse, analyse_in_full, executed};
pub use catalog::Catalog;
pub use context::Context;
pub use counting::counting;
pub use literals::literals;
pub use read_only::read_only;
pub use shape::Shapes;
