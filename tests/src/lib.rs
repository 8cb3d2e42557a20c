//! Black-box end-to-end tests: the real `postern` binary, a real PostgreSQL, clients that know nothing of Postern.
//!
//! In reading order: [`wait`] (conditions with bounds, never sleeps), [`process`] (children that end with the
//! test), [`cluster`] (a throwaway PostgreSQL that the test owns), [`dev`] (`postern dev`), [`parts`] (the three
//! parts as processes of their own), [`client`] (tokio-postgres as drivers use it), [`raw`] (a hand-written
//! client that sees, and can send, any byte), [`link`] (a network that can be taken away), [`packages`] (other people's
//! programs), [`tools`] (those that introspect and migrate), [`mcp`] (an AI agent's), [`scenario`] (several checks on one set-up), [`shop`] (a
//! database of its own behind `postern dev`), [`corpora`] (another, for the analysis's corpora), [`leaks`]
//! (one whose secrets are to stay in it).

// This is test code: whatever goes wrong here is to be a panic with a good text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod client;
pub mod cluster;
pub mod corpora;
pub mod dev;
pub mod leaks;
pub mod link;
pub mod mcp;
pub mod packages;
pub mod parts;
pub mod process;
pub mod raw;
pub mod scenario;
pub mod shop;
pub mod tools;
pub mod wait;
