//! The signature format, the keys and the trust policy of Arcana plugins. Knows bytes and rules; does no I/O but for key files.
//!
//! The types are the order of the checks: [`envelope::parse`] gives an [`Envelope`] whose manifest cannot be reached;
//! [`TrustPolicy::verify`] checks signatures and hash and gives a [`Verified`], which carries the manifest; only that can be
//! evaluated with [`TrustPolicy::evaluate`].

pub mod envelope;
mod error;
pub mod keys;
mod leb;
pub mod sequence;
pub mod timestamp;
pub mod trust;

pub use envelope::{Contents, Digest, Envelope};
pub use error::{Code, Error};
pub use keys::{KeyId, PublicKey, SecretKey};
pub use trust::{Purpose, Request, TrustFileError, TrustPolicy, Verdict, Verified};
