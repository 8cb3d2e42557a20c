//! From text to PostgreSQL's own syntax tree.
//!
//! INVARIANT: everything here, and whatever walks or drops a tree, runs on a thread with [`STACK_BYTES`] of stack. The
//! C parser, the decoder of its tree and the tree's destructor recurse as deep as the statement nests.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_query::{NodeEnum, ParserOptions, protobuf};

use crate::{
    context::Lexing,
    facts::{Cause, Refusal},
    guards, version,
};

/// The stack that a thread needs to parse and analyse. With it the parser gave a tree or a clean error for every shape
/// tried, up to 200,000 levels deep.
pub const STACK_BYTES: usize = 64 << 20;

/// The longest query string. Longer ones are nearly always data, which belongs in COPY or in parameters, and a tree is
/// about forty times as large as its text.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// The most statements in one string. A script of more is better sent in parts.
pub const MAX_STATEMENTS: usize = 10_000;

/// A parsed query string.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) statements: Vec<protobuf::RawStmt>,
}

/// Checks that bytes from a client are text that PostgreSQL could have parsed as we do.
///
/// # Errors
///
/// Over the limit, not UTF-8, or with a zero byte in it.
pub fn text_of(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(Refusal {
            cause: Cause::TooComplex,
            message: format!("the query string has {} bytes; at most {MAX_TEXT_BYTES} are analysed", bytes.len()),
            hint: "Send it in parts, or use COPY or parameters for data.".into(),
            position: None,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Refusal {
        cause: Cause::Syntax,
        message: "the query string is not valid UTF-8".into(),
        hint: "Set client_encoding to UTF8.".into(),
        position: Some(error.valid_up_to()),
    })?;
    match text.find('\0') {
        Some(position) => Err(Refusal {
            cause: Cause::Syntax,
            message: "the query string has a zero byte in it".into(),
            hint: "Remove it: PostgreSQL would not read beyond it.".into(),
            position: Some(position),
        }),
        None => Ok(text),
    }
}

/// Parses a query string as a server of this major version with these settings would.
pub(crate) fn parse(text: &str, lexing: Lexing, major: u16) -> Result<Tree, Refusal> {
    let text = text_of(text.as_bytes())?;
    version::check_lexemes(text, lexing, major)?;
    let mut options = ParserOptions::DEFAULT;
    if !lexing.standard_conforming_strings {
        options |= ParserOptions::DISABLE_STANDARD_CONFORMING_STRINGS;
    }
    if !lexing.backslash_quote {
        options |= ParserOptions::DISABLE_BACKSLASH_QUOTE;
    }
    // The binding walks the tree for summaries of its own, with indexing and casts that panic when they surprise it.
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(text, options))).map_err(|_| Refusal {
        cause: Cause::Syntax,
        message: "the parser failed on this query string".into(),
        hint: "Put it in another way.".into(),
        position: None,
    })?;
    let statements = match parsed {
        Ok(tree) => tree.protobuf.stmts,
        Err(error) if guards::stops(guards::GRAMMAR) => return Err(syntax(&error)),
        Err(_) => Vec::new(),
    };
    if statements.len() > MAX_STATEMENTS {
        return Err(Refusal {
            cause: Cause::TooComplex,
            message: format!("the query string has {} statements; at most {MAX_STATEMENTS}", statements.len()),
            hint: "Send it in parts.".into(),
            position: None,
        });
    }
    Ok(Tree { statements })
}

/// Parses expressions as the catalog prints them, with commas between, by way of a SELECT around them.
pub(crate) fn parse_expressions(text: &str) -> Result<Vec<protobuf::Node>, Refusal> {
    let tree = parse(&format!("SELECT {text}"), Lexing::default(), version::NEWEST)?;
    let mut found = Vec::new();
    for raw in tree.statements {
        let Some(NodeEnum::SelectStmt(select)) = raw.stmt.and_then(|node| node.node) else { continue };
        for node in select.target_list {
            let Some(NodeEnum::ResTarget(target)) = node.node else { continue };
            found.extend(target.val.map(|value| *value));
        }
    }
    Ok(found)
}

fn syntax(error: &pg_query::Error) -> Refusal {
    let message = match error {
        pg_query::Error::Parse(message) => message.clone(),
        other => other.to_string(),
    };
    let too_deep = ["memory exhausted", "stack depth", "recursion limit"].iter().any(|sign| message.contains(sign));
    if too_deep {
        return too_complex("the statement nests too deeply");
    }
    Refusal {
        cause: Cause::Syntax,
        message,
        hint: "Postern reads SQL by PostgreSQL's own grammar; correct the statement.".into(),
        position: None,
    }
}

/// The refusal of what is over a limit of depth or size.
pub(crate) fn too_complex(message: &str) -> Refusal {
    Refusal {
        cause: Cause::TooComplex,
        message: message.into(),
        hint: "Simplify it, or send it in parts.".into(),
        position: None,
    }
}
