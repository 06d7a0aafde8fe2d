//! A refusal in the words of the protocols.

use std::fmt::Display;

use crate::plugins::refusal::Refusal;
use crate::problem::{Kind, Problem};
use crate::request_id::RequestId;

/// So long after an overload another try makes sense, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// The problem of a refusal: the kind by its status, the code its own. A fault of the host is logged here, once, and its text
/// is for the log alone.
#[must_use]
pub fn problem(refusal: Refusal, request_id: &RequestId) -> Problem {
    let kind = kind(refusal.status);
    if kind == Kind::Internal {
        tracing::error!(%request_id, code = refusal.code, reason = refusal.message, "a change of plugins failed");
    }
    let mut problem = Problem::new(kind, refusal.message).with_code(refusal.code);
    if kind == Kind::Unavailable {
        problem.retry_after_ms = Some(RETRY_AFTER_MS);
    }
    problem
}

const fn kind(status: u16) -> Kind {
    match status {
        400 => Kind::Malformed,
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        408 | 504 => Kind::Timeout,
        409 => Kind::Conflict,
        429 => Kind::TooManyRequests,
        402..500 => Kind::Validation,
        503 => Kind::Unavailable,
        _ => Kind::Internal,
    }
}

/// A fault of this program.
#[must_use]
pub fn internal(what: &dyn Display) -> Problem {
    tracing::error!(%what, "the plugin service does not fit its contract");
    Problem::new(Kind::Internal, "internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_refusal_is_that_of_its_problem_where_there_is_a_kind() {
        for status in [400, 401, 403, 404, 409, 422, 429, 500, 503, 504] {
            assert_eq!(kind(status).status(), status);
        }
        assert_eq!((kind(413), kind(415), kind(502)), (Kind::Validation, Kind::Validation, Kind::Internal));
        let busy = problem(Refusal::new("BUSY", 503, "later"), &RequestId::random());
        assert_eq!((busy.code(), busy.retry_after_ms), ("BUSY", Some(RETRY_AFTER_MS)));
    }
}
