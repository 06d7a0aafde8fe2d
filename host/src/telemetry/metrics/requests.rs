//! What is counted for requests, by route and by gRPC method.

use std::array;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

/// A request that is being answered.
pub struct InFlight<'m>(&'m IntGauge);

impl<'m> InFlight<'m> {
    pub(super) fn new(gauge: &'m IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The statuses that a route usually answers, each with a place for its counter.
const USUAL: [u16; 16] = [200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503, 504];

/// What is counted for a route.
pub struct RouteMetrics {
    requests: IntCounterVec,
    duration: Histogram,
    /// Made when a status is first answered, so that only those that happen are shown.
    by_status: [OnceLock<IntCounter>; USUAL.len()],
    method: String,
    template: String,
}

impl RouteMetrics {
    pub(super) fn new(requests: &IntCounterVec, duration: &HistogramVec, method: &str, template: &str) -> Self {
        Self {
            requests: requests.clone(),
            duration: duration.with_label_values(&[method, template]),
            by_status: array::from_fn(|_| OnceLock::new()),
            method: method.to_owned(),
            template: template.to_owned(),
        }
    }

    /// Counts an answer.
    pub fn record(&self, status: http::StatusCode, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        match USUAL.iter().position(|usual| *usual == status.as_u16()) {
            Some(at) => self.by_status[at].get_or_init(|| self.counter(status)).inc(),
            None => self.counter(status).inc(),
        }
    }

    pub(super) fn prepare(&self, status: http::StatusCode) {
        if let Some(at) = USUAL.iter().position(|usual| *usual == status.as_u16()) {
            self.by_status[at].get_or_init(|| self.counter(status));
        }
    }

    fn counter(&self, status: http::StatusCode) -> IntCounter {
        self.requests.with_label_values(&[self.method.as_str(), self.template.as_str(), status.as_str()])
    }
}

/// The names of the gRPC status codes by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What is counted for a gRPC method.
pub struct GrpcMetrics {
    requests: IntCounterVec,
    duration: Histogram,
    /// By number, made when a code is first answered.
    by_code: [OnceLock<IntCounter>; CODES.len()],
    service: String,
    method: String,
}

impl GrpcMetrics {
    pub(super) fn new(requests: &IntCounterVec, duration: &HistogramVec, service: &str, method: &str) -> Self {
        Self {
            requests: requests.clone(),
            duration: duration.with_label_values(&[service, method]),
            by_code: array::from_fn(|_| OnceLock::new()),
            service: service.to_owned(),
            method: method.to_owned(),
        }
    }

    /// Counts an answer; `code` is the number of the gRPC status.
    pub fn record(&self, code: i32, elapsed: Duration) {
        self.duration.observe(elapsed.as_secs_f64());
        let at = usize::try_from(code).unwrap_or(2).min(CODES.len() - 1);
        let (name, counter) = (CODES[at], &self.by_code[at]);
        counter
            .get_or_init(|| self.requests.with_label_values(&[self.service.as_str(), self.method.as_str(), name]))
            .inc();
    }
}
