//! Comparing and merging JSON objects.

use postern_api::document::FieldChange;
use serde_json::Value;

/// Writes `over` into `base`: objects key by key, everything else as a whole.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(there) => merge(there, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// The fields that differ, by path.
pub(crate) fn fields(from: Option<&Value>, to: Option<&Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    compare("", from, to, &mut changes);
    changes
}

fn compare(path: &str, from: Option<&Value>, to: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if from == to {
        return;
    }
    let objects = (from.and_then(Value::as_object), to.and_then(Value::as_object));
    let (from_keys, to_keys) = match objects {
        (None, None) => {
            let value = |side: Option<&Value>| side.cloned().unwrap_or(Value::Null);
            let (from, to) = (value(from), value(to));
            if from != to {
                changes.push(FieldChange { path: path.to_owned(), from, to });
            }
            return;
        }
        (from, to) => (from.cloned().unwrap_or_default(), to.cloned().unwrap_or_default()),
    };
    let mut keys: Vec<_> = from_keys.keys().chain(to_keys.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(&path, from_keys.get(key), to_keys.get(key), changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_by_path() {
        let from = json!({ "roles": { "read": { "max_duration": "1h", "groups": ["a"] } }, "connector": "x" });
        let to = json!({ "roles": { "read": { "max_duration": "2h", "groups": ["a"] }, "all": { "approvals": 1 } }, "connector": "x" });
        let paths: Vec<_> =
            fields(Some(&from), Some(&to)).into_iter().map(|change| (change.path, change.from, change.to)).collect();
        assert_eq!(
            paths,
            [
                ("roles.all.approvals".to_owned(), Value::Null, json!(1)),
                ("roles.read.max_duration".to_owned(), json!("1h"), json!("2h")),
            ]
        );
    }

    #[test]
    fn merging_keeps_what_is_not_mentioned() {
        let mut base = json!({ "roles": { "read": { "a": 1, "b": [1] } }, "x": 1 });
        merge(&mut base, json!({ "roles": { "read": { "b": [2] }, "all": {} } }));
        assert_eq!(base, json!({ "roles": { "read": { "a": 1, "b": [2] }, "all": {} }, "x": 1 }));
    }
}
