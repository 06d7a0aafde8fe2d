//! The gRPC front end. [`Grpc::serve`] shows the whole way of a request: from the access rule on it is that of REST, only
//! the codec differs.

mod codec;
mod health;
mod patience;
mod reflection;
mod status;
mod streamed;
mod timeout;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tower::Service as _;

pub use tonic::body::Body;

use self::codec::Raw;
use self::health::StandardHealth;
use self::patience::Patience;
use self::reflection::Reflection;
use self::timeout::grpc_timeout;
use super::access::{Admitted, Gate, trace_context};
use super::admin::Admin;
use super::answer::{self, REQUEST_ID};
use super::connections::Weight;
use super::health::Health;
use super::layers::Peer;
use crate::capabilities::Call;
use crate::config::{self, Config};
use crate::contract::proto;
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;
use crate::runtime::catalog::LiveCatalog;
use crate::runtime::method::{Callee, Method};
use crate::telemetry::metrics::{GrpcMetrics, Metrics};

/// Smaller answers are sent as they are: compressing costs more than it saves.
const COMPRESS_FROM: usize = 1 << 10;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The gRPC front end.
pub struct Grpc {
    catalog: Arc<LiveCatalog>,
    gate: Arc<Gate>,
    metrics: Arc<Metrics>,
    admin: Arc<Admin>,
    settings: config::Grpc,
    access_log: bool,
    health: StandardHealth,
    reflection: Option<Reflection>,
    /// What is counted for the standard services and for what is no method.
    unrouted: GrpcMetrics,
}

impl Grpc {
    /// A front end over the catalog; `admin` serves the functions of the host with streams. Those of the standard services
    /// end when `stop` is cancelled.
    #[must_use]
    pub fn new(
        health: Arc<Health>,
        gate: Arc<Gate>,
        metrics: Arc<Metrics>,
        admin: Arc<Admin>,
        config: &Config,
        stop: CancellationToken,
    ) -> Self {
        let settings = config.server.grpc.clone();
        let reflection =
            Reflection::new(&settings, health.catalog.clone(), gate.clone(), health.development, stop.clone());
        Self {
            catalog: health.catalog.clone(),
            gate,
            unrouted: metrics.grpc("(host)", ""),
            metrics,
            admin,
            settings,
            access_log: config.observability.log.access,
            health: StandardHealth::new(health, stop),
            reflection,
        }
    }

    /// The metrics that requests are counted in.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether browsers are answered by gRPC-Web.
    #[must_use]
    pub const fn web(&self) -> bool {
        self.settings.web
    }

