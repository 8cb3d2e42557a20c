//! Users of a directory. Each is a `User` like any other, whose name and whether they may act are the directory's.

use super::{Document, Found, Page, Refused, changes, filter::Filter, patch, schema::USER, taken, with_meta};
use crate::{
    apply,
    audit::{self, Event},
    effects::Effect,
    identity::Actor,
    rights::{Action, Resource, authorize},
    stops,
    store::{
        Store, Tx, external_identities,
        principals::{self, PrincipalRow},
        providers,
        scim::{self, UserRow, Wanted},
    },
};
use postern_api::identity::{PrincipalKind, PrincipalRef};
use postern_types::{id::PrincipalId, time::Micros};
use serde_json::{Value, json};

/// Makes a user, or lets one in again that this directory had deleted.
///
/// # Errors
/// When there is one of that name, or something is wrong with what is given.
pub async fn create(store: &Store, client: &Actor, body: Value, base: &str, now: Micros) -> Result<Document, Refused> {
    authorize(client, Action::Create, &Resource::Directory)?;
    let (name, active, document) = wanted(USER.checked(body)?, true)?;
    let mut tx = store.begin().await?;
    let sign_in = providers::of_directory(&mut tx, &client.principal.name).await?.map(|provider| provider.name);
    let there = principals::user_by_folded_name(&mut tx, &name.to_ascii_lowercase()).await?;
    let (principal, held) = match there {
        None => {
            let principal = PrincipalRef { kind: PrincipalKind::User, id: PrincipalId::new(), name: name.clone() };
            let row = PrincipalRow {
                principal: principal.clone(),
                admin: false,
                auditor: false,
                disabled: !active,
                owner: None,
                proves_behalf: false,
                sign_in,
                created_at: now,
            };
            principals::insert(&mut tx, &row, None).await?;
            (principal, false)
        }
        Some(row) => {
            let Some(held) = own_before(&mut tx, client, &row, sign_in.as_deref()).await? else {
                let name = row.principal.name;
                let why = format!("there is a user `{name}` already, whom this directory has not made");
                return Err(taken(tx, client, &format!("user/{name}"), why, now).await);
            };
            principals::rename(&mut tx, &row.principal.id, &name).await?;
            let (disabled, sign_in) = (held || !active, sign_in.or_else(|| row.sign_in.clone()));
            let principal = PrincipalRef { name: name.clone(), ..row.principal.clone() };
            principals::update(&mut tx, &PrincipalRow { disabled, sign_in, ..row }, None).await?;
            external_identities::set_removed(&mut tx, &principal.id, None).await?;
            (principal, held)
        }
    };
    let row = UserRow {
        principal,
        client_id: client.principal.id.clone(),
        active,
        held,
        document,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    scim::put_user(&mut tx, &row).await?;
    record(&mut tx, client, "user.created", &row.principal, &changes(None, Some(&row.document)), now).await?;
    let shown = shown(&mut tx, row, base).await?;
    tx.commit().await?;
    Ok(shown)
}

/// Whether documents disable a user that was there before the directory made it; None: it is not the directory's to make.
/// It is one that it has deleted, or one that signs in at its identity provider and has come that way first.
async fn own_before(
    tx: &mut Tx,
    client: &Actor,
    row: &PrincipalRow,
    sign_in: Option<&str>,
) -> Result<Option<bool>, Refused> {
    principals::lock(tx, &row.principal.id).await?;
    if let Some(user) = scim::user(tx, &row.principal.id).await? {
        let is_own = user.client_id == client.principal.id && user.deleted_at.is_some();
        return Ok(is_own.then_some(user.held));
    }
    if sign_in.is_none() || row.sign_in.as_deref() != sign_in {
        return Ok(None);
    }
    // That the provider does not vouch for them any more is no document's word.
    let removed = external_identities::of(tx, &row.principal.id).await?.is_some_and(|known| known.removed_at.is_some());
    Ok(Some(row.disabled && !removed))
}

/// What a user is to be: name, whether they may act, and the whole.
fn wanted(mut document: Document, active: bool) -> Result<(String, bool, Document), Refused> {
    let name = document.get("userName").and_then(Value::as_str).map(str::to_owned);
    let name = name.ok_or_else(|| Refused::value("`userName` is missing"))?;
    apply::named("userName", &name)?;
    let active = document.get("active").and_then(Value::as_bool).unwrap_or(active);
    document.insert("active".to_owned(), json!(active));
    Ok((name, active, document))
}

/// Users that are looked for.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, client: &Actor, filter: &Filter, page: Page, base: &str) -> Result<Found, Refused> {
    authorize(client, Action::See, &Resource::Directory)?;
    let mut tx = store.read().await?;
    let rows = scim::users(&mut tx, &client.principal.id, &filter.wanted(&USER)).await?;
    let is = |row: &UserRow| {
        let mut document = row.document.clone();
        document.insert("id".to_owned(), json!(row.principal.id.as_str()));
        filter.holds(&document)
    };
    let rows: Vec<_> = rows.into_iter().filter(is).collect();
    let (total, mut resources) = (rows.len(), Vec::new());
    for row in page.of(rows) {
        resources.push(shown(&mut tx, row, base).await?);
    }
    Ok(Found { total, resources })
}

/// One user.
///
/// # Errors
/// When there is none of this directory's.
pub async fn get(store: &Store, client: &Actor, id: &str, base: &str) -> Result<Document, Refused> {
    authorize(client, Action::See, &Resource::Directory)?;
    let mut tx = store.read().await?;
    let row = own(&mut tx, client, id).await?;
    shown(&mut tx, row, base).await
}

/// How a user is changed.
#[derive(Debug)]
pub enum Change {
    /// To this as a whole.
    Replace(Value),
    /// By these operations.
    Patch(Value),
}

