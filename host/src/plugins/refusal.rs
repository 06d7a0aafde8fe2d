//! Why a plugin was not taken: a stable code, the status that an API answers with, and a sentence.

use std::fmt;

/// A refusal. The running version, where there is one, goes on.
#[derive(Debug)]
pub struct Refusal {
    /// The stable code, such as `DIGEST_MISMATCH` or `IMPORT_NOT_GRANTED`.
    pub code: &'static str,
    /// The HTTP status that fits.
    pub status: u16,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and status.
    pub fn new(code: &'static str, status: u16, message: impl fmt::Display) -> Self {
        Self { code, status, message: message.to_string() }
    }

    /// A fault of the host, not of the plugin.
    pub fn host(error: impl fmt::Display) -> Self {
        Self::new("HOST_FAULT", 500, error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<arcana_signing::Error> for Refusal {
    fn from(error: arcana_signing::Error) -> Self {
        Self::new(error.kind().as_str(), error.kind().status(), error)
    }
}
