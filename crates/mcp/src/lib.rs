//! What an AI agent can do by the Model Context Protocol: a few tools, the same by standard input and output (`postern mcp`)
//! and over HTTP (the control plane, at `/mcp`). An agent asks for access by them, and for nothing that a person has to do:
//! there is none that answers a request or a review.
//!
//! In reading order: [`plane`] (the control plane, as the caller sees it), [`refusal`] (why something was not done), [`tools`]
//! (what there is, and what each does), [`gateway`] (a session like any other client's), `statement` (what is sent in it,
//! and as much of the answer as is kept), [`stdio`] and [`http`] (how messages come).

pub mod gateway;
pub mod http;
pub mod plane;
pub mod refusal;
mod statement;
pub mod stdio;
pub mod tools;

pub use plane::Plane;
pub use refusal::Refusal;
