//! What lies around the front end for every request: cross-origin rules and compression, each only where it is switched on.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::answer::Body;
use super::listener;
use super::rest::Rest;
use crate::config::{self, Cors};

/// The front end as a service; the peer's address travels in the request's extensions.
#[derive(Clone)]
struct FrontEnd(Arc<Rest>);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for FrontEnd {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let rest = self.0.clone();
        Box::pin(async move { Ok(rest.serve(request).await) })
    }
}

/// Serves the front end on this listener until `stop`.
pub async fn serve(listener: TcpListener, settings: config::Rest, rest: Arc<Rest>, stop: CancellationToken) {
    let metrics = rest.metrics().clone();
    let front = FrontEnd(rest);
    // Four types instead of one boxed service: what is off costs nothing.
    match (cors(&settings.cors), settings.compression) {
        (None, false) => listener::serve(listener, settings, metrics, front, stop).await,
        (Some(cors), false) => listener::serve(listener, settings, metrics, cors.layer(front), stop).await,
        (None, true) => listener::serve(listener, settings, metrics, compression().layer(front), stop).await,
        (Some(cors), true) => {
            listener::serve(listener, settings, metrics, cors.layer(compression().layer(front)), stop).await;
        }
    }
}

fn compression() -> CompressionLayer {
    CompressionLayer::new()
}

/// Nothing where no origin is allowed. The settings were checked, so that what is left out here was never there.
fn cors(settings: &Cors) -> Option<CorsLayer> {
    if settings.origins.is_empty() {
        return None;
    }
    let any = settings.origins.iter().any(|origin| origin == "*");
    let origins = settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let origin = if any { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let methods: Vec<Method> = settings.methods.iter().filter_map(|method| method.parse().ok()).collect();
    let headers: Vec<HeaderName> = settings.headers.iter().filter_map(|header| header.parse().ok()).collect();
    Some(
        CorsLayer::new()
            .allow_origin(origin)
            .allow_methods(methods)
            .allow_headers(headers)
            .allow_credentials(settings.credentials)
            .max_age(settings.max_age.get())
            .expose_headers([super::answer::REQUEST_ID.clone(), http::header::RETRY_AFTER]),
    )
}

/// The address of the other side of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);
