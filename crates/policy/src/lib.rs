//! Policies: what may be done, by whom, to what, under which obligations. Policies are Cedar; the facts of a statement
//! come from `postern-sql`. Pure: no I/O and no clock; time is an argument.
//!
//! In reading order: [`subject`] (who acts, on which connection, under which grant, at which moment), [`objects`] (what
//! is known of tables beyond their names), [`facts`] (all that a decision rests on, as plain data: what is recorded and
//! can be decided again), [`obligations`] (what a permit asks for in return), [`load`] (from files to validated
//! policies), [`decision`] (the answer), [`decide`](mod@decide) (by Cedar, each time), [`plan`] (the same answers,
//! worked out ahead for a grant), `everything` (whether a grant may do all there is), [`basis`] (what is recorded),
//! [`explain`] (why, for people), [`builtin`] (the policies that come with Postern).
//!
//! INVARIANT: nothing is permitted by default, a forbid wins over any permit, and an error while evaluating denies.

mod annotations;
pub mod basis;
mod bounds;
pub mod builtin;
mod cedar;
pub mod decide;
pub mod decision;
mod everything;
pub mod explain;
pub mod facts;
pub mod load;
pub mod objects;
pub mod obligations;
pub mod plan;
mod reads;
pub mod subject;

pub use basis::{Basis, Deed};
pub use cedar::Fault;
pub use decide::Question;
pub use decision::{Decision, Denial, DenialCause, Lifetime, Outcome, PolicyName};

pub use explain::Explanation;
pub use facts::Facts;
pub use load::{Policies, Problem, Source};
pub use obligations::{Obligations, Review};
pub use plan::Plan;
pub use subject::{Connection, Grant, Moment, Principal, PrincipalKind, Subject};
