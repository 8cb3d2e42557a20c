//! PostgreSQL's frontend/backend protocol, version 3, as a gateway needs it: framed strictly, decoded no
//! further than asked. Pure: no I/O, no clock, no allocation for a frame that only passes.
//!
//! In reading order: [`frame`] (a message's header and bounds), [`startup`] (the untagged packets before it),
//! [`frontend`] and [`backend`] (views of the messages that matter), [`error`] (what a client reads),
//! [`tracker`] (which answer belongs to which message).
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol".

pub mod backend;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod startup;
pub mod tracker;

pub use error::ProtocolError;
