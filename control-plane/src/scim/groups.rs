//! Groups of a directory. Each is a group like any other, in which the directory's users are those whom it names. Others
//! that documents have put into it, agents above all, stay.

use super::{
    Document, Found, Page, Refused, changes, filter::Filter, patch, schema::GROUP, taken, users::Change, with_meta,
};
use crate::{
    apply,
    audit::{self, Event},
    identity::Actor,
    problem::shorten,
    rights::{Action, Resource, authorize},
    store::{
        Store, Tx, principals,
        scim::{self, GroupRow, Wanted},
    },
};
use postern_types::time::Micros;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Makes a group.
///
/// # Errors
/// When there is one of that name, or something is wrong with what is given.
pub async fn create(store: &Store, client: &Actor, body: Value, base: &str, now: Micros) -> Result<Document, Refused> {
    authorize(client, Action::Create, &Resource::Directory)?;
    let (name, document) = wanted(GROUP.checked(body)?)?;
    let mut tx = store.begin().await?;
    if !is_free(&mut tx, &name).await? {
        return Err(not_taken_over(tx, client, &name, now).await);
    }
    let row = GroupRow {
        id: format!("grp_{}", ulid::Ulid::generate().to_string().to_ascii_lowercase()),
        name,
        external_id: text(&document, "externalId"),
        created_at: now,
        updated_at: now,
    };
    principals::ensure_group(&mut tx, &row.name, now).await?;
    scim::put_group(&mut tx, &client.principal.id, &row).await?;
    set_members(&mut tx, client, &row.name, &BTreeSet::new(), &named(&document)).await?;
    let told = told(&mut tx, client, &document).await?;
    record(&mut tx, client, "group.created", &row.name, &changes(None, Some(&told)), now).await?;
    tx.commit().await?;
    Ok(shown(&row, document, base))
}

/// What a group is to be: its name, and the whole.
fn wanted(document: Document) -> Result<(String, Document), Refused> {
    let name = text(&document, "displayName").ok_or_else(|| Refused::value("`displayName` is missing"))?;
    apply::named("displayName", &name)?;
    Ok((name, document))
}

fn text(document: &Document, name: &str) -> Option<String> {
    document.get(name).and_then(Value::as_str).map(str::to_owned)
}

async fn is_free(tx: &mut Tx, name: &str) -> Result<bool, Refused> {
    Ok(principals::group_created_at(tx, name).await?.is_none())
}

async fn not_taken_over(tx: Tx, client: &Actor, name: &str, now: Micros) -> Refused {
    let why = format!("there is a group `{name}` already, which is not taken over");
    taken(tx, client, &format!("group/{name}"), why, now).await
}

/// Who is named as a member.
fn named(document: &Document) -> BTreeSet<String> {
    let members = document.get("members").and_then(Value::as_array).into_iter().flatten();
    members.filter_map(|member| member.get("value")?.as_str()).map(str::to_owned).collect()
}

/// Groups that are looked for.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &Store, client: &Actor, filter: &Filter, page: Page, base: &str) -> Result<Found, Refused> {
    authorize(client, Action::See, &Resource::Directory)?;
    let mut tx = store.read().await?;
    let mut found = Vec::new();
    for row in scim::groups(&mut tx, &client.principal.id, &filter.wanted(&GROUP)).await? {
        let mut document = current(&mut tx, client, &row).await?;
        document.insert("id".to_owned(), json!(row.id));
        if filter.holds(&document) {
            found.push((row, document));
        }
    }
    let total = found.len();
    let resources = page.of(found).into_iter().map(|(row, document)| shown(&row, document, base));
    Ok(Found { total, resources: resources.collect() })
}

/// One group.
///
/// # Errors
/// When there is none of this directory's.
pub async fn get(store: &Store, client: &Actor, id: &str, base: &str) -> Result<Document, Refused> {
    authorize(client, Action::See, &Resource::Directory)?;
    let mut tx = store.read().await?;
    let row = own(&mut tx, client, id).await?;
    let document = current(&mut tx, client, &row).await?;
    Ok(shown(&row, document, base))
}

