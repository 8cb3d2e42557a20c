//! The REST API: thin handlers, a file for each resource. Each reads its input, calls one function of the control
//! plane, and writes the answer; who may do what is decided in [`crate::rights`] alone.

mod access;
mod audit;
mod console;
mod credentials;
mod devices;
mod documents;
mod events;
mod extract;
mod fleet;
mod health;
mod masking;
mod mcp;
mod notifications;
mod oauth;
mod overview;
mod people;
mod policies;
mod principals;
mod reviews;
mod saml;
mod scan;
mod scim;
mod sessions;
mod slack;
mod tokens;
mod web;

pub(crate) use events::MAX_STREAMS as MAX_EVENT_STREAMS;
pub(crate) use extract::chain;

use crate::Core;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::HeaderValue,
    routing::{get, post},
};
use postern_api::PREFIX;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest body that is read: a call of `apply` with a thousand documents fits.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Where the OpenAPI document is, below [`PREFIX`].
const OPENAPI_PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(info(
    title = "Postern",
    description = "Just-in-time access to PostgreSQL: requests, reviews, grants, sessions and their audit."
))]
struct Document;

/// All routes of the HTTP listener. What goes on by itself ends with `stop`.
pub fn router(core: Arc<Core>, stop: CancellationToken) -> Router {
    let (api, document) = parts();
    let document = Arc::new(document);
    let serve_document = get(move || {
        let document = Arc::clone(&document);
        async move { axum::Json(document.as_ref().clone()) }
    });
    let no_store =
        SetResponseHeaderLayer::if_not_present(axum::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let no_sniff = SetResponseHeaderLayer::overriding(
        axum::http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Router::new()
        .merge(mcp::routes(&core, api.clone(), stop))
        .merge(api)
        .route(&format!("{PREFIX}{OPENAPI_PATH}"), serve_document)
        .route(slack::PATH, post(slack::interact))
        .merge(health::routes())
        .merge(oauth::routes())
        .merge(people::routes())
        .merge(saml::routes())
        .merge(scim::routes())
        .fallback(console::serve)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(no_store)
        .layer(no_sniff)
        .with_state(core)
}

/// The OpenAPI document, generated from the handlers.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    parts().1
}

fn parts() -> (Router<Arc<Core>>, utoipa::openapi::OpenApi) {
    let api = OpenApiRouter::new()
        .routes(routes!(principals::whoami))
        .routes(routes!(web::begin, web::end))
        .routes(routes!(web::providers))
        .routes(routes!(web::sessions))
        .routes(routes!(web::end_one))
        .routes(routes!(devices::show))
        .routes(routes!(devices::approve))
        .routes(routes!(devices::deny))
        .routes(routes!(access::connections))
        .routes(routes!(access::ways_in))
        .routes(routes!(access::reach))
        .routes(routes!(access::effective))
        .routes(routes!(policies::freeze))
        .routes(routes!(policies::unfreeze))
        .routes(routes!(policies::list))
        .routes(routes!(policies::show))
        .routes(routes!(policies::versions))
        .routes(routes!(policies::test))
        .routes(routes!(policies::replay))
        .routes(routes!(scan::scan))
        .routes(routes!(masking::show))
        .routes(routes!(masking::sample))
        .routes(routes!(credentials::list))
        .routes(routes!(credentials::set, credentials::remove))
        .routes(routes!(access::requests, access::create_request))
        .routes(routes!(access::request))
        .routes(routes!(access::approve))
        .routes(routes!(access::deny))
        .routes(routes!(access::withdraw))
        .routes(routes!(access::comment))
        .routes(routes!(access::close))
        .routes(routes!(access::create_standing))
        .routes(routes!(access::end_standing))
        .routes(routes!(events::events))
        .routes(routes!(reviews::list))
        .routes(routes!(reviews::show))
        .routes(routes!(reviews::approve))
        .routes(routes!(reviews::deny))
        .routes(routes!(reviews::withdraw))
        .routes(routes!(reviews::comment))
        .routes(routes!(access::grants))
        .routes(routes!(access::revoke))
        .routes(routes!(access::revoke_all))
        .routes(routes!(access::extend))
        .routes(routes!(access::create_credential))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::show))
        .routes(routes!(sessions::kill))
        .routes(routes!(audit::events))
        .routes(routes!(audit::csv))
        .routes(routes!(audit::json_lines))
        .routes(routes!(overview::show))
        .routes(routes!(documents::plan))
        .routes(routes!(documents::apply))
        .routes(routes!(principals::users, principals::put_user))
        .routes(routes!(principals::stop))
        .routes(routes!(principals::resume))
        .routes(routes!(principals::agents, principals::put_agent))
        .routes(routes!(principals::groups, principals::put_group))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::delete))
        .routes(routes!(fleet::create_join_token))
        .routes(routes!(fleet::connectors))
        .routes(routes!(fleet::gateways))
        .routes(routes!(fleet::revoke_connector))
        .routes(routes!(fleet::revoke_gateway))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::enable))
        .routes(routes!(notifications::deliveries))
        .routes(routes!(notifications::retry));
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi()).nest(PREFIX, api).split_for_parts();
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("token", scheme);
    // They would be the handlers' names, of which several are the same; paths name operations well enough.
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.operation_id = None;
        }
    }
    (router, document)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_has_every_resource() {
        let document = serde_json::to_value(super::openapi()).unwrap();
        for path in [
            "whoami",
            "web/session",
            "web/providers",
            "web/sessions",
            "web/sessions/{id}",
            "web/devices/{code}",
            "web/devices/{code}/approve",
            "web/devices/{code}/deny",
            "connections",
            "connections/{name}/access",
            "connections/{name}/principals",
            "principals/{principal}/access",
            "requests",
            "requests/{id}",
            "requests/{id}/approve",
            "requests/{id}/deny",
            "requests/{id}/withdraw",
            "requests/{id}/comments",
            "requests/{id}/close",
            "standing",
            "standing/{id}/end",
            "grants/revoke",
            "grants/{id}/extend",
            "principals/{principal}/stop",
            "principals/{principal}/resume",
            "events",
            "reviews",
            "reviews/{id}",
            "reviews/{id}/approve",
            "reviews/{id}/deny",
            "reviews/{id}/withdraw",
            "reviews/{id}/comments",
            "grants",
            "grants/{id}/revoke",
            "grants/{id}/credentials",
            "sessions",
            "sessions/{id}",
            "sessions/{id}/kill",
            "audit/events",
            "audit/events.csv",
            "audit/events.jsonl",
            "plan",
            "apply",
            "users",
            "agents",
            "groups",
            "tokens",
            "tokens/{id}",
            "join-tokens",
            "connectors",
            "gateways",
            "connectors/{id}/revoke",
            "gateways/{id}/revoke",
            "connections/{name}/freeze",
            "connections/{name}/unfreeze",
            "policies",
            "policies/{name}",
            "policies/test",
            "policies/replay",
            "policies/{name}/versions",
            "connections/{name}/scan",
            "connections/{name}/masking",
            "masks/try",
            "overview",
            "connections/{name}/credentials",
            "connections/{name}/credentials/{login}",
            "notifications",
            "notifications/{name}/enable",
            "notification-deliveries",
            "notification-deliveries/{id}/retry",
        ] {
            assert!(document["paths"][format!("/api/v1/{path}")].is_object(), "{path}");
        }
        assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "schema {name} is referred to and missing");
        }
    }

    /// The console's types are made of it.
    #[test]
    fn the_document_is_the_committed_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/openapi.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&super::openapi()).unwrap());
        if std::env::var_os("POSTERN_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(committed == text, "web/openapi.json is of another version: run this test with POSTERN_BLESS=1");
    }
}
