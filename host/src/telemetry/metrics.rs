//! Metrics in the form of Prometheus. The help text of each is the comment above its field.
//!
//! What requests and calls need is looked up once, when a route or a plugin is made ([`RouteMetrics`], [`CallMetrics`]),
//! so that counting is a few atomic additions.

use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

mod calls;
mod connections;
mod requests;
mod sqlite;
mod stores;
mod watched;

use calls::OUTCOMES;
pub use calls::{CallMetrics, CallRecord};
pub use connections::ConnectionMetrics;
pub use requests::{GrpcMetrics, InFlight, RouteMetrics};
pub use sqlite::SqliteMetrics;
pub use stores::StoreUsage;
pub use watched::Watched;

use super::process;
use super::pulled::{Pulled, float, whole};

/// A quarter of a millisecond to ten seconds.
const REQUEST_SECONDS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Ten microseconds to five seconds.
const CALL_SECONDS: &[f64] =
    &[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The `route` of requests that no plugin answers: the host's own routes, and what is no route.
const UNROUTED: &str = "(host)";

/// The limits that turn something away, as `arcana_limit_rejections_total` names them.
const LIMITS: [&str; 25] = [
    "rate",
    "body",
    "answer",
    "body_time",
    "header",
    "connections",
    "connections_per_address",
    "requests_per_address",
    "unsent",
    "queue",
    "concurrency",
    "instances",
    "memory",
    "total_memory",
    "rows",
    "result_bytes",
    "sql_nesting",
    "sql_common_tables",
    "sql_sources",
    "sql_references",
    "sql_trigger_chain",
    "upload",
    "uploads",
    "followers",
    "followers_per_account",
];

/// Makes a struct of families, each registered with its comment as the help text.
macro_rules! families {
    ($(
        #[doc = $help:literal]
        $field:ident: $kind:ident = $name:literal [$($label:literal),*] $(in $buckets:ident)?;
    )*) => {
        struct Families { $(#[doc = $help] $field: $kind,)* }

        impl Families {
            fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                Ok(Self { $($field: {
                    let help = $help.trim();
                    let family = families!(@new $kind, $name, help, [$($label),*] $(, $buckets)?)?;
                    registry.register(Box::new(family.clone()))?;
                    family
                },)* })
            }
        }
    };
    (@new HistogramVec, $name:literal, $help:ident, $labels:expr, $buckets:ident) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &$labels)
    };
    (@new IntGauge, $name:literal, $help:ident, $labels:expr) => { IntGauge::new($name, $help) };
    (@new $kind:ident, $name:literal, $help:ident, $labels:expr) => { $kind::new(Opts::new($name, $help), &$labels) };
}

families! {
    /// HTTP requests that were answered, by the route's template.
    http_requests: IntCounterVec = "arcana_http_requests_total" ["method", "route", "status"];
    /// Time from the head of an HTTP request to the head of its answer.
    http_duration: HistogramVec = "arcana_http_request_duration_seconds" ["method", "route"] in REQUEST_SECONDS;
    /// HTTP requests that are being answered.
    http_in_flight: IntGauge = "arcana_http_requests_in_flight" [];
    /// gRPC requests that were answered, by the status that the answer ends with.
    grpc_requests: IntCounterVec = "arcana_grpc_requests_total" ["service", "method", "code"];
    /// Time from the head of a gRPC request to the whole answer of a unary method, to the first of a streaming one.
    grpc_duration: HistogramVec = "arcana_grpc_request_duration_seconds" ["service", "method"] in REQUEST_SECONDS;
    /// gRPC requests that are being answered.
    grpc_in_flight: IntGauge = "arcana_grpc_requests_in_flight" [];
    /// Requests, calls, queries and uploads that a limit turned away.
    limit_rejections: IntCounterVec = "arcana_limit_rejections_total" ["limit"];
    /// Calls into plugins by how they ended; an error that the function itself answered is ok.
    plugin_calls: IntCounterVec = "arcana_plugin_calls_total" ["plugin", "function", "outcome"];
    /// Time of calls into plugins, the wait for a turn included.
    plugin_duration: HistogramVec = "arcana_plugin_call_duration_seconds" ["plugin", "function"] in CALL_SECONDS;
    /// Calls that ended in a trap.
    plugin_traps: IntCounterVec = "arcana_plugin_traps_total" ["plugin"];
    /// Live instances.
    plugin_instances: IntGaugeVec = "arcana_plugin_instances" ["plugin"];
    /// Linear memory and tables of the live instances in bytes.
    plugin_memory: IntGaugeVec = "arcana_plugin_memory_bytes" ["plugin"];
    /// Time that calls waited for a turn; calls that did not have to are not counted.
    plugin_queue_wait: HistogramVec = "arcana_plugin_queue_wait_seconds" ["plugin"] in CALL_SECONDS;
    /// Log lines of plugins that were dropped because the call or the plugin had used up its limit.
    plugin_log_dropped: IntCounterVec = "arcana_plugin_log_lines_dropped_total" ["plugin"];
    /// Bytes that digests, MACs, comparisons and signatures have read for plugins, in calls with more than 64 KiB.
    plugin_large_input: IntCounterVec = "arcana_plugin_large_input_bytes_total" ["plugin"];
    /// Catalogs that were put in force because of a plugin: installed, rolled back, switched on or off.
    plugin_swaps: IntCounterVec = "arcana_plugin_swaps_total" ["plugin"];
    /// What was to be done with plugins, by what came of it: ok, or the code of the refusal.
    plugin_changes: IntCounterVec = "arcana_plugin_changes_total" ["action", "outcome"];
    /// Time of database statements.
    database_duration: HistogramVec = "arcana_database_statement_duration_seconds" ["store"] in CALL_SECONDS;
    /// Threads that run database statements, by what they do: running, idle, or stuck in a statement past its deadline.
    database_threads: IntGaugeVec = "arcana_database_threads" ["state"];
    /// Database jobs that wait for a thread.
    database_queued: IntGauge = "arcana_database_jobs_queued" [];
    /// Time that database jobs waited for a thread.
    database_wait: HistogramVec = "arcana_database_job_wait_seconds" [] in CALL_SECONDS;
    /// Database statements that went on past their deadline, each of which took a thread and a connection with it.
    database_overruns: IntCounterVec = "arcana_database_overruns_total" [];
    /// Times that a store was refused because of such statements.
    database_retired: IntCounterVec = "arcana_database_stores_retired_total" [];
}

