//! Metrics of the threads of SQLite.

use prometheus::{Histogram, IntCounter, IntGauge};

use super::Metrics;

impl Metrics {
    /// The metrics of the threads of SQLite.
    #[must_use]
    pub fn sqlite(&self) -> SqliteMetrics {
        let threads = |state| self.families.database_threads.with_label_values(&[state]);
        let none: [&str; 0] = [];
        SqliteMetrics {
            running: threads("running"),
            idle: threads("idle"),
            stuck: threads("stuck"),
            queued: self.families.database_queued.clone(),
            wait: self.families.database_wait.with_label_values(&none),
            overruns: self.families.database_overruns.with_label_values(&none),
            retired: self.families.database_retired.with_label_values(&none),
        }
    }
}

/// The metrics of the threads of SQLite.
#[derive(Clone)]
pub struct SqliteMetrics {
    /// Threads at work, without stuck ones.
    pub running: IntGauge,
    /// Threads that wait for work.
    pub idle: IntGauge,
    /// Threads in a statement that ignores its deadline.
    pub stuck: IntGauge,
    /// Jobs that wait for a thread.
    pub queued: IntGauge,
    /// How long they waited, in seconds.
    pub wait: Histogram,
    /// Statements that went on past their deadline.
    pub overruns: IntCounter,
    /// Times that a store was refused because of such statements.
    pub retired: IntCounter,
}
