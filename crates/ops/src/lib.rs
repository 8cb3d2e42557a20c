//! What an operator needs of every part: where secrets come from, the health and metrics listener, the
//! settings that are the same everywhere, and how threads of the data path are started.

pub mod http;
pub mod secret;
pub mod setting;
pub mod thread;
