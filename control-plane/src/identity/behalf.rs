//! An agent that acts on behalf of a person and proves it: with a token of its own as the actor's, and one of the person's
//! as the subject's, it gets a token for both ([RFC 8693, section 1.1](https://www.rfc-editor.org/rfc/rfc8693#section-1.1)).
//! That one ends with the person's.

use super::{
    authenticate,
    issuers::{Exchange, NotExchanged, certificates::Shown, exchanged},
    tokens, whose,
};
use crate::{
    audit::{self, Event},
    problem::Problem,
    store::{Store, stops, tokens as rows},
};
use postern_api::{identity::PrincipalKind, issuer::ExchangedToken};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::json;
use std::time::Duration;

/// How long such a token lives, at most: as long as a person looks on.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A token for an agent on behalf of a person, of their two.
///
/// # Errors
/// Why there is none; recorded, within bounds.
pub async fn exchange(
    exchange: &Exchange,
    store: &Store,
    [person, agent]: [&SecretString; 2],
    shown: &Shown,
    now: Micros,
) -> Result<ExchangedToken, NotExchanged> {
    let done = attempt(exchange, store, [person, agent], shown, now).await;
    if let Err(NotExchanged::OnBehalf(why)) = &done {
        let detail = json!({ "why": why });
        exchange.refusals.record(store, "on-behalf-of", &detail, now).await?;
    }
    done
}

async fn attempt(
    exchange: &Exchange,
    store: &Store,
    [person, agent]: [&SecretString; 2],
    shown: &Shown,
    now: Micros,
) -> Result<ExchangedToken, NotExchanged> {
    let person = authenticate(store, person, shown, now).await?;
    let person = person.filter(|person| person.actor.principal.kind == PrincipalKind::User);
    let person = person.ok_or(NotExchanged::OnBehalf("the subject_token is no user's that is good"))?;
    let agent = whose(exchange, store, agent, shown, now).await?;
    // One that acts for somebody already passes that on to nobody.
    let agent =
        agent.filter(|agent| agent.actor.principal.kind == PrincipalKind::Agent && agent.actor.on_behalf_of.is_none());
    let agent = agent.ok_or(NotExchanged::OnBehalf("the actor_token is no agent's own that is good"))?;
    let lifetime = [&person, &agent].into_iter().filter_map(|caller| caller.token.expires_at);
    let lifetime = lifetime.map(|end| end.since(now)).fold(LIFETIME, Duration::min);
    let may = both(person.actor.may.as_ref(), agent.actor.may.as_ref());
    if may.as_ref().is_some_and(Vec::is_empty) {
        return Err(NotExchanged::OnBehalf("the two tokens are narrowed to nothing that both are good for"));
    }
    let (principal, user) = (&agent.actor.principal, &person.actor.principal);
    let mut tx = store.begin().await?;
    for stopped in [principal, user] {
        if stops::of(&mut tx, &stopped.id).await?.is_some() {
            return Err(NotExchanged::OnBehalf("one of the two is stopped"));
        }
    }
    let new = tokens::New {
        principal,
        name: &format!("on behalf of {}", user.name),
        expires_at: Some(now.plus(lifetime)),
        may: may.as_deref(),
        given: rows::GivenFor::Nothing,
    };
    let fault = |problem: Problem| NotExchanged::Fault(Box::new(problem));
    let (token, secret) = tokens::insert(&mut tx, &new, now).await.map_err(fault)?;
    rows::set_machine(&mut tx, &token.id, &agent.actor.machine).await?;
    rows::set_behalf(&mut tx, &token.id, [&person.token.id, &agent.token.id]).await?;
    let detail = json!({
        "principal": principal, "on_behalf_of": user, "may": may, "expires_at": token.expires_at,
        "subject_token": person.token.id, "actor_token": agent.token.id,
    });
    let event = Event::new(now, "token.exchanged", Some(principal), token.id.as_str(), &detail);
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    Ok(exchanged(&secret, lifetime))
}

/// What both are narrowed to.
fn both(one: Option<&Vec<String>>, other: Option<&Vec<String>>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.iter().filter(|place| other.contains(place)).cloned().collect()),
        (one, other) => one.or(other).cloned(),
    }
}
