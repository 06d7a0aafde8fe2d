//! What is counted for calls into plugins, by function.

use std::time::Instant;

use prometheus::{Histogram, IntCounter};

/// How calls end, in the order of `CallMetrics::outcomes`.
pub(super) const OUTCOMES: [&str; 6] = ["ok", "trap", "timeout", "overloaded", "host-error", "cancelled"];
const OK: usize = 0;
const TRAP: usize = 1;
const TIMEOUT: usize = 2;
const OVERLOADED: usize = 3;
const HOST_ERROR: usize = 4;
const CANCELLED: usize = 5;

/// What is counted for a function of a plugin.
#[derive(Clone)]
pub struct CallMetrics {
    pub(super) outcomes: [IntCounter; OUTCOMES.len()],
    pub(super) duration: Histogram,
}

impl CallMetrics {
    /// Begins a call. It is counted when the record is dropped, as cancelled where nobody said how it ended.
    #[must_use]
    pub fn start(&self) -> CallRecord<'_> {
        CallRecord { metrics: self, start: Instant::now(), outcome: CANCELLED }
    }
}

/// A call under way.
pub struct CallRecord<'m> {
    metrics: &'m CallMetrics,
    start: Instant,
    outcome: usize,
}

impl CallRecord<'_> {
    /// The function answered.
    pub fn ok(&mut self) {
        self.outcome = OK;
    }

    /// The guest trapped.
    pub fn trap(&mut self) {
        self.outcome = TRAP;
    }

    /// Its time was up.
    pub fn timeout(&mut self) {
        self.outcome = TIMEOUT;
    }

    /// A limit turned it away.
    pub fn overloaded(&mut self) {
        self.outcome = OVERLOADED;
    }

    /// The host failed.
    pub fn host_error(&mut self) {
        self.outcome = HOST_ERROR;
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        self.metrics.duration.observe(self.start.elapsed().as_secs_f64());
        self.metrics.outcomes[self.outcome].inc();
    }
}
