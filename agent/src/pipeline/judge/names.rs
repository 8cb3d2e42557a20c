//! What names mean in a session, as far as the session itself decides it: its search path, its user, its temporary
//! schema. The session is asked, in band, whenever a statement may have changed it.

use super::super::question::Row;
use postern_sql::{
    Context,
    context::{Lexing, parse_search_path},
};
use postern_wire::error::Report;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the session itself says of what names mean, which statements SQL has prepared in it, and whether its transaction has
/// changed anything yet. Every name in it is qualified, so that nothing can stand in for it.
pub const QUESTION: &str = "\
SELECT pg_catalog.current_setting('search_path'), current_user::pg_catalog.text, \
(SELECT nspname::pg_catalog.text FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
pg_catalog.current_setting('standard_conforming_strings'), pg_catalog.current_setting('backslash_quote'), \
pg_catalog.current_setting('client_encoding'), \
(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(nspname::pg_catalog.text), ', ') FROM pg_catalog.pg_namespace \
WHERE NOT pg_catalog.has_schema_privilege(oid, 'USAGE')), \
(SELECT pg_catalog.string_agg(pg_catalog.quote_ident(pg_catalog.concat(pg_catalog.date_part('epoch', prepare_time), '@', name)), ', ') \
FROM pg_catalog.pg_prepared_statements WHERE from_sql), \
pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL";

/// What a name takes besides its letters, about.
const NAME_BYTES: usize = 48;

/// Times that a question is put before the answer is given up.
const MAX_QUESTIONS: u8 = 3;

/// Why it is not known what names mean, and the client has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server says nothing before the client has sent a Sync.
    Unsynced,
    /// The server did not answer, or not so that it is understood.
    Unanswered,
    /// The catalog cannot be read as the server reads it.
    Isolation,
    /// Neither can it in this encoding.
    Encoding,
}

impl Why {
    /// What the client is told.
    pub fn report(self) -> Report {
        let (why, hint) = match self {
            Self::Unsynced => (
                "an earlier statement may have changed what names mean, and its outcome is not known yet",
                "Send a Sync, or wait for its result, and then send this statement again.",
            ),
            Self::Unanswered => (
                "the database did not say what names mean after an earlier statement",
                "Send the statement again, or roll the transaction back and try once more.",
            ),
            Self::Isolation => (
                "the catalog was changed in a transaction that is not READ COMMITTED, so that what names mean cannot be read",
                "Change the schema in a transaction of its own, or in one that is READ COMMITTED.",
            ),
            Self::Encoding => (
                "the catalog was changed in a transaction whose client encoding is not UTF8",
                "Set client_encoding to UTF8 before the transaction begins.",
            ),
        };
        Report::new("0A000", why, hint)
    }
}

/// Whether it is known what names mean in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Known,
    /// What depends on it is refused, once.
    Unknown(Why),
    /// A statement that may change it is under way, or has run. It was asked for in vain so many times.
    Doubtful(u8),
}

impl Names {
    pub const DOUBTFUL: Self = Self::Doubtful(0);

    /// An answer was none.
    pub fn asked_in_vain(&mut self) {
        *self = match *self {
            Self::Doubtful(times) if times + 1 < MAX_QUESTIONS => Self::Doubtful(times + 1),
            _ => Self::Unknown(Why::Unanswered),
        };
    }
}

/// What a session says of what names mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub search_path: Vec<Arc<str>>,
    pub unusable: Arc<BTreeSet<Arc<str>>>,
    pub user: Arc<str>,
    pub temp_schema: Option<Arc<str>>,
    pub lexing: Lexing,
}

impl Meaning {
    /// The memory that it takes, about, besides what it shares with an earlier one from now on.
    pub fn share(&mut self, earlier: Option<&Self>) -> usize {
        match earlier.filter(|earlier| earlier.unusable == self.unusable) {
            Some(earlier) => {
                self.unusable = Arc::clone(&earlier.unusable);
                bytes(&self.search_path)
            }
            None => bytes(&self.search_path) + bytes(&*self.unusable),
        }
    }

    /// Makes it a session's.
    pub fn put(self, context: &mut Context) {
        let Self { search_path, unusable, user, temp_schema, lexing } = self;
        *context = Context { search_path, unusable, user, temp_schema, lexing, ..context.clone() };
    }
}

fn bytes<'a>(names: impl IntoIterator<Item = &'a Arc<str>>) -> usize {
    names.into_iter().map(|name| name.len() + NAME_BYTES).sum()
}

/// A session's answer to [`QUESTION`].
pub struct Answered {
    pub meaning: Meaning,
    pub encoding: String,
    /// What SQL has prepared, by name, and when.
    pub prepared: BTreeMap<String, String>,
    /// Whether the transaction has changed anything.
    pub wrote: bool,
}

impl Answered {
    /// `None` where it is not understood.
    pub fn read(row: &Row) -> Option<Self> {
        let text = |at: usize| row.get(at).and_then(Option::as_deref);
        let list = |at| text(at).map_or(Some(Vec::new()), parse_search_path);
        let lexing = Lexing { standard_conforming_strings: text(3)? == "on", backslash_quote: text(4)? != "off" };
        let meaning = Meaning {
            search_path: list(0)?,
            unusable: Arc::new(list(6)?.into_iter().collect()),
            user: text(1)?.into(),
            temp_schema: text(2).map(Into::into),
            lexing,
        };
        let prepared = list(7)?;
        let prepared = prepared.iter().map(|item| item.split_once('@').map(|(when, name)| (name.into(), when.into())));
        Some(Self {
            meaning,
            encoding: text(5)?.to_owned(),
            prepared: prepared.collect::<Option<_>>()?,
            wrote: text(8)? != "f",
        })
    }
}
