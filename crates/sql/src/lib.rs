//! What a statement would do, known before it runs.
//!
//! - [`facts`]: the words that everything after the analysis speaks: policy, masking, the record.

pub mod facts;
