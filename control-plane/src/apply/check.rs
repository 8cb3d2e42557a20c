//! What a document's types do not say: names, URLs, durations, settings.

use crate::problem::{Problem, shorten};
use postern_api::document::{AccessRole, Budget, ConnectionDocument, Counted, Mask, Reviewers, RoleMode};
use postern_types::{size::parse_bytes, time::parse_duration};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// The longest name: connections and roles appear as database and role names, of at most 63 bytes.
const MAX_NAME: usize = 63;

/// The most roles, tags or masks of one connection.
const MAX_ENTRIES: usize = 10_000;

/// The most characters that a mask keeps: what keeps more masks nothing.
const MAX_KEPT: u32 = 1_000;

/// The most reviewers that a role can ask for.
const MAX_APPROVALS: u32 = 20;

/// The longest that a session may wait for another to end: gateways give up soon after.
const MAX_QUEUE_WAIT: Duration = Duration::from_secs(15);

/// Settings that Postern itself decides.
const OWN_SETTINGS: [&str; 5] =
    ["application_name", "role", "session_authorization", "default_transaction_read_only", "options"];

/// A document's name.
pub(super) fn name(value: Option<&Value>) -> Result<String, Problem> {
    let name =
        value.and_then(Value::as_str).ok_or_else(|| Problem::invalid("name", "`name` is missing or not a text"))?;
    named("name", name)?;
    Ok(name.to_owned())
}

/// A name of anything: letters, digits, `-`, `_`, `.`, and `@` for people.
pub(crate) fn named(field: &str, name: &str) -> Result<(), Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts && name.len() <= MAX_NAME && name.chars().all(good) {
        return Ok(());
    }
    Err(Problem::invalid(
        field,
        format!(
            "`{}` is not a name: 1 to {MAX_NAME} letters, digits, `-`, `_`, `.`, `@`, beginning with a letter or digit",
            shorten(name)
        ),
    ))
}

/// A value as its type; the error names the field.
pub(super) fn deserialize<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| {
        let message = error.to_string();
        // serde names an unknown or missing field in backquotes.
        let quoted = message.split('`').nth(1).filter(|_| message.contains("field")).map(str::to_owned);
        match quoted {
            Some(field) => Problem::invalid(field, message),
            None => Problem::invalid("document", message),
        }
    })
}

/// A connection, checked throughout.
pub(super) fn connection(document: &ConnectionDocument) -> Result<(), Problem> {
    database_url(&document.database)?;
    named("connector", &document.connector)?;
    for (field, entries) in
        [("roles", document.roles.len()), ("tags", document.tags.len()), ("masks", document.masks.len())]
    {
        if entries > MAX_ENTRIES {
            return Err(Problem::invalid(field, format!("at most {MAX_ENTRIES} entries")));
        }
    }
    for (name, role) in &document.roles {
        let field = format!("roles.{name}");
        named(&field, name)?;
        access_role(&field, role)?;
    }
    if document.max_backends == Some(0) {
        return Err(Problem::invalid("max_backends", "must be at least 1; leave it out for no bound"));
    }
    if let Some(wait) = &document.queue_wait {
        let wait = parse_duration(wait).map_err(|error| Problem::invalid("queue_wait", error.to_string()))?;
        if wait > MAX_QUEUE_WAIT {
            return Err(Problem::invalid("queue_wait", format!("at most {}s", MAX_QUEUE_WAIT.as_secs())));
        }
        if document.max_backends.is_none() {
            return Err(Problem::invalid("queue_wait", "has no meaning without `max_backends`"));
        }
    }
    for (column, tag) in &document.tags {
        let field = format!("tags.{column}");
        let parts: Vec<_> = column.split('.').collect();
        if parts.len() > 3 || parts.iter().any(|part| part.is_empty()) {
            let message = "a tag is of a `schema`, a `schema.table` or a `schema.table.column`";
            return Err(Problem::invalid(field, message));
        }
        named(&field, tag)?;
    }
    if let Some(terms) = &document.reviews {
        super::reviews::terms(terms)?;
    }
    masks(document)
}