/// Changes a group.
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
) -> Result<Document, Refused> {
    authorize(client, Action::Change, &Resource::Directory)?;
    let mut tx = store.begin().await?;
    scim::lock_group(&mut tx, id).await?;
    let before = own(&mut tx, client, id).await?;
    let from = current(&mut tx, client, &before).await?;
    let to = match change {
        Change::Replace(body) => GROUP.checked(body)?,
        Change::Patch(body) => patch::apply(&GROUP, from.clone(), body)?,
    };
    let (name, to) = wanted(to)?;
    if from == to {
        return Ok(shown(&before, to, base));
    }
    let mut members = named(&from);
    if name != before.name {
        if !is_free(&mut tx, &name).await? {
            return Err(not_taken_over(tx, client, &name, now).await);
        }
        principals::ensure_group(&mut tx, &name, now).await?;
        // Whom documents have put into the one have not put them into the other.
        set_members(&mut tx, client, &before.name, &members, &BTreeSet::new()).await?;
        members.clear();
    }
    let row = GroupRow { name: name.clone(), external_id: text(&to, "externalId"), updated_at: now, ..before.clone() };
    scim::put_group(&mut tx, &client.principal.id, &row).await?;
    set_members(&mut tx, client, &name, &members, &named(&to)).await?;
    if name != before.name {
        drop_if_empty(&mut tx, &before.name).await?;
    }
    let event = changes(Some(&told(&mut tx, client, &from).await?), Some(&told(&mut tx, client, &to).await?));
    record(&mut tx, client, "group.updated", &name, &event, now).await?;
    tx.commit().await?;
    Ok(shown(&row, to, base))
}

/// Deletes a group. Where documents have put others into it, it stays for them.
///
/// # Errors
/// When there is none of this directory's.
pub async fn delete(store: &Store, client: &Actor, id: &str, now: Micros) -> Result<(), Refused> {
    authorize(client, Action::Delete, &Resource::Directory)?;
    let mut tx = store.begin().await?;
    scim::lock_group(&mut tx, id).await?;
    let row = own(&mut tx, client, id).await?;
    let from = current(&mut tx, client, &row).await?;
    let event = changes(Some(&told(&mut tx, client, &from).await?), None);
    set_members(&mut tx, client, &row.name, &named(&from), &BTreeSet::new()).await?;
    scim::forget_group(&mut tx, &row.id).await?;
    drop_if_empty(&mut tx, &row.name).await?;
    record(&mut tx, client, "group.deleted", &row.name, &event, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn drop_if_empty(tx: &mut Tx, name: &str) -> Result<(), Refused> {
    if principals::members(tx, name).await?.is_empty() {
        principals::delete_group(tx, name).await?;
    }
    Ok(())
}

/// Puts users of the directory into a group, and takes others out.
async fn set_members(
    tx: &mut Tx,
    client: &Actor,
    group: &str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<(), Refused> {
    if before == after {
        return Ok(());
    }
    let known = scim::user_names(tx, &client.principal.id).await?;
    for id in after.difference(before) {
        let missing = || Refused::value(format!("`members`: there is no user `{}` of this directory", shorten(id)));
        let user = known.get(id).ok_or_else(missing)?;
        principals::add_member(tx, group, &user.id).await?;
    }
    for id in before.difference(after) {
        if let Some(user) = known.get(id) {
            principals::remove_member(tx, group, &user.id).await?;
        }
    }
    Ok(())
}

/// A group of this directory.
async fn own(tx: &mut Tx, client: &Actor, id: &str) -> Result<GroupRow, Refused> {
    let wanted = Wanted { id: Some(id.to_owned()), ..Wanted::default() };
    let found = scim::groups(tx, &client.principal.id, &wanted).await?;
    found.into_iter().next().ok_or_else(|| Refused::missing("group", id))
}

/// A group as its directory would give it.
async fn current(tx: &mut Tx, client: &Actor, row: &GroupRow) -> Result<Document, Refused> {
    let members = scim::members(tx, &client.principal.id, &row.name).await?;
    let mut document = Document::new();
    document.insert("displayName".to_owned(), json!(row.name));
    if let Some(id) = &row.external_id {
        document.insert("externalId".to_owned(), json!(id));
    }
    if !members.is_empty() {
        document.insert("members".to_owned(), members.iter().map(|id| json!({ "value": id })).collect());
    }
    Ok(document)
}

/// The same with names for ids, for the audit.
async fn told(tx: &mut Tx, client: &Actor, document: &Document) -> Result<Document, Refused> {
    let mut told = document.clone();
    let members = named(document);
    if !members.is_empty() {
        let known = scim::user_names(tx, &client.principal.id).await?;
        let names: BTreeSet<&str> =
            members.iter().filter_map(|id| known.get(id)).map(|user| user.name.as_str()).collect();
        told.insert("members".to_owned(), json!(names));
    }
    Ok(told)
}

/// As a client sees it.
fn shown(row: &GroupRow, mut document: Document, base: &str) -> Document {
    let member = |id: &String| json!({ "value": id, "$ref": format!("{base}/Users/{id}"), "type": "User" });
    let members = named(&document);
    if !members.is_empty() {
        document.insert("members".to_owned(), members.iter().map(member).collect());
    }
    with_meta(&GROUP, &row.id, base, (row.created_at, row.updated_at), document)
}

async fn record(
    tx: &mut Tx,
    client: &Actor,
    action: &str,
    name: &str,
    detail: &Value,
    now: Micros,
) -> Result<(), Refused> {
    let event = Event::new(now, action, Some(&client.principal), &format!("group/{name}"), detail);
    Ok(audit::append_control(tx, event).await?)
}
