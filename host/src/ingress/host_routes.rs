//! The host's own routes: health, metrics and the public keys of its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::principal::tokens::Tokens;
use crate::runtime::catalog::Catalog;
use crate::telemetry::metrics::Metrics;

/// How far the host is. Only ever moves on.
#[derive(Debug, Default)]
pub struct Phase(AtomicU8);

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

impl Phase {
    /// Plugins are loaded and requests are answered.
    pub fn serving(&self) {
        self.0.fetch_max(SERVING, Ordering::AcqRel);
    }

    /// No new work is wanted.
    pub fn draining(&self) {
        self.0.fetch_max(DRAINING, Ordering::AcqRel);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// What the routes read.
pub struct HostRoutes {
    /// How far the host is.
    pub phase: Arc<Phase>,
    /// The active plugins.
    pub catalog: Arc<ArcSwap<Catalog>>,
    /// Whose public keys are shown.
    pub tokens: Arc<Tokens>,
    /// What `/metrics` shows, where it is switched on.
    pub metrics: Option<Arc<Metrics>>,
    /// How many plugins were refused at the start.
    pub failed: usize,
    /// Whether the host runs in development mode, which everybody should see.
    pub development: bool,
}

type Shared = State<Arc<HostRoutes>>;

/// The routes as a router.
pub fn router(routes: HostRoutes) -> Router {
    let mut router = Router::new();
    if routes.metrics.is_some() {
        router = router.route("/metrics", get(metrics));
    }
    router
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(startup))
        .route("/.well-known/jwks.json", get(jwks))
        .with_state(Arc::new(routes))
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// 200 while the host serves, with what a person wants to see at a glance.
async fn health(State(routes): Shared) -> Response {
    let (status, word) = match routes.phase.get() {
        STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        SERVING => (StatusCode::OK, "ok"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let mode = if routes.development { "development" } else { "production" };
    let plugins = routes.catalog.load().plugins().len();
    let (version, failed) = (env!("CARGO_PKG_VERSION"), routes.failed);
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
    phase_is(routes.phase.get() == SERVING)
}

/// 200 once the start is done, for good.
async fn startup(State(routes): Shared) -> Response {
    phase_is(routes.phase.get() >= SERVING)
}

fn phase_is(yes: bool) -> Response {
    match yes {
        true => json(StatusCode::OK, r#"{"status":"ok"}"#.into()),
        false => json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unavailable"}"#.into()),
    }
}

/// The Prometheus text format, version 0.0.4.
async fn metrics(State(routes): Shared) -> Response {
    let text = routes.metrics.as_ref().map(|metrics| metrics.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// The public keys (RFC 7517) that verify this host's tokens; an empty set where tokens are signed with a shared secret.
async fn jwks(State(routes): Shared) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, routes.tokens.jwks().to_owned()).into_response()
}