/// Changes a user. Who is deactivated by it loses at once all that they have.
///
/// # Errors
/// When there is none of this directory's, or something is wrong with what is given.
pub async fn change(
    store: &Store,
    client: &Actor,
    id: &str,
    change: Change,
    base: &str,
    now: Micros,
) -> Result<(Document, Vec<Effect>), Refused> {
    authorize(client, Action::Change, &Resource::Directory)?;
    let mut tx = store.begin().await?;
    let before = locked(&mut tx, client, id).await?;
    let document = match change {
        Change::Replace(body) => USER.checked(body)?,
        Change::Patch(body) => {
            let patched = patch::apply(&USER, before.document.clone(), body)?;
            if !patched.contains_key("active") {
                return Err(Refused::mutability("`active` cannot be removed: say whether it is true or false"));
            }
            patched
        }
    };
    let (name, active, document) = wanted(document, before.active)?;
    if name != before.principal.name {
        let there = principals::user_by_folded_name(&mut tx, &name.to_ascii_lowercase()).await?;
        if there.is_some_and(|row| row.principal.id != before.principal.id) {
            let why = format!("user `{}` is not renamed: there is a user `{name}` already", before.principal.name);
            return Err(taken(tx, client, &format!("user/{name}"), why, now).await);
        }
        principals::rename(&mut tx, &before.principal.id, &name).await?;
    }
    let mut effects = Vec::new();
    let principal = PrincipalRef { name, ..before.principal };
    if document != before.document {
        let event = changes(Some(&before.document), Some(&document));
        record(&mut tx, client, "user.updated", &principal, &event, now).await?;
    }
    if active != before.active {
        effects = set_disabled(&mut tx, client, &principal, before.held || !active, now).await?;
    }
    let updated_at = if document == before.document { before.updated_at } else { now };
    let row = UserRow { principal, active, document, updated_at, ..before };
    scim::put_user(&mut tx, &row).await?;
    let shown = shown(&mut tx, row, base).await?;
    tx.commit().await?;
    Ok((shown, effects))
}

/// Deletes a user: it is disabled, in no group, and has none of the rights that documents gave it. What it did stays.
///
/// # Errors
/// When there is none of this directory's.
pub async fn delete(store: &Store, client: &Actor, id: &str, now: Micros) -> Result<Vec<Effect>, Refused> {
    authorize(client, Action::Delete, &Resource::Directory)?;
    let mut tx = store.begin().await?;
    let row = locked(&mut tx, client, id).await?;
    let principal = row.principal.clone();
    record(&mut tx, client, "user.deleted", &principal, &changes(Some(&row.document), None), now).await?;
    let effects = set_disabled(&mut tx, client, &principal, true, now).await?;
    if let Some(stored) = principals::by_id(&mut tx, &principal.id).await? {
        principals::update(&mut tx, &PrincipalRow { admin: false, auditor: false, ..stored }, None).await?;
    }
    principals::set_groups(&mut tx, &principal.id, &[], now).await?;
    scim::put_user(&mut tx, &UserRow { active: false, deleted_at: Some(now), updated_at: now, ..row }).await?;
    tx.commit().await?;
    Ok(effects)
}

async fn set_disabled(
    tx: &mut Tx,
    client: &Actor,
    principal: &PrincipalRef,
    disabled: bool,
    now: Micros,
) -> Result<Vec<Effect>, Refused> {
    let Some(row) = principals::by_id(tx, &principal.id).await? else {
        return Err(Refused::missing("user", principal.id.as_str()));
    };
    let was = row.disabled;
    // Said by the directory: that they sign in again does not lift it.
    external_identities::set_removed(tx, &principal.id, None).await?;
    principals::update(tx, &PrincipalRow { disabled, ..row }, None).await?;
    if disabled && !was {
        return Ok(stops::disabled_in(tx, principal, Some(&client.principal), stops::DISABLED, now).await?);
    }
    Ok(Vec::new())
}

/// A user of this directory.
async fn own(tx: &mut Tx, client: &Actor, id: &str) -> Result<UserRow, Refused> {
    let wanted = Wanted { id: Some(id.to_owned()), ..Wanted::default() };
    let found = scim::users(tx, &client.principal.id, &wanted).await?;
    found.into_iter().next().ok_or_else(|| Refused::missing("user", id))
}

/// The same, which nobody else changes until the transaction is over.
async fn locked(tx: &mut Tx, client: &Actor, id: &str) -> Result<UserRow, Refused> {
    let id = id.parse::<PrincipalId>().map_err(|_| Refused::missing("user", id))?;
    principals::lock(tx, &id).await?;
    own(tx, client, id.as_str()).await
}

/// As a client sees it.
async fn shown(tx: &mut Tx, row: UserRow, base: &str) -> Result<Document, Refused> {
    let groups = scim::groups_of(tx, &row.principal.id).await?;
    let group =
        |(id, name): &(String, String)| json!({ "value": id, "$ref": format!("{base}/Groups/{id}"), "display": name });
    let mut document = row.document;
    if !groups.is_empty() {
        document.insert("groups".to_owned(), groups.iter().map(group).collect());
    }
    Ok(with_meta(&USER, row.principal.id.as_str(), base, (row.created_at, row.updated_at), document))
}

async fn record(
    tx: &mut Tx,
    client: &Actor,
    action: &str,
    principal: &PrincipalRef,
    detail: &Value,
    now: Micros,
) -> Result<(), Refused> {
    let subject = format!("user/{}", principal.name);
    let event = Event::new(now, action, Some(&client.principal), &subject, detail);
    Ok(audit::append_control(tx, event).await?)
}
