//! postern-audit
