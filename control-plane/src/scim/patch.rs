//! Changes of a part of a resource: RFC 7644, section 3.5.2, and what directories write in its place. Of operations there are
//! a path or none; a path names an attribute, a part of it, or by a filter in brackets some of its values.

use super::{
    Document, Refused,
    filter::{self, selects},
    schema::{Attribute, Kind, Rule, Values, find},
};
use crate::problem::shorten;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The most operations of one call.
const MAX_OPERATIONS: usize = 1000;

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Replace,
    Remove,
}

/// A place in a resource.
struct Place<'a> {
    attribute: &'static Attribute,
    /// Which of its values; None: all.
    of: Option<Vec<(&'a str, Value)>>,
    /// What of it, or of each of these; None: the whole.
    part: Option<&'static Attribute>,
}

/// Makes the changes of a call's body, all of them or none.
///
/// # Errors
/// When one of them is wrong, or is of what is not the directory's.
pub fn apply(kind: &'static Kind, mut document: Document, body: Value) -> Result<Document, Refused> {
    let Value::Object(body) = body else { return Err(Refused::syntax("the body is a JSON object")) };
    let operations = field(body, "Operations").ok_or_else(|| Refused::syntax("`Operations` is missing"))?;
    let Value::Array(operations) = operations else { return Err(Refused::syntax("`Operations` is a list")) };
    if operations.len() > MAX_OPERATIONS {
        return Err(Refused::syntax(format!("a call has {MAX_OPERATIONS} operations at most")));
    }
    for operation in operations {
        let Value::Object(given) = operation else { return Err(Refused::syntax("an operation is a JSON object")) };
        one(kind, &mut document, given)?;
    }
    Ok(document)
}

/// Some write names with a capital letter.
fn field(object: Map<String, Value>, name: &str) -> Option<Value> {
    object.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn one(kind: &'static Kind, document: &mut Document, given: Map<String, Value>) -> Result<(), Refused> {
    let name = field(given.clone(), "op");
    let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
    let operation = match name.to_ascii_lowercase().as_str() {
        "add" => Operation::Add,
        "replace" => Operation::Replace,
        "remove" => Operation::Remove,
        _ => return Err(Refused::syntax(format!("`{}` is no operation: add, replace, remove", shorten(name)))),
    };
    let value = field(given.clone(), "value");
    let path = match field(given, "path") {
        Some(Value::String(path)) => Some(path),
        None | Some(Value::Null) => None,
        Some(_) => return Err(Refused::path("`path` is a text")),
    };
    if operation != Operation::Remove && value.is_none() {
        return Err(Refused::value("`value` is missing"));
    }
    if let Some(path) = path {
        return at(kind, document, operation, &path, value);
    }
    match value {
        _ if operation == Operation::Remove => Err(Refused::target("say by `path` what is removed")),
        Some(Value::Object(values)) => {
            // Each key is the path of its value.
            values.into_iter().try_for_each(|(path, value)| at(kind, document, operation, &path, Some(value)))
        }
        _ => Err(Refused::value("without `path` the value is a JSON object")),
    }
}

fn at(
    kind: &'static Kind,
    document: &mut Document,
    operation: Operation,
    path: &str,
    value: Option<Value>,
) -> Result<(), Refused> {
    let Some(place) = read(kind, path)? else { return Ok(()) };
    let Place { attribute, .. } = &place;
    if attribute.rule == Rule::Computed {
        return Err(Refused::mutability(format!("`{}` follows from the groups' members", attribute.name)));
    }
    let before = document.remove(attribute.name);
    let after = match attribute.values {
        Values::Many(_) => many(&place, operation, before, value)?,
        Values::Complex(_) => complex(&place, operation, before, value)?,
        _ if operation == Operation::Remove => None,
        _ => attribute.checked(value.unwrap_or_default())?,
    };
    if let Some(after) = after {
        document.insert(attribute.name.to_owned(), after);
    }
    Ok(())
}

/// Reads a path; None: it is of an attribute that is ignored.
fn read<'a>(kind: &'static Kind, path: &'a str) -> Result<Option<Place<'a>>, Refused> {
    let wrong = || Refused::path(format!("`{}` is no path of a {}", shorten(path), kind.name));
    let Some(local) = kind.local(path) else { return Ok(None) };
    let (name, rest) = match local.find(['[', '.']) {
        Some(end) => local.split_at_checked(end).ok_or_else(wrong)?,
        None => (local, ""),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '-' | '_');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(wrong());
    }
    let Some(attribute) = find(kind.attributes, name) else { return Ok(None) };
    let (of, rest) = match rest.strip_prefix('[') {
        None => (None, rest),
        Some(rest) => {
            let (terms, rest) = rest.rsplit_once(']').ok_or_else(wrong)?;
            let terms = filter::read(terms)?;
            if !terms.iter().all(|(name, _)| find(attribute.parts(), name).is_some()) {
                return Err(wrong());
            }
            (Some(terms), rest)
        }
    };
    let part = match rest.strip_prefix('.') {
        None if rest.is_empty() => None,
        None => return Err(wrong()),
        Some(name) => match find(attribute.parts(), name) {
            Some(part) => Some(part),
            None if name.chars().all(is_name) => return Ok(None),
            None => return Err(wrong()),
        },
    };
    if of.is_some() && !matches!(attribute.values, Values::Many(_)) {
        return Err(wrong());
    }
    Ok(Some(Place { attribute, of, part }))
}

