//! `plan` and `apply`: documents become what is stored, all of them or none.
//!
//! Both run the same way, document by document inside one transaction: parse, check, compare, write. A plan gives
//! its transaction up at the end, so that it shows exactly what apply would do. Policies go first: they are checked as
//! a whole before anything is changed.

pub(crate) mod check;
mod connection;
mod diff;
mod directory;
mod issuer;
mod masks;
mod notification;
pub(crate) mod policies;
mod principal;
mod provider;
mod reviews;

pub(crate) use check::named;
pub(crate) use diff::fields;

use crate::{
    Core,
    audit::{self, Event},
    effects::Effect,
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, authorize},
    store::{self, Store, Tx},
};
use postern_api::document::{Apply, Change, ChangeAction, Changes, FieldChange, SourcedDocument};
use postern_api::{identity::PrincipalRef, policy::PolicyProblem};
use postern_types::time::Micros;
use serde_json::{Map, Value, json};

/// What documents are.
const KINDS: [&str; 8] =
    ["IdentityProvider", "User", "Agent", "Group", "Issuer", "Connection", "Policy", "Notification"];

/// The most documents, and the most files of policies, of one call.
const MAX_DOCUMENTS: usize = 1000;

/// What the documents would change.
///
/// # Errors
/// When a document is wrong, with its file, number and field, or the caller may not.
pub async fn plan(store: &Store, actor: &Actor, body: &Apply, now: Micros) -> Result<Changes, Problem> {
    authorize(actor, Action::See, &Resource::Configuration)?;
    if touches_policies(body) {
        authorize(actor, Action::See, &Resource::Policies)?;
    }
    let mut run = Run::new(store, Some(&actor.principal), body, now).await?;
    // Dropped without commit: nothing of it lasts.
    run.all(body).await
}

/// As [`plan`]; connectors are asked whether masks suit columns.
///
/// # Errors
/// As [`plan`], and when one does not.
pub async fn checked_plan(core: &Core, actor: &Actor, body: &Apply, now: Micros) -> Result<Changes, Problem> {
    let mut changes = plan(&core.store, actor, body, now).await?;
    changes.warnings.extend(unchecked(core, actor, body, now).await?);
    Ok(changes)
}

/// As [`apply`]; connectors are asked whether masks suit columns.
///
/// # Errors
/// As [`apply`], and when one does not; nothing is changed then.
pub async fn checked_apply(
    core: &Core,
    actor: &Actor,
    body: &Apply,
    now: Micros,
) -> Result<(Changes, Vec<Effect>), Problem> {
    authorize(actor, Action::Change, &Resource::Configuration)?;
    let unchecked = unchecked(core, actor, body, now).await?;
    let (mut changes, effects) = apply(&core.store, actor, body, now).await?;
    changes.warnings.extend(unchecked);
    Ok((changes, effects))
}

/// The connections whose masks could not be checked. Nothing is locked while connectors are asked.
async fn unchecked(core: &Core, actor: &Actor, body: &Apply, now: Micros) -> Result<Vec<PolicyProblem>, Problem> {
    if !body.documents.iter().any(|sourced| is_kind(sourced, "Connection")) {
        return Ok(Vec::new());
    }
    let connections = {
        let mut run = Run::new(&core.store, Some(&actor.principal), body, now).await?;
        run.all(body).await?;
        run.connections
    };
    masks::check(&core.hub, &connections).await
}

/// Makes what is stored as the documents say.
///
/// # Errors
/// As [`plan`]; nothing is changed then.
pub async fn apply(store: &Store, actor: &Actor, body: &Apply, now: Micros) -> Result<(Changes, Vec<Effect>), Problem> {
    authorize(actor, Action::Change, &Resource::Configuration)?;
    if touches_policies(body) {
        authorize(actor, Action::Change, &Resource::Policies)?;
    }
    apply_as(store, Some(&actor.principal), body, now).await
}

/// The same, on behalf of whoever started this process: no actor.
///
/// # Errors
/// As [`plan`]; nothing is changed then.
pub async fn apply_as(
    store: &Store,
    actor: Option<&PrincipalRef>,
    body: &Apply,
    now: Micros,
) -> Result<(Changes, Vec<Effect>), Problem> {
    let mut run = Run::new(store, actor, body, now).await?;
    let changes = run.all(body).await?;
    run.tx.commit().await?;
    Ok((changes, run.effects))
}

/// One run over documents.
struct Run<'a> {
    tx: Tx,
    merge: bool,
    actor: Option<&'a PrincipalRef>,
    now: Micros,
    effects: Vec<Effect>,
    /// Those whose masks may have to be checked.
    connections: Vec<masks::Masked>,
}

/// What is there and what is to be, as JSON objects without kind and name.
struct Difference {
    kind: &'static str,
    name: String,
    from: Option<Value>,
    to: Option<Value>,
}

impl<'a> Run<'a> {
    async fn new(store: &Store, actor: Option<&'a PrincipalRef>, body: &Apply, now: Micros) -> Result<Self, Problem> {
        let tx = store.begin().await?;
        Ok(Self { tx, merge: body.merge, actor, now, effects: Vec::new(), connections: Vec::new() })
    }

