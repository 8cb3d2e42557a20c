//! From our facts to Cedar's entities, contexts and requests, and which policies hold for one.

use crate::{
    facts::{Asked, Resource, StatementFacts},
    load::Policies,
    reads::{Clock, Reads},
    subject::{Moment, PrincipalKind, Subject, Tags},
};
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression, Schema,
};
use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::Arc,
};
use thiserror::Error;

/// A question that Cedar could not be asked. It counts as an error of every policy.
#[derive(Debug, Error)]
#[error("the question cannot be put to the policies")]
pub struct Fault(#[source] Box<dyn Error + Send + Sync>);

impl Fault {
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// The names of the schema's types, parsed once.
#[derive(Clone, Debug)]
pub(crate) struct Types {
    user: EntityTypeName,
    agent: EntityTypeName,
    group: EntityTypeName,
    connection: EntityTypeName,
    schema: EntityTypeName,
    table: EntityTypeName,
    function: EntityTypeName,
    column: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    pub(crate) fn new() -> Result<Self, Fault> {
        let of = |name: &str| name.parse::<EntityTypeName>().map_err(Fault::new);
        Ok(Self {
            user: of("User")?,
            agent: of("Agent")?,
            group: of("Group")?,
            connection: of("Connection")?,
            schema: of("Schema")?,
            table: of("Table")?,
            function: of("Function")?,
            column: of("Column")?,
            action: of("Action")?,
        })
    }
}

/// Whether a context has what changes from statement to statement, or only what is fixed for an access.
#[derive(Clone, Copy)]
pub(crate) enum Changing<'a> {
    /// Only what is fixed. Enough for policies that read nothing else.
    Left,
    /// That of it which is read.
    Given(&'a StatementFacts, &'a Moment, Reads),
}

/// An access as Cedar is asked for it, but for the context.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(crate) entities: Entities,
}

impl Target {
    pub(crate) fn new(types: &Types, actions: &Entities, subject: &Subject, asked: &Asked) -> Result<Self, Fault> {
        let (principal, mut entities) = principal(types, subject)?;
        let resource = resource(types, subject, &asked.resource, &mut entities)?;
        Ok(Self {
            principal,
            action: uid(&types.action, asked.action.as_str()),
            resource,
            entities: actions.clone().add_entities(entities, None).map_err(Fault::new)?,
        })
    }

    pub(crate) fn request(&self, context: Context) -> Result<Request, Fault> {
        let Self { principal, action, resource, .. } = self;
        Request::new(principal.clone(), action.clone(), resource.clone(), context, None).map_err(Fault::new)
    }
}

impl Target {
    /// Whether schema and request agree.
    pub(crate) fn check(&self, context: Context, schema: &Schema) -> Result<(), Fault> {
        let Self { principal, action, resource, entities } = self;
        let entities: Vec<_> =
            entities.iter().filter(|entity| entity.uid().type_name() != action.type_name()).cloned().collect();
        Entities::from_entities(entities, Some(schema)).map_err(Fault::new)?;
        let (principal, action, resource) = (principal.clone(), action.clone(), resource.clone());
        Request::new(principal, action, resource, context, Some(schema)).map_err(Fault::new).map(|_| ())
    }
}

fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn principal(types: &Types, subject: &Subject) -> Result<(EntityUid, Vec<Entity>), Fault> {
    let principal = &subject.principal;
    let of = match principal.kind {
        PrincipalKind::User => &types.user,
        PrincipalKind::Agent => &types.agent,
    };
    let me = uid(of, &principal.name);
    let groups: HashSet<_> = principal.groups.iter().map(|group| uid(&types.group, group)).collect();
    let mut entities: Vec<_> = groups.iter().cloned().map(Entity::with_uid).collect();
    let attributes = HashMap::from([("name".to_owned(), text(&principal.name))]);
    entities.push(Entity::new(me.clone(), attributes, groups).map_err(Fault::new)?);
    Ok((me, entities))
}

