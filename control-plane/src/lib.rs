//! Postern's control plane: it owns principals, connections, requests, grants, sessions and the audit, and
//! serves the REST API to people and programs and gRPC to connectors and gateways.
//!
//! In reading order: [`config`], [`store`] (the database; only it speaks SQL), [`identity`] (who acts),
//! [`rights`] (who may do what), [`requests`] and [`grants`] (how access begins and ends), [`audit`].

pub mod apply;
pub mod audit;
pub mod ca;
pub mod config;
pub mod effects;
pub mod grants;
pub mod identity;
pub mod problem;
pub mod requests;
pub mod rights;
pub mod seal;
pub mod store;
