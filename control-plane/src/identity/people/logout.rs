//! Signing out: the provider says that somebody has left it (OpenID Connect Back-Channel Logout 1.0 and Front-Channel Logout
//! 1.0), or the browser is sent there to leave it too (RP-Initiated Logout 1.0). What was granted goes on: whoever has left
//! was not removed.

use super::{
    SignInFailed, SignIns, end,
    oidc::{by_name, endpoint},
    place,
};
use crate::{
    Core,
    identity::issuers::verify::Refused,
    store::{
        StoreError, one_time,
        sign_ins::{self, SignInRow},
    },
};
use postern_types::{id::SignInId, time::Micros};
use secrecy::SecretString;
use serde_json::Value;
use std::time::Duration;

/// The kinds of a token that says that somebody has left.
const LOGOUT_TOKEN: &[&str] = &["jwt", "logout+jwt"];

/// What such a token is about.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The kind under which ids of such tokens are kept.
const KIND: &str = "logout-token";

/// How long they are: longer than any such token is good.
const KEPT: Duration = Duration::from_secs(2 * 24 * 3600);

const BY_PROVIDER: &str = "they have left the identity provider";

impl SignIns {
    /// The provider says that somebody has left.
    ///
    /// # Errors
    /// Why that is not believed; recorded, within bounds.
    pub async fn left(&self, core: &Core, name: &str, token: &SecretString, now: Micros) -> Result<(), SignInFailed> {
        let done = self.leave(core, name, token, now).await;
        if let Err(error) = &done {
            self.refused(core, name, None, error, now).await?;
        }
        done
    }

    async fn leave(&self, core: &Core, name: &str, token: &SecretString, now: Micros) -> Result<(), SignInFailed> {
        let (_, oidc) = by_name(core, name).await?;
        let claims = self.signed(&oidc, token, LOGOUT_TOKEN, false, now).await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let events = claims.get("events").and_then(Value::as_object);
        if !events.is_some_and(|events| events.get(EVENT).is_some_and(Value::is_object)) {
            return Err(Refused::Claim("events", "does not say that somebody has left").into());
        }
        // So that no token by which somebody signs in is taken for this.
        if claims.contains_key("nonce") {
            return Err(Refused::Claim("nonce", "is in no token of this kind").into());
        }
        if !claims.contains_key("iat") {
            return Err(Refused::Claim("iat", "is missing").into());
        }
        let (subject, session) = (text("sub"), text("sid"));
        if subject.is_none() && session.is_none() {
            return Err(Refused::Claim("sub", "names nobody, and there is no `sid`").into());
        }
        let id = text("jti").ok_or(Refused::Claim("jti", "is missing"))?;
        let mut tx = core.store.begin().await?;
        if !one_time::put(&mut tx, KIND, &format!("{name} {id}"), "", now.plus(KEPT), now).await? {
            return Err(Refused::Claim("jti", "was seen before").into());
        }
        for row in sign_ins::open_named(&mut tx, name, subject, session).await? {
            end(&mut tx, &row, BY_PROVIDER, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The provider has somebody's browser say that one of its sessions is over. That its name is known is the proof.
    ///
    /// # Errors
    /// When the provider is not the one that says so, or the store fails.
    pub async fn left_in_browser(
        &self,
        core: &Core,
        name: &str,
        (issuer, session): (&str, &str),
        now: Micros,
    ) -> Result<(), SignInFailed> {
        let (_, oidc) = by_name(core, name).await?;
        if issuer != oidc.url || session.is_empty() {
            self.refused(core, name, None, &SignInFailed::MixUp, now).await?;
            return Err(SignInFailed::MixUp);
        }
        let mut tx = core.store.begin().await?;
        for row in sign_ins::open_named(&mut tx, name, None, Some(session)).await? {
            end(&mut tx, &row, BY_PROVIDER, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Ends a sign-in. Gives where the browser goes to leave the provider too, where it has such a place.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sign_out(&self, core: &Core, id: &SignInId, now: Micros) -> Result<Option<String>, StoreError> {
        let mut tx = core.store.begin().await?;
        let Some(row) = sign_ins::open(&mut tx, id, now).await? else { return Ok(None) };
        end(&mut tx, &row, "they have signed out", now).await?;
        tx.commit().await?;
        // Signed out they are, whether the provider can be asked or not.
        Ok(self.leaving(core, &row).await.ok().flatten())
    }

    async fn leaving(&self, core: &Core, row: &SignInRow) -> Result<Option<String>, SignInFailed> {
        let (_, oidc) = by_name(core, &row.signed_in.provider).await?;
        let known = self.published(&oidc).await?;
        let Some(address) = known.discovery.end_session_endpoint.as_deref() else { return Ok(None) };
        let mut url = endpoint("end_session_endpoint", Some(address))?;
        let sealed = row.id_token.as_deref().map(|sealed| core.sealer.open(&place("id", &row.signed_in.id), sealed));
        let hint = sealed.transpose().map_err(SignInFailed::fault)?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &oidc.client_id);
            if let Some(hint) = hint.as_ref().and_then(|hint| std::str::from_utf8(hint).ok()) {
                query.append_pair("id_token_hint", hint);
            }
            if let Some(own) = core.own_url() {
                query.append_pair("post_logout_redirect_uri", &format!("{own}/"));
            }
        }
        Ok(Some(url.into()))
    }
}
