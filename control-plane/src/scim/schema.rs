//! What a user and a group are over SCIM. One table for each says which attributes are taken, how they are changed and
//! found, and what `/Schemas` tells of them. What is not in it is ignored: directories send far more than is needed.

use super::{Document, Refused};
use crate::problem::shorten;
use serde_json::{Map, Value, json};

/// The longest text.
const MAX_TEXT: usize = 1000;

/// The most values of one attribute: the members of a group.
const MAX_VALUES: usize = 10_000;

/// A kind of resource.
#[derive(Debug)]
pub struct Kind {
    /// `User`.
    pub name: &'static str,
    /// `/Users`.
    pub endpoint: &'static str,
    /// Its schema.
    pub schema: &'static str,
    /// Who it is, in a sentence.
    pub about: &'static str,
    /// What it has.
    pub attributes: &'static [Attribute],
}

/// What a resource has.
#[derive(Debug)]
pub struct Attribute {
    /// As it is written.
    pub name: &'static str,
    /// What its values are.
    pub values: Values,
    /// Whose it is.
    pub rule: Rule,
}

/// What an attribute's values are.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// A text whose case does not count.
    Text,
    /// A text whose case counts.
    Exact,
    /// This text.
    Always(&'static str),
    /// The address of a resource of this kind.
    Reference(&'static str),
    /// True or false.
    Truth,
    /// Several attributes.
    Complex(&'static [Attribute]),
    /// Any number of these.
    Many(&'static [Attribute]),
}

/// Whose an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The directory's, which has to give it: it names the resource.
    Name,
    /// The directory's.
    Free,
    /// The directory's, and of every resource: no schema lists it.
    Common,
    /// Given by the directory once, and then as it is.
    Fixed,
    /// The directory may send it; it follows from others.
    Follows,
    /// Postern's.
    Computed,
}

const fn of(name: &'static str, values: Values, rule: Rule) -> Attribute {
    Attribute { name, values, rule }
}

/// A person.
pub static USER: Kind = Kind {
    name: "User",
    endpoint: "/Users",
    schema: "urn:ietf:params:scim:schemas:core:2.0:User",
    about: "A person",
    attributes: &[
        of("userName", Values::Text, Rule::Name),
        of("externalId", Values::Exact, Rule::Common),
        of(
            "name",
            Values::Complex(&[
                of("formatted", Values::Text, Rule::Free),
                of("familyName", Values::Text, Rule::Free),
                of("givenName", Values::Text, Rule::Free),
            ]),
            Rule::Free,
        ),
        of("displayName", Values::Text, Rule::Free),
        of(
            "emails",
            Values::Many(&[
                of("value", Values::Text, Rule::Free),
                of("type", Values::Text, Rule::Free),
                of("primary", Values::Truth, Rule::Free),
            ]),
            Rule::Free,
        ),
        of("active", Values::Truth, Rule::Free),
        of(
            "groups",
            Values::Many(&[
                of("value", Values::Exact, Rule::Computed),
                of("$ref", Values::Reference("Group"), Rule::Computed),
                of("display", Values::Text, Rule::Computed),
            ]),
            Rule::Computed,
        ),
    ],
};

/// A group of people.
pub static GROUP: Kind = Kind {
    name: "Group",
    endpoint: "/Groups",
    schema: "urn:ietf:params:scim:schemas:core:2.0:Group",
    about: "A group of people",
    attributes: &[
        of("displayName", Values::Text, Rule::Name),
        of("externalId", Values::Exact, Rule::Common),
        of(
            "members",
            Values::Many(&[
                of("value", Values::Exact, Rule::Fixed),
                of("$ref", Values::Reference("User"), Rule::Follows),
                of("type", Values::Always("User"), Rule::Follows),
            ]),
            Rule::Free,
        ),
    ],
};

/// The attribute of that name, however its case.
#[must_use]
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

impl Kind {
    /// A name without the schema before it; None where it is another schema's.
    #[must_use]
    pub fn local<'a>(&self, name: &'a str) -> Option<&'a str> {
        if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
            return Some(name);
        }
        let (schema, rest) = name.split_at_checked(self.schema.len())?;
        if !schema.eq_ignore_ascii_case(self.schema) {
            return None;
        }
        rest.strip_prefix(':')
    }

    /// What a directory gives of a whole resource, checked; without what is not its own.
    ///
    /// # Errors
    /// When a value is not what its attribute takes.
    pub fn checked(&self, body: Value) -> Result<Document, Refused> {
        let Value::Object(body) = body else {
            return Err(Refused::syntax(format!("a {} is a JSON object", self.name)));
        };
        object(self.attributes, body)
    }
}

