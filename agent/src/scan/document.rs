//! The values inside of JSON documents, and where they are. A key that only few documents of a sample have is data itself
//! (`{"alice@example.com": …}`), and is told as `*`.

use super::columns::Class;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Deeper, nothing is looked at.
const MAX_DEPTH: usize = 16;

/// What is looked at of one document.
const MAX_LEAVES: usize = 2_000;

/// Paths that are told apart in a sample.
const MAX_PATHS: usize = 4_096;

/// The longest key that is told.
const MAX_KEY: usize = 60;

/// Of so many documents one has to have a key, or else it is data.
const ONE_IN: usize = 20;

/// Between the parts of a path, and in no key that is told.
const DOT: char = '.';

/// What is told of a key that is data, and of elements.
const ANY: &str = "*";

/// A value that has no parts, or a key that is data.
pub struct Leaf<'a> {
    /// Where it is.
    pub path: &'a str,
    /// The key that it has, if that is no data.
    pub key: Option<&'a str>,
    pub class: Class,
    pub text: &'a str,
}

/// The keys of a sample that are no data.
#[derive(Debug, Default)]
pub struct Keys(HashSet<String>);

impl Keys {
    /// Those of these documents.
    pub fn of<'a>(documents: impl Iterator<Item = &'a str>) -> Self {
        let (mut counts, mut all) = (HashMap::<String, usize>::new(), 0);
        for document in documents {
            all += 1;
            let mut paths = HashSet::new();
            if let Ok(value) = serde_json::from_str::<Value>(document) {
                paths_of(&value, "", 0, &mut paths);
            }
            for path in paths {
                let known = counts.len() < MAX_PATHS || counts.contains_key(&path);
                if known {
                    *counts.entry(path).or_default() += 1;
                }
            }
        }
        let least = (all / ONE_IN).max(2);
        Self(counts.into_iter().filter(|(_, count)| *count >= least).map(|(path, _)| path).collect())
    }
}

/// The paths of a document whose keys might be no data.
fn paths_of(value: &Value, path: &str, depth: usize, paths: &mut HashSet<String>) {
    if depth > MAX_DEPTH || paths.len() > MAX_LEAVES {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| is_plain(key)) {
                let path = join(path, key);
                paths_of(value, &path, depth + 1, paths);
                paths.insert(path);
            }
        }
        Value::Array(elements) => {
            let path = join(path, ANY);
            elements.iter().for_each(|element| paths_of(element, &path, depth + 1, paths));
        }
        _ => {}
    }
}

/// Whether a key is written like a name that a program gave.
fn is_plain(key: &str) -> bool {
    let first = key.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    first && key.len() <= MAX_KEY && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn join(path: &str, part: &str) -> String {
    if path.is_empty() { part.to_owned() } else { format!("{path}{DOT}{part}") }
}

/// Shows each value of a document. A document that was cut off is looked at as text.
pub fn walk(document: &str, keys: &Keys, see: &mut dyn FnMut(Leaf<'_>)) {
    match serde_json::from_str::<Value>(document) {
        Ok(value) => Walk { keys, left: MAX_LEAVES, see }.value(&value, "", None, 0),
        Err(_) => see(Leaf { path: "", key: None, class: Class::Text, text: document }),
    }
}

struct Walk<'a> {
    keys: &'a Keys,
    left: usize,
    see: &'a mut dyn FnMut(Leaf<'_>),
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, path: &str, key: Option<&str>, depth: usize) {
        if depth > MAX_DEPTH || self.left == 0 {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let named = join(path, key);
                    if is_plain(key) && self.keys.0.contains(&named) {
                        self.value(value, &named, Some(key), depth + 1);
                    } else {
                        let path = join(path, ANY);
                        self.leaf(&path, None, Class::Text, key);
                        self.value(value, &path, None, depth + 1);
                    }
                }
            }
            Value::Array(elements) => {
                let path = join(path, ANY);
                elements.iter().for_each(|element| self.value(element, &path, key, depth + 1));
            }
            Value::String(text) => self.leaf(path, key, Class::Text, text),
            Value::Number(number) => self.leaf(path, key, Class::Number, &number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn leaf(&mut self, path: &str, key: Option<&str>, class: Class, text: &str) {
        self.left = self.left.saturating_sub(1);
        (self.see)(Leaf { path, key, class, text });
    }
}

/// The texts of a JSON array; of one that was cut off, the whole.
pub fn texts(array: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let keys = Keys::default();
    walk(array, &keys, &mut |leaf| texts.push(leaf.text.to_owned()));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(documents: &[&str]) -> Vec<String> {
        let keys = Keys::of(documents.iter().copied());
        let mut seen = Vec::new();
        for document in documents {
            walk(document, &keys, &mut |leaf| {
                seen.push(format!("{} {} {}", leaf.path, leaf.key.unwrap_or("-"), leaf.text));
            });
        }
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn where_values_are() {
        let documents = [
            r#"{"contact": {"email": "a@b", "tags": ["x"]}, "n": 7, "none": null}"#,
            r#"{"contact": {"email": "c@d", "tags": [{"id": "y"}]}, "n": 8}"#,
        ];
        let expect = [
            // One document alone has it.
            "* - none",
            "contact.email email a@b",
            "contact.email email c@d",
            "contact.tags.* tags x",
            "contact.tags.*.* - id",
            "contact.tags.*.* - y",
            "n n 7",
            "n n 8",
        ];
        assert_eq!(seen(&documents), expect);
    }

    #[test]
    fn a_key_that_is_data_is_not_told() {
        let documents = [r#"{"alice": {"pin": 1}}"#, r#"{"bob": {"pin": 2}}"#, r#"{"e@f": {"pin": 3}, "e f": 1}"#];
        let seen = seen(&documents);
        assert!(seen.iter().all(|line| line.starts_with("* ") || line.starts_with("*.* ")), "{seen:?}");
        // It is looked at all the same.
        assert!(seen.contains(&"* - e@f".to_owned()), "{seen:?}");
        assert_eq!(super::Keys::of(documents.into_iter()).0.len(), 0);
    }

    #[test]
    fn what_is_no_document_is_text() {
        let mut seen = Vec::new();
        walk("{\"a\": \"b@c", &Keys::default(), &mut |leaf| seen.push(leaf.text.to_owned()));
        assert_eq!(seen, ["{\"a\": \"b@c"]);
        assert_eq!(texts("[\"a\", null, \"b\"]"), ["a", "b"]);
    }
}
