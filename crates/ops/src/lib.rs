//! What an operator needs of every part: where secrets come from, and the health and metrics listener.

pub mod http;
pub mod secret;
