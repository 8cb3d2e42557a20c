//! The form of audit records at rest and on the way: pure, no I/O.
//!
//! [`segment`] frames records so that a torn tail is recognised and the rest kept, and packs a whole segment
//! for the way to the control plane.

pub mod segment;
