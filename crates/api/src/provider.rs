//! Identity providers, where people sign in, and what of it is shown.

use postern_types::{
    id::{SignInId, WebSessionId},
    time::Micros,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use utoipa::ToSchema;

/// Where people sign in, and who they are here by what it says of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderDocument {
    /// Unique.
    pub name: String,
    /// By OpenID Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// By SAML 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saml: Option<Saml>,
    /// Which groups people are in by what the provider says. Absent: they are in those that documents put them into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<ProviderGroups>,
    /// The agent as which its directory says over SCIM who there is: users that it makes sign in here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim: Option<String>,
}

/// By what people sign in at a provider.
#[derive(Clone, Copy, Debug)]
pub enum Protocol<'a> {
    /// By OpenID Connect.
    Oidc(&'a Oidc),
    /// By SAML 2.0.
    Saml(&'a Saml),
}

impl IdentityProviderDocument {
    /// By what people sign in there; None: the document says nothing of it, or more than one thing.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol<'_>> {
        match (&self.oidc, &self.saml) {
            (Some(oidc), None) => Some(Protocol::Oidc(oidc)),
            (None, Some(saml)) => Some(Protocol::Saml(saml)),
            _ => None,
        }
    }
}

/// A provider that speaks SAML 2.0. Its metadata, or where they are: one of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Saml {
    /// What it publishes of itself, as XML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Where it publishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
    /// The attribute that names the user; absent: the NameID does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The attribute that has their mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A provider that speaks OpenID Connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The issuer, exactly; the rest is found below it, as OpenID Connect Discovery says.
    pub url: String,
    /// As what Postern is known there.
    pub client_id: String,
    /// The name of the client's secret; absent: a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// What is asked for.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// The claim that names the user.
    #[serde(default = "default_user")]
    pub user: String,
    /// Ask the provider's userinfo endpoint too.
    #[serde(default)]
    pub userinfo: bool,
    /// Ways of signing in of which each sign-in has to be one (`acr`); empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr: Vec<String>,
}

/// How a provider's groups become Postern's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderGroups {
    /// The claim (or attribute) that lists them. One within others is given as a JSON Pointer: `/realm_access/roles`.
    pub claim: String,
    /// What the names begin with here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The provider's name → the name here. Where there are any, no others count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email"].map(str::to_owned).to_vec()
}

fn default_user() -> String {
    "preferred_username".to_owned()
}

/// How somebody has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// What ends it ends what was given by it.
    #[schema(value_type = String)]
    pub id: SignInId,
    /// Where.
    pub provider: String,
    /// When they last proved there who they are; absent: the provider does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub authenticated_at: Option<Micros>,
    /// How, as the provider names it (`acr`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
}

/// A provider, for those who are not signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderChoice {
    /// Its name.
    pub name: String,
    /// Where a browser goes to sign in there. It takes `return_to`.
    pub login: String,
}

/// A browser's session, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebSession {
    /// What it is ended by.
    #[schema(value_type = String)]
    pub id: WebSessionId,
    /// Whether it is the one that asks.
    pub current: bool,
    /// Where they signed in; absent: by an API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
    /// To the minute.
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: Micros,
    /// When it ends, however much it is used.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Micros,
}

/// The answer to `DELETE /web/session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignedOut {
    /// Where the provider signs the browser out too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_at: Option<String>,
}

/// A command line that waits to be signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceLogin {
    /// What it shows to whoever runs it.
    pub user_code: String,
    /// When it asked.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Micros,
}

/// The answer to `POST /oauth/device_authorization` (RFC 8628, section 3.2).
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct DeviceAuthorization {
    /// What the token is asked for with.
    pub device_code: String,
    /// What people compare.
    pub user_code: String,
    /// Where they do.
    pub verification_uri: String,
    /// The same, with the code.
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two calls for the token.
    pub interval: u64,
}

impl fmt::Debug for DeviceAuthorization {
    /// Without the device code: what is printed ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization").field("user_code", &self.user_code).finish_non_exhaustive()
    }
}

/// What a program that calls for a token has to say of itself; it proves nothing.
pub const CLIENT_ID: &str = "postern-cli";

/// The grant type of RFC 8628.
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
