//! That no two entries of a corpus are the same attempt.

use super::common::Entry;

/// A statement without what is spelling: its tokens, as PostgreSQL's scanner finds them, without comments, without the
/// values of literals, without identifiers' case and quotes.
fn without_spelling(sql: &str) -> Vec<String> {
    use pg_query::protobuf::Token;
    let Ok(scanned) = pg_query::scan(sql) else { return sql.split_whitespace().map(str::to_lowercase).collect() };
    let place = |at: i32| usize::try_from(at).unwrap();
    let word = |token: &pg_query::protobuf::ScanToken| match token.token() {
        Token::SqlComment | Token::CComment => None,
        Token::Iconst | Token::Fconst | Token::Sconst | Token::Bconst | Token::Xconst | Token::Usconst => {
            Some("?".to_owned())
        }
        _ => Some(sql[place(token.start)..place(token.end)].replace('"', "").to_lowercase()),
    };
    scanned.tokens.iter().filter_map(word).collect()
}

/// No two entries may differ only in literals or spelling.
pub fn assert_different(entries: &[Entry]) {
    let mut seen = std::collections::HashMap::new();
    let mut same = Vec::new();
    for entry in entries {
        if let Some(other) = seen.insert(without_spelling(&entry.sql), entry) {
            same.push(format!("{}: {}\n  {}: {}", entry.title, entry.sql, other.title, other.sql));
        }
    }
    assert!(same.is_empty(), "they differ in literals or spelling only:\n{}", same.join("\n"));
}