/// Every metric of a host, in a registry of its own.
pub struct Metrics {
    registry: Registry,
    families: Families,
    unrouted: RouteMetrics,
    /// What is counted for connections.
    pub connections: ConnectionMetrics,
}

impl Metrics {
    /// Metrics that have counted nothing.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        process::register(&registry)?;
        let families = Families::register(&registry)?;
        let connections = ConnectionMetrics::register(&registry)?;
        let unrouted = families.route("", UNROUTED);
        // There from the first request on: an alert on a series that is not there yet never fires.
        unrouted.prepare(http::StatusCode::OK);
        for limit in LIMITS {
            families.limit_rejections.with_label_values(&[limit]);
        }
        Ok(Self { registry, families, unrouted, connections })
    }

    /// The text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Shows a value that another part keeps. `read` is called whenever the metrics are shown; it must not block.
    ///
    /// # Errors
    /// It is shown already.
    pub fn watch(
        &self,
        what: Watched,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        let (kind, name, help) = what.describe();
        let read = Box::new(move || Some(float(read())));
        self.registry.register(Box::new(Pulled::new(kind, name, help, what.label(), read)?))
    }

    /// Counts a request as being answered until the guard is dropped.
    #[must_use]
    pub fn http_in_flight(&self) -> InFlight<'_> {
        InFlight::new(&self.families.http_in_flight)
    }

    /// Counts a gRPC request as being answered until the guard is dropped.
    #[must_use]
    pub fn grpc_in_flight(&self) -> InFlight<'_> {
        InFlight::new(&self.families.grpc_in_flight)
    }

    /// What is counted for a gRPC method.
    #[must_use]
    pub fn grpc(&self, service: &str, method: &str) -> GrpcMetrics {
        GrpcMetrics::new(&self.families.grpc_requests, &self.families.grpc_duration, service, method)
    }

    /// What is counted for a route: its method and its template, never the raw path.
    #[must_use]
    pub fn route(&self, method: &str, template: &str) -> RouteMetrics {
        self.families.route(method, template)
    }

    /// Counts a request that no plugin's route answered.
    pub fn record_unrouted(&self, status: http::StatusCode, elapsed: Duration) {
        self.unrouted.record(status, elapsed);
    }

    /// Counts something that a limit turned away; `limit` is one of a few fixed names.
    pub fn limit_rejected(&self, limit: &'static str) {
        self.families.limit(limit).inc();
    }

    /// What is counted for a plugin.
    #[must_use]
    pub fn plugin(&self, id: &str) -> PluginMetrics {
        PluginMetrics {
            traps: self.families.plugin_traps.with_label_values(&[id]),
            queue_wait: self.families.plugin_queue_wait.with_label_values(&[id]),
            queue_full: self.families.limit("queue"),
            concurrency_full: self.families.limit("concurrency"),
            instances_full: self.families.limit("instances"),
            memory_full: self.families.limit("memory"),
            total_memory_full: self.families.limit("total_memory"),
        }
    }

    /// Calls of a plugin that have ended, over all its versions and functions.
    #[must_use]
    pub fn plugin_calls(&self, id: &str) -> u64 {
        let families = self.families.plugin_calls.collect();
        let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        let of_plugin = metrics
            .filter(|metric| metric.get_label().iter().any(|label| label.name() == "plugin" && label.value() == id));
        of_plugin.map(|metric| whole(metric.get_counter().get_value())).sum()
    }

    /// Another catalog is in force because of this plugin.
    pub fn plugin_swapped(&self, id: &str) {
        self.families.plugin_swaps.with_label_values(&[id]).inc();
    }

    /// Something was done with a plugin, or was refused. Codes are few and fixed.
    pub fn plugin_change(&self, action: &str, outcome: &str) {
        self.families.plugin_changes.with_label_values(&[action, outcome]).inc();
    }

    /// What is shown of a plugin's instances.
    #[must_use]
    pub fn plugin_pool(&self, id: &str) -> PoolMetrics {
        PoolMetrics {
            instances: self.families.plugin_instances.with_label_values(&[id]),
            memory: self.families.plugin_memory.with_label_values(&[id]),
        }
    }

    /// Log lines of a plugin that were dropped.
    #[must_use]
    pub fn plugin_log_lines_dropped(&self, id: &str) -> IntCounter {
        self.families.plugin_log_dropped.with_label_values(&[id])
    }

    /// Bytes of large inputs that the host worked on for a plugin.
    #[must_use]
    pub fn plugin_large_input_bytes(&self, id: &str) -> IntCounter {
        self.families.plugin_large_input.with_label_values(&[id])
    }

    /// What is counted for a function of a plugin.
    #[must_use]
    pub fn call(&self, plugin: &str, function: &str) -> CallMetrics {
        CallMetrics {
            outcomes: OUTCOMES.map(|name| self.families.plugin_calls.with_label_values(&[plugin, function, name])),
            duration: self.families.plugin_duration.with_label_values(&[plugin, function]),
        }
    }

    /// What is counted for a store.
    #[must_use]
    pub fn store(&self, store: &str) -> StoreMetrics {
        StoreMetrics {
            statements: self.families.database_duration.with_label_values(&[store]),
            rows_full: self.families.limit("rows"),
            result_full: self.families.limit("result_bytes"),
            refused: SQL_LIMITS.map(|(_, name)| self.families.limit(name)),
        }
    }
}

