//! The one place that turns an outcome into a response.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{Either, Full};
use jiff::Timestamp;
use serde::Serialize;

use super::admin;
use crate::plugins::refusal::Refusal;
use crate::problem::{FieldError, Kind, Problem};
use crate::request_id::RequestId;

/// The body of every answer: in one piece from a plugin or an error, or what the host's own routes stream.
pub struct Body(Either<Full<Bytes>, AxumBody>);

impl Default for Body {
    fn default() -> Self {
        Self(Either::Left(Full::default()))
    }
}

impl From<AxumBody> for Body {
    fn from(body: AxumBody) -> Self {
        Self(Either::Right(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The header with the id of the request.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id that the client gave its request, or a new one.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> RequestId {
    headers
        .get(&REQUEST_ID)
        .and_then(|value| RequestId::from_client(value.as_bytes()))
        .unwrap_or_else(RequestId::random)
}

/// The error body, the same everywhere.
#[derive(Serialize)]
struct ErrorBody<'a> {
    /// Only where no response has it: in an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    code: &'a str,
    message: &'a str,
    details: Vec<Detail<'a>>,
    request_id: &'a str,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct Detail<'a> {
    field: &'a str,
    message: &'a str,
    code: &'a str,
}

/// A success: the encoded value, or nothing.
#[must_use]
pub fn success(status: StatusCode, json: Option<Vec<u8>>) -> Response<Body> {
    // These two never have a body (RFC 9110).
    let json = json.filter(|_| !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT));
    let has_body = json.is_some();
    let mut response = Response::new(Body(Either::Left(match json {
        Some(json) => Full::new(Bytes::from(json)),
        None => Full::default(),
    })));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // Answers depend on the caller and may hold tokens.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What HTTP has a status for and the table of problem kinds has not.
#[derive(Debug, Clone, Copy)]
pub enum HttpError {
    /// No such route.
    UnknownRoute,
    /// No plugin has the name that was asked for.
    UnknownPlugin,
    /// The route has other methods.
    MethodNotAllowed,
    /// The body is larger than the limit, in bytes.
    TooLarge(u64),
    /// The body is none of JSON.
    UnsupportedMediaType,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The client broke off, or its body is not HTTP.
    BrokenBody,
}

impl HttpError {
    fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Self::UnknownRoute => (StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such route".into()),
            Self::UnknownPlugin => (
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "there is no active plugin of this name; it is written `namespace/name`".into(),
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "this route has other methods; see the Allow header".into(),
            ),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "PAYLOAD_TOO_LARGE",
                format!("the body is larger than {limit} bytes (server.rest.max_body)"),
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "the body must be application/json".into(),
            ),
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", "the body did not arrive in time".into())
            }
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "BAD_REQUEST", "the body could not be read".into()),
        }
    }

    /// The response; `allow` is the list of methods for a 405.
    #[must_use]
    pub fn response(self, request_id: &RequestId, allow: Option<&HeaderValue>) -> Response<Body> {
        let (status, code, message) = self.parts();
        let mut response = success(status, Some(error_body(None, code, &message, Vec::new(), request_id)));
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        response
    }
}

/// Why a request has no answer.
pub enum Failure {
    /// In the words of every protocol.
    Problem(Problem),
    /// In those of HTTP.
    Http(HttpError),
    /// A change of plugins that was refused, with its own status.
    Refused(Refusal),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// The response.
    #[must_use]
    pub fn response(self, request_id: &RequestId) -> Response<Body> {
        match self {
            Self::Problem(problem) => self::problem(&problem, request_id),
            Self::Http(error) => error.response(request_id, None),
            Self::Refused(refusal) => {
                let status = StatusCode::from_u16(refusal.status);
                let mut response = self::problem(&admin::problem(refusal, request_id), request_id);
                // Finer than the kind of a problem is, such as 413.
                *response.status_mut() = status.unwrap_or(response.status());
                response
            }
        }
    }
}

/// The response to a problem. What is internal is not told.
#[must_use]
pub fn problem(problem: &Problem, request_id: &RequestId) -> Response<Body> {
    let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = success(status, Some(body(problem, None, request_id)));
    let headers = response.headers_mut();
    if let Some(ms) = problem.retry_after_ms {
        // Whole seconds, rounded up: coming back early would be refused again.
        headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
    }
    if problem.kind == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The error body of a problem where it is told in the midst of a response: with its status.
#[must_use]
pub fn told(problem: &Problem, status: u16, request_id: &RequestId) -> String {
    // JSON is UTF-8.
    String::from_utf8(body(problem, Some(status), request_id)).unwrap_or_default()
}

fn body(problem: &Problem, status: Option<u16>, request_id: &RequestId) -> Vec<u8> {
    let message = match problem.kind {
        Kind::Internal => "an internal error occurred; the request id is in the log",
        _ => &problem.message,
    };
    let details = problem.details.iter();
    let details = details.map(|FieldError { field, message, code }| Detail { field, message, code }).collect();
    error_body(status, problem.code(), message, details, request_id)
}

fn error_body(
    status: Option<u16>,
    code: &str,
    message: &str,
    details: Vec<Detail<'_>>,
    request_id: &RequestId,
) -> Vec<u8> {
    let request_id = request_id.as_str();
    let body = ErrorBody { status, code, message, details, request_id, timestamp: Timestamp::now() };
    // Serialising these fields into memory cannot fail.
    serde_json::to_vec(&body).unwrap_or_default()
}
