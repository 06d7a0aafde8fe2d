//! What went wrong, in the words of `arcana:types`: the one error shape that every protocol's answer is made from.

use std::borrow::Cow;

/// The kind of a problem; it alone decides the HTTP status and the gRPC code (the table of `docs/contract.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The input could not be read at all.
    Malformed,
    /// The input breaks a rule; the details say which fields.
    Validation,
    /// Nobody is signed in, or the credentials are wrong.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Too many requests; `retry_after_ms` says when to come back.
    TooManyRequests,
    /// Something it needs is not there right now.
    Unavailable,
    /// It took too long.
    Timeout,
    /// A fault that is not the caller's.
    Internal,
}

impl Kind {
    /// The cases in the order of the WIT enum `problem-kind`, with their WIT names.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Malformed, "malformed"),
        (Self::Validation, "validation"),
        (Self::Unauthenticated, "unauthenticated"),
        (Self::Forbidden, "forbidden"),
        (Self::NotFound, "not-found"),
        (Self::Conflict, "conflict"),
        (Self::TooManyRequests, "too-many-requests"),
        (Self::Unavailable, "unavailable"),
        (Self::Timeout, "timeout"),
        (Self::Internal, "internal"),
    ];

    /// The kind with this WIT name.
    #[must_use]
    pub fn from_wit(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, wit)| *wit == name).map(|(kind, _)| *kind)
    }

    /// The HTTP status of an answer of this kind.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Validation => 422,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Internal => 500,
        }
    }

    /// The gRPC status of an answer of this kind.
    #[must_use]
    pub const fn grpc(self) -> tonic::Code {
        match self {
            Self::Malformed | Self::Validation => tonic::Code::InvalidArgument,
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::Conflict => tonic::Code::AlreadyExists,
            Self::TooManyRequests => tonic::Code::ResourceExhausted,
            Self::Unavailable => tonic::Code::Unavailable,
            Self::Timeout => tonic::Code::DeadlineExceeded,
            Self::Internal => tonic::Code::Internal,
        }
    }

    /// The code in the body where the problem brings no finer one.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "INVALID_JSON",
            Self::Validation => "VALIDATION_FAILED",
            Self::Unauthenticated => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::TooManyRequests => "RATE_LIMIT_EXCEEDED",
            Self::Unavailable => "SERVICE_UNAVAILABLE",
            Self::Timeout => "TIMEOUT",
            Self::Internal => "INTERNAL_ERROR",
        }
    }
}

/// What is wrong with one field of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field as the client wrote it, such as `address.zip_code` or `tags[2]`.
    pub field: String,
    /// A sentence for people.
    pub message: String,
    /// A code for programs, such as `REQUIRED` or `WRONG_TYPE`.
    pub code: Cow<'static, str>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Decides the status.
    pub kind: Kind,
    /// A finer code than the kind's own.
    pub code: Option<Cow<'static, str>>,
    /// A sentence for the client.
    pub message: Cow<'static, str>,
    /// One entry for every field that is wrong.
    pub details: Vec<FieldError>,
    /// When to try again, in milliseconds from now.
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem with the kind's own code and no details.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, code: None, message: message.into(), details: Vec::new(), retry_after_ms: None }
    }

    /// The same with a finer code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// A 422 with these fields.
    #[must_use]
    pub fn validation(details: Vec<FieldError>) -> Self {
        let message = match details.len() {
            1 => "one field is not valid".into(),
            n => format!("{n} fields are not valid").into(),
        };
        Self { kind: Kind::Validation, code: None, message, details, retry_after_ms: None }
    }

    /// The code of the answer's body.
    #[must_use]
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(self.kind.code())
    }
}
