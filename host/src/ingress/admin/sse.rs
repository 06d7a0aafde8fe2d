//! Server-sent events (the HTML standard, section 9.2).

use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use http::header::{ACCEPT, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::ingress::answer::{self, Body};
use crate::problem::Problem;
use crate::request_id::RequestId;

/// Asks proxies that know it not to collect an answer before they pass it on.
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The response with these events. A comment keeps the connection alive while nothing happens.
pub(super) fn response<S>(events: S) -> Response<Body>
where
    S: Stream<Item = Result<Event, axum::Error>> + Send + 'static,
{
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response().map(Body::from);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    response
}

/// The event that ends a stream with an error: `refused` with the error body.
pub(super) fn refused(problem: &Problem, request_id: &RequestId) -> Event {
    Event::default().event("refused").data(answer::told(problem, problem.kind.status(), request_id))
}

/// Whether the client asks for events (RFC 9110, `Accept`).
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let refused = |parameter: &str| parameter.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case("text/event-stream")) && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_for_those_who_ask_for_them() {
        let wants = |values: &[&str]| wanted(&values.iter().map(|value| (ACCEPT, value.parse().unwrap())).collect());
        for yes in
            [&["text/event-stream"][..], &["application/json, Text/Event-Stream;q=0.5"], &["a/b", "text/event-stream"]]
        {
            assert!(wants(yes), "{yes:?}");
        }
        for no in [&[][..], &["*/*"], &["text/event-stream; q=0"], &["text/event-streams"], &["application/json"]] {
            assert!(!wants(no), "{no:?}");
        }
    }
}