/// What is known of masks without the database's catalog. Which types they suit, the connector says.
fn masks(document: &ConnectionDocument) -> Result<(), Problem> {
    for (tag, masking) in &document.masks {
        let field = format!("masks.{tag}");
        named(&field, tag)?;
        if let Mask::Partial(keep) = masking.mask()
            && *keep > MAX_KEPT
        {
            return Err(Problem::invalid(field, format!("keeps at most {MAX_KEPT} characters")));
        }
    }
    let ConnectionDocument { safe_functions, safe_relations, safe_channels, undoable_functions, .. } = document;
    for (list, entries) in [
        ("safe_functions", safe_functions),
        ("safe_relations", safe_relations),
        ("safe_channels", safe_channels),
        ("undoable_functions", undoable_functions),
    ] {
        if entries.len() > MAX_ENTRIES {
            return Err(Problem::invalid(list, format!("at most {MAX_ENTRIES} entries")));
        }
        for entry in entries {
            let parts: Vec<_> = entry.split('.').collect();
            let good = if list == "safe_channels" {
                !entry.is_empty() && entry.len() <= MAX_NAME
            } else {
                parts.len() == 2 && parts.iter().all(|part| !part.is_empty())
            };
            if !good {
                let form = if list == "safe_channels" { "the name of a channel" } else { "`schema.name`" };
                return Err(Problem::invalid(list, format!("`{}` is not {form}", shorten(entry))));
            }
        }
    }
    Ok(())
}

/// A URL without a secret, so that none is stored, shown or sent on.
fn database_url(url: &str) -> Result<(), Problem> {
    let wrong = |message: &str| Err(Problem::invalid("database", message));
    let Some(rest) = url.strip_prefix("postgresql://").or_else(|| url.strip_prefix("postgres://")) else {
        return wrong("must be a URL: `postgresql://host:5432/database`");
    };
    if url.len() > 1000 || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("must be a URL without spaces, of at most 1000 characters");
    }
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let secret_parameter = query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or("").to_ascii_lowercase();
        matches!(key.as_str(), "password" | "passfile" | "sslpassword" | "user")
    });
    // A user alone is no secret. It is the login of roles of mode `shared`.
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    let names_only = login.is_none_or(|login| !login.is_empty() && !login.contains([':', '/', '@']));
    if !names_only || secret_parameter {
        return wrong(
            "must not hold a password: `postern credentials set` keeps one, or the connector's configuration names its source",
        );
    }
    Ok(())
}

fn access_role(field: &str, role: &AccessRole) -> Result<(), Problem> {
    match (role.mode, &role.database_role) {
        (RoleMode::Login, None) => {
            return Err(Problem::invalid(
                format!("{field}.database_role"),
                "mode `login` needs the `database_role` to log in as",
            ));
        }
        (RoleMode::Ephemeral, None) => {
            return Err(Problem::invalid(
                format!("{field}.database_role"),
                "mode `ephemeral` needs the `database_role` that its sessions run as",
            ));
        }
        (RoleMode::Shared, Some(_)) => {
            return Err(Problem::invalid(
                format!("{field}.database_role"),
                "mode `shared` has no `database_role` of its own",
            ));
        }
        (RoleMode::Login | RoleMode::Ephemeral, Some(role)) if role.is_empty() || role.len() > MAX_NAME => {
            return Err(Problem::invalid(format!("{field}.database_role"), format!("must have 1 to {MAX_NAME} bytes")));
        }
        _ => {}
    }
    if role.enforce_masks && role.mode != RoleMode::Ephemeral {
        return Err(Problem::invalid(format!("{field}.enforce_masks"), "needs mode `ephemeral`"));
    }
    parse_duration(&role.max_duration)
        .map_err(|error| Problem::invalid(format!("{field}.max_duration"), error.to_string()))?;
    reviewers(field, role)?;
    role.groups.iter().try_for_each(|group| named(&format!("{field}.groups"), group))?;
    if let Some(break_glass) = &role.break_glass {
        let field = format!("{field}.break_glass");
        if break_glass.groups.is_empty() {
            return Err(Problem::invalid(format!("{field}.groups"), "must name who may"));
        }
        if role.quorum().is_none() {
            return Err(Problem::invalid(field, "has no meaning where nobody has to approve"));
        }
        break_glass.groups.iter().try_for_each(|group| named(&format!("{field}.groups"), group))?;
        parse_duration(&break_glass.duration)
            .map_err(|error| Problem::invalid(format!("{field}.duration"), error.to_string()))?;
    }
    if let Some(budget) = &role.budget {
        self::budget(&format!("{field}.budget"), budget)?;
    }
    settings(&format!("{field}.settings"), &role.settings)
}

