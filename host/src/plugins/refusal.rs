//! Why a plugin was not taken: a stable code, the status that an API answers with, and a sentence.

use std::fmt;

use arcana_signing::Digest;

/// The longest message of a refusal in bytes: it is logged, recorded and sent to clients, and may quote the file.
const MAX_MESSAGE: usize = 4 << 10;

/// A refusal. The running version, where there is one, goes on.
#[derive(Debug)]
pub struct Refusal {
    /// The stable code, such as `DIGEST_MISMATCH` or `IMPORT_NOT_GRANTED`.
    pub code: &'static str,
    /// The HTTP status that fits.
    pub status: u16,
    /// What is wrong and what to do.
    pub message: String,
    /// Which version of which plugin it is about, where a signature vouches for that.
    pub about: Option<Box<About>>,
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The plugin.
    pub id: String,
    /// The version.
    pub version: String,
    /// Its digest.
    pub digest: Digest,
}

impl Refusal {
    /// A refusal with this code and status. A message beyond 4 KiB is cut.
    pub fn new(code: &'static str, status: u16, message: impl fmt::Display) -> Self {
        let mut message = message.to_string();
        if message.len() > MAX_MESSAGE {
            let left = message.len() - MAX_MESSAGE;
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push_str(&format!("… ({left} more bytes)"));
        }
        Self { code, status, message, about: None }
    }

    /// The same, said of this version, unless it is said already of which.
    #[must_use]
    pub fn about(mut self, id: &str, version: &impl fmt::Display, digest: Digest) -> Self {
        self.about.get_or_insert_with(|| Box::new(About { id: id.into(), version: version.to_string(), digest }));
        self
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