/// Adds the resource and what it is in.
fn resource(
    types: &Types,
    subject: &Subject,
    resource: &Resource,
    entities: &mut Vec<Entity>,
) -> Result<EntityUid, Fault> {
    let connection = &subject.connection;
    let here = part(&connection.name);
    let mut add =
        |of, id: String, words: [&str; 3], tags: &[&Tags], more: &[(&str, &str)], parent: Option<&EntityUid>| {
            let me = uid(of, &id);
            let [schema, name, kind] = words;
            let tags = tags.iter().copied().chain([&connection.tags]).flatten();
            let mut attributes = HashMap::from([
                ("connection".to_owned(), text(&connection.name)),
                ("schema".to_owned(), text(schema)),
                ("name".to_owned(), text(name)),
                ("kind".to_owned(), text(kind)),
                ("tags".to_owned(), RestrictedExpression::new_set(tags.map(|tag| text(tag)))),
            ]);
            attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), text(value))));
            let parents = parent.cloned().into_iter().collect();
            entities.push(Entity::new(me.clone(), attributes, parents).map_err(Fault::new)?);
            Ok::<_, Fault>(me)
        };
    let root = add(&types.connection, here.clone(), ["", &connection.name, "connection"], &[], &[], None)?;
    let (schema, schema_tags) = match resource {
        Resource::Connection => return Ok(root),
        Resource::Schema { schema, schema_tags }
        | Resource::Relation { schema, schema_tags, .. }
        | Resource::Function { schema, schema_tags, .. }
        | Resource::Column { schema, schema_tags, .. } => (schema, schema_tags),
    };
    let path = format!("{here}/{}", part(schema));
    let within = add(&types.schema, path.clone(), [schema, schema, "schema"], &[schema_tags], &[], Some(&root))?;
    match resource {
        Resource::Connection | Resource::Schema { .. } => Ok(within),
        Resource::Relation { name, kind, tags, .. } => {
            let id = format!("{path}.{}", part(name));
            add(&types.table, id, [schema, name, kind.as_str()], &[schema_tags, tags], &[], Some(&within))
        }
        Resource::Function { name, standing, tags, .. } => {
            let id = format!("{path}.{}", part(name));
            let standing = [("standing", standing.as_str())];
            add(&types.function, id, [schema, name, "function"], &[schema_tags, tags], &standing, Some(&within))
        }
        Resource::Column { table, name, tags, .. } => {
            let id = format!("{path}.{}", part(table));
            // The table's own tags are not known here, so that no policy for columns can depend on them.
            let parent = add(&types.table, id.clone(), [schema, table, "unknown"], &[schema_tags], &[], Some(&within))?;
            let id = format!("{id}.{}", part(name));
            let more = [("table", table.as_ref())];
            add(&types.column, id, [schema, name, "column"], &[schema_tags, tags], &more, Some(&parent))
        }
    }
}

