//! Values that other parts keep for themselves, and how each is shown.

use crate::telemetry::pulled::Kind;

/// A value that another part keeps, shown under its own name; see [`super::Metrics::watch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// `arcana_token_cache_hits_total`
    TokenCacheHits,
    /// `arcana_token_cache_misses_total`
    TokenCacheMisses,
    /// `arcana_token_revocations`
    Revocations,
    /// `arcana_password_hashes_total`
    PasswordsDone,
    /// `arcana_password_hashes_rejected_total`
    PasswordsRejected,
    /// `arcana_password_hashes_running`
    PasswordsRunning,
    /// `arcana_password_hashes_queued`
    PasswordsQueued,
    /// `arcana_password_hashes_abandoned_total`
    PasswordsAbandoned,
    /// `arcana_password_hashes_too_costly_total`
    PasswordsTooCostly,
    /// `arcana_instances_memory_bytes`
    InstancesMemory,
    /// `arcana_instances_memory_limit_bytes`
    InstancesMemoryLimit,
    /// `arcana_instances_evicted_total`
    InstancesEvicted,
    /// `arcana_log_lines_dropped_total{reason="full"}`
    LogLinesFull,
    /// `arcana_log_lines_dropped_total{reason="failed"}`
    LogLinesFailed,
    /// `arcana_log_queued_bytes`
    LogQueued,
    /// `arcana_compiles_running`
    CompilesRunning,
    /// `arcana_compiles_waiting`
    CompilesWaiting,
    /// `arcana_compiles_refused_total`
    CompilesRefused,
}

impl Watched {
    pub(super) const fn describe(self) -> (Kind, &'static str, &'static str) {
        match self {
            Self::TokenCacheHits => {
                (Kind::Counter, "arcana_token_cache_hits_total", "Access tokens that were verified before.")
            }
            Self::TokenCacheMisses => {
                (Kind::Counter, "arcana_token_cache_misses_total", "Access tokens whose signature had to be checked.")
            }
            Self::Revocations => {
                (Kind::Gauge, "arcana_token_revocations", "Revoked sessions and subjects that are remembered.")
            }
            Self::PasswordsDone => (Kind::Counter, "arcana_password_hashes_total", "Argon2id computations."),
            Self::PasswordsRejected => (
                Kind::Counter,
                "arcana_password_hashes_rejected_total",
                "Callers that were turned away because too many waited for Argon2id.",
            ),
            Self::PasswordsRunning => {
                (Kind::Gauge, "arcana_password_hashes_running", "Argon2id computations that run.")
            }
            Self::PasswordsQueued => (Kind::Gauge, "arcana_password_hashes_queued", "Callers that wait for Argon2id."),
            Self::PasswordsAbandoned => (
                Kind::Counter,
                "arcana_password_hashes_abandoned_total",
                "Argon2id computations that were not started because the caller had gone or its deadline had passed.",
            ),
            Self::PasswordsTooCostly => (
                Kind::Counter,
                "arcana_password_hashes_too_costly_total",
                "Stored hashes that asked for more work than security.passwords.max_cost allows.",
            ),
            Self::InstancesMemory => (
                Kind::Gauge,
                "arcana_instances_memory_bytes",
                "Memory of all live instances, their handles included, in bytes.",
            ),
            Self::InstancesMemoryLimit => {
                (Kind::Gauge, "arcana_instances_memory_limit_bytes", "The most that it may be: limits.total_memory.")
            }
            Self::InstancesEvicted => (
                Kind::Counter,
                "arcana_instances_evicted_total",
                "Idle instances that were given up for a place or memory.",
            ),
            Self::LogLinesFull | Self::LogLinesFailed => (
                Kind::Counter,
                "arcana_log_lines_dropped_total",
                "Log lines that were dropped: nobody reads them fast enough (full), or they cannot be written (failed).",
            ),
            Self::LogQueued => (Kind::Gauge, "arcana_log_queued_bytes", "Log that waits to be written."),
            Self::CompilesRunning => (Kind::Gauge, "arcana_compiles_running", "Compilations that run."),
            Self::CompilesWaiting => (Kind::Gauge, "arcana_compiles_waiting", "Compilations that wait for a place."),
            Self::CompilesRefused => {
                (Kind::Counter, "arcana_compiles_refused_total", "Installations that waited too long for a place.")
            }
        }
    }

    /// What tells it from others of the same name.
    pub(super) const fn label(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::LogLinesFull => Some(("reason", "full")),
            Self::LogLinesFailed => Some(("reason", "failed")),
            _ => None,
        }
    }
}