impl Families {
    fn limit(&self, limit: &'static str) -> IntCounter {
        self.limit_rejections.with_label_values(&[limit])
    }

    fn route(&self, method: &str, template: &str) -> RouteMetrics {
        RouteMetrics::new(&self.http_requests, &self.http_duration, method, template)
    }
}

/// What is counted for a plugin beside its calls.
#[derive(Clone)]
pub struct PluginMetrics {
    /// Calls that ended in a trap.
    pub traps: IntCounter,
    /// The wait for a turn, in seconds.
    pub queue_wait: Histogram,
    /// Calls that were turned away because the queue was full.
    pub queue_full: IntCounter,
    /// Calls that were turned away because their turn did not come in time.
    pub concurrency_full: IntCounter,
    /// Calls that were turned away because every instance of the host was at work.
    pub instances_full: IntCounter,
    /// Calls that ended because they were refused memory of their own.
    pub memory_full: IntCounter,
    /// Calls that were turned away or ended because the memory of all instances was used up.
    pub total_memory_full: IntCounter,
}

/// What is shown of a plugin's instances.
#[derive(Clone)]
pub struct PoolMetrics {
    /// How many are alive.
    pub instances: IntGauge,
    /// Their linear memory and tables in bytes.
    pub memory: IntGauge,
}

/// What is counted for a store.
#[derive(Clone)]
pub struct StoreMetrics {
    /// The time of statements, in seconds.
    pub statements: Histogram,
    /// Queries with more rows than are allowed.
    pub rows_full: IntCounter,
    /// Queries with more bytes than are allowed.
    pub result_full: IntCounter,
    refused: [IntCounter; SQL_LIMITS.len()],
}

/// The limits of `database.sqlite.limits` that statements meet, and what they are called among all limits.
const SQL_LIMITS: [(&str, &str); 5] = [
    ("nesting", "sql_nesting"),
    ("common_tables", "sql_common_tables"),
    ("sources", "sql_sources"),
    ("references", "sql_references"),
    ("trigger_chain", "sql_trigger_chain"),
];

impl StoreMetrics {
    /// Counts a statement that exceeds one of `database.sqlite.limits`.
    pub fn refused(&self, limit: &str) {
        if let Some(place) = SQL_LIMITS.iter().position(|(setting, _)| *setting == limit) {
            self.refused[place].inc();
        }
    }
}

/// A share of a gauge, taken out of it when dropped.
pub struct Gauged {
    gauge: IntGauge,
    share: i64,
}

impl Gauged {
    /// Adds a share.
    #[must_use]
    pub fn new(gauge: &IntGauge, share: i64) -> Self {
        gauge.add(share);
        Self { gauge: gauge.clone(), share }
    }

    /// The share.
    #[must_use]
    pub const fn get(&self) -> i64 {
        self.share
    }

    /// Changes the share.
    pub fn set(&mut self, share: i64) {
        self.gauge.add(share.saturating_sub(self.share));
        self.share = share;
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.gauge.sub(self.share);
    }
}

#[cfg(test)]
mod tests;
