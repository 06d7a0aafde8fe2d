//! What is counted for connections and for the bodies of answers that clients do not take.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why streams end before their time, as `arcana_streams_ended_total` names it.
const STREAMS: [&str; 3] = ["expired", "revoked", "stalled"];

/// Why connections are closed, as `arcana_connections_closed_total` names it.
const CONNECTIONS: [&str; 4] = ["crowded", "idle", "stalled", "unsent"];

/// The series of connections and of unsent answers.
pub struct ConnectionMetrics {
    /// Connections that are open.
    pub open: IntGauge,
    /// Bytes of answers that clients have not taken yet.
    pub unsent: IntGauge,
    streams_ended: IntCounterVec,
    closed: IntCounterVec,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let metrics = Self {
            open: gauge("arcana_connections", "Open connections.")?,
            unsent: gauge("arcana_unsent_bytes", "Bytes of answers that clients have not taken yet.")?,
            streams_ended: counter(
                "arcana_streams_ended_total",
                "Answers that ended early because the caller's token expired or was revoked, or the client took nothing.",
            )?,
            closed: counter(
                "arcana_connections_closed_total",
                "Connections that the host closed because they were idle, or so while places were needed (crowded), took nothing, or held too many unsent bytes.",
            )?,
        };
        // There from the first request on: an alert on a series that is not there yet never fires.
        for reason in STREAMS {
            metrics.stream_ended(reason);
        }
        for reason in CONNECTIONS {
            metrics.connection_closed(reason);
        }
        Ok(metrics)
    }

    /// The count of streams that ended for one of `STREAMS`.
    pub fn stream_ended(&self, reason: &'static str) -> IntCounter {
        self.streams_ended.with_label_values(&[reason])
    }

    /// The count of connections that were closed for one of `CONNECTIONS`.
    pub fn connection_closed(&self, reason: &'static str) -> IntCounter {
        self.closed.with_label_values(&[reason])
    }
}
