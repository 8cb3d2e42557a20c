//! What an operator needs of every part: where secrets come from, the health and metrics listener, and the
//! settings that are the same everywhere.

pub mod http;
pub mod secret;
pub mod setting;
