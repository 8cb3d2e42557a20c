//! postern-types
