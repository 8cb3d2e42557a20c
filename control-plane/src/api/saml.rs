//! SAML 2.0: what an identity provider has browsers post, and what its administrator is given.

use super::{
    people::{Refused, failed, see_other},
    web::Cookie,
};
use crate::{
    Core,
    identity::people::{SignInFailed, saml::Form as Answer},
};
use axum::{
    Form, Router,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use postern_types::time::Micros;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::sync::Arc;

/// The longest form that is read: an answer with thousands of groups fits.
const MAX_BODY_BYTES: usize = 512 << 10;

pub(super) fn routes() -> Router<Arc<Core>> {
    Router::new()
        .route("/saml/{provider}/metadata", get(metadata))
        .route("/saml/{provider}/acs", post(answer).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .route("/saml/{provider}/finish", get(finish))
}

async fn metadata(State(core): State<Arc<Core>>, Path(provider): Path<String>) -> Result<Response, Refused> {
    let text = core.people.metadata(&core, &provider, Micros::now()).await?;
    Ok(([(header::CONTENT_TYPE, "application/samlmetadata+xml")], text).into_response())
}

async fn answer(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    form: Result<Form<Answer>, FormRejection>,
) -> Result<Response, Response> {
    // What is there twice is nobody's.
    let form = form.ok().map(|Form(form)| form);
    let code = core.people.answered(&core, &provider, form, Micros::now()).await;
    let code = code.map_err(|error| Refused(error).into_response())?;
    see_other(&format!("/saml/{provider}/finish?code={}", code.expose_secret()), []).map_err(failed)
}

#[derive(Deserialize)]
struct Finish {
    code: SecretString,
}

async fn finish(
    State(core): State<Arc<Core>>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    query: Result<Query<Finish>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(Finish { code }) = query.map_err(|_| Refused(SignInFailed::State).into_response())?;
    let browser = Cookie::Login.read(&headers, &core.config);
    let done = core.people.finish(&core, &provider, &code, browser.as_ref(), Micros::now()).await;
    let (begun, page) = done.map_err(|error| Refused(error).into_response())?;
    let session = Cookie::Session.set(&core.config, &begun.cookie).map_err(failed)?;
    let over = Cookie::Login.clear(&core.config).map_err(failed)?;
    see_other(&page, [session, over]).map_err(failed)
}