/// Who reviews, and how many of them.
fn reviewers(field: &str, role: &AccessRole) -> Result<(), Problem> {
    role.reviewers.groups().iter().try_for_each(|group| named(&format!("{field}.reviewers"), group))?;
    if role.approvals > MAX_APPROVALS {
        return Err(Problem::invalid(format!("{field}.approvals"), format!("at most {MAX_APPROVALS}")));
    }
    let Reviewers::Counted(Counted::All(groups) | Counted::Any(groups)) = &role.reviewers else { return Ok(()) };
    let field_of = |name: &str| format!("{field}.{name}");
    if groups.is_empty() {
        return Err(Problem::invalid(field_of("reviewers"), "must name at least one group"));
    }
    if groups.values().any(|count| *count == 0 || *count > MAX_APPROVALS) {
        return Err(Problem::invalid(field_of("reviewers"), format!("of each group 1 to {MAX_APPROVALS}")));
    }
    if role.approvals != AccessRole::default().approvals {
        return Err(Problem::invalid(field_of("approvals"), "has no meaning where `reviewers` says how many of each"));
    }
    Ok(())
}

/// Amounts that are stored as 64-bit integers. With 0 a grant would be of no use.
fn budget(field: &str, budget: &Budget) -> Result<(), Problem> {
    let Budget { statements, rows_read, rows_written, bytes_out, sessions } = budget;
    let bytes = bytes_out.as_deref().map(parse_bytes).transpose();
    let bytes = bytes.map_err(|error| Problem::invalid(format!("{field}.bytes_out"), error.to_string()))?;
    let sessions = sessions.map(u64::from);
    for (name, amount) in [
        ("statements", *statements),
        ("rows_read", *rows_read),
        ("rows_written", *rows_written),
        ("bytes_out", bytes),
        ("sessions", sessions),
    ] {
        // Nothing may be written, or nothing read.
        let least = u64::from(!name.starts_with("rows"));
        if amount.is_some_and(|amount| amount < least || i64::try_from(amount).is_err()) {
            return Err(Problem::invalid(format!("{field}.{name}"), format!("must be a number of at least {least}")));
        }
    }
    Ok(())
}

