//! postern-agent
