//! postern-tunnel
