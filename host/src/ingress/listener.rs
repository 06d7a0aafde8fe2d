//! The listener: bound early, served late, drained with a deadline. Everything that a client could hold open is bounded.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::layers::Peer;
use crate::config::{Grpc, HumanDuration, Rest};
use crate::telemetry::metrics::Metrics;

/// What a listener holds its clients to.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The longest head of a request, in bytes.
    pub max_header_bytes: usize,
    /// The longest a client may take to send a head, idling before it included; HTTP/1.1 only.
    pub header_read_timeout: Duration,
    /// The most connections at once.
    pub max_connections: u32,
    /// The most requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// How often a silent HTTP/2 connection is asked whether it is still there.
    pub keep_alive_interval: Duration,
    /// How long its answer may take.
    pub keep_alive_timeout: Duration,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_deadline: HumanDuration,
}

impl Bounds {
    /// Those of `[server.rest]`.
    #[must_use]
    pub fn rest(rest: &Rest) -> Self {
        Self {
            max_header_bytes: rest.max_header_bytes.as_usize(),
            header_read_timeout: rest.header_read_timeout.get(),
            max_connections: rest.max_connections,
            max_streams: rest.max_streams_per_connection,
            keep_alive_interval: rest.header_read_timeout.get(),
            keep_alive_timeout: rest.header_read_timeout.get(),
            shutdown_deadline: rest.shutdown_deadline,
        }
    }

    /// Those of `[server.grpc]`; what it does not say is as in `[server.rest]`.
    #[must_use]
    pub fn grpc(grpc: &Grpc, rest: &Rest) -> Self {
        Self {
            max_header_bytes: grpc.max_header_bytes.as_usize(),
            max_connections: grpc.max_connections,
            max_streams: grpc.max_streams_per_connection,
            keep_alive_interval: grpc.keep_alive_interval.get(),
            keep_alive_timeout: grpc.keep_alive_timeout.get(),
            ..Self::rest(rest)
        }
    }
}

/// Binds, so that a taken port is known before anything else is done. `section` is that of the settings.
///
/// # Errors
/// When the address cannot be bound; says which, and which settings say so.
pub async fn bind(address: SocketAddr, section: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {address}: {error} ({section}.address and {section}.port set it)")
    })
}

/// Serves until `stop`, then lets requests in flight finish within the drain time. `service` is cloned for each request.
pub async fn serve<S, B>(
    listener: TcpListener,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    service: S,
    stop: CancellationToken,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_read_timeout)
        .max_buf_size(bounds.max_header_bytes.max(8 << 10))
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(bounds.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(bounds.max_streams)
        .keep_alive_interval(bounds.keep_alive_interval)
        .keep_alive_timeout(bounds.keep_alive_timeout);
    let places = Arc::new(Semaphore::new(usize::try_from(bounds.max_connections).unwrap_or(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places, &metrics) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let service = service.clone();
        let spoken = Arc::new(AtomicBool::new(false));
        let heard = spoken.clone();
        let answer = service_fn(move |mut request: http::Request<Incoming>| {
            heard.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(Peer(peer));
            service.clone().call(request)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
        let connection = graceful.watch(connection);
        let (metrics, patience) = (metrics.clone(), bounds.header_read_timeout);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // hyper's own timer starts when it knows the version: somebody who says nothing would stay for ever.
            let ended = match tokio::time::timeout(patience, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) if spoken.load(Ordering::Relaxed) => connection.await,
                Err(_) => Ok(()),
            };
            // A client that breaks off is none of our faults and no line in the log.
            if let Err(error) = ended {
                if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
                    metrics.limit_rejected("header");
                }
                tracing::trace!(%peer, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.shutdown_deadline.get(), graceful.shutdown()).await.is_err() {
        tracing::warn!(deadline = %bounds.shutdown_deadline, "requests were still in flight at the deadline; they are cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Option<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = match places.clone().try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            metrics.limit_rejected("connections");
            places.clone().acquire_owned().await.ok()?
        }
    };
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            // Out of file descriptors, most likely: trying at once would only spin.
            tracing::warn!(%error, "cannot accept connections");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
