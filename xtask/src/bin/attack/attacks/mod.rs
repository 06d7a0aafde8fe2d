//! The attacks, each named after what it tries.

mod admin;
mod guests;
mod net;
mod sql;

use anyhow::Result;

use crate::field::Field;
use crate::host::Output;

/// One attack.
pub(crate) struct Attack {
    /// What it tries.
    pub(crate) name: &'static str,
    /// The destination of the host's standard error.
    pub(crate) output: Output,
    /// Adds attackers and bystanders.
    pub(crate) prepare: fn(&mut Field<'_>) -> Result<()>,
    /// Answers that mean success of the attack, by their first word.
    pub(crate) never: &'static [&'static str],
    /// An additional figure, taken at the end of the attack.
    pub(crate) look: fn(&Field<'_>) -> Option<String>,
}

/// An attack without special needs.
const fn attack(name: &'static str, prepare: fn(&mut Field<'_>) -> Result<()>) -> Attack {
    Attack { name, output: Output::File, prepare, never: &[], look: |_| None }
}

/// All attacks, in order.
pub(crate) const ALL: &[Attack] = &[
    attack("statements nested 3,000 deep", sql::nested),
    Attack { never: &["ok"], ..attack("tables that double 17 to 20 times", sql::doubling) },
    attack("unhex over a million characters", sql::unhex),
    attack("json_patch over 60,000 keys", sql::json_patch),
    attack("sorts of gigabytes", sql::sorts),
    Attack { look: sql::log_size, ..attack("writes that no checkpoint follows", sql::log_growth) },
    Attack { never: &["201"], ..attack("migrations with doubling views", admin::doubling_views) },
    Attack { never: &["201"], ..attack("migrations with chained triggers", admin::chained_triggers) },
    Attack { never: &["201"], ..attack("uploads whose types double 18 times", admin::type_bombs) },
    attack("uploads that are slow to compile", admin::slow_compiles),
    Attack {
        never: &["201"],
        look: admin::registry_size,
        ..attack("uploads that are refused", admin::refused_uploads)
    },
    attack("followers of a plugin's log", admin::followers),
    attack("calls that sleep in every instance", guests::sleepers),
    attack("memory in every instance", guests::growth),
    attack("handles without end", guests::handles),
    attack("digests of 30 MiB", guests::digests),
    attack("password hashes of 256 MiB", guests::hashes),
    Attack { output: Output::Stalled, ..attack("log lines that nobody reads", guests::log_flood) },
    attack("guessing passwords", guests::guesses),
    attack("HTTP/2 answers not taken: the API's page", net::closed_windows_on_docs),
    attack("HTTP/2 answers not taken: metrics", net::closed_windows_on_metrics),
    attack("idle HTTP/2 connections", net::idle_connections),
    attack("HTTP/1 answers read slowly", net::slow_readers),
];
