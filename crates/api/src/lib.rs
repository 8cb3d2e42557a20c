//! What travels over Postern's REST API: plain data with its JSON form and its OpenAPI schema, used by the
//! control plane that serves it and by the command line that calls it.
//!
//! In reading order: [`error`] (what every failure looks like), [`identity`] (who acts: whoami, users, agents,
//! groups, tokens), [`access`] (connections, requests, grants, credentials), [`ways`] (what somebody gets of a connection), [`quorum`] (whose consent is needed), [`standing`] (needs that come again and again),
//! [`review`] (statements that wait for people), [`session`], [`audit`], [`event`] (what happens, as it happens),
//! [`document`] (the files that `plan` and `apply` take), [`policy`] (policies, freezes), [`scan`] (proposed tags), [`masking`] (what is masked), [`overview`] (counts over time), [`database`] (passwords for connectors), [`fleet`]
//! (connectors, gateways, join tokens), [`notification`] (who is told what), [`provider`] (where people sign in), [`web`] (a browser's session).
//!
//! Lists are bare arrays, newest first. Times are RFC 3339 in UTC; durations are written `10m`, `1h30m`. All
//! paths begin with [`PREFIX`].

pub mod access;
pub mod audit;
pub mod database;
pub mod document;
pub mod error;
pub mod event;
pub mod fleet;
pub mod identity;
pub mod issuer;
pub mod masking;
pub mod notification;
pub mod overview;
pub mod policy;
pub mod provider;
pub mod quorum;
pub mod review;
pub mod scan;
pub mod session;
pub mod standing;
pub mod ways;
pub mod web;

/// What the path of each resource begins with.
pub const PREFIX: &str = "/api/v1";

pub use postern_types::time::Micros;
