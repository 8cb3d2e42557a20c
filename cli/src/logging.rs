//! The log: for people on a terminal, JSON elsewhere; on standard error, since standard output is for answers.

use crate::output;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// What is logged where nothing else is said: what an operator wants to see.
const DEFAULT_FILTER: &str = "info,sqlx=warn,h2=warn,hyper=warn,tonic=warn,tower=warn,rustls=warn";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Form {
    /// For people on a terminal, for machines elsewhere.
    pub fn by_terminal() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Sets the log up. `RUST_LOG` goes before `filter`, which goes before the default.
pub fn init(form: Form, filter: Option<&str>) -> anyhow::Result<()> {
    use anyhow::Context;
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).context("RUST_LOG cannot be read")?,
        _ => EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER)).context("the setting log.filter cannot be read")?,
    };
    // Below that it holds what statements return.
    let filter = filter.add_directive("rmcp=error".parse()?);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let result = match form {
        Form::Text => builder.with_ansi(output::stderr_colour()).try_init(),
        Form::Json => builder.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| anyhow::anyhow!("cannot set up the log: {error}"))
}
