//! Users, agents and groups.

use super::{Difference, Run, check, directory, typed};
use crate::{
    identity::people,
    problem::{Problem, shorten},
    stops,
    store::{
        external_identities,
        principals::{self, PrincipalRow},
        providers, scim,
    },
};
use postern_api::{
    document::{AgentDocument, BehalfOf, GroupDocument, UserDocument},
    identity::{PrincipalKind, PrincipalRef},
};
use postern_types::id::PrincipalId;
use serde_json::{Map, Value, json};

/// What a user's or an agent's document says.
struct Wanted {
    groups: Vec<String>,
    admin: bool,
    auditor: bool,
    disabled: bool,
    owner: Option<String>,
    on_behalf_of: BehalfOf,
    sign_in: Option<String>,
}

impl Run<'_> {
    pub(super) async fn principal(
        &mut self,
        kind: &'static str,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
    ) -> Result<Difference, Problem> {
        if delete {
            return Err(Problem::invalid("delete", "the audit refers to it, so it is disabled instead")
                .hint("write `disabled: true`"));
        }
        let principal_kind = if kind == "User" { PrincipalKind::User } else { PrincipalKind::Agent };
        let stored = principals::by_name(&mut self.tx, principal_kind, name).await?;
        let (names_groups, names_sign_in) = (fields.contains_key("groups"), fields.contains_key("sign_in"));
        let (mut from, mut kept) = (None, None);
        if let Some(row) = &stored {
            let groups = principals::groups_of(&mut self.tx, &row.principal.id).await?;
            kept = directory::kept(&mut self.tx, &row.principal.id).await?;
            from = Some((document(row, &groups), groups));
        }
        let mut base = from.as_ref().map(|(document, _)| document.clone()).filter(|_| self.merge);
        if let (Some(user), Some(Value::Object(base))) = (&kept, &mut base) {
            // That they are disabled may be their directory's word, which is no document's.
            base.insert("disabled".to_owned(), user.held.into());
        }
        let mut wanted = wanted(kind, base, fields)?;
        // Groups can be given from either side: who does not mention them leaves them as they are.
        if !names_groups && let Some((_, groups)) = &from {
            wanted.groups.clone_from(groups);
        }
        // A user whom a provider has made stays theirs when a document says something else of them.
        if !names_sign_in && let Some(row) = &stored {
            wanted.sign_in.clone_from(&row.sign_in);
        }
        if let Some(provider) = &wanted.sign_in
            && stored.as_ref().is_none_or(|row| row.sign_in != wanted.sign_in)
            && providers::by_name(&mut self.tx, provider).await?.is_none()
        {
            let message = format!("there is no identity provider `{}`", shorten(provider));
            return Err(Problem::invalid("sign_in", message).hint("apply a document of `kind: IdentityProvider` first"));
        }
        normalize(&mut wanted.groups)?;
        if principal_kind == PrincipalKind::User {
            let before = from.as_ref().map_or(&[] as &[String], |(_, groups)| groups);
            directory::keep_groups(&mut self.tx, before, &mut wanted.groups).await?;
        }
        if let Some(user) = kept {
            scim::hold(&mut self.tx, &user.principal.id, wanted.disabled).await?;
            wanted.disabled |= !user.active;
        }
        let row = self.put_principal(principal_kind, name, stored, &wanted).await?;
        let to = document(&row, &wanted.groups);
        Ok(Difference { kind, name: name.to_owned(), from: from.map(|(document, _)| document), to: Some(to) })
    }

    async fn put_principal(
        &mut self,
        kind: PrincipalKind,
        name: &str,
        stored: Option<PrincipalRow>,
        wanted: &Wanted,
    ) -> Result<PrincipalRow, Problem> {
        let owner = match &wanted.owner {
            None => None,
            Some(owner) => {
                let missing = || Problem::invalid("owner", format!("there is no user `{}`", shorten(owner)));
                let row = principals::by_name(&mut self.tx, PrincipalKind::User, owner).await?.ok_or_else(missing)?;
                Some(row.principal.id)
            }
        };
        let principal = PrincipalRef { kind, id: PrincipalId::new(), name: name.to_owned() };
        let (principal, created_at) =
            stored.as_ref().map_or((principal, self.now), |row| (row.principal.clone(), row.created_at));
        let row = PrincipalRow {
            principal,
            admin: wanted.admin,
            auditor: wanted.auditor,
            disabled: wanted.disabled,
            owner: wanted.owner.clone(),
            proves_behalf: wanted.on_behalf_of == BehalfOf::Proved,
            sign_in: wanted.sign_in.clone(),
            created_at,
        };
        match &stored {
            None => principals::insert(&mut self.tx, &row, owner.as_ref()).await?,
            Some(_) => principals::update(&mut self.tx, &row, owner.as_ref()).await?,
        }
        principals::set_groups(&mut self.tx, &row.principal.id, &wanted.groups, self.now).await?;
        if row.disabled {
            // Said by a document: that they sign in again does not lift it.
            external_identities::set_removed(&mut self.tx, &row.principal.id, None).await?;
        }
        if stored.as_ref().is_some_and(|before| before.sign_in != row.sign_in) {
            people::end_all(&mut self.tx, &row.principal.id, "a document was applied", self.now).await?;
        }
        if row.disabled && stored.is_some_and(|row| !row.disabled) {
            let effects =
                stops::disabled_in(&mut self.tx, &row.principal, self.actor, stops::DISABLED, self.now).await?;
            self.effects.extend(effects);
        }
        Ok(row)
    }

    pub(super) async fn group(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
    ) -> Result<Difference, Problem> {
        let is_there = principals::group_created_at(&mut self.tx, name).await?.is_some();
        let before = principals::members(&mut self.tx, name).await?;
        let from = is_there.then(|| json!({ "members": before }));
        let difference = |from, to| Difference { kind: "Group", name: name.to_owned(), from, to };
        if delete {
            directory::may_delete(&mut self.tx, name).await?;
            principals::delete_group(&mut self.tx, name).await?;
            return Ok(difference(from, None));
        }
        let mut document: GroupDocument = typed(None, fields)?;
        if let Some(members) = &mut document.members {
            directory::keep_members(&mut self.tx, name, &before, members).await?;
        }
        principals::ensure_group(&mut self.tx, name, self.now).await?;
        if let Some(members) = &document.members {
            principals::clear_members(&mut self.tx, name).await?;
            for member in members {
                let id = self.member(member).await?;
                principals::add_member(&mut self.tx, name, &id).await?;
            }
        }
        let after = principals::members(&mut self.tx, name).await?;
        Ok(difference(from, Some(json!({ "members": after }))))
    }

    async fn member(&mut self, text: &str) -> Result<PrincipalId, Problem> {
        let wrong = || {
            Problem::invalid(
                "members",
                format!("`{}` is not a member: write `user:alice` or `agent:ci`", shorten(text)),
            )
        };
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        let kind: PrincipalKind = kind.parse().map_err(|_| wrong())?;
        let row = principals::by_name(&mut self.tx, kind, name).await?;
        let row = row.ok_or_else(|| Problem::invalid("members", format!("there is no {kind} `{}`", shorten(name))))?;
        Ok(row.principal.id)
    }
}

