//! `[security]` and `[observability]`.

use serde::Deserialize;

use super::readers::Readers;
use super::units::{ByteSize, HumanDuration};

/// `[security]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Access tokens.
    pub tokens: Tokens,
    /// Password hashes.
    pub passwords: Passwords,
}

/// `[security.tokens]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// How tokens are signed.
    pub algorithm: Algorithm,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// The longest life.
    pub life: HumanDuration,
    /// How far clocks may differ.
    pub leeway: HumanDuration,
    /// How many verified tokens are remembered.
    pub cache_entries: u32,
}

/// How access tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256 (RFC 7518).
    #[serde(rename = "HS256")]
    Hs256,
}

/// `[security.passwords]`: the parameters of Argon2id (RFC 9106).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passwords {
    /// The memory of one computation; whole KiB.
    pub memory: ByteSize,
    /// The passes over the memory.
    pub iterations: u32,
    /// The lanes of one computation.
    pub parallelism: u32,
    /// How many times the work of one computation a stored hash may ask for.
    pub max_cost: u32,
    /// How many computations run at once; 0 for half of the processors.
    pub concurrency: u32,
    /// How many callers may wait.
    pub queue: u32,
}

/// `[observability]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observability {
    /// Logs.
    pub log: Log,
    /// Metrics.
    pub metrics: Metrics,
}

/// `[observability.log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: a level or directives.
    pub filter: String,
    /// Whether every request is logged.
    pub access: bool,
    /// Lines that wait to be written, in bytes.
    pub buffer: ByteSize,
    /// The longest the end of the process waits for lines to be written.
    pub flush: HumanDuration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// `[observability.metrics]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether `/metrics` is served.
    pub enabled: bool,
    /// Who may read it.
    pub allow: Readers,
    /// How old the text may be that is served again; 0 renders it for each request.
    pub max_age: HumanDuration,
}
