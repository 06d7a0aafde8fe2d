//! The REST front end. [`Rest::serve`] shows the whole way of a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::access::{Gate, trace_context};
use super::admin::Admin;
use super::answer::{self, Body, Failure, HttpError, REQUEST_ID};
use super::layers::Peer;
use crate::capabilities::Call;
use crate::config::{self, Config};
use crate::contract::json;
use crate::problem::Kind;
use crate::request_id::RequestId;
use crate::runtime::catalog::{LiveCatalog, Route};
use crate::runtime::method::Callee;
use crate::telemetry::metrics::Metrics;

/// The REST front end.
pub struct Rest {
    catalog: Arc<LiveCatalog>,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    host_routes: axum::Router,
    settings: config::Rest,
    access_log: bool,
}

impl Rest {
    /// A front end over the catalog; `admin` serves the functions of the host with streams, `host_routes` are the host's own
    /// beside the catalog, which no plugin can take.
    #[must_use]
    pub fn new(
        catalog: Arc<LiveCatalog>,
        gate: Arc<Gate>,
        metrics: Arc<Metrics>,
        admin: Arc<Admin>,
        host_routes: axum::Router,
        config: &Config,
    ) -> Self {
        Self {
            catalog,
            gate,
            metrics,
            admin,
            host_routes,
            settings: config.server.rest.clone(),
            access_log: config.observability.log.access,
        }
    }

    /// The metrics that requests are counted in.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Answers one request: request id → route → caller → role rule → address limit → body → decode → `self` rule →
    /// name limits → component → encode.
    pub async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        let peer = Peer::of(&parts.extensions);
        let request_id = answer::request_id(&parts.headers);
        let _in_flight = self.metrics.http_in_flight();
        // The query is left out: it may hold what a log should not.
        let line = self.access_log.then(|| (parts.method.clone(), parts.uri.path().to_owned()));

        let catalog = self.catalog.load_full();
        let mut response = match catalog.at(parts.uri.path()) {
            Some(found) => match found.value.find(&parts.method) {
                Some(route) => {
                    let params = found.params.iter();
                    let outcome = self.call(route, params, peer, &parts, body, request_id).await;
                    let response = outcome.unwrap_or_else(|failure| failure.response(&request_id));
                    route.metrics.record(response.status(), start.elapsed());
                    response
                }
                None if parts.method == Method::OPTIONS => {
                    let mut response = answer::success(StatusCode::NO_CONTENT, None);
                    response.headers_mut().insert(http::header::ALLOW, found.value.allow.clone());
                    response
                }
                None => {
                    let response = HttpError::MethodNotAllowed.response(&request_id, Some(&found.value.allow));
                    self.metrics.record_unrouted(response.status(), start.elapsed());
                    response
                }
            },
            None => self.host_route(Request::from_parts(parts, body), &request_id, start).await,
        };
        if let Some((method, path)) = line {
            tracing::info!(target: "access", %method, path, status = response.status().as_u16(),
                micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX), %peer, request_id = %request_id, "request");
        }
        if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
            response.headers_mut().insert(REQUEST_ID.clone(), value);
        }
        response
    }

    async fn call<'p>(
        &self,
        route: &Route,
        path: impl Iterator<Item = (&'p str, &'p str)>,
        peer: IpAddr,
        parts: &Parts,
        body: Incoming,
        request_id: RequestId,
    ) -> Result<Response<Body>, Failure> {
        let method = &route.method;
        let admitted = self.gate.enter(method, &parts.headers, peer)?;
        if let Callee::Streamed(function) = method.callee {
            let right = self.gate.right(admitted.principal.clone());
            return self.admin.rest((function, route), path, parts, body, (admitted, right, &request_id)).await;
        }
        let body = self.read_body(&parts.headers, body).await?;
        let params = route.binding.decode(path, parts.uri.query(), &body)?;
        self.gate.pass(method, &admitted, &params)?;

        // The function's own time limit sets the real deadline.
        let deadline = Instant::now() + Call::LONGEST;
        let trace = trace_context(&parts.headers);
        let call = Call::of_client(admitted.principal, request_id, deadline, admitted.client, trace);
        let value = method.call(params, call).await?;
        let mut body = Vec::with_capacity(256);
        match json::answer(&method.plan, value.as_slice(), &mut body) {
            Ok(true) => Ok(answer::success(route.status, Some(body))),
            Ok(false) => Ok(answer::success(route.status, None)),
            Err(problem) => {
                if problem.kind == Kind::Internal {
                    tracing::error!(plugin = method.provider(), request_id = %request_id, message = %problem.message,
                        "the plugin reported an internal problem");
                }
                Err(problem.into())
            }
        }
    }

    async fn read_body(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Failure> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let limit = self.settings.max_body.as_u64();
        let too_large = || {
            self.metrics.limit_rejected("body");
            Failure::Http(HttpError::TooLarge(limit))
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|n| n.parse().ok());
        if length.is_some_and(|length: u64| length > limit) {
            return Err(too_large());
        }
        if headers.get(CONTENT_TYPE).is_some_and(|value| !is_json(value)) {
            return Err(Failure::Http(HttpError::UnsupportedMediaType));
        }
        let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
        match tokio::time::timeout(self.settings.body_timeout.get(), limited.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Failure::Http(HttpError::BrokenBody)),
            Err(_) => {
                self.metrics.limit_rejected("body_time");
                Err(Failure::Http(HttpError::RequestTimeout))
            }
        }
    }

    async fn host_route(&self, mut request: Request<Incoming>, id: &RequestId, start: Instant) -> Response<Body> {
        request.extensions_mut().insert(*id);
        // axum's router answers an unknown path with an empty 404; ours is the same error body as everywhere.
        let response = match self.host_routes.clone().oneshot(request).await {
            Ok(response) if let Some(error) = response.extensions().get::<HttpError>().copied() => {
                error.response(id, None)
            }
            Ok(response) if response.status() == StatusCode::NOT_FOUND => HttpError::UnknownRoute.response(id, None),
            Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                HttpError::MethodNotAllowed.response(id, response.headers().get(http::header::ALLOW))
            }
            Ok(response) => response.map(Body::from),
            Err(never) => match never {},
        };
        self.metrics.record_unrouted(response.status(), start.elapsed());
        response
    }
}

/// The id of a request on its way through the host's own routes.
pub(super) fn id_of<B>(request: &Request<B>) -> RequestId {
    request.extensions().get().copied().unwrap_or_else(|| answer::request_id(request.headers()))
}

/// `application/json` or a type that is built on it (RFC 6839).
fn is_json(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.rsplit_once('+').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_its_essence() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(is_json(&HeaderValue::from_static(yes)), "{yes}");
        }
        for no in ["text/plain", "application/x-www-form-urlencoded", "json"] {
            assert!(!is_json(&HeaderValue::from_static(no)), "{no}");
        }
    }
}
