//! postern-control-plane
