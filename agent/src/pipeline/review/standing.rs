//! What a statement that waits depends on besides its text and what its names mean: settings of the session, and whether
//! others would wait with it.

use super::super::question::{Answer, Question, Row};

/// Settings by which literals are read and rows are seen, and those that row-level security reads: policies, and functions
/// in them. Every name in it is qualified, so that nothing can stand in for it.
const SETTINGS: &str = "\
SELECT name, pg_catalog.current_setting(name, true) FROM (\
SELECT pg_catalog.unnest('{DateStyle,IntervalStyle,TimeZone,client_encoding,standard_conforming_strings,backslash_quote,\
transform_null_equals,array_nulls,row_security,session_replication_role,lc_monetary,lc_numeric,default_text_search_config,\
xmloption,session_authorization}'::pg_catalog.text[]) \
UNION SELECT it[1] FROM (\
SELECT pg_catalog.concat(pg_catalog.pg_get_expr(polqual, polrelid), ' ', pg_catalog.pg_get_expr(polwithcheck, polrelid)) \
FROM pg_catalog.pg_policy \
UNION ALL SELECT prosrc FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.=) ANY (\
SELECT refobjid FROM pg_catalog.pg_depend \
WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid \
AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid)) AS reads(source), \
LATERAL pg_catalog.regexp_matches(source, 'current_setting *[(] *''([^'']+)''', 'g') AS found(it)) AS settings(name) \
ORDER BY 1";

/// Locks for which others would wait, but for those that reading takes.
const LOCKS: &str = "\
SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
AND (locktype OPERATOR(pg_catalog.=) 'transactionid' \
OR (locktype OPERATOR(pg_catalog.=) 'relation' AND mode OPERATOR(pg_catalog.<>) 'AccessShareLock'))";

/// Asks, in a transaction or outside of any.
pub fn ask(in_transaction: bool, out: &mut Vec<u8>) -> Question {
    if in_transaction {
        Question::ask_apart(&[SETTINGS.to_owned(), LOCKS.to_owned()], out)
    } else {
        Question::ask(SETTINGS, out)
    }
}

/// What a session says.
#[derive(Debug, Default)]
pub struct Standing {
    /// Names and values.
    pub settings: Vec<Row>,
    /// Its transaction holds locks.
    pub holds_locks: bool,
}

impl Standing {
    /// `None` where it is not understood.
    pub fn read(answer: Answer, in_transaction: bool) -> Option<Self> {
        let mut answers = answer?.into_iter();
        let settings = answers.next().filter(|settings| !settings.is_empty())?;
        let holds_locks = if in_transaction {
            let row = answers.next()?.pop()?;
            row.first()?.as_deref()? != "0"
        } else {
            false
        };
        Some(Self { settings, holds_locks })
    }
}
