//! What names mean for a session, as far as the session itself decides it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{analyse::Handle, facts::Statement};

/// How a session's settings change the reading of literals.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Lexing {
    /// `standard_conforming_strings`: whether a backslash in a plain literal is just that.
    pub standard_conforming_strings: bool,
    /// `backslash_quote` is anything but off: whether `\'` stands for a quote in an escape string.
    pub backslash_quote: bool,
}

impl Default for Lexing {
    fn default() -> Self {
        Self { standard_conforming_strings: true, backslash_quote: true }
    }
}

/// A prepared statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prepared {
    /// Its text.
    pub text: Arc<str>,
    /// How its literals were read: PostgreSQL keeps the tree, so that later settings do not matter.
    pub lexing: Lexing,
    /// The types of its parameters, by object id, that a Parse message declared; 0 where it left one open.
    pub types: Arc<[u32]>,
}

/// A session's share in the meaning of names. Cheap to copy: what can be long is shared.
#[derive(Clone, Debug)]
pub struct Context {
    /// The server's major version: 13 to 18.
    pub major: u16,
    /// The current user, for `"$user"` in the search path.
    pub user: Arc<str>,
    /// The search path as set, its items folded and without quotes; `"$user"` stands as it is.
    pub search_path: Vec<Arc<str>>,
    /// The session's own temporary schema (`pg_temp_3`), once it has one.
    pub temp_schema: Option<Arc<str>>,
    /// What changes the reading of literals.
    pub lexing: Lexing,
    /// The prepared statements of the session, those of the protocol included: by name, their text. They are analysed
    /// when they are executed, since PostgreSQL too resolves their names anew when the search path has changed.
    pub prepared: Arc<BTreeMap<String, Prepared>>,
    /// The types of the parameters, by object id, that a Parse message declares; 0 where it leaves one open.
    pub parameters: Vec<u32>,
    /// The schemas on which the current user has no USAGE: the search path passes over them.
    pub unusable: Arc<BTreeSet<Arc<str>>>,
    /// The open cursors of the session: by name, the facts of the query that they were opened for.
    pub cursors: Arc<BTreeMap<String, Arc<Statement>>>,
    /// The transaction that is open may have changed what names mean, so that its end may change it back.
    pub uncommitted: bool,
}

impl Context {
    /// A session as it begins: the default search path, nothing prepared.
    #[must_use]
    pub fn new(major: u16, user: &str) -> Self {
        Self {
            major,
            user: user.into(),
            search_path: vec!["$user".into(), "public".into()],
            temp_schema: None,
            lexing: Lexing::default(),
            prepared: Arc::default(),
            parameters: Vec::new(),
            unusable: Arc::default(),
            cursors: Arc::default(),
            uncommitted: false,
        }
    }

    /// Keeps the tables of prepared statements and cursors, once a statement has done what it says.
    pub fn keep(&mut self, handle: &Handle) {
        match handle {
            Handle::Prepare { name, query } => {
                let prepared = Prepared { text: query.clone(), lexing: self.lexing, types: Arc::default() };
                Arc::make_mut(&mut self.prepared).insert(name.clone(), prepared);
            }
            Handle::Declare { name, facts, .. } => {
                Arc::make_mut(&mut self.cursors).insert(name.clone(), facts.clone());
            }
            Handle::Deallocate(Some(name)) => {
                Arc::make_mut(&mut self.prepared).remove(name);
            }
            Handle::Deallocate(None) => self.prepared = Arc::default(),
            Handle::Close(Some(name)) => {
                Arc::make_mut(&mut self.cursors).remove(name);
            }
            Handle::Close(None) => self.cursors = Arc::default(),
            Handle::Execute(_) | Handle::Fetch(_) => {}
        }
    }

    /// Keeps what a Parse message has prepared, for an EXECUTE of its name.
    pub fn keep_parsed(&mut self, name: String, text: &str, types: &[u32]) {
        let prepared = Prepared { text: text.into(), lexing: self.lexing, types: types.into() };
        Arc::make_mut(&mut self.prepared).insert(name, prepared);
    }

    /// The session for which the catalog prints its definitions: nothing in the path, so that all names are qualified.
    pub(crate) fn of_definitions(&self) -> Self {
        Self { search_path: Vec::new(), temp_schema: self.temp_schema.clone(), ..Self::new(self.major, &self.user) }
    }
}

/// Splits the value of `search_path` as the server reports it. `None` where it is not a list of identifiers.
#[must_use]
pub fn parse_search_path(value: &str) -> Option<Vec<Arc<str>>> {
    let mut items = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let (item, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_identifier(quoted)?
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(rest.len());
            let (item, after) = rest.split_at(end);
            if item.is_empty() || item.contains('"') {
                return None;
            }
            (item.to_ascii_lowercase(), after)
        };
        items.push(Arc::from(item));
        rest = after.trim_start();
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',')?.trim_start();
        if rest.is_empty() {
            return None;
        }
    }
    Some(items)
}

/// The identifier whose opening quote was taken off, and what follows its closing one.
fn quoted_identifier(text: &str) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        item.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                item.push('"');
                rest = more;
            }
            None => return Some((item, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_search_path;

    #[test]
    fn search_paths_are_split_as_the_server_reads_them() {
        let check = |value: &str, expect: Option<&[&str]>| {
            let got = parse_search_path(value);
            let got = got.as_ref().map(|items| items.iter().map(AsRef::as_ref).collect::<Vec<&str>>());
            assert_eq!(got.as_deref(), expect, "{value}");
        };
        check("", Some(&[]));
        check("\"$user\", public", Some(&["$user", "public"]));
        check("Public,pg_temp", Some(&["public", "pg_temp"]));
        check("\"A \"\"b\"\", c\"", Some(&["A \"b\", c"]));
        check("a,", None);
        check("\"open", None);
        check("a b", None);
    }
}
