//! Identity providers.

use super::{Difference, Run, check, typed};
use crate::{
    identity::people,
    outward,
    problem::Problem,
    store::{providers, sign_ins},
};
use postern_api::provider::{IdentityProviderDocument, Oidc, Protocol, ProviderGroups, Saml};
use postern_types::time::Micros;
use serde_json::{Map, Value};

/// The longest text of a document: a client's id, a claim, a scope.
const MAX_TEXT: usize = 1000;

/// The longest list of a document.
const MAX_ENTRIES: usize = 1000;

impl Run<'_> {
    pub(super) async fn provider(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
    ) -> Result<Difference, Problem> {
        let stored = providers::by_name(&mut self.tx, name).await?;
        let from = stored.as_ref().map(serde_json::to_value).transpose().map_err(Problem::fault)?;
        let difference = |from, to| Difference { kind: "IdentityProvider", name: name.to_owned(), from, to };
        if delete {
            providers::delete(&mut self.tx, name).await?;
            self.end_sign_ins(name).await?;
            return Ok(difference(from, None));
        }
        let document: IdentityProviderDocument = typed(from.clone().filter(|_| self.merge), fields)?;
        checked(&document, self.now)?;
        let to = serde_json::to_value(&document).map_err(Problem::fault)?;
        if from.as_ref() != Some(&to) {
            providers::put(&mut self.tx, &document, self.now).await?;
            // They were let in by what is not so any more.
            self.end_sign_ins(name).await?;
        }
        Ok(difference(from, Some(to)))
    }

    async fn end_sign_ins(&mut self, provider: &str) -> Result<(), Problem> {
        for row in sign_ins::open_at(&mut self.tx, provider).await? {
            people::end(&mut self.tx, &row, "the identity provider's document was changed", self.now).await?;
        }
        Ok(())
    }
}

fn checked(document: &IdentityProviderDocument, now: Micros) -> Result<(), Problem> {
    match document.protocol() {
        Some(Protocol::Oidc(oidc)) => self::oidc(oidc)?,
        Some(Protocol::Saml(saml)) => self::saml(saml, now)?,
        None if document.oidc.is_none() => {
            return Err(Problem::invalid("oidc", "say by what people sign in there: `oidc` or `saml`"));
        }
        None => {
            return Err(Problem::invalid("saml", "people sign in there by `oidc` or by `saml`: leave one of them out"));
        }
    }
    if let Some(agent) = &document.scim {
        check::named("scim", agent)?;
        if document.groups.is_some() {
            return Err(Problem::invalid("groups", "who is in which group is said over SCIM: leave `groups` out"));
        }
    }
    document.groups.as_ref().map_or(Ok(()), groups)
}

fn oidc(oidc: &Oidc) -> Result<(), Problem> {
    let url = outward::address(&oidc.url);
    let url = url.map_err(|problem| Problem::invalid("oidc.url", format!("it {problem}")))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Problem::invalid("oidc.url", "an issuer's address has no query"));
    }
    text("oidc.client_id", &oidc.client_id)?;
    text("oidc.user", &oidc.user)?;
    if let Some(name) = &oidc.client_secret {
        check::named("oidc.client_secret", name)?;
    }
    for (field, list) in [("oidc.scopes", &oidc.scopes), ("oidc.acr", &oidc.acr)] {
        if list.len() > MAX_ENTRIES {
            return Err(Problem::invalid(field, format!("at most {MAX_ENTRIES} entries")));
        }
        for entry in list {
            text(field, entry)?;
            // They are sent as one text, parted by spaces.
            if entry.contains(char::is_whitespace) {
                return Err(Problem::invalid(field, "has no spaces; write a list"));
            }
        }
    }
    if !oidc.scopes.iter().any(|scope| scope == "openid") {
        return Err(Problem::invalid("oidc.scopes", "`openid` is missing: without it no identity is told"));
    }
    Ok(())
}

fn saml(saml: &Saml, now: Micros) -> Result<(), Problem> {
    match (&saml.metadata, &saml.metadata_url) {
        (Some(metadata), None) => {
            people::check_metadata(metadata, now).map_err(|problem| Problem::invalid("saml.metadata", problem))?;
        }
        (None, Some(url)) => {
            let url = outward::address(url);
            url.map_err(|problem| Problem::invalid("saml.metadata_url", format!("it {problem}")))?;
        }
        _ => {
            let problem = "give the provider's metadata as text, or where they are as `metadata_url`: one of both";
            return Err(Problem::invalid("saml.metadata", problem));
        }
    }
    for (field, attribute) in [("saml.user", &saml.user), ("saml.email", &saml.email)] {
        attribute.as_ref().map_or(Ok(()), |attribute| text(field, attribute))?;
    }
    Ok(())
}

fn groups(groups: &ProviderGroups) -> Result<(), Problem> {
    text("groups.claim", &groups.claim)?;
    if !groups.prefix.is_empty() {
        check::named("groups.prefix", &groups.prefix)?;
        if !groups.names.is_empty() {
            return Err(Problem::invalid(
                "groups.prefix",
                "has no meaning where `names` says what each group is called",
            ));
        }
    }
    if groups.names.len() > MAX_ENTRIES {
        return Err(Problem::invalid("groups.names", format!("at most {MAX_ENTRIES} entries")));
    }
    groups.names.values().try_for_each(|name| check::named("groups.names", name))
}

fn text(field: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(Problem::invalid(field, format!("must have 1 to {MAX_TEXT} bytes")));
    }
    Ok(())
}
