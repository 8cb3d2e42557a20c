//! postern-proto