fn object(attributes: &'static [Attribute], given: Map<String, Value>) -> Result<Document, Refused> {
    let mut document = Document::new();
    for (name, value) in given {
        let Some(attribute) = find(attributes, &name) else { continue };
        if let Some(value) = attribute.checked(value)? {
            document.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(document)
}

impl Attribute {
    /// Its attributes, where it has any.
    #[must_use]
    pub fn parts(&self) -> &'static [Self] {
        match self.values {
            Values::Complex(parts) | Values::Many(parts) => parts,
            _ => &[],
        }
    }

    /// Whether a directory says anything by it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !matches!(self.rule, Rule::Computed | Rule::Follows)
    }

    /// A value as it is kept; None: it is unassigned.
    ///
    /// # Errors
    /// When it is none that it takes.
    pub fn checked(&self, value: Value) -> Result<Option<Value>, Refused> {
        if !self.is_given() || value.is_null() {
            return Ok(None);
        }
        let wrong = |what: &str| Refused::value(format!("`{}` is {what}", self.name));
        Ok(match self.values {
            Values::Text | Values::Exact | Values::Always(_) | Values::Reference(_) => {
                let Value::String(text) = value else { return Err(wrong("a text")) };
                if text.chars().count() > MAX_TEXT {
                    return Err(wrong("a text of 1000 characters at most"));
                }
                (!text.is_empty()).then_some(Value::String(text))
            }
            Values::Truth => Some(Value::Bool(truth(&value).ok_or_else(|| wrong("true or false"))?)),
            Values::Complex(parts) => {
                let Value::Object(given) = value else { return Err(wrong("an object")) };
                Some(object(parts, given)?).filter(|document| !document.is_empty()).map(Value::Object)
            }
            Values::Many(_) => {
                let values = self.several(value)?;
                (!values.is_empty()).then_some(Value::Array(values))
            }
        })
    }

    /// The values of an attribute that has several, of which one may come alone.
    ///
    /// # Errors
    /// When one is none that it takes, or they are too many.
    pub fn several(&self, value: Value) -> Result<Vec<Value>, Refused> {
        let given = match value {
            Value::Array(given) => given,
            Value::Null => Vec::new(),
            one => vec![one],
        };
        if given.len() > MAX_VALUES {
            return Err(Refused::value(format!("`{}` has {MAX_VALUES} values at most", self.name)));
        }
        let one = |value: Value| match value {
            Value::Object(given) => object(self.parts(), given),
            other => {
                let text = shorten(&other.to_string());
                Err(Refused::value(format!("`{text}` is no value of `{}`: write objects", self.name)))
            }
        };
        let values = given.into_iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(values.into_iter().filter(|value| !value.is_empty()).map(Value::Object).collect())
    }
}

/// True or false, which some write as texts.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

impl Kind {
    /// As `/Schemas` tells it.
    #[must_use]
    pub fn to_json(&self, base: &str) -> Value {
        let listed = self.attributes.iter().filter(|attribute| attribute.rule != Rule::Common);
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": self.schema, "name": self.name, "description": self.about,
            "attributes": listed.map(Attribute::to_json).collect::<Vec<_>>(),
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", self.schema) },
        })
    }
}

impl Attribute {
    fn to_json(&self) -> Value {
        let (kind, exact) = match self.values {
            Values::Text | Values::Always(_) => ("string", false),
            Values::Exact => ("string", true),
            Values::Reference(_) => ("reference", true),
            Values::Truth => ("boolean", false),
            Values::Complex(_) | Values::Many(_) => ("complex", false),
        };
        let mutability = match self.rule {
            Rule::Computed => "readOnly",
            Rule::Fixed | Rule::Follows => "immutable",
            Rule::Name | Rule::Free | Rule::Common => "readWrite",
        };
        let mut json = json!({
            "name": self.name, "type": kind, "multiValued": matches!(self.values, Values::Many(_)),
            "description": self.name, "required": self.rule == Rule::Name, "caseExact": exact, "mutability": mutability,
            "returned": "default", "uniqueness": if self.rule == Rule::Name { "server" } else { "none" },
        });
        if let Some(fields) = json.as_object_mut() {
            match self.values {
                Values::Reference(to) => fields.insert("referenceTypes".to_owned(), json!([to])),
                Values::Always(text) => fields.insert("canonicalValues".to_owned(), json!([text])),
                _ => None,
            };
            if !self.parts().is_empty() {
                fields.insert("subAttributes".to_owned(), self.parts().iter().map(Self::to_json).collect());
            }
        }
        json
    }
}