/// One part of an id. What would be taken for a separator is quoted as in SQL, so that no two objects share an id.
fn part(name: &str) -> String {
    if name.is_empty() || name.contains(['.', '/', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// The context of an access.
pub(crate) fn context(subject: &Subject, asked: &Asked, changing: Changing<'_>) -> Result<Context, Fault> {
    let Subject { connection, grant, .. } = subject;
    let mut pairs = vec![
        record(
            "grant",
            vec![
                ("id", text(&grant.id)),
                ("role", text(&grant.role)),
                ("read_only", flag(grant.read_only)),
                ("reason", text(&grant.reason)),
                ("ticket", text(&grant.ticket)),
                ("on_behalf_of", text(&grant.on_behalf_of)),
                ("tainted", flag(grant.tainted)),
                ("task", text(&grant.task)),
            ],
        )?,
        record(
            "connection",
            vec![
                ("name", text(&connection.name)),
                ("tags", set(connection.tags.iter().map(Arc::as_ref))),
                ("freeze", flag(connection.freeze)),
            ],
        )?,
        record("access", vec![("manner", text(asked.manner.as_str()))])?,
    ];
    if let Changing::Given(statement, moment, reads) = changing {
        if reads.statement {
            pairs.push(statement_record(statement)?);
        }
        if reads.time > Clock::None {
            pairs.push(time_record(moment, reads.time)?);
        }
        if reads.client {
            let address = moment.client.to_canonical().to_string();
            pairs.push(record("client", vec![("address", RestrictedExpression::new_ip(address))])?);
        }
    }
    Context::from_pairs(pairs).map_err(Fault::new)
}

fn statement_record(statement: &StatementFacts) -> Result<(String, RestrictedExpression), Fault> {
    let StatementFacts {
        tag,
        filtered,
        limit,
        functions,
        unknown_functions,
        settings,
        transaction,
        nested,
        effects,
        tables,
        column_tags,
    } = statement;
    record(
        "statement",
        vec![
            ("tag", text(tag)),
            ("filtered", flag(*filtered)),
            ("limit", RestrictedExpression::new_long(*limit)),
            ("functions", set(functions.iter().map(String::as_str))),
            ("unknown_functions", set(unknown_functions.iter().map(String::as_str))),
            ("settings", set(settings.iter().map(String::as_str))),
            ("transaction", text(transaction)),
            ("nested", flag(*nested)),
            ("effects", set(effects.iter().map(String::as_str))),
            ("tables", RestrictedExpression::new_long(*tables)),
            ("column_tags", set(column_tags.iter().map(Arc::as_ref))),
        ],
    )
}

fn time_record(moment: &Moment, reads: Clock) -> Result<(String, RestrictedExpression), Fault> {
    let local = moment.now.0.div_euclid(1_000_000).saturating_add(i64::from(moment.offset));
    let number = RestrictedExpression::new_long;
    // 1970-01-01 was a Thursday, the fourth day of a week.
    let weekday = (local.div_euclid(86_400) + 3).rem_euclid(7) + 1;
    let mut fields = vec![
        ("hour", number(local.rem_euclid(86_400) / 3600)),
        ("minute", number(local.rem_euclid(3600) / 60)),
        ("weekday", number(weekday)),
        ("offset", number(moment.offset.into())),
    ];
    if reads == Clock::Exact {
        let now = jiff::Timestamp::from(moment.now).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        fields.push(("now", RestrictedExpression::new_datetime(now)));
        fields.push(("epoch", number(moment.now.0.div_euclid(1_000_000))));
    }
    record("time", fields)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn flag(value: bool) -> RestrictedExpression {
    RestrictedExpression::new_bool(value)
}

fn set<'a>(values: impl Iterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(text))
}

fn record(name: &str, fields: Vec<(&str, RestrictedExpression)>) -> Result<(String, RestrictedExpression), Fault> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ok((name.to_owned(), RestrictedExpression::new_record(fields).map_err(Fault::new)?))
}

/// The policies that hold for one access, as positions in [`Policies::rules`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ruling {
    /// Sorted.
    pub(crate) permits: Vec<usize>,
    /// Sorted.
    pub(crate) forbids: Vec<usize>,
    /// Those that could not be evaluated. Sorted.
    pub(crate) errors: Vec<usize>,
    /// Whether the question could not even be put.
    pub(crate) fault: bool,
    /// What was read of what changes, by the policies that could have held.
    pub(crate) reads: Reads,
}

impl Ruling {
    pub(crate) fn is_permitted(&self) -> bool {
        !self.fault && self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty()
    }

    pub(crate) fn fault() -> Self {
        Self { fault: true, ..Self::default() }
    }

    /// Adds what holds of two sets of policies. Permits and forbids are asked for apart, since Cedar does not say
    /// which permits hold once a forbid does.
    pub(crate) fn add(
        &mut self,
        policies: &Policies,
        [permits, forbids]: [&PolicySet; 2],
        request: &Request,
        entities: &Entities,
    ) {
        holding(policies, permits, request, entities, &mut self.permits, &mut self.errors);
        holding(policies, forbids, request, entities, &mut self.forbids, &mut self.errors);
        for list in [&mut self.permits, &mut self.forbids, &mut self.errors] {
            list.sort_unstable();
        }
    }
}

fn holding(
    policies: &Policies,
    set: &PolicySet,
    request: &Request,
    entities: &Entities,
    found: &mut Vec<usize>,
    errors: &mut Vec<usize>,
) {
    if set.is_empty() {
        return;
    }
    let response = Authorizer::new().is_authorized(request, set, entities);
    let diagnostics = response.diagnostics();
    found.extend(diagnostics.reason().filter_map(|id| policies.position(id)));
    errors.extend(diagnostics.errors().filter_map(|error| match error {
        AuthorizationError::PolicyEvaluationError(error) => policies.position(error.policy_id()),
    }));
}
