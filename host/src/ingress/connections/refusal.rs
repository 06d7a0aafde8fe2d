//! What a client is answered at a limit, in the form of the protocol that it speaks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;

use super::exchange::Exchange;
use super::outgoing::Outgoing;
use crate::ingress::answer::{self, REQUEST_ID};
use crate::ingress::grpc;
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;

/// A limit of what clients hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Every connection that serves more than health is taken.
    Connections,
    /// Too many requests of this address are not over.
    Requests,
    /// Too many bytes of answers are not taken.
    Unsent,
}

impl Limit {
    /// The name in `arcana_limit_rejections_total`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests_per_address",
            Self::Unsent => "unsent",
        }
    }

    fn problem(self) -> Problem {
        let (kind, message) = match self {
            Self::Connections => (Kind::Unavailable, "too many connections; only health is served on this one"),
            Self::Requests => (Kind::TooManyRequests, "too many requests of this address are being answered"),
            Self::Unsent => (Kind::Unavailable, "too many bytes of answers are waiting to be taken"),
        };
        let mut problem = Problem::new(kind, message);
        problem.retry_after_ms = Some(1_000);
        problem
    }
}

/// Whether a path is one of those that probes ask for, over REST or gRPC.
pub(super) fn is_health(path: &str) -> bool {
    let rest = ["/health", "/health/live", "/health/ready", "/health/startup"];
    let services = ["/grpc.health.v1.Health/", "/arcana.health.v1.HealthService/"];
    rest.contains(&path) || services.iter().any(|service| path.starts_with(service))
}

/// The answer to a request that was not served.
pub(super) fn early<B>(head: &HeaderMap, limit: Limit, exchange: Arc<Exchange>) -> Response<Outgoing<B>> {
    refused(head, limit, &answer::request_id(head), exchange)
}

/// The answer in the place of one with this head, which does not fit.
pub(super) fn late<B>(head: &HeaderMap, exchange: Arc<Exchange>) -> Response<Outgoing<B>> {
    let id = head.get(&REQUEST_ID).and_then(|id| RequestId::from_client(id.as_bytes()));
    refused(head, Limit::Unsent, &id.unwrap_or_else(RequestId::random), exchange)
}

/// `headers` are those of the request or of an answer: the content type tells the protocol.
fn refused<B>(headers: &HeaderMap, limit: Limit, id: &RequestId, exchange: Arc<Exchange>) -> Response<Outgoing<B>> {
    exchange.connection.traffic.metrics.limit_rejected(limit.name());
    let web = grpc::is_grpc_web(headers);
    let (parts, body) = match web || grpc::is_grpc(headers) {
        true => {
            // A status without a message is all in the head, for gRPC-Web too.
            let (mut parts, _) = grpc::refusal(&limit.problem(), id).into_parts();
            if let Some(kind) = headers.get(CONTENT_TYPE).filter(|_| web) {
                parts.headers.insert(CONTENT_TYPE, kind.clone());
            }
            (parts, Bytes::new())
        }
        false => {
            let (parts, body) = answer::problem(&limit.problem(), id).into_parts();
            // It is all there.
            let body = body.collect().now_or_never().and_then(Result::ok);
            (parts, body.map(|body| body.to_bytes()).unwrap_or_default())
        }
    };
    let mut response = Response::from_parts(parts, Outgoing::whole(body, exchange));
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response
}
