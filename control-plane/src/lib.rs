//! Postern's control plane: it owns principals, connections, requests, grants, sessions and the audit, and
//! serves the REST API to people and programs and gRPC to connectors and gateways.
//!
//! In reading order: [`config`]; [`store`] (the database; only it speaks SQL); [`identity`] (who acts) and
//! [`rights`] (who may do what); [`quorum`] (whether enough of them agree); [`requests`] and [`grants`] (how access begins and ends), [`stops`], [`reviews`] (statements that wait for people), [`budgets`], [`connections`],
//! [`door`] (with which grant a token connects), [`credentials`], [`sessions`], [`fleet`], [`policies`] and [`freezes`], [`apply`], [`scim`] (what directories say of people), [`scan`], [`masking`]; [`audit`], [`overview`]; [`notify`] (telling people); [`effects`] (what is told after a change); [`hub`], [`rpc`]
//! (connectors and gateways) with [`ca`], [`seal`], [`ticket`]; [`api`] (REST); [`start()`].

pub mod api;
pub mod apply;
pub mod audit;
mod bootstrap;
pub mod budgets;
pub mod ca;
pub mod config;
pub mod connections;
mod core;
pub mod credentials;
pub mod door;
pub mod effects;
pub mod fleet;
pub mod freezes;
pub mod grants;
mod http;
pub mod hub;
pub mod identity;
pub mod masking;
pub mod notify;
pub mod outward;
pub mod overview;
pub mod policies;
pub mod problem;
pub mod quorum;
pub mod requests;
pub mod reviews;
pub mod rights;
pub mod rpc;
pub mod scan;
pub mod scim;
pub mod seal;
pub mod sessions;
mod start;
pub mod stops;
pub mod store;
pub mod ticket;

pub use bootstrap::BootstrapError;
pub use config::Config;
pub use core::{Core, CoreError};
pub use start::{Running, StartError, start};
