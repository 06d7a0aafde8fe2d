//! Looks at all that clients hold, a few times a second: ends what is idle, resets what is not taken, and closes the
//! connections that hold most where all together hold too much.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Connection, Order, Traffic, millis};

/// The shortest and the longest time between two looks, in milliseconds.
const LOOKS: (u64, u64) = (25, 250);

/// How long after a GOAWAY a client may go on without a request, in milliseconds.
const GRACE: u64 = 5_000;

/// One in so many idle connections is closed at once where places are needed.
const SHARE: usize = 16;

/// A connection that took something, or had a request, so lately is not closed for the others' sake, in milliseconds.
const LATELY: u64 = 1_000;

impl Traffic {
    /// Looks until it is aborted.
    pub async fn watch(self: Arc<Self>) {
        let stall = millis(self.limits.stall_timeout.get());
        let mut every = tokio::time::interval(Duration::from_millis((stall / 4).clamp(LOOKS.0, LOOKS.1)));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            self.now.store(millis(self.start.elapsed()).max(1), Ordering::Relaxed);
            self.look();
        }
    }

    fn look(&self) {
        let now = self.now();
        let all: Vec<Arc<Connection>> = self.open.lock().iter().map(|(_, connection)| connection.clone()).collect();
        for connection in &all {
            connection.look(now);
        }
        let held = self.unsent.load(Ordering::Relaxed);
        self.metrics.connections.unsent.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.make_room(all, now, held);
    }

    /// Every place of the listener at this port is taken: the connections make room that have been without a request for the
    /// longest time. At most once between two looks.
    pub(in crate::ingress) fn make_places(&self, port: u16) {
        let now = self.now();
        if self.made_places.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let all: Vec<Arc<Connection>> = self.open.lock().iter().map(|(_, connection)| connection.clone()).collect();
        let mut idle: Vec<(u64, Arc<Connection>)> = all
            .into_iter()
            .filter(|connection| connection.port == port && connection.active.load(Ordering::Relaxed) == 0)
            .filter(|connection| connection.spoken.load(Ordering::Relaxed))
            .map(|connection| (connection.idle_since.load(Ordering::Relaxed), connection))
            .filter(|(since, _)| now.saturating_sub(*since) >= LATELY)
            .collect();
        idle.sort_by_key(|(since, _)| *since);
        let count = idle.len().div_ceil(SHARE);
        for (_, connection) in idle.into_iter().take(count) {
            connection.close("crowded");
        }
    }

    /// Past three quarters of the limit the connections make room that hold most and take nothing.
    fn make_room(&self, all: Vec<Arc<Connection>>, now: u64, mut held: usize) {
        let enough = self.limits.max_unsent.as_usize() / 4 * 3;
        if held <= enough {
            return;
        }
        let mut stuck: Vec<(usize, Arc<Connection>)> = all
            .into_iter()
            .filter(|connection| now.saturating_sub(connection.moved.load(Ordering::Relaxed)) >= LATELY)
            .map(|connection| (connection.unsent.load(Ordering::Relaxed), connection))
            .collect();
        stuck.sort_by_key(|(unsent, _)| Reverse(*unsent));
        for (unsent, connection) in stuck {
            if held <= enough || unsent == 0 {
                return;
            }
            connection.close("unsent");
            held = held.saturating_sub(unsent);
        }
    }
}

impl Connection {
    fn close(&self, reason: &'static str) {
        if self.order(Order::Close) {
            self.traffic.metrics.connections.connection_closed(reason).inc();
            tracing::debug!(peer = %self.peer, reason, "connection closed");
        }
    }

    fn look(&self, now: u64) {
        let over = |since: u64, limit: u64| now.saturating_sub(since) >= limit;
        let stall = millis(self.traffic.limits.stall_timeout.get());
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && over(blocked, stall) {
            return self.close("stalled");
        }
        if !self.spoken.load(Ordering::Relaxed) {
            // hyper's own timer starts when it knows the version: a client that says nothing would stay for ever.
            if over(self.opened, self.patience) {
                self.order(Order::Close);
            }
            return;
        }
        if !self.http2.load(Ordering::Relaxed) {
            return;
        }
        // Collected first: the last one to let go of an exchange takes the lock.
        let streams: Vec<_> = self.streams.lock().all.iter().filter_map(|(_, stream)| stream.upgrade()).collect();
        for stream in streams {
            let since = stream.moved.load(Ordering::Relaxed);
            if stream.handed.load(Ordering::Relaxed) == 0 || !over(since, stall) {
                continue;
            }
            if stream.reset() {
                self.traffic.metrics.connections.stream_ended("stalled").inc();
            } else if over(since, stall.saturating_mul(2)) {
                return self.close("stalled");
            } else {
                // Its task is over, and HTTP/2 keeps the rest: only the end of the connection frees it.
                self.order(Order::Finish);
            }
        }
        let idle = self.idle_since.load(Ordering::Relaxed);
        if self.active.load(Ordering::Relaxed) == 0 && over(idle, self.idle) {
            if self.order(Order::Finish) {
                self.traffic.metrics.connections.connection_closed("idle").inc();
            } else if over(idle, self.idle.saturating_add(GRACE)) {
                self.order(Order::Close);
            }
        }
    }
}
