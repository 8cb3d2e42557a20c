//! What a directory looks for: `userName eq "alice"`, several of these joined by `and`. That is what directories ask to
//! find whom they know; what else RFC 7644, section 3.4.2.2 has is refused.

use super::{
    Document, Refused,
    schema::{Attribute, Kind, Values, find},
};
use crate::{problem::shorten, store::scim::Wanted};
use serde_json::Value;

/// The longest filter.
const MAX_LENGTH: usize = 1000;

/// The most comparisons of one filter.
const MAX_TERMS: usize = 10;

/// What has to hold, all of it.
#[derive(Debug, Default, PartialEq)]
pub struct Filter(Vec<Term>);

#[derive(Debug, PartialEq)]
struct Term {
    /// In lower case, and of an attribute that has parts, which of them.
    attribute: String,
    part: Option<String>,
    /// Whether the case of the text counts.
    exact: bool,
    value: Value,
}

/// A comparison as it is written: what comes before `eq`, and after.
type Written<'a> = (&'a str, Value);

/// Reads `a eq "b" and c eq true`.
///
/// # Errors
/// When it is something else.
pub fn read(text: &str) -> Result<Vec<Written<'_>>, Refused> {
    let unknown = || {
        Refused::filter(format!(
            "`{}` is no filter that is known here: write `attribute eq \"value\"`, joined by `and`",
            shorten(text)
        ))
    };
    if text.len() > MAX_LENGTH {
        return Err(Refused::filter(format!("a filter has {MAX_LENGTH} bytes at most")));
    }
    let (mut terms, mut rest) = (Vec::new(), text.trim());
    loop {
        let (name, after) = rest.split_once(' ').ok_or_else(unknown)?;
        let (operator, after) = after.trim_start().split_once(' ').ok_or_else(unknown)?;
        let after = after.trim_start();
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
        let value = values.next().and_then(Result::ok).ok_or_else(unknown)?;
        let end = values.byte_offset();
        if !operator.eq_ignore_ascii_case("eq") || !(value.is_string() || value.is_boolean()) {
            return Err(unknown());
        }
        terms.push((name, value));
        if terms.len() > MAX_TERMS {
            return Err(Refused::filter(format!("a filter has {MAX_TERMS} comparisons at most")));
        }
        rest = after.get(end..).unwrap_or_default().trim_start();
        if rest.is_empty() {
            return Ok(terms);
        }
        let (and, after) = rest.split_once(' ').ok_or_else(unknown)?;
        if !and.eq_ignore_ascii_case("and") {
            return Err(unknown());
        }
        rest = after.trim_start();
    }
}

impl Filter {
    /// What a client looks for among resources of a kind.
    ///
    /// # Errors
    /// When it cannot be read, or is of what they do not have.
    pub fn new(kind: &Kind, text: &str) -> Result<Self, Refused> {
        let term = |(name, value): Written<'_>| {
            let unknown = || Refused::filter(format!("a {} is not found by `{}`", kind.name, shorten(name)));
            let local = kind.local(name).ok_or_else(unknown)?;
            if local.eq_ignore_ascii_case("id") {
                return Ok(Term { attribute: "id".to_owned(), part: None, exact: true, value });
            }
            let (attribute, part) = local.split_once('.').map_or((local, None), |(name, part)| (name, Some(part)));
            let attribute = find(kind.attributes, attribute).filter(|found| found.is_given()).ok_or_else(unknown)?;
            // Who is a member is asked for either way.
            let part = part.or_else(|| matches!(attribute.values, Values::Many(_)).then_some("value"));
            let leaf = match part {
                None => attribute,
                Some(part) => find(attribute.parts(), part).filter(|part| part.is_given()).ok_or_else(unknown)?,
            };
            if matches!(leaf.values, Values::Complex(_)) {
                return Err(unknown());
            }
            let exact = matches!(leaf.values, Values::Exact);
            let part = part.map(|_| leaf.name.to_owned());
            Ok(Term { attribute: attribute.name.to_owned(), part, exact, value })
        };
        Ok(Self(read(text)?.into_iter().map(term).collect::<Result<_, _>>()?))
    }

    /// By what the store finds them quickly. Whatever it finds is compared with all of the filter.
    #[must_use]
    pub fn wanted(&self, kind: &Kind) -> Wanted {
        let text = |name: &str| {
            let term = self.0.iter().find(|term| term.part.is_none() && term.attribute == name);
            term.and_then(|term| term.value.as_str()).map(str::to_owned)
        };
        let name = kind.attributes.first().and_then(|attribute| text(attribute.name));
        Wanted { id: text("id"), name: name.map(|name| name.to_ascii_lowercase()), external_id: text("externalId") }
    }

    /// Whether a resource is one of those. `document` has its `id`.
    #[must_use]
    pub fn holds(&self, document: &Document) -> bool {
        self.0.iter().all(|term| {
            let Some(value) = document.get(&term.attribute) else { return false };
            match (&term.part, value) {
                (None, value) => same(value, &term.value, term.exact),
                (Some(part), Value::Array(values)) => {
                    values.iter().any(|value| value.get(part).is_some_and(|part| same(part, &term.value, term.exact)))
                }
                (Some(part), value) => value.get(part).is_some_and(|part| same(part, &term.value, term.exact)),
            }
        })
    }
}