fn complex(
    place: &Place<'_>,
    operation: Operation,
    before: Option<Value>,
    value: Option<Value>,
) -> Result<Option<Value>, Refused> {
    let mut parts = before.and_then(|before| before.as_object().cloned()).unwrap_or_default();
    match (place.part, operation) {
        (None, Operation::Remove) => return Ok(None),
        (None, _) => {
            if let Some(Value::Object(given)) = place.attribute.checked(value.unwrap_or_default())? {
                parts.extend(given);
            }
        }
        (Some(part), operation) => set(&mut parts, part, operation, value)?,
    }
    Ok((!parts.is_empty()).then_some(Value::Object(parts)))
}

/// Sets or removes a part.
fn set(
    parts: &mut Map<String, Value>,
    part: &'static Attribute,
    operation: Operation,
    value: Option<Value>,
) -> Result<(), Refused> {
    if matches!(part.rule, Rule::Fixed) {
        return Err(Refused::mutability(format!("`{}` does not change: remove the one and add the other", part.name)));
    }
    let value = if operation == Operation::Remove { None } else { part.checked(value.unwrap_or_default())? };
    match value {
        Some(value) => parts.insert(part.name.to_owned(), value),
        None => parts.remove(part.name),
    };
    Ok(())
}

fn many(
    place: &Place<'_>,
    operation: Operation,
    before: Option<Value>,
    value: Option<Value>,
) -> Result<Option<Value>, Refused> {
    let before = match before {
        Some(Value::Array(before)) => before,
        _ => Vec::new(),
    };
    let after = match (&place.of, place.part) {
        (None, None) => whole(place.attribute, operation, before, value)?,
        _ => some(place, operation, before, value)?,
    };
    Ok((!after.is_empty()).then_some(Value::Array(after)))
}

/// Of all values.
fn whole(
    attribute: &'static Attribute,
    operation: Operation,
    before: Vec<Value>,
    value: Option<Value>,
) -> Result<Vec<Value>, Refused> {
    let given = attribute.several(value.unwrap_or_default())?;
    Ok(match operation {
        Operation::Replace => given,
        Operation::Remove if given.is_empty() => given,
        // Some name what is removed by the value, not by a filter.
        Operation::Remove => {
            let gone: HashSet<&str> = given.iter().filter_map(named).collect();
            before.into_iter().filter(|value| named(value).is_none_or(|name| !gone.contains(name))).collect()
        }
        Operation::Add => {
            let there: HashSet<String> = before.iter().map(Value::to_string).collect();
            let new: Vec<Value> = given.into_iter().filter(|value| !there.contains(&value.to_string())).collect();
            let mut all = before;
            if new.iter().any(is_primary) {
                all.iter_mut().for_each(no_longer_primary);
            }
            all.extend(new);
            // Counted and checked as a whole.
            attribute.several(Value::Array(all))?
        }
    })
}

