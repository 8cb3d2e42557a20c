//! The Model Context Protocol over HTTP: the tools of `postern-mcp`, for whoever has a token. What they do are calls of the
//! REST API in this process, with that token: nothing is decided here.

use super::extract::{Failure, NO_CALLER, bearer, shown};
use crate::{
    Core,
    identity::{self, issuers::certificates::Shown},
    problem::Problem,
};
use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::{any, get},
};
use postern_api::{PREFIX, access::Credential, error::ErrorBody};
use postern_mcp::{Plane, Refusal, http::Http};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::form_urlencoded;

const PATH: &str = "/mcp";

/// Where a client that has no token finds out where there are some ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The REST API, called from here.
struct Server {
    http: Http,
    api: Router,
}

/// Serves by calls of this API, until `stop`.
pub(super) fn routes(core: &Arc<Core>, api: Router<Arc<Core>>, stop: CancellationToken) -> Router<Arc<Core>> {
    let server = Server { http: Http::new(stop), api: api.with_state(Arc::clone(core)) };
    Router::new()
        .route(PATH, any(serve))
        .route(&format!("{METADATA}{PATH}"), get(metadata))
        .layer(Extension(Arc::new(server)))
}

async fn metadata(State(core): State<Arc<Core>>) -> Json<Value> {
    let issuer = core.config.issuer();
    Json(json!({
        "resource": format!("{issuer}{PATH}"),
        "resource_name": "Postern",
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
    }))
}

async fn serve(State(core): State<Arc<Core>>, Extension(server): Extension<Arc<Server>>, request: Request) -> Response {
    let mut response = served(&core, &server, request).await.unwrap_or_else(Failure::into_response);
    let told = format!("Bearer resource_metadata=\"{}{METADATA}{PATH}\"", core.config.issuer());
    if response.status() == StatusCode::UNAUTHORIZED
        && let Ok(told) = HeaderValue::from_str(&told)
    {
        response.headers_mut().insert(WWW_AUTHENTICATE, told);
    }
    response
}

async fn served(core: &Arc<Core>, server: &Server, request: Request) -> Result<Response, Failure> {
    require_no_other_site(request.headers(), core)?;
    let bearer = bearer(request.headers()).ok_or_else(|| Problem::unauthenticated("this needs a token"))?;
    // A browser's cookie is none: pages of other sites would bring it too.
    let shown = shown(request.extensions());
    let caller = identity::authenticate(&core.store, &bearer, &shown, Micros::now()).await?;
    let caller = caller.ok_or_else(|| Problem::unauthenticated(NO_CALLER))?;
    let plane = InProcess { api: server.api.clone(), core: Arc::clone(core), bearer, shown };
    let served = server.http.serve(caller.token.id.as_str(), plane, request).await;
    let refused = |refusal: Refusal| Problem::unavailable(refusal.message).hint(refusal.hint.unwrap_or_default());
    Ok(served.map_err(refused)?.map(Body::new))
}

/// A page of another site, or of whoever makes its name mean this machine, does not call.
fn require_no_other_site(headers: &HeaderMap, core: &Core) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if core.own_url().is_some_and(|own| own.as_bytes() == origin.as_bytes()) {
        return Ok(());
    }
    Err(Problem::forbidden("this call comes from a page of another site")
        .hint("programs send no `Origin`; a page's is allowed where it is `http.public_url`"))
}

/// The REST API, as whoever has this token and has shown this certificate.
struct InProcess {
    api: Router,
    core: Arc<Core>,
    bearer: SecretString,
    shown: Shown,
}

impl InProcess {
    async fn call(&self, method: Method, path: &str, body: Body) -> Result<Value, Refusal> {
        let mut token = HeaderValue::from_str(&format!("Bearer {}", self.bearer.expose_secret()))
            .map_err(|error| Refusal::internal(&error))?;
        token.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}/{path}"))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .extension(ConnectInfo(self.shown.clone()))
            .body(body)
            .map_err(|error| Refusal::internal(&error))?;
        let response = self.api.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body = body.map_err(|error| Refusal::internal(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| Refusal::internal(&error));
        }
        let body: ErrorBody = serde_json::from_slice(&body).map_err(|error| Refusal::internal(&error))?;
        Err(body.error.into())
    }
}

impl Plane for InProcess {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.call(Method::GET, &format!("{path}?{query}"), Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        self.call(Method::POST, path, Body::from(body.to_string())).await
    }

    fn root_certificate(&self, _: &Credential) -> Result<Option<PathBuf>, Refusal> {
        Ok(self.core.config.clients.root_certificate.clone())
    }
}
