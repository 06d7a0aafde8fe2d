//! What lies around the front ends for every request: which of them it goes to, cross-origin rules and compression, each
//! only where it is switched on.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::answer::Body;
use super::connections::{Traffic, Weight};
use super::grpc::{self, Grpc, is_grpc, is_grpc_web};
use super::listener::{self, Bounds};
use super::rest::Rest;
use crate::config::{Config, Cors};

/// Answers from this size on say how large they are before they are compressed.
const COUNTED: usize = 4 << 10;

type Answering<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

/// The REST front end as a service; the peer's address travels in the request's extensions.
#[derive(Clone)]
struct RestFront(Arc<Rest>);

impl Service<Request<Incoming>> for RestFront {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<Body>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering<Body> {
        let rest = self.0.clone();
        Box::pin(async move {
            let mut response = rest.serve(request).await;
            // Behind compression nobody can tell what the answer holds.
            if let Some(size) = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok())
                && size >= COUNTED
            {
                response.extensions_mut().insert(Weight(size));
            }
            Ok(response)
        })
    }
}

/// The gRPC front end as a service; gRPC-Web is translated before and after it.
#[derive(Clone)]
struct GrpcFront(Arc<Grpc>);

impl Service<Request<Incoming>> for GrpcFront {
    type Response = Response<grpc::Body>;
    type Error = Infallible;
    type Future = Answering<grpc::Body>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Answering<grpc::Body> {
        if self.0.web() && is_grpc_web(request.headers()) {
            request.extensions_mut().insert(grpc::Web);
            return Box::pin(GrpcWebLayer::new().layer(Translated(self.0.clone())).call(request));
        }
        let grpc = self.0.clone();
        Box::pin(async move { Ok(grpc.serve(request).await) })
    }
}

/// The front end behind the translation of gRPC-Web.
#[derive(Clone)]
struct Translated(Arc<Grpc>);

impl Service<Request<grpc::Body>> for Translated {
    type Response = Response<grpc::Body>;
    type Error = Infallible;
    type Future = Answering<grpc::Body>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<grpc::Body>) -> Answering<grpc::Body> {
        let grpc = self.0.clone();
        Box::pin(async move { Ok(grpc.serve(request).await) })
    }
}

/// Both on one port, told apart by the content type.
#[derive(Clone)]
struct Multiplexed<R, G> {
    rest: R,
    grpc: G,
}

impl<R, G, B, C> Service<Request<Incoming>> for Multiplexed<R, G>
where
    R: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    R::Future: Send + 'static,
    G: Service<Request<Incoming>, Response = Response<C>, Error = Infallible>,
    G::Future: Send + 'static,
{
    type Response = Response<Either<B, C>>;
    type Error = Infallible;
    type Future = Answering<Either<B, C>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if is_grpc(request.headers()) || is_grpc_web(request.headers()) {
            let answering = self.grpc.call(request);
            return Box::pin(async move { Ok(answering.await?.map(Either::Right)) });
        }
        let answering = self.rest.call(request);
        Box::pin(async move { Ok(answering.await?.map(Either::Left)) })
    }
}

/// Serves REST on this listener until `stop`, and gRPC beside it where there is a front end for it.
pub async fn serve_rest(
    listener: TcpListener,
    config: &Config,
    rest: Arc<Rest>,
    grpc: Option<Arc<Grpc>>,
    (traffic, stop): (Arc<Traffic>, CancellationToken),
) {
    let settings = &config.server.rest;
    let (bounds, metrics) = (Bounds::rest(settings, &config.server.clients), rest.metrics().clone());
    let limits = (bounds, traffic, metrics);
    let front = RestFront(rest);
    let compression = settings.compression.then(CompressionLayer::new);
    let web = grpc.as_ref().is_some_and(|grpc| grpc.web());
    // A type for each case instead of one boxed service: what is off costs nothing.
    match (cors(&settings.cors, web), compression, grpc.map(GrpcFront)) {
        (None, None, None) => listener::serve(listener, limits, front, stop).await,
        (None, Some(small), None) => listener::serve(listener, limits, small.layer(front), stop).await,
        (Some(cors), None, None) => listener::serve(listener, limits, cors.layer(front), stop).await,
        (Some(cors), Some(small), None) => {
            listener::serve(listener, limits, cors.layer(small.layer(front)), stop).await;
        }
        // gRPC compresses its messages itself.
        (None, None, Some(grpc)) => {
            listener::serve(listener, limits, Multiplexed { rest: front, grpc }, stop).await;
        }
        (None, Some(small), Some(grpc)) => {
            listener::serve(listener, limits, Multiplexed { rest: small.layer(front), grpc }, stop).await;
        }
        (Some(cors), None, Some(grpc)) => {
            let front = Multiplexed { rest: cors.layer(front), grpc: cors.layer(grpc) };
            listener::serve(listener, limits, front, stop).await;
        }
        (Some(cors), Some(small), Some(grpc)) => {
            let front = Multiplexed { rest: cors.layer(small.layer(front)), grpc: cors.layer(grpc) };
            listener::serve(listener, limits, front, stop).await;
        }
    }
}

/// Serves gRPC on a listener of its own until `stop`.
pub async fn serve_grpc(
    listener: TcpListener,
    config: &Config,
    grpc: Arc<Grpc>,
    (traffic, stop): (Arc<Traffic>, CancellationToken),
) {
    let bounds = Bounds::grpc(&config.server);
    let (metrics, web) = (grpc.metrics().clone(), grpc.web());
    let limits = (bounds, traffic, metrics);
    let front = GrpcFront(grpc);
    match cors(&config.server.rest.cors, web).filter(|_| web) {
        None => listener::serve(listener, limits, front, stop).await,
        Some(cors) => listener::serve(listener, limits, cors.layer(front), stop).await,
    }
}

/// Nothing where no origin is allowed; with `web` pages may send and read the headers of gRPC-Web too. The settings were checked, so that what is left out here was never there.
fn cors(settings: &Cors, web: bool) -> Option<CorsLayer> {
    if settings.origins.is_empty() {
        return None;
    }
    let any = settings.origins.iter().any(|origin| origin == "*");
    let origins = settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let origin = if any { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let methods: Vec<Method> = settings.methods.iter().filter_map(|method| method.parse().ok()).collect();
    let headers = settings.headers.iter().filter_map(|header| header.parse::<HeaderName>().ok());
    let names = |names: [&'static str; 3]| names.into_iter().filter(move |_| web).map(HeaderName::from_static);
    let headers: Vec<HeaderName> = headers.chain(names(WEB_REQUEST)).collect();
    let exposed = [super::answer::REQUEST_ID.clone(), http::header::RETRY_AFTER].into_iter();
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods(methods)
            .allow_headers(headers)
            .allow_credentials(settings.credentials)
            .max_age(settings.max_age.get())
            .expose_headers(exposed.chain(names(WEB_ANSWER)).collect::<Vec<_>>()),
    )
}

/// The headers that clients of gRPC-Web send.
const WEB_REQUEST: [&str; 3] = ["grpc-timeout", "x-grpc-web", "x-user-agent"];

/// The headers of an answer that clients of gRPC-Web read.
const WEB_ANSWER: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// The address of the other side of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// The address in the extensions of a request; the unspecified one where there is none.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
    }
}
