//! What clients hold of this host: connections, requests that are not answered or whose answer was not taken yet, and the
//! bytes of those answers. [`Traffic`] bounds all of it, for every listener together.
//!
//! Requests only touch atomics of their own connection and address, and a lock of their own HTTP/2 connection. Nothing has a
//! timer: one task looks at everything a few times a second ([`watch`]), resets streams and closes connections.

mod exchange;
mod io;
mod outgoing;
mod places;
mod refusal;
mod watch;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;

pub(super) use exchange::{Streams, Weight, answered};
pub(super) use io::Watched;
pub(super) use places::{Place, Places};

use self::exchange::OpenStreams;
use crate::config::{Clients, Config, Network};
use crate::telemetry::metrics::Metrics;

/// The limits of what clients hold, over all listeners.
pub struct Traffic {
    limits: Clients,
    trusted_proxies: Vec<Network>,
    metrics: Arc<Metrics>,
    start: Instant,
    /// Milliseconds since the start, as of the last look; never 0.
    now: AtomicU64,
    open: Mutex<Slab<Arc<Connection>>>,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
    /// Bytes of answers that are not taken, of all connections.
    unsent: AtomicUsize,
    /// When idle connections last made places for new ones.
    made_places: AtomicU64,
}

/// What one address holds: an IPv4 address, or an IPv6 network of 64 bits, which is what one client usually has.
struct Address {
    key: IpAddr,
    connections: AtomicU32,
    requests: AtomicU32,
}

/// What the task of a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(super) enum Order {
    /// To serve.
    Serve,
    /// To take no further requests, and to end when those in flight are answered.
    Finish,
    /// To close the connection now.
    Close,
}

/// A connection, as its task, its requests and the watch share it.
pub(super) struct Connection {
    traffic: Arc<Traffic>,
    /// The address of the other side.
    pub peer: SocketAddr,
    /// The port that it came to, which tells the listener.
    port: u16,
    /// Whether only health is served, because every other place was taken.
    pub only_health: bool,
    /// How long it may stay without a request from the beginning, in milliseconds.
    patience: u64,
    /// How long an HTTP/2 connection may be without a request later, in milliseconds.
    idle: u64,
    /// Of no address where those are not limited.
    address: Option<Arc<Address>>,
    opened: u64,
    spoken: AtomicBool,
    http2: AtomicBool,
    /// Requests that are not over: being answered, or with an answer that is not taken.
    active: AtomicU32,
    idle_since: AtomicU64,
    /// Bytes of answers that are not taken.
    unsent: AtomicUsize,
    /// When the client last took something, or had nothing to take.
    moved: AtomicU64,
    /// Since when the socket takes no more; 0 while it does.
    blocked: AtomicU64,
    streams: Mutex<OpenStreams>,
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Traffic {
    /// With the limits of these settings.
    #[must_use]
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        Self {
            limits: config.server.clients.clone(),
            trusted_proxies: config.server.rest.trusted_proxies.clone(),
            metrics,
            start: Instant::now(),
            now: AtomicU64::new(1),
            open: Mutex::default(),
            addresses: Mutex::default(),
            unsent: AtomicUsize::new(0),
            made_places: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A place among the connections of this address; none where it has too many. A trusted proxy stands for many clients.
    fn address(&self, peer: IpAddr) -> Result<Option<Arc<Address>>, TooMany> {
        if self.trusted_proxies.iter().any(|net| net.contains(peer)) {
            return Ok(None);
        }
        let key = client_key(peer);
        let mut addresses = self.addresses.lock();
        let new = || Arc::new(Address { key, connections: AtomicU32::new(0), requests: AtomicU32::new(0) });
        let address = addresses.entry(key).or_insert_with(new);
        if address.connections.load(Ordering::Relaxed) >= self.limits.max_connections_per_address {
            return Err(TooMany);
        }
        address.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Some(address.clone()))
    }

    /// Gives an order to every connection.
    pub(super) fn order(&self, order: Order) {
        let all: Vec<_> = self.open.lock().iter().map(|(_, connection)| connection.clone()).collect();
        for connection in all {
            connection.order(order);
        }
    }

    fn leave(&self, address: &Arc<Address>) {
        let mut addresses = self.addresses.lock();
        if address.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            addresses.remove(&address.key);
        }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct TooMany;

/// What counts as one client.
fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Connection {
    /// Registers a connection. It is counted until the guard is dropped.
    ///
    /// # Errors
    /// The address has too many connections.
    pub(super) fn open(
        traffic: &Arc<Traffic>,
        (peer, port): (SocketAddr, u16),
        only_health: bool,
        (patience, idle): (Duration, Duration),
    ) -> Result<Open, TooMany> {
        let address = traffic.address(peer.ip()).inspect_err(|_| {
            traffic.metrics.limit_rejected("connections_per_address");
        })?;
        let now = traffic.now();
        let connection = Arc::new(Self {
            traffic: traffic.clone(),
            peer,
            port,
            only_health,
            patience: millis(patience),
            idle: millis(idle),
            address,
            opened: now,
            spoken: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            active: AtomicU32::new(0),
            idle_since: AtomicU64::new(now),
            unsent: AtomicUsize::new(0),
            moved: AtomicU64::new(now),
            blocked: AtomicU64::new(0),
            streams: Mutex::default(),
            order: AtomicU8::new(Order::Serve as u8),
            waker: AtomicWaker::new(),
        });
        let key = traffic.open.lock().insert(connection.clone());
        traffic.metrics.connections.open.inc();
        Ok(Open { connection, key })
    }

    /// Gives an order to the task of the connection. A stronger one stays.
    pub(super) fn order(&self, order: Order) -> bool {
        let before = self.order.fetch_max(order as u8, Ordering::AcqRel);
        let new = before < order as u8;
        if new {
            self.waker.wake();
        }
        new
    }

    /// What the task is to do; it is woken when that changes.
    pub(super) fn ordered(&self, cx: &std::task::Context<'_>) -> Order {
        self.waker.register(cx.waker());
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Close,
        }
    }

    /// Counts bytes of answers that are not taken.
    fn hold(&self, bytes: usize) {
        if self.unsent.fetch_add(bytes, Ordering::Relaxed) == 0 {
            // From here on the client has something to take.
            self.moved.store(self.traffic.now(), Ordering::Relaxed);
        }
        self.traffic.unsent.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::Relaxed);
        self.traffic.unsent.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A connection that is open.
pub(super) struct Open {
    /// What its task and its requests share.
    pub connection: Arc<Connection>,
    key: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let traffic = &self.connection.traffic;
        drop(traffic.open.lock().try_remove(self.key));
        if let Some(address) = &self.connection.address {
            traffic.leave(address);
        }
        traffic.metrics.connections.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_ipv4_address_or_half_of_an_ipv6_address() {
        let key = |text: &str| client_key(text.parse().unwrap()).to_string();
        assert_eq!(key("203.0.113.9"), "203.0.113.9");
        assert_eq!(key("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(key("2001:db8:1:3::1"), key("2001:db8:1:2::1"));
    }
}
