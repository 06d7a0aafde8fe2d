//! One request and its answer, until the client has taken the last byte of it.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::CONTENT_ENCODING;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use slab::Slab;
use tokio::task::AbortHandle;
use tower::Service;

use super::outgoing::Outgoing;
use super::refusal::{self, Limit};
use super::{Connection, Order};
use crate::ingress::layers::Peer;

/// Answers that are no larger are always sent, and are what a refusal takes too.
const NEGLIGIBLE: usize = 1 << 10;

/// The memory of an encoder that has not finished, by its name in `Content-Encoding`.
const ENCODERS: [(&[u8], usize); 2] = [(b"gzip", 256 << 10), (b"zstd", 3 << 20)];

/// In the extensions of a response: the bytes that its body holds in memory, where the body itself does not tell.
#[derive(Debug, Clone, Copy)]
pub(in crate::ingress) struct Weight(pub(in crate::ingress) usize);

/// The requests of an HTTP/2 connection that are not over.
#[derive(Default)]
pub(super) struct OpenStreams {
    pub(super) all: Slab<Weak<Exchange>>,
    /// The one whose task is about to be made: hyper asks the service and then the executor.
    opening: Option<Arc<Exchange>>,
}

/// A request that is not over.
pub(super) struct Exchange {
    pub(super) connection: Arc<Connection>,
    /// Its place among the streams of an HTTP/2 connection.
    key: Option<usize>,
    /// Bytes that were handed to the protocol and that the socket has not taken.
    pub(super) handed: AtomicUsize,
    /// When the client last took a part of it.
    pub(super) moved: AtomicU64,
    task: OnceLock<AbortHandle>,
    reset: AtomicBool,
}

/// The limit that turns a request away, if any.
fn limit(connection: &Connection, path: &str, of_address: u32) -> Option<Limit> {
    let limits = &connection.traffic.limits;
    if connection.only_health {
        connection.order(Order::Finish);
        if !refusal::is_health(path) {
            return Some(Limit::Connections);
        }
    }
    if of_address >= limits.max_requests_per_address {
        return Some(Limit::Requests);
    }
    let unsent = connection.unsent.load(Ordering::Relaxed);
    (unsent >= limits.max_unsent_per_connection.as_usize()).then_some(Limit::Unsent)
}

impl Exchange {
    /// Begins a request, also where a limit turns it away: that answer has to be taken too.
    fn begin(connection: &Arc<Connection>, request: &Request<Incoming>) -> (Arc<Self>, Option<Limit>) {
        connection.spoken.store(true, Ordering::Relaxed);
        connection.active.fetch_add(1, Ordering::Relaxed);
        let address = connection.address.as_ref();
        let of_address = address.map_or(0, |address| address.requests.fetch_add(1, Ordering::Relaxed));
        let limit = limit(connection, request.uri().path(), of_address);
        let exchange = |key| {
            Arc::new(Self {
                connection: connection.clone(),
                key,
                handed: AtomicUsize::new(0),
                moved: AtomicU64::new(0),
                task: OnceLock::new(),
                reset: AtomicBool::new(false),
            })
        };
        if request.version() != Version::HTTP_2 {
            return (exchange(None), limit);
        }
        connection.http2.store(true, Ordering::Relaxed);
        let mut streams = connection.streams.lock();
        let place = streams.all.vacant_entry();
        let exchange = exchange(Some(place.key()));
        place.insert(Arc::downgrade(&exchange));
        streams.opening = Some(exchange.clone());
        (exchange, limit)
    }

    /// Whether the connection is one of HTTP/2.
    pub(super) const fn is_stream(&self) -> bool {
        self.key.is_some()
    }

    /// Whether an answer of this size still fits.
    fn fits(&self, size: usize) -> bool {
        let (connection, traffic) = (&self.connection, &self.connection.traffic);
        let fits = |held: usize, limit: usize| held == 0 || held.saturating_add(size) <= limit;
        size <= NEGLIGIBLE
            || (fits(connection.unsent.load(Ordering::Relaxed), traffic.limits.max_unsent_per_connection.as_usize())
                && fits(traffic.unsent.load(Ordering::Relaxed), traffic.limits.max_unsent.as_usize()))
    }

    /// The response with the body that the client's connection takes, or the refusal where it does not fit.
    fn answer<B: Body<Data = Bytes>>(self: Arc<Self>, response: Response<B>) -> Response<Outgoing<B>> {
        let exact = || response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
        let size = response.extensions().get::<Weight>().map(|weight| weight.0).or_else(exact).unwrap_or(0);
        if !self.fits(size) {
            return refusal::late(response.headers(), self);
        }
        let encoder = response.headers().get(CONTENT_ENCODING).map_or(0, |name| {
            ENCODERS.iter().find(|(known, _)| *known == name.as_bytes()).map_or(0, |(_, memory)| *memory)
        });
        response.map(|body| Outgoing::new(body, size, encoder, self))
    }

    /// Resets the stream; whether that can help: it was not reset before, and hyper still has it.
    pub(super) fn reset(&self) -> bool {
        let Some(task) = self.task.get().filter(|task| !task.is_finished()) else { return false };
        let new = !self.reset.swap(true, Ordering::Relaxed);
        if new {
            task.abort();
        }
        new
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = &self.connection;
        if let Some(key) = self.key {
            drop(connection.streams.lock().all.try_remove(key));
        }
        if let Some(address) = &connection.address {
            address.requests.fetch_sub(1, Ordering::Relaxed);
        }
        if connection.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            connection.idle_since.store(connection.traffic.now(), Ordering::Relaxed);
        }
    }
}

/// Serves one request of a connection within its limits.
pub(in crate::ingress) fn answered<S, B>(
    connection: &Arc<Connection>,
    mut service: S,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Outgoing<B>>, Infallible>> + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let (exchange, limit) = Exchange::begin(connection, &request);
    if let Some(limit) = limit {
        return Either::Left(ready(Ok(refusal::early(request.headers(), limit, exchange))));
    }
    request.extensions_mut().insert(Peer(connection.peer));
    let answering = service.call(request);
    Either::Right(async move {
        let response = answering.await?;
        Ok(exchange.answer(response))
    })
}

/// Runs the streams of an HTTP/2 connection, so that each can be reset from outside: while a client's window is shut,
/// nothing polls its body.
#[derive(Clone)]
pub(in crate::ingress) struct Streams(pub(in crate::ingress) Arc<Connection>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let exchange = self.0.streams.lock().opening.take();
        let task = tokio::spawn(stream);
        if let Some(exchange) = exchange {
            // It is set once: an exchange has one task.
            let _ = exchange.task.set(task.abort_handle());
        }
    }
}