    async fn all(&mut self, body: &Apply) -> Result<Changes, Problem> {
        let Apply { documents, policies, .. } = body;
        if documents.len() > MAX_DOCUMENTS || policies.len() > MAX_DOCUMENTS {
            return Err(Problem::too_large(format!("at most {MAX_DOCUMENTS} documents can be applied at once")));
        }
        if touches_policies(body) || documents.iter().any(|sourced| is_kind(sourced, "Connection")) {
            // Before any other lock, as everybody takes it: two at a time do not wait for each other.
            store::policies::lock(&mut self.tx).await?;
        }
        let policies::Outcome { removed: mut changes, files, warnings } = self.policies(policies, documents).await?;
        // Providers before users, which sign in there; users before agents, which name them as owners; both before groups, which name them as members, and issuers.
        for kind in KINDS.into_iter().filter(|kind| *kind != "Policy") {
            for (position, sourced) in documents.iter().enumerate() {
                if kind_of(sourced)? == kind {
                    let change = self.one(kind, sourced).await.map_err(|problem| problem.document(&sourced.source))?;
                    changes.push((position, change));
                }
            }
        }
        changes.sort_by_key(|(position, _)| *position);
        let changes = changes.into_iter().map(|(_, change)| change).chain(files).collect();
        Ok(Changes { changes, warnings })
    }

    async fn one(&mut self, kind: &'static str, sourced: &SourcedDocument) -> Result<Change, Problem> {
        let mut fields = sourced.document.as_object().cloned().unwrap_or_default();
        fields.remove("kind");
        let name = check::name(fields.get("name"))?;
        let delete = take_delete(&mut fields)?;
        let difference = match kind {
            "User" | "Agent" => self.principal(kind, &name, fields, delete).await?,
            "Group" => self.group(&name, fields, delete).await?,
            "IdentityProvider" => self.provider(&name, fields, delete).await?,
            "Issuer" => self.issuer(&name, fields, delete).await?,
            "Notification" => self.notification(&name, fields, delete).await?,
            _ => self.connection(&name, fields, delete, &sourced.source).await?,
        };
        self.record(difference, json!({})).await
    }

    /// The change, recorded if there is one, with `more` facts.
    async fn record(&mut self, difference: Difference, mut more: Value) -> Result<Change, Problem> {
        let Difference { kind, name, from, to } = difference;
        let action = match (&from, &to) {
            (None, Some(_)) => ChangeAction::Create,
            (Some(_), None) => ChangeAction::Delete,
            (from, to) if from == to => ChangeAction::Unchanged,
            _ => ChangeAction::Update,
        };
        let fields: Vec<FieldChange> = diff::fields(from.as_ref(), to.as_ref());
        if action != ChangeAction::Unchanged {
            let kind = if kind == "IdentityProvider" { "identity_provider".to_owned() } else { kind.to_lowercase() };
            let event = format!("{kind}.{}", past(action));
            let subject = format!("{kind}/{name}");
            diff::merge(&mut more, json!({ "fields": fields }));
            let event = Event::new(self.now, &event, self.actor, &subject, &more);
            audit::append_control(&mut self.tx, event).await?;
        }
        Ok(Change { action, kind: kind.to_owned(), name, fields })
    }
}

fn past(action: ChangeAction) -> &'static str {
    match action {
        ChangeAction::Create => "created",
        ChangeAction::Update | ChangeAction::Unchanged => "updated",
        ChangeAction::Delete => "deleted",
    }
}

fn kind_of(sourced: &SourcedDocument) -> Result<&'static str, Problem> {
    let wrong = |message: String| Problem::invalid("kind", message).document(&sourced.source);
    let kinds = KINDS;
    if !sourced.document.is_object() {
        return Err(wrong("a document is a mapping with `kind` and `name`".to_owned()));
    }
    let given = sourced.document.get("kind").and_then(Value::as_str);
    let given = given.ok_or_else(|| wrong(format!("`kind` is missing: it is one of {}", kinds.join(", "))))?;
    let known = kinds.into_iter().find(|kind| *kind == given);
    known.ok_or_else(|| {
        wrong(format!("there is no kind `{}`: it is one of {}", crate::problem::shorten(given), kinds.join(", ")))
    })
}

/// Whether a call changes or removes files of policies.
fn touches_policies(body: &Apply) -> bool {
    !body.policies.is_empty() || body.documents.iter().any(|sourced| is_kind(sourced, "Policy"))
}

fn is_kind(sourced: &SourcedDocument, kind: &str) -> bool {
    sourced.document.get("kind").and_then(Value::as_str) == Some(kind)
}

/// `delete: true` removes the object; nothing else is read then.
fn take_delete(fields: &mut Map<String, Value>) -> Result<bool, Problem> {
    match fields.remove("delete") {
        None => Ok(false),
        Some(Value::Bool(delete)) => Ok(delete),
        Some(_) => Err(Problem::invalid("delete", "must be true or false")),
    }
}

/// A document as its type, from the fields that it sets over `base`: what is stored when merging, else nothing.
fn typed<T: serde::de::DeserializeOwned>(base: Option<Value>, fields: Map<String, Value>) -> Result<T, Problem> {
    let mut value = base.unwrap_or_else(|| Value::Object(Map::new()));
    diff::merge(&mut value, Value::Object(fields));
    check::deserialize(value)
}
