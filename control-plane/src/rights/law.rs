//! `rights.cedar`, and how it is asked. Where it cannot be, nothing is permitted.

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    ResourceConstraint, RestrictedExpression, Schema,
};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::LazyLock,
};

const POLICIES: &str = include_str!("rights.cedar");
const SCHEMA: &str = include_str!("rights.cedarschema");

/// The stack on which the policies are read: Cedar's parser recurses, and the first who asks may be deep within others.
const READING: usize = 8 << 20;

/// What Cedar needs to evaluate one question, and how much it gets where less is left.
const LEAST_STACK: usize = 256 << 10;
const STACK: usize = 1 << 20;

/// Somebody or something, with what policies read of it.
pub(super) struct Thing {
    kind: &'static str,
    id: String,
    attributes: HashMap<String, RestrictedExpression>,
}

impl Thing {
    pub(super) fn new(kind: &'static str, id: &str) -> Self {
        Self { kind, id: id.to_owned(), attributes: HashMap::new() }
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.with(name, RestrictedExpression::new_string(value.to_owned()))
    }

    /// Without a value the attribute is not there.
    pub(super) fn text_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.with(name, RestrictedExpression::new_bool(value))
    }

    pub(super) fn texts(self, name: &str, values: &[String]) -> Self {
        let values = values.iter().cloned().map(RestrictedExpression::new_string);
        self.with(name, RestrictedExpression::new_set(values))
    }

    fn with(mut self, name: &str, value: RestrictedExpression) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }
}

/// Of one kind of thing: its name, and the policies that could be about it, so that few are looked at for each question.
struct Kind {
    name: EntityTypeName,
    policies: PolicySet,
}

struct Law {
    schema: Schema,
    kinds: HashMap<String, Kind>,
    action: EntityTypeName,
}

static LAW: LazyLock<Option<Law>> = LazyLock::new(|| {
    let read = stacker::grow(READING, || Law::read().map_err(|error| error.to_string()));
    read.inspect_err(|error| tracing::error!(error, "the rights cannot be read: nobody may do anything")).ok()
});

impl Law {
    fn read() -> Result<Self, Box<dyn Error>> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)?;
        let policies = POLICIES.parse::<PolicySet>()?;
        let mut kinds = HashMap::new();
        for name in schema.principals().chain(schema.resources()) {
            kinds.insert(name.to_string(), Kind { name: name.clone(), policies: PolicySet::new() });
        }
        for policy in policies.policies() {
            let id = policy.annotation("id").ok_or("a policy has no name")?;
            let policy = policy.new_id(PolicyId::new(id));
            let about = match policy.resource_constraint() {
                ResourceConstraint::Is(kind) => Some(kind.to_string()),
                _ => None,
            };
            for (_, kind) in kinds.iter_mut().filter(|(kind, _)| about.as_ref().is_none_or(|about| about == *kind)) {
                kind.policies.add(policy.clone())?;
            }
        }
        Ok(Self { schema, kinds, action: "Action".parse()? })
    }

    fn decide(&self, who: Thing, action: &str, what: Thing) -> Result<Result<(), Vec<String>>, Box<dyn Error>> {
        let kind = |name| self.kinds.get(name).ok_or("there is no such kind of thing");
        let policies = &kind(what.kind)?.policies;
        let entity = |thing: Thing| {
            let uid = EntityUid::from_type_name_and_id(kind(thing.kind)?.name.clone(), EntityId::new(thing.id));
            Ok::<_, Box<dyn Error>>(Entity::new(uid, thing.attributes, HashSet::new())?)
        };
        let (who, what) = (entity(who)?, entity(what)?);
        let action = EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(action));
        // By the schema: who does what to what at all.
        let request = Request::new(who.uid(), action, what.uid(), Context::empty(), Some(&self.schema))?;
        let entities = Entities::from_entities([who, what], None)?;
        let response = Authorizer::new().is_authorized(&request, policies, &entities);
        // A forbid that cannot be evaluated may be one that holds.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(match response.decision() {
            Decision::Allow => Ok(()),
            Decision::Deny => Err(response.diagnostics().reason().map(ToString::to_string).collect()),
        })
    }
}

/// Whether `who` may do that to `what`.
///
/// # Errors
/// When not: the names of the policies that forbid it; none, where no policy permits it.
pub(super) fn decide(who: Thing, action: &str, what: Thing) -> Result<(), Vec<String>> {
    let Some(law) = LAW.as_ref() else { return Err(Vec::new()) };
    let asked =
        stacker::maybe_grow(LEAST_STACK, STACK, || law.decide(who, action, what).map_err(|error| error.to_string()));
    asked.unwrap_or_else(|error| {
        tracing::error!(error, "the rights cannot be asked");
        Err(Vec::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedar_policy::{ValidationMode, Validator};

    #[test]
    fn the_policies_fit_the_schema() {
        let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).unwrap();
        assert_eq!(warnings.map(|warning| warning.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
        let policies = POLICIES.parse::<PolicySet>().unwrap();
        let validated = Validator::new(schema).validate(&policies, ValidationMode::Strict);
        assert!(validated.validation_passed_without_warnings(), "{validated}");
        Law::read().unwrap();
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let all = || Thing::new("AllGrants", "it");
        let admin = |kind| Thing::new(kind, "a").flag("admin", true).flag("narrowed", false);
        assert_eq!(decide(admin("User"), "end", all()), Ok(()));
        // Unknown kinds and actions, and somebody of whom not all is said.
        assert_eq!(decide(admin("Nobody"), "end", all()), Err(Vec::new()));
        assert_eq!(decide(admin("User"), "end", Thing::new("Nothing", "it")), Err(Vec::new()));
        assert_eq!(decide(admin("User"), "erase", all()), Err(Vec::new()));
        // What people do is not done by parts, whatever a policy says of everybody.
        let own = || Thing::new("OwnAudit", "it");
        assert_eq!(decide(Thing::new("Connector", "a").text("id", "a"), "see", own()), Err(Vec::new()));
        assert_eq!(decide(admin("User").text("id", "a"), "see", own()), Ok(()));
        assert_eq!(decide(Thing::new("User", "a").flag("admin", true), "end", all()), Err(Vec::new()));
        assert_eq!(decide(admin("User").flag("narrowed", true), "end", all()), Err(vec!["narrowed".to_owned()]));
    }
}