fn wanted(kind: &str, base: Option<Value>, fields: Map<String, Value>) -> Result<Wanted, Problem> {
    Ok(if kind == "User" {
        let UserDocument { groups, admin, auditor, disabled, sign_in, .. } = typed(base, fields)?;
        Wanted { groups, admin, auditor, disabled, owner: None, on_behalf_of: BehalfOf::default(), sign_in }
    } else {
        let AgentDocument { groups, owner, on_behalf_of, disabled, .. } = typed(base, fields)?;
        Wanted { groups, admin: false, auditor: false, disabled, owner, on_behalf_of, sign_in: None }
    })
}

fn normalize(groups: &mut Vec<String>) -> Result<(), Problem> {
    groups.sort();
    groups.dedup();
    groups.iter().try_for_each(|group| check::named("groups", group))
}

/// What is stored, as a document of the same kind.
fn document(row: &PrincipalRow, groups: &[String]) -> Value {
    let PrincipalRow { principal, admin, auditor, disabled, owner, proves_behalf, sign_in, .. } = row;
    match principal.kind {
        PrincipalKind::User => {
            json!({ "name": principal.name, "groups": groups, "admin": admin, "auditor": auditor, "disabled": disabled,
                "sign_in": sign_in })
        }
        PrincipalKind::Agent => {
            let on_behalf_of = if *proves_behalf { BehalfOf::Proved } else { BehalfOf::Asserted };
            json!({ "name": principal.name, "groups": groups, "owner": owner, "on_behalf_of": on_behalf_of,
                "disabled": disabled })
        }
    }
}
