//! The listener: bound early, served late, drained with a deadline. Everything that a client could hold open is bounded.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::connections::{Connection, Open, Order, Place, Places, Streams, Traffic, Watched, answered};
use crate::config::{Clients, HumanDuration, Rest, Server};
use crate::telemetry::metrics::Metrics;

/// How much of an answer HTTP/2 takes ahead of the socket, for each stream.
const SEND_BUFFER: usize = 128 << 10;

/// How long a connection in a place for health has for its request.
const PROBE: Duration = Duration::from_secs(2);

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
    /// How long an HTTP/2 connection may be without a request.
    pub idle_timeout: Duration,
    /// The places that are kept for loopback, and as many for health.
    pub reserved_connections: u32,
    /// How long a shutdown waits for requests in flight.
    pub shutdown_deadline: HumanDuration,
}

impl Bounds {
    /// Those of `[server.rest]`.
    #[must_use]
    pub fn rest(rest: &Rest, clients: &Clients) -> Self {
        Self {
            max_header_bytes: rest.max_header_bytes.as_usize(),
            header_read_timeout: rest.header_read_timeout.get(),
            max_connections: rest.max_connections,
            max_streams: rest.max_streams_per_connection,
            keep_alive_interval: rest.header_read_timeout.get(),
            keep_alive_timeout: rest.header_read_timeout.get(),
            idle_timeout: rest.idle_timeout.get(),
            reserved_connections: clients.reserved_connections,
            shutdown_deadline: rest.shutdown_deadline,
        }
    }

    /// Those of `[server.grpc]`; what it does not say is as in `[server.rest]`.
    #[must_use]
    pub fn grpc(server: &Server) -> Self {
        let grpc = &server.grpc;
        Self {
            max_header_bytes: grpc.max_header_bytes.as_usize(),
            max_connections: grpc.max_connections,
            max_streams: grpc.max_streams_per_connection,
            keep_alive_interval: grpc.keep_alive_interval.get(),
            keep_alive_timeout: grpc.keep_alive_timeout.get(),
            idle_timeout: grpc.idle_timeout.get(),
            ..Self::rest(&server.rest, &server.clients)
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
    (bounds, traffic, metrics): (Bounds, Arc<Traffic>, Arc<Metrics>),
    service: S,
    stop: CancellationToken,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Places::new(bounds.max_connections, bounds.reserved_connections);
    let tasks = TaskTracker::new();
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: trying at once would only spin.
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = places.take(peer.ip()) else {
            metrics.limit_rejected("connections");
            traffic.make_places(port);
            continue;
        };
        if place.only_health {
            traffic.make_places(port);
        }
        let patience = if place.only_health { PROBE } else { bounds.header_read_timeout };
        let times = (patience.min(bounds.header_read_timeout), bounds.idle_timeout);
        let Ok(open) = Connection::open(&traffic, (peer, port), place.only_health, times) else { continue };
        let _ = stream.set_nodelay(true);
        let builder = builder(&bounds, Streams(open.connection.clone()));
        tasks.spawn(connection(stream, (open, place), builder, metrics.clone(), service.clone()));
    }
    drop(listener);
    // Both listeners stop at once.
    traffic.order(Order::Finish);
    tasks.close();
    if tokio::time::timeout(bounds.shutdown_deadline.get(), tasks.wait()).await.is_err() {
        tracing::warn!(deadline = %bounds.shutdown_deadline, "requests were still in flight at the deadline; they are cut off");
        traffic.order(Order::Close);
    }
}

fn builder(bounds: &Bounds, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
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
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(bounds.keep_alive_interval)
        .keep_alive_timeout(bounds.keep_alive_timeout);
    builder
}

/// Serves one connection until it ends by itself or is ordered to.
async fn connection<S, B>(
    stream: TcpStream,
    (open, _place): (Open, Place),
    builder: auto::Builder<Streams>,
    metrics: Arc<Metrics>,
    service: S,
) where
    S: Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let shared = &open.connection;
    let of_requests = shared.clone();
    let answer = service_fn(move |request| answered(&of_requests, service.clone(), request));
    let io = TokioIo::new(Watched::new(stream, shared.clone()));
    let mut serving = pin!(builder.serve_connection(io, answer));
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        match shared.ordered(cx) {
            Order::Close => return Poll::Ready(Ok(())),
            Order::Finish if !finishing => {
                finishing = true;
                serving.as_mut().graceful_shutdown();
            }
            Order::Serve | Order::Finish => {}
        }
        serving.as_mut().poll(cx)
    });
    // A client that breaks off is none of our faults and no line in the log.
    if let Err(error) = ended.await {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            metrics.limit_rejected("header");
        }
        tracing::trace!(peer = %shared.peer, %error, "connection ended");
    }
}
