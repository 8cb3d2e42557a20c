//! SCIM 2.0: what a directory calls. It is not below the REST API's prefix and not in its document: its forms are RFC 7643's.

use super::extract::{bearer, chain};
use crate::{
    Core, identity,
    identity::Actor,
    scim::{
        Document, Found, PATH, Page, Refused, discovery,
        filter::Filter,
        groups,
        schema::{GROUP, Kind, USER},
        users::{self, Change},
    },
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, HOST, LOCATION, WWW_AUTHENTICATE},
        request::Parts,
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_types::time::Micros;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{convert::Infallible, sync::Arc};

/// The largest body that is read: a group with ten thousand members fits.
const MAX_BODY_BYTES: usize = 1 << 20;

const CONTENT: HeaderValue = HeaderValue::from_static("application/scim+json");

pub(super) fn routes() -> Router<Arc<Core>> {
    let routes = Router::new()
        .route("/ServiceProviderConfig", get(config))
        .route("/ResourceTypes", get(resource_types))
        .route("/ResourceTypes/{id}", get(resource_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(schema))
        .route("/Users", get(list_users).post(create_user))
        .route("/Users/{id}", get(user).put(replace_user).patch(patch_user).delete(delete_user))
        .route("/Groups", get(list_groups).post(create_group))
        .route("/Groups/{id}", get(group).put(replace_group).patch(patch_group).delete(delete_group))
        .route("/.search", post(not_implemented))
        .route("/Bulk", post(not_implemented))
        .route("/Me", get(not_implemented))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    Router::new().nest(PATH, routes)
}

/// What a call answers that did not do what was asked.
pub(super) struct Failure(Refused);

impl<E: Into<Refused>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, kind, detail) = match self.0 {
            Refused::Told { status, kind, detail } => (status, kind, detail),
            Refused::Fault(cause) => {
                tracing::error!(error = chain(cause.as_ref()), "a call of a directory failed");
                (500, None, "the control plane failed; its log says why".to_owned())
            }
        };
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string(), "detail": detail,
        });
        if let (Some(kind), Some(fields)) = (kind, body.as_object_mut()) {
            fields.insert("scimType".to_owned(), json!(kind));
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, CONTENT)], body.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// What a call answers: a resource, or a list of them.
struct Answer(StatusCode, Value);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self(status, body) = self;
        let location = body.pointer("/meta/location").and_then(Value::as_str).map(HeaderValue::from_str);
        let mut response = (status, [(CONTENT_TYPE, CONTENT)], body.to_string()).into_response();
        if let (StatusCode::CREATED, Some(Ok(location))) = (status, location) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

type Answered = Result<Answer, Failure>;

/// Whoever comes with a token that is good for this.
struct Directory {
    actor: Actor,
    /// What addresses of resources begin with.
    base: String,
}

impl FromRequestParts<Arc<Core>> for Directory {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, Failure> {
        let unknown = || Refused::Told {
            status: 401,
            kind: None,
            detail: "this needs a token for SCIM: `postern tokens create --for agent:NAME --may scim`".to_owned(),
        };
        let bearer = bearer(&parts.headers).ok_or_else(unknown)?;
        let actor = identity::directory_client(&core.store, &bearer, Micros::now()).await?.ok_or_else(unknown)?;
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(axum::http::uri::Authority::as_str)).unwrap_or_default();
        let scheme = if core.config.http.tls.is_some() { "https" } else { "http" };
        let base = match &core.config.http.public_url {
            Some(url) => format!("{}{PATH}", url.trim_end_matches('/')),
            None => format!("{scheme}://{host}{PATH}"),
        };
        Ok(Self { actor, base })
    }
}

/// A JSON body of whatever type it says that it is: directories differ.
struct Body(Value);

impl FromRequest<Arc<Core>> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, core: &Arc<Core>) -> Result<Self, Failure> {
        let too_large = |_| Refused::Told {
            status: 413,
            kind: None,
            detail: "the body is larger than 1 MiB, or was cut off".to_owned(),
        };
        let bytes = Bytes::from_request(request, core).await.map_err(too_large)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| Refused::syntax(error.to_string()))?;
        Ok(Self(value))
    }
}

/// What is asked for by the query.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

impl FromRequestParts<Arc<Core>> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Core>) -> Result<Self, Failure> {
        match Query::<Self>::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(asked),
            Err(rejection) => Err(Refused::value(chain(&rejection)).into()),
        }
    }
}

impl Asked {
    fn filter(&self, kind: &Kind) -> Result<Filter, Refused> {
        self.filter.as_deref().map_or_else(|| Ok(Filter::default()), |text| Filter::new(kind, text))
    }

    fn page(&self) -> Page {
        Page::new(self.start_index, self.count)
    }

    /// The attributes that are asked for; what tells which resource it is always.
    fn part_of(&self, kind: &Kind, mut document: Document) -> Document {
        let named = |list: &Option<String>, attribute: &str| {
            let names = list.as_deref().map(|list| list.split(',').map(str::trim));
            names.map(|mut names| {
                names.any(|name| {
                    let name = kind.local(name).unwrap_or_default();
                    let whole = name.split('.').next().unwrap_or_default();
                    whole.eq_ignore_ascii_case(attribute)
                })
            })
        };
        document.retain(|name, _| {
            matches!(name.as_str(), "schemas" | "id")
                || (named(&self.attributes, name) != Some(false)
                    && named(&self.excluded_attributes, name) != Some(true))
        });
        document
    }

