//! Postern's control plane: it owns principals, connections, requests, grants, sessions and the audit, and
//! serves the REST API to people and programs and gRPC to connectors and gateways.

pub mod config;
pub mod store;