    /// Answers one request: request id → method → caller → role rule → address limit → message → decode → `self` rule →
    /// name limits → component → encode.
    pub async fn serve<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error> + Send,
    {
        let start = Instant::now();
        let peer = Peer::of(request.extensions());
        let request_id = answer::request_id(request.headers());
        let _in_flight = self.metrics.grpc_in_flight();
        let line = self.access_log.then(|| request.uri().path().to_owned());

        let catalog = self.catalog.load_full();
        let mut response = match (acceptable(&request), catalog.method(request.uri().path())) {
            (Err(response), _) => *response,
            (Ok(()), Some(method)) => {
                let response = match method.callee {
                    Callee::Streamed(function) => {
                        self.streamed(function, method, request, peer, (&request_id, start)).await
                    }
                    _ => self.call(method, request, peer, &request_id, start).await,
                };
                method.grpc.record(code(response.headers()), start.elapsed());
                response
            }
            (Ok(()), None) => {
                let response = self.standard(request, &request_id).await;
                self.unrouted.record(code(response.headers()), start.elapsed());
                response
            }
        };
        if let Some(path) = line {
            tracing::info!(target: "access", method = "gRPC", %path, status = code(response.headers()),
                micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX), %peer, request_id = %request_id, "request");
        }
        if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
            response.headers_mut().insert(REQUEST_ID.clone(), value);
        }
        response
    }

    async fn call<B>(
        &self,
        method: &Method,
        request: Request<B>,
        peer: IpAddr,
        request_id: &RequestId,
        start: Instant,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error> + Send,
    {
        let headers = request.headers();
        let admitted = match self.gate.enter(method, headers, peer) {
            Ok(admitted) => admitted,
            Err(problem) => return status::of_problem(&problem, request_id).into_http(),
        };
        let deadline = start + grpc_timeout(headers).unwrap_or(Call::LONGEST).min(Call::LONGEST);
        // The function's own time limit may be shorter.
        let (caller, trace) = (admitted.principal.clone(), trace_context(headers));
        let call = Call::of_client(caller, *request_id, deadline, admitted.client, trace);
        let until = deadline.min(start + self.settings.message_timeout.get());
        let request = request.map(|body| Patience::new(body, until));

        // The message is read before the closure runs: where it does not run, the status is that of the reading.
        let mut call = Some(call);
        let admitted = &admitted;
        let answered = tower::service_fn(|message: tonic::Request<Bytes>| {
            let call = call.take();
            async move {
                let call = call.ok_or_else(|| Status::internal("a unary method is called once"))?;
                match self.answer(method, admitted, &message.into_inner(), call).await {
                    Ok(message) => {
                        let size = message.len();
                        let mut response = tonic::Response::new(Bytes::from(message));
                        match size < COMPRESS_FROM {
                            true => response.disable_compression(),
                            false => drop(response.extensions_mut().insert(Weight(size))),
                        }
                        Ok(response)
                    }
                    Err(problem) => Err(status::of_problem(&problem, request_id)),
                }
            }
        });
        let response = self.protocol().unary(answered, request).await;
        match call {
            None => response,
            Some(_) => self.unread(response, request_id),
        }
    }

    /// Decodes, calls and encodes.
    async fn answer(
        &self,
        method: &Method,
        admitted: &Admitted,
        message: &[u8],
        call: Call,
    ) -> Result<Vec<u8>, Problem> {
        let request_id = call.request_id;
        let params = proto::decode(&method.plan, message)?;
        self.gate.pass(method, admitted, &params)?;
        if Instant::now() >= call.deadline {
            return Err(Problem::new(Kind::Timeout, "the call's time was over before it began"));
        }
        let value = method.call(params, call).await?;
        let mut out = Vec::with_capacity(256);
        match proto::answer(&method.plan, value.as_slice(), &mut out) {
            Ok(()) => Ok(out),
            Err(problem) => {
                if problem.kind == Kind::Internal {
                    tracing::error!(plugin = method.provider(), request_id = %request_id, message = %problem.message,
                        "the plugin reported an internal problem");
                }
                Err(problem)
            }
        }
    }

    /// tonic's part: framing, compression, limits, trailers.
    fn protocol(&self) -> tonic::server::Grpc<Raw> {
        let grpc = tonic::server::Grpc::new(Raw).max_decoding_message_size(self.settings.max_message.as_usize());
        if !self.settings.compression {
            return grpc;
        }
        grpc.accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
    }

    /// The answer where the request's message could not be read.
    fn unread(&self, response: Response<Body>, request_id: &RequestId) -> Response<Body> {
        match Status::from_header_map(response.headers()) {
            // An encoding that tonic does not know; it names those that it does in a header, which is kept.
            Some(read) if read.code() == Code::Unimplemented => response,
            Some(read) => self.misread(read, request_id).into_http(),
            None => response,
        }
    }

    /// What tonic says of a message that could not be read, in the words of this host.
    fn misread(&self, read: Status, request_id: &RequestId) -> Status {
        match read.code() {
            // tonic says OUT_OF_RANGE; the specification of gRPC has RESOURCE_EXHAUSTED for it.
            Code::OutOfRange | Code::ResourceExhausted => {
                self.metrics.limit_rejected("body");
                let message =
                    format!("the message is larger than {} (server.grpc.max_message)", self.settings.max_message);
                status::of_protocol(Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", message, request_id)
            }
            Code::DeadlineExceeded => {
                self.metrics.limit_rejected("body_time");
                status::of_protocol(Code::DeadlineExceeded, "TIMEOUT", read.message(), request_id)
            }
            code => status::of_protocol(code, "BAD_REQUEST", read.message(), request_id),
        }
    }

    /// The standard services, health and reflection, and what is none.
    async fn standard<B>(&self, request: Request<B>, request_id: &RequestId) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Error> + Send,
    {
        let path = request.uri().path();
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        if service == health::SERVICE {
            let Ok(response) = self.health.server().call(request).await;
            return response;
        }
        if let Some(reflection) = &self.reflection
            && reflection::SERVICES.contains(&service)
        {
            return reflection.serve(request, request_id).await;
        }
        let known = self.catalog.load().services().any(|known| *known.proto == *service);
        let message = match known {
            true => format!("{service} has no method {method}"),
            false => format!("there is no service {service}"),
        };
        status::of_protocol(Code::Unimplemented, "NOT_FOUND", message, request_id).into_http()
    }
}

/// The answer to a request that a limit of the connection turns away.
#[must_use]
pub fn refusal(problem: &Problem, request_id: &RequestId) -> Response<Body> {
    status::of_problem(problem, request_id).into_http()
}

/// Whether this is gRPC at all; what is not is told in HTTP's own terms.
fn acceptable<B>(request: &Request<B>) -> Result<(), Box<Response<Body>>> {
    let refuse = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Err(Box::new(response))
    };
    if !is_grpc(request.headers()) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    if request.method() != http::Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    if request.version() != Version::HTTP_2 && !is_web(request) {
        return refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    Ok(())
}

/// gRPC-Web was made into gRPC before it came here; it may come by HTTP/1.1.
fn is_web<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Web>().is_some()
}

/// Marks a request that came as gRPC-Web.
#[derive(Debug, Clone, Copy)]
pub struct Web;

/// Whether the content type is that of gRPC, with whatever message format.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';'))
}

/// Whether the content type is that of gRPC-Web.
#[must_use]
pub fn is_grpc_web(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc-web"))
}

/// The status of an answer as far as its head tells: that of an error, or OK.
fn code(headers: &HeaderMap) -> i32 {
    let status = headers.get("grpc-status").and_then(|value| value.to_str().ok());
    status.and_then(|code| code.parse().ok()).unwrap_or(0)
}