    fn one(&self, kind: &Kind, document: Document) -> Answer {
        Answer(StatusCode::OK, Value::Object(self.part_of(kind, document)))
    }

    fn list(&self, kind: &Kind, found: Found) -> Answer {
        let resources = found.resources.into_iter().map(|one| Value::Object(self.part_of(kind, one)));
        listed(found.total, self.page().start, resources.collect())
    }
}

fn listed(total: usize, start: usize, resources: Vec<Value>) -> Answer {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total, "startIndex": start, "itemsPerPage": resources.len(), "Resources": resources,
    });
    Answer(StatusCode::OK, body)
}

async fn config(directory: Directory) -> Answer {
    Answer(StatusCode::OK, discovery::config(&directory.base))
}

async fn resource_types(directory: Directory) -> Answer {
    let all = discovery::resource_types(&directory.base);
    listed(all.len(), 1, all)
}

async fn resource_type(directory: Directory, Path(id): Path<String>) -> Answered {
    let one = discovery::one_of(discovery::resource_types(&directory.base), "resource type", &id)?;
    Ok(Answer(StatusCode::OK, one))
}

async fn schemas(directory: Directory) -> Answer {
    let all = discovery::schemas(&directory.base);
    listed(all.len(), 1, all)
}

async fn schema(directory: Directory, Path(id): Path<String>) -> Answered {
    Ok(Answer(StatusCode::OK, discovery::one_of(discovery::schemas(&directory.base), "schema", &id)?))
}

async fn list_users(State(core): State<Arc<Core>>, directory: Directory, asked: Asked) -> Answered {
    let filter = asked.filter(&USER)?;
    let found = users::list(&core.store, &directory.actor, &filter, asked.page(), &directory.base).await?;
    Ok(asked.list(&USER, found))
}

async fn create_user(State(core): State<Arc<Core>>, directory: Directory, Body(body): Body) -> Answered {
    let made = users::create(&core.store, &directory.actor, body, &directory.base, Micros::now()).await?;
    Ok(Answer(StatusCode::CREATED, Value::Object(made)))
}

async fn user(State(core): State<Arc<Core>>, directory: Directory, Path(id): Path<String>, asked: Asked) -> Answered {
    Ok(asked.one(&USER, users::get(&core.store, &directory.actor, &id, &directory.base).await?))
}

async fn replace_user(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
    asked: Asked,
    Body(body): Body,
) -> Answered {
    change_user(&core, &directory, &id, &asked, Change::Replace(body)).await
}

async fn patch_user(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
    asked: Asked,
    Body(body): Body,
) -> Answered {
    change_user(&core, &directory, &id, &asked, Change::Patch(body)).await
}

async fn change_user(core: &Core, directory: &Directory, id: &str, asked: &Asked, change: Change) -> Answered {
    let Directory { actor, base } = directory;
    let (document, effects) = users::change(&core.store, actor, id, change, base, Micros::now()).await?;
    core.perform(effects);
    Ok(asked.one(&USER, document))
}

async fn delete_user(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    core.perform(users::delete(&core.store, &directory.actor, &id, Micros::now()).await?);
    Ok(StatusCode::NO_CONTENT)
}

async fn list_groups(State(core): State<Arc<Core>>, directory: Directory, asked: Asked) -> Answered {
    let filter = asked.filter(&GROUP)?;
    let found = groups::list(&core.store, &directory.actor, &filter, asked.page(), &directory.base).await?;
    Ok(asked.list(&GROUP, found))
}

async fn create_group(State(core): State<Arc<Core>>, directory: Directory, Body(body): Body) -> Answered {
    let made = groups::create(&core.store, &directory.actor, body, &directory.base, Micros::now()).await?;
    Ok(Answer(StatusCode::CREATED, Value::Object(made)))
}

async fn group(State(core): State<Arc<Core>>, directory: Directory, Path(id): Path<String>, asked: Asked) -> Answered {
    Ok(asked.one(&GROUP, groups::get(&core.store, &directory.actor, &id, &directory.base).await?))
}

async fn replace_group(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
    asked: Asked,
    Body(body): Body,
) -> Answered {
    change_group(&core, &directory, &id, &asked, Change::Replace(body)).await
}

async fn patch_group(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
    asked: Asked,
    Body(body): Body,
) -> Answered {
    change_group(&core, &directory, &id, &asked, Change::Patch(body)).await
}

async fn change_group(core: &Core, directory: &Directory, id: &str, asked: &Asked, change: Change) -> Answered {
    let Directory { actor, base } = directory;
    let document = groups::change(&core.store, actor, id, change, base, Micros::now()).await?;
    Ok(asked.one(&GROUP, document))
}

async fn delete_group(
    State(core): State<Arc<Core>>,
    directory: Directory,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    groups::delete(&core.store, &directory.actor, &id, Micros::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn not_implemented(_: Directory) -> Failure {
    let detail = "this part of SCIM is not here; /ServiceProviderConfig says what is".to_owned();
    Failure(Refused::Told { status: 501, kind: None, detail })
}

async fn unknown(_: Directory) -> Result<Infallible, Failure> {
    Err(Failure(Refused::Told { status: 404, kind: None, detail: "there is no such address".to_owned() }))
}
