//! postern-dial
