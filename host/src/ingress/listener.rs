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
use crate::config::Rest;
use crate::telemetry::metrics::Metrics;

/// Binds, so that a taken port is known before anything else is done.
///
/// # Errors
/// When the address cannot be bound; says which.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {address}: {error} (server.rest.address and server.rest.port set it)")
    })
}

/// Serves until `stop`, then lets requests in flight finish within the drain time. `service` is cloned for each request.
pub async fn serve<S, B>(
    listener: TcpListener,
    settings: Rest,
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
        .header_read_timeout(settings.header_read_timeout.get())
        .max_buf_size(settings.max_header_bytes.as_usize().max(8 << 10))
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.max_header_bytes.as_u64()).unwrap_or(u32::MAX))
        .max_concurrent_streams(settings.max_streams_per_connection)
        .keep_alive_interval(settings.header_read_timeout.get())
        .keep_alive_timeout(settings.header_read_timeout.get());
    let places = Arc::new(Semaphore::new(usize::try_from(settings.max_connections).unwrap_or(Semaphore::MAX_PERMITS)));
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
        let (metrics, patience) = (metrics.clone(), settings.header_read_timeout.get());
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
    if tokio::time::timeout(settings.shutdown_deadline.get(), graceful.shutdown()).await.is_err() {
        tracing::warn!(deadline = %settings.shutdown_deadline, "requests were still in flight at the deadline; they are cut off");
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
