//! The host's own routes: health, metrics, the public keys of its tokens, and the documentation.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::access::Gate;
use super::docs::{self, Docs};
use super::health::{Health, Phase};
use super::layers::Peer;
use super::{answer, rest};
use crate::config::Allowed;
use crate::principal::tokens::Tokens;
use crate::telemetry::rendered::Rendered;

/// What the routes read.
pub struct HostRoutes {
    /// How the host is.
    pub health: Arc<Health>,
    /// Whose public keys are shown.
    pub tokens: Arc<Tokens>,
    /// Judges who may read what is not for everybody.
    pub gate: Arc<Gate>,
    /// What `/metrics` shows, and to whom; none where it is switched off.
    pub metrics: Option<(Rendered, Allowed)>,
    /// The documentation, and for whom it is; none where it is switched off.
    pub docs: Option<(Docs, Allowed)>,
}

type Shared = State<Arc<HostRoutes>>;

/// The routes as a router.
pub fn router(mut routes: HostRoutes) -> Router {
    let mut router = Router::new();
    if let Some((rendered, allowed)) = routes.metrics.take() {
        let metrics = Router::new().route("/metrics", get(metrics)).with_state(Arc::new(rendered));
        router = router.merge(guarded(metrics, &routes.gate, allowed));
    }
    if let Some((docs, allowed)) = routes.docs.take() {
        router = router.merge(guarded(docs::router(docs), &routes.gate, allowed));
    }
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(startup))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(Arc::new(routes))
        .merge(router)
}

/// The routes, for those whom the settings allow.
fn guarded(router: Router, gate: &Arc<Gate>, allowed: Allowed) -> Router {
    let guard = Arc::new((gate.clone(), allowed));
    router.route_layer(from_fn_with_state(guard, admit))
}

async fn admit(State(guard): State<Arc<(Arc<Gate>, Allowed)>>, request: Request, next: Next) -> Response {
    let (gate, allowed) = &*guard;
    let peer = Peer::of(request.extensions());
    match gate.may_read(allowed, request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(problem) => answer::problem(&problem, &rest::id_of(&request)).map(Body::new),
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// 200 while the host serves, with what a person wants to see at a glance.
async fn health(State(routes): Shared) -> Response {
    let (health, phase) = (&routes.health, routes.health.phase());
    let status = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mode = if health.development { "development" } else { "production" };
    let plugins = health.catalog.load().plugins().len();
    let (word, version, failed) = (phase.name(), env!("CARGO_PKG_VERSION"), health.failed());
    let body =
        format!(r#"{{"status":"{word}","mode":"{mode}","version":"{version}","plugins":{plugins},"failed":{failed}}}"#);
    json(status, body)
}

/// 200 as long as the process answers at all.
async fn live() -> Response {
    json(StatusCode::OK, r#"{"status":"ok"}"#.into())
}

/// 200 while new requests are wanted.
async fn ready(State(routes): Shared) -> Response {
    phase_is(routes.health.phase() == Phase::Serving)
}

/// 200 once the start is done, for good.
async fn startup(State(routes): Shared) -> Response {
    phase_is(routes.health.phase() >= Phase::Serving)
}

fn phase_is(yes: bool) -> Response {
    match yes {
        true => json(StatusCode::OK, r#"{"status":"ok"}"#.into()),
        false => json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable"}"#.into()),
    }
}

/// The Prometheus text format, version 0.0.4.
async fn metrics(State(rendered): State<Arc<Rendered>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], rendered.text()).into_response()
}

/// The public keys (RFC 7517) that verify this host's tokens; an empty set where tokens are signed with a shared secret.
async fn jwks(State(routes): Shared) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, routes.tokens.jwks().to_owned()).into_response()
}