fn named(value: &Value) -> Option<&str> {
    value.get("value")?.as_str()
}

fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&json!(true))
}

/// Only one is: RFC 7643, section 2.4.
fn no_longer_primary(value: &mut Value) {
    if is_primary(value)
        && let Some(parts) = value.as_object_mut()
    {
        parts.insert("primary".to_owned(), json!(false));
    }
}

/// Of those values that a filter selects, or of a part of each.
fn some(
    place: &Place<'_>,
    operation: Operation,
    before: Vec<Value>,
    value: Option<Value>,
) -> Result<Vec<Value>, Refused> {
    let Place { attribute, of, part } = place;
    let selected = |value: &Value| of.as_ref().is_none_or(|terms| selects(attribute, terms, value));
    if !before.iter().any(&selected) {
        return match operation {
            Operation::Remove => Ok(before),
            Operation::Replace => Err(Refused::target(format!("no value of `{}` is that one", attribute.name))),
            // What the filter says and the value make a new one.
            Operation::Add => {
                let terms = of.iter().flatten().map(|(name, value)| ((*name).to_owned(), value.clone()));
                let mut new: Map<String, Value> = terms.collect();
                match (part, value) {
                    (Some(part), Some(value)) => new.extend([(part.name.to_owned(), value)]),
                    (_, Some(Value::Object(given))) => new.extend(given),
                    _ => return Err(Refused::value(format!("a value of `{}` is an object", attribute.name))),
                }
                whole(attribute, Operation::Add, before, Some(Value::Object(new)))
            }
        };
    }
    let mut after = Vec::with_capacity(before.len());
    for mut one in before {
        if !selected(&one) {
            after.push(one);
            continue;
        }
        let Some(parts) = one.as_object_mut() else { continue };
        match part {
            None if operation == Operation::Remove => continue,
            None => {
                let given = attribute.several(value.clone().unwrap_or_default())?;
                parts.extend(given.into_iter().filter_map(|given| given.as_object().cloned()).flatten());
            }
            Some(part) => set(parts, part, operation, value.clone())?,
        }
        if !parts.is_empty() {
            after.push(one);
        }
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::schema::{GROUP, USER};

    fn patched(kind: &'static Kind, before: Value, operations: Value) -> Result<Value, Refused> {
        let before = kind.checked(before).unwrap();
        apply(kind, before, json!({ "Operations": operations })).map(Value::Object)
    }

    fn alice() -> Value {
        json!({ "userName": "alice", "active": true, "name": { "givenName": "Alice" },
            "emails": [{ "value": "a@acme.com", "type": "work", "primary": true }] })
    }

    #[test]
    fn users_as_directories_change_them() {
        for (operations, expected) in [
            // Okta deactivates without a path, Entra ID with one and texts for truths.
            (json!([{ "op": "replace", "value": { "active": false } }]), json!({ "active": false })),
            (json!([{ "op": "Replace", "path": "active", "value": "False" }]), json!({ "active": false })),
            (
                json!([{ "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": "False" }]),
                json!({ "active": false }),
            ),
            (
                json!([{ "op": "Add", "value": { "name.familyName": "A", "displayName": "Alice A" } }]),
                json!({ "displayName": "Alice A", "name": { "givenName": "Alice", "familyName": "A" } }),
            ),
            (
                json!([{ "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "b@acme.com" }]),
                json!({ "emails": [{ "value": "b@acme.com", "type": "work", "primary": true }] }),
            ),
            (
                json!([{ "op": "Add", "path": "emails[type eq \"home\"].value", "value": "h@acme.com" }]),
                json!({ "emails": [
                    { "value": "a@acme.com", "type": "work", "primary": true }, { "value": "h@acme.com", "type": "home" },
                ] }),
            ),
            (
                json!([{ "op": "add", "path": "emails", "value": { "value": "c@acme.com", "primary": true } }]),
                json!({ "emails": [
                    { "value": "a@acme.com", "type": "work", "primary": false }, { "value": "c@acme.com", "primary": true },
                ] }),
            ),
            (json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }]), json!({ "emails": null })),
            (json!([{ "op": "remove", "path": "name.givenName" }]), json!({ "name": null })),
            (
                json!([{ "op": "replace", "path": "name", "value": { "formatted": "A" } }]),
                json!({ "name": { "givenName": "Alice", "formatted": "A" } }),
            ),
            // What is not kept is ignored: an extension, a part, an attribute.
            (
                json!([
                    { "op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "X" },
                    { "op": "Add", "path": "name.honorificPrefix", "value": "Dr" },
                    { "op": "Replace", "path": "title", "value": "Dr" },
                    { "op": "Remove", "path": "phoneNumbers[type eq \"work\"]" },
                    { "op": "Replace", "value": { "password": "x", "nickName": "y" } },
                ]),
                json!({}),
            ),
        ] {
            let mut wanted = alice().as_object().unwrap().clone();
            for (name, value) in expected.as_object().unwrap().clone() {
                if value.is_null() {
                    wanted.remove(&name)
                } else {
                    wanted.insert(name, value)
                };
            }
            assert_eq!(patched(&USER, alice(), operations.clone()).unwrap(), Value::Object(wanted), "{operations}");
        }
    }

    #[test]
    fn members_come_and_go() {
        let group = || json!({ "displayName": "dba", "members": [{ "value": "a" }, { "value": "b", "type": "User" }] });
        for (operations, left) in [
            (json!([{ "op": "add", "path": "members", "value": [{ "value": "c", "display": "C" }] }]), "a b c"),
            (json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": "b" }] }]), "a b"),
            (json!([{ "op": "remove", "path": "members[value eq \"a\"]" }]), "b"),
            (json!([{ "op": "remove", "path": "members[value eq \"nobody\"]" }]), "a b"),
            (json!([{ "op": "Remove", "path": "members", "value": [{ "value": "a" }] }]), "b"),
            (json!([{ "op": "remove", "path": "members" }]), ""),
            (json!([{ "op": "replace", "path": "members", "value": [] }]), ""),
            (json!([{ "op": "replace", "value": { "id": "x", "members": [{ "value": "z" }] } }]), "z"),
        ] {
            let after = patched(&GROUP, group(), operations.clone()).unwrap();
            let members = after["members"].as_array().cloned().unwrap_or_default();
            let members: Vec<&str> = members.iter().map(|member| member["value"].as_str().unwrap()).collect();
            assert_eq!(members.join(" "), left, "{operations}");
        }
    }

    #[test]
    fn what_is_refused() {
        let many = vec![json!({ "op": "replace", "path": "active", "value": true }); 1001];
        for (operations, expected) in [
            (json!([{ "op": "move", "path": "active" }]), "invalidSyntax"),
            (json!([{ "path": "active", "value": true }]), "invalidSyntax"),
            (json!(["x"]), "invalidSyntax"),
            (json!({}), "invalidSyntax"),
            (json!(many), "invalidSyntax"),
            (json!([{ "op": "replace", "path": "active" }]), "invalidValue"),
            (json!([{ "op": "replace", "path": "active", "value": "perhaps" }]), "invalidValue"),
            (json!([{ "op": "replace", "value": true }]), "invalidValue"),
            (json!([{ "op": "replace", "path": "userName", "value": 1 }]), "invalidValue"),
            (json!([{ "op": "add", "path": "emails", "value": ["a@acme.com"] }]), "invalidValue"),
            (json!([{ "op": "remove" }]), "noTarget"),
            (json!([{ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" }]), "noTarget"),
            (json!([{ "op": "replace", "path": 1, "value": "x" }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "", "value": "x" }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "emails[type eq \"work\"", "value": "x" }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "emails[type eq \"work\"]x", "value": "x" }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "emails[colour eq \"x\"]", "value": {} }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "name[x eq \"y\"]", "value": {} }]), "invalidPath"),
            (json!([{ "op": "replace", "path": "emails[type gt \"work\"]", "value": {} }]), "invalidFilter"),
            (json!([{ "op": "add", "path": "groups", "value": [{ "value": "dba" }] }]), "mutability"),
        ] {
            let refused = patched(&USER, alice(), operations.clone()).unwrap_err();
            assert!(
                matches!(refused, Refused::Told { status: 400, kind: Some(kind), .. } if kind == expected),
                "{operations} {refused:?}"
            );
        }
    }
}
