//! The one place that turns an error into a gRPC status, with the details of `google.rpc`.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::ingress::admin;
use crate::plugins::refusal::Refusal;
use crate::problem::{FieldError, Kind, Problem};
use crate::request_id::RequestId;

/// The `domain` of `google.rpc.ErrorInfo`; the `reason` is the code of the REST side's error body.
const DOMAIN: &str = "arcana";
/// Most bytes of field errors in a status. It travels in a header, of which clients take 8 KiB in all by default.
const MAX_DETAILS: usize = 3 << 10;
/// Most bytes of a status message; on the wire a byte can become three.
const MAX_MESSAGE: usize = 512;

/// The status of a problem: `ErrorInfo` with the code, `BadRequest` with the fields, `RetryInfo`, and `RequestInfo` with
/// the id of the request. What is internal is not told.
pub(super) fn of_problem(problem: &Problem, request_id: &RequestId) -> Status {
    with_code(problem, problem.kind.grpc(), request_id)
}

/// The status of a change of plugins that was refused. No kind of problem is for what is too large.
pub(super) fn of_refusal(refusal: Refusal, request_id: &RequestId) -> Status {
    let too_large = refusal.status == 413;
    let problem = admin::problem(refusal, request_id);
    with_code(&problem, if too_large { Code::ResourceExhausted } else { problem.kind.grpc() }, request_id)
}

fn with_code(problem: &Problem, code: Code, request_id: &RequestId) -> Status {
    let message = match problem.kind {
        Kind::Internal => "an internal error occurred; the request id is in the log",
        _ => &problem.message,
    };
    let mut details = ErrorDetails::new();
    let (violations, left_out) = violations(&problem.details);
    let mut metadata = HashMap::new();
    if left_out > 0 {
        metadata.insert("field_violations_left_out".to_owned(), left_out.to_string());
    }
    details.set_error_info(problem.code(), DOMAIN, metadata);
    if !violations.is_empty() {
        details.set_bad_request(violations);
    }
    if let Some(ms) = problem.retry_after_ms {
        details.set_retry_info(Some(Duration::from_millis(ms)));
    }
    details.set_request_info(request_id.as_str(), "");
    Status::with_error_details(code, cut(message), details)
}

/// A status of the protocol itself, such as an unknown method.
pub(super) fn of_protocol(code: Code, reason: &str, message: impl Into<String>, request_id: &RequestId) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    details.set_request_info(request_id.as_str(), "");
    Status::with_error_details(code, message, details)
}

fn violations(errors: &[FieldError]) -> (Vec<FieldViolation>, usize) {
    let mut left = MAX_DETAILS;
    let fitting = errors.iter().take_while(|error| {
        // The lengths before each text and message take a few bytes more.
        let size = error.field.len() + error.message.len() + error.code.len() + 12;
        left.checked_sub(size).map(|rest| left = rest).is_some()
    });
    let violations: Vec<FieldViolation> = fitting
        .map(|error| FieldViolation {
            field: error.field.clone(),
            description: error.message.clone(),
            reason: error.code.clone().into_owned(),
            localized_message: None,
        })
        .collect();
    let left_out = errors.len() - violations.len();
    (violations, left_out)
}

fn cut(message: &str) -> &str {
    message.get(..message.floor_char_boundary(MAX_MESSAGE)).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_holds_everything_that_the_rest_body_holds() {
        let mut problem = Problem::validation(vec![FieldError {
            field: "tags[2]".into(),
            message: "is required".into(),
            code: "REQUIRED".into(),
        }]);
        problem.retry_after_ms = Some(1_500);
        let id = RequestId::random();
        let status = of_problem(&problem, &id);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "one field is not valid"));
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(
            (&*violation.field, &*violation.description, &*violation.reason),
            ("tags[2]", "is required", "REQUIRED")
        );
        assert_eq!(details.error_info().unwrap().reason, "VALIDATION_FAILED");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(1_500)));
        assert_eq!(details.request_info().unwrap().request_id, id.as_str());
    }

    #[test]
    fn many_field_errors_do_not_burst_the_header() {
        let error = |n: usize| FieldError {
            field: format!("items[{n}].name"),
            message: "must be at most forty characters long".into(),
            code: "TOO_LARGE".into(),
        };
        let mut problem = Problem::validation((0..100).map(error).collect());
        problem.message = "ü".repeat(10_000).into();
        let status = of_problem(&problem, &RequestId::random());
        assert!(status.details().len() < 5 << 10, "{}", status.details().len());
        assert!(status.message().len() <= MAX_MESSAGE);
        let details = status.get_error_details();
        let shown = details.bad_request().unwrap().field_violations.len();
        let left_out: usize = details.error_info().unwrap().metadata["field_violations_left_out"].parse().unwrap();
        assert!(shown > 20);
        assert_eq!(shown + left_out, 100);
    }

    #[test]
    fn what_is_internal_is_not_told() {
        let problem = Problem::new(Kind::Internal, "the password of the database is hunter2");
        let status = of_problem(&problem, &RequestId::random());
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("hunter2"));
        assert!(!String::from_utf8_lossy(status.details()).contains("hunter2"));
    }
}