fn settings(field: &str, settings: &BTreeMap<String, String>) -> Result<(), Problem> {
    for (name, value) in settings {
        let field = format!("{field}.{name}");
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
            return Err(Problem::invalid(field, "is not the name of a PostgreSQL setting"));
        }
        if OWN_SETTINGS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Problem::invalid(field, "is decided by Postern"));
        }
        if value.contains('\0') || value.len() > 1000 {
            return Err(Problem::invalid(field, "must have at most 1000 bytes, none of them NUL"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(document: Value, wrong: Option<&str>) {
        let result = deserialize::<ConnectionDocument>(document.clone()).and_then(|document| connection(&document));
        let field = result.err().map(|problem| match problem {
            Problem::Told(error) => error.field.unwrap_or_default(),
            Problem::Fault(error) => panic!("{error}"),
        });
        assert_eq!(field.as_deref(), wrong, "{document}");
    }

    #[test]
    fn connections() {
        let of = |database: &str, role: Value| json!({ "name": "demo", "database": database, "connector": "dev", "roles": { "read": role } });
        let url = "postgresql://127.0.0.1:5432/shop";
        let role = json!({ "database_role": "shop_reader" });
        check(of(url, role.clone()), None);
        check(of(url, json!({ "mode": "shared", "settings": { "statement_timeout": "30s" } })), None);
        check(of("mysql://x/y", role.clone()), Some("database"));
        check(of("postgresql://u@h/d", role.clone()), None);
        for secret in ["u:p@h/d", "u:p@q@h/d", "@h/d", "h/d:p@x", "u@h/d?user=x"] {
            let url = format!("postgresql://{secret}");
            check(of(&url, role.clone()), Some("database"));
        }
        check(of("postgresql://h/d?password=x", role), Some("database"));
        check(of(url, json!({ "mode": "ephemeral", "database_role": "shop_reader" })), None);
        let enforced =
            |mode: &str| of(url, json!({ "mode": mode, "database_role": "shop_reader", "enforce_masks": true }));
        check(enforced("ephemeral"), None);
        check(enforced("login"), Some("roles.read.enforce_masks"));
        check(of(url, json!({ "mode": "ephemeral" })), Some("roles.read.database_role"));
        check(of(url, json!({ "mode": "ephemeral", "database_role": "" })), Some("roles.read.database_role"));
        check(of(url, json!({ "mode": "login" })), Some("roles.read.database_role"));
        check(of(url, json!({ "mode": "shared", "max_duration": "soon" })), Some("roles.read.max_duration"));
        check(of(url, json!({ "mode": "shared", "max_durration": "1h" })), Some("max_durration"));
        check(of(url, json!({ "mode": "shared", "settings": { "role": "x" } })), Some("roles.read.settings.role"));
        check(json!({ "name": "demo", "connector": "dev" }), Some("database"));
        let budget = |budget: Value| of(url, json!({ "mode": "shared", "budget": budget }));
        check(budget(json!({ "statements": 10, "rows_written": 0, "bytes_out": "64MiB", "sessions": 2 })), None);
        check(budget(json!({ "statements": 0 })), Some("roles.read.budget.statements"));
        check(budget(json!({ "rows_read": u64::MAX })), Some("roles.read.budget.rows_read"));
        check(budget(json!({ "bytes_out": "much" })), Some("roles.read.budget.bytes_out"));
        check(budget(json!({ "sessions": 0 })), Some("roles.read.budget.sessions"));
        check(budget(json!({ "rows": 1 })), Some("rows"));
        let backends = |most: Value, wait: Value| json!({ "name": "demo", "database": url, "connector": "dev", "max_backends": most, "queue_wait": wait });
        check(backends(json!(5), json!("5s")), None);
        check(backends(json!(0), Value::Null), Some("max_backends"));
        check(backends(json!(5), json!("1h")), Some("queue_wait"));
        check(backends(Value::Null, json!("5s")), Some("queue_wait"));
    }

    #[test]
    fn masks_and_what_is_safe() {
        let of = |key: &str, value: Value| {
            let mut document = json!({ "name": "demo", "database": "postgresql://h/d", "connector": "dev" });
            document[key] = value;
            document
        };
        for good in [
            json!("redact"),
            json!({ "partial": 4 }),
            json!({ "mask": "hash" }),
            json!({ "mask": { "partial": 2 }, "compare": "none" }),
        ] {
            let written = of("masks", json!({ "pii": good }));
            check(written.clone(), None);
            let read: ConnectionDocument = deserialize(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap()["masks"], written["masks"], "written as it was read");
        }
        for bad in [
            json!("blur"),
            json!({ "mask": "hash", "compare": "some" }),
            json!({ "mask": "hash", "compares": "any" }),
            json!({ "compare": "any" }),
            json!(4),
        ] {
            check(of("masks", json!({ "pii": bad })), Some("document"));
        }
        check(of("masks", json!({ "pii": { "partial": 1001 } })), Some("masks.pii"));
        check(of("masks", json!({ "a b": "null" })), Some("masks.a b"));
        for (key, good, bad) in [
            ("safe_functions", "public.slug", "slug"),
            ("safe_relations", "public.remote", "public.remote.id"),
            ("safe_channels", "jobs.done", ""),
            ("undoable_functions", "public.touch", "touch"),
        ] {
            check(of(key, json!([good])), None);
            check(of(key, json!([good, bad])), Some(key));
        }
        check(of("detectors", json!(["email", "card", "iban", "phone", "ssn", "token"])), None);
        check(of("detectors", json!(["email", "names"])), Some("document"));
    }

    #[test]
    fn names() {
        for good in ["alice", "alice@example.com", "orders-prod", "_x"] {
            named("name", good).unwrap();
        }
        for bad in ["", "-x", "a b", "a/b", "ü", &"x".repeat(64)] {
            assert!(named("name", bad).is_err(), "{bad}");
        }
    }

    mod fuzz {
        use super::*;
        use crate::apply::diff;
        use postern_fuzz::{proptest, target, text};
        use proptest::{collection::vec, prelude::*, sample::select};

        /// Values of the form that documents have, mostly, with keys that they know, mostly.
        fn value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                select(vec!["postgresql://h/d", "postgresql://u@h/d", "1h", "shared", "login", "demo"])
                    .prop_map(Value::from),
                text("postgresql://u:p@h/d?password=x", 30).prop_map(Value::from),
            ];
            leaf.prop_recursive(3, 24, 5, |inner| {
                let key = select(vec![
                    "name",
                    "database",
                    "connector",
                    "roles",
                    "tags",
                    "masks",
                    "mask",
                    "compare",
                    "partial",
                    "safe_functions",
                    "mode",
                    "database_role",
                    "settings",
                    "max_duration",
                    "approvals",
                    "groups",
                    "a.b.c",
                    "read",
                    "",
                ]);
                prop_oneof![
                    1 => vec(inner.clone(), 0..3).prop_map(Value::from),
                    4 => vec((key, inner), 0..5).prop_map(|fields| {
                        Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                    }),
                ]
            })
        }

        fn of(fields: (Value, Value, Value, Value)) -> Value {
            let (database, roles, tags, more) = fields;
            let mut document = json!({ "name": "demo", "database": database, "connector": "dev" });
            for (key, value) in [("roles", roles), ("tags", tags)] {
                if value.is_object() {
                    document[key] = value;
                }
            }
            diff::merge(&mut document, more);
            document
        }

        target!(fuzz_documents, (value(), value(), value(), value()).prop_map(of), |document| {
            let Ok(read) = deserialize::<ConnectionDocument>(document) else { return Ok(()) };
            // Written and read again it is the same, whether or not it may be applied.
            let written = serde_json::to_value(&read).unwrap();
            prop_assert_eq!(&deserialize::<ConnectionDocument>(written.clone()).ok(), &Some(read.clone()));
            prop_assert_eq!(diff::fields(Some(&written), Some(&written)), vec![]);
            if connection(&read).is_ok() {
                prop_assert!(!read.database.contains(|c: char| c.is_control() || c.is_whitespace()));
                prop_assert!(read.roles.len() <= MAX_ENTRIES && read.roles.keys().all(|name| name.len() <= MAX_NAME));
            }
            Ok(())
        });

        target!(fuzz_merging_is_to_say_it_last, (value(), value()), |(base, over)| {
            let mut merged = base.clone();
            diff::merge(&mut merged, over.clone());
            let once = merged.clone();
            diff::merge(&mut merged, over);
            prop_assert_eq!(merged, once);
            // What a difference lists is what differs.
            prop_assert_eq!(diff::fields(Some(&base), Some(&base)), vec![]);
            Ok(())
        });
    }
}
