//! Issuers of identity tokens and of certificates.

use super::{Difference, Run, check, typed};
use crate::{
    identity::{
        issuers::{certificates, lifetime},
        tokens,
    },
    outward,
    problem::{Problem, shorten},
    store::{issuers, principals, tokens as stored_tokens},
};
use postern_api::{
    identity::PrincipalKind,
    issuer::{ClaimIs, IssuerDocument, Proof},
};
use serde_json::{Map, Value};

/// The most entries of one issuer.
const MAX_AGENTS: usize = 1000;

/// The longest audience.
const MAX_AUDIENCE: usize = 1000;

impl Run<'_> {
    pub(super) async fn issuer(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
    ) -> Result<Difference, Problem> {
        let stored = issuers::by_name(&mut self.tx, name).await?;
        let from = stored.as_ref().map(serde_json::to_value).transpose().map_err(Problem::fault)?;
        let difference = |from, to| Difference { kind: "Issuer", name: name.to_owned(), from, to };
        if delete {
            issuers::delete(&mut self.tx, name).await?;
            stored_tokens::revoke_of_issuer(&mut self.tx, name, self.now).await?;
            return Ok(difference(from, None));
        }
        let document: IssuerDocument = typed(from.clone().filter(|_| self.merge), fields)?;
        self.check_issuer(&document).await?;
        let to = serde_json::to_value(&document).map_err(Problem::fault)?;
        if from.as_ref() != Some(&to) {
            issuers::put(&mut self.tx, &document, self.now).await?;
            // They were given for what is not so any more.
            stored_tokens::revoke_of_issuer(&mut self.tx, name, self.now).await?;
        }
        Ok(difference(from, Some(to)))
    }

    async fn check_issuer(&mut self, document: &IssuerDocument) -> Result<(), Problem> {
        match document.proof() {
            Some(Proof::Tokens { url, audience }) => self.check_tokens(&document.name, url, audience).await?,
            Some(Proof::Certificates(pem)) => check_certificates(document, pem)?,
            None => {
                let message = "say by what machines prove which they are: `url` and `audience` of tokens, or `authorities` of \
                               certificates";
                return Err(Problem::invalid("url", message));
            }
        }
        if document.agents.is_empty() || document.agents.len() > MAX_AGENTS {
            return Err(Problem::invalid("agents", format!("name 1 to {MAX_AGENTS} agents")));
        }
        for (at, entry) in document.agents.iter().enumerate() {
            let field = |name: &str| format!("agents[{at}].{name}");
            check::named(&field("agent"), &entry.agent)?;
            if principals::by_name(&mut self.tx, PrincipalKind::Agent, &entry.agent).await?.is_none() {
                let message = format!("there is no agent `{}`", shorten(&entry.agent));
                return Err(Problem::invalid(field("agent"), message).hint("apply a document of `kind: Agent` first"));
            }
            if entry.when.is_empty() {
                let message = "without a condition everybody whom this issuer knows would be this agent";
                return Err(Problem::invalid(field("when"), message).hint("name a claim: `sub: repo:acme/shop:…`"));
            }
            lifetime(entry).map_err(|error| Problem::invalid(field("lifetime"), error))?;
            if let Some(may) = &entry.may {
                tokens::checked_places(&field("may"), may)?;
            }
        }
        Ok(())
    }

    async fn check_tokens(&mut self, name: &str, url: &str, audience: &str) -> Result<(), Problem> {
        let address = outward::address(url);
        let address = address.map_err(|problem| Problem::invalid("url", format!("it {problem}")))?;
        if address.query().is_some() || address.fragment().is_some() {
            return Err(Problem::invalid("url", "an issuer's address has no query"));
        }
        if let Some(other) = issuers::by_url(&mut self.tx, url).await?.filter(|it| it.name != name) {
            return Err(Problem::invalid("url", format!("that is the issuer `{}` already", other.name)));
        }
        if audience.trim().is_empty() || audience.len() > MAX_AUDIENCE {
            return Err(Problem::invalid("audience", "say what tokens have to be made for: their claim `aud`"));
        }
        Ok(())
    }
}

/// Authorities that are some, and conditions that a certificate can meet.
fn check_certificates(document: &IssuerDocument, pem: &str) -> Result<(), Problem> {
    certificates::authorities(pem).map_err(|error| Problem::invalid("authorities", error))?;
    for (at, entry) in document.agents.iter().enumerate() {
        for (name, wanted) in &entry.when {
            let field = format!("agents[{at}].when");
            if !certificates::NAMES.contains(&name.as_str()) {
                let message = format!("a certificate has no `{}`", shorten(name));
                let hint = format!("name one of {}", certificates::NAMES.join(", "));
                return Err(Problem::invalid(field, message).hint(hint));
            }
            if matches!(wanted, ClaimIs::Truth(_) | ClaimIs::Number(_)) {
                return Err(Problem::invalid(
                    field,
                    format!("`{name}` is compared with a text, or with a list of texts"),
                ));
            }
        }
    }
    Ok(())
}