/// Whether the value of one among many is what a filter in brackets says.
#[must_use]
pub fn selects(attribute: &Attribute, terms: &[Written<'_>], value: &Value) -> bool {
    terms.iter().all(|(name, wanted)| {
        let part = find(attribute.parts(), name);
        part.and_then(|part| value.get(part.name).map(|is| same(is, wanted, matches!(part.values, Values::Exact))))
            .unwrap_or(false)
    })
}

fn same(one: &Value, other: &Value, exact: bool) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) if !exact => one.eq_ignore_ascii_case(other),
        // Some write truths as texts here too.
        (Value::Bool(one), Value::String(other)) => other.eq_ignore_ascii_case(if *one { "true" } else { "false" }),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::schema::{GROUP, USER};
    use serde_json::json;

    fn document() -> Document {
        let json = json!({
            "id": "prn_1", "userName": "Alice@acme.com", "externalId": "00uA", "active": true,
            "emails": [{ "value": "a@acme.com", "type": "work" }], "name": { "givenName": "Alice" },
        });
        json.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_found() {
        for (text, found) in [
            (r#"userName eq "alice@acme.com""#, true),
            (r#"USERNAME EQ "ALICE@ACME.COM""#, true),
            (r#"userName eq "bob""#, false),
            (r#"externalId eq "00uA""#, true),
            (r#"externalId eq "00ua""#, false),
            (r#"id eq "prn_1" and active eq true"#, true),
            (r#"id eq "prn_1" and active eq false"#, false),
            (r#"active eq "True""#, true),
            (r#"emails.value eq "A@acme.com""#, true),
            (r#"emails.value eq "b@acme.com""#, false),
            (r#"name.givenName eq "alice""#, true),
            (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "alice@acme.com""#, true),
            (r#"displayName eq "Alice""#, false),
            (r#"userName eq "a\" or \"b""#, false),
        ] {
            let filter = Filter::new(&USER, text).unwrap();
            assert_eq!(filter.holds(&document()), found, "{text}");
        }
        let wanted = Filter::new(&USER, r#"userName eq "A" and externalId eq "B""#).unwrap().wanted(&USER);
        assert_eq!((wanted.name.as_deref(), wanted.external_id.as_deref(), wanted.id), (Some("a"), Some("B"), None));
        let group = json!({ "id": "g", "displayName": "dba", "members": [{ "value": "prn_1" }] });
        for text in [r#"members.value eq "prn_1""#, r#"id eq "g" and members eq "prn_1""#] {
            assert!(Filter::new(&GROUP, text).unwrap().holds(group.as_object().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter() {
        let long = format!(r#"userName eq "{}""#, "x".repeat(1000));
        let many = [r#"active eq true"#; 11].join(" and ");
        for text in [
            "",
            "userName",
            "userName eq",
            "userName eq alice",
            r#"userName co "a""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"not (userName eq "a")"#,
            r#"userName eq "a" and"#,
            r#"password eq "a""#,
            r#"groups.value eq "a""#,
            r#"userName eq 1"#,
            r#"name eq "a""#,
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "a""#,
            &long,
            &many,
        ] {
            assert!(matches!(Filter::new(&USER, text), Err(Refused::Told { status: 400, .. })), "{text}");
        }
    }
}
