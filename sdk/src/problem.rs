//! Problems: why a function did not do what it was asked.

use core::time::Duration;

pub use crate::types::{FieldError, Problem, ProblemKind};

impl Problem {
    /// A problem of this kind, with the kind's own code.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), details: Vec::new(), retry_after_ms: None }
    }

    /// 401: nobody is signed in, or the credentials are wrong.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unauthenticated, message)
    }

    /// 403: the caller is known and may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Forbidden, message)
    }

    /// 404: there is no such thing, or the caller may not know that there is.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, message)
    }

    /// 409: it contradicts what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Conflict, message)
    }

    /// 429: too many requests; `retry_after` says when to come back.
    pub fn too_many_requests(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(ProblemKind::TooManyRequests, message).retry_after(retry_after)
    }

    /// 503: something this needs is not there right now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unavailable, message)
    }

    /// 504: it took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Timeout, message)
    }

    /// 500: a fault that is not the caller's. The host logs the message and does not send it.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Internal, message)
    }

    /// 422 for one field; see [`Validation`] for many.
    pub fn invalid(field: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut errors = Validation::new();
        errors.add(field, code, message);
        errors.into_problem()
    }

    /// The same with a finer code for programs, such as `INVALID_CREDENTIALS`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same with a field that is to blame.
    #[must_use]
    pub fn with_detail(
        mut self,
        field: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.details.push(FieldError { field: field.into(), message: message.into(), code: code.into() });
        self
    }

    /// The same with the time after which trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// Collects everything that is wrong with an input, so that the client learns all of it at once.
///
/// ```
/// use arcana_sdk::{Problem, Validation};
///
/// fn check(title: &str, stars: u32) -> Result<(), Problem> {
///     let mut errors = Validation::new();
///     errors.check(!title.is_empty(), "title", "REQUIRED", "a title is needed");
///     errors.check(stars <= 5, "stars", "TOO_LARGE", "at most 5 stars");
///     errors.finish()
/// }
/// assert_eq!(check("", 9).unwrap_err().details.len(), 2);
/// assert!(check("Arcana", 5).is_ok());
/// ```
#[derive(Debug, Default)]
pub struct Validation {
    errors: Vec<FieldError>,
}

impl Validation {
    /// Nothing wrong so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { errors: Vec::new() }
    }

    /// Notes that a field is wrong.
    pub fn add(&mut self, field: impl Into<String>, code: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into(), code: code.into() });
    }

    /// Notes that a field is wrong unless `holds`.
    pub fn check(&mut self, holds: bool, field: &str, code: &str, message: &str) {
        if !holds {
            self.add(field, code, message);
        }
    }

    /// The fields noted so far.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// An error that names every wrong field, where there is one.
    ///
    /// # Errors
    /// A `validation` problem, 422.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    fn into_problem(self) -> Problem {
        let message = match self.errors.len() {
            1 => "one field is not valid".to_owned(),
            n => format!("{n} fields are not valid"),
        };
        Problem { details: self.errors, ..Problem::new(ProblemKind::Validation, message) }
    }
}
