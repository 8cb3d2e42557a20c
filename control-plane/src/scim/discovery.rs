//! What a client is told of what is here: RFC 7644, section 4.

use super::{
    MAX_PAGE, Refused,
    schema::{GROUP, Kind, USER},
};
use serde_json::{Value, json};

const KINDS: [&Kind; 2] = [&USER, &GROUP];

/// `/ServiceProviderConfig`.
#[must_use]
pub fn config(base: &str) -> Value {
    let no = json!({ "supported": false });
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MAX_PAGE },
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token that an admin has made: `postern tokens create --for agent:NAME --may scim`",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

fn resource_type(kind: &Kind, base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": kind.name, "name": kind.name, "description": kind.about, "endpoint": kind.endpoint, "schema": kind.schema,
        "schemaExtensions": [],
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name) },
    })
}

/// `/ResourceTypes`.
#[must_use]
pub fn resource_types(base: &str) -> Vec<Value> {
    KINDS.iter().map(|kind| resource_type(kind, base)).collect()
}

/// `/Schemas`.
#[must_use]
pub fn schemas(base: &str) -> Vec<Value> {
    KINDS.iter().map(|kind| kind.to_json(base)).collect()
}

/// The one of that id.
///
/// # Errors
/// When there is none.
pub fn one_of(all: Vec<Value>, what: &str, id: &str) -> Result<Value, Refused> {
    all.into_iter()
        .find(|one| one.get("id").and_then(Value::as_str) == Some(id))
        .ok_or_else(|| Refused::missing(what, id))
}
