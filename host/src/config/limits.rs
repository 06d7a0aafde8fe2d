//! `[limits]`.

use serde::Deserialize;

use super::units::{ByteSize, HumanDuration};

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most plugins that may be installed.
    pub max_plugins: u32,
    /// The most live instances of the whole host.
    pub max_instances: u32,
    /// The memory of one instance, for plugins that do not say.
    pub memory: ByteSize,
    /// The most memory of one instance that a plugin may ask for.
    pub max_memory: ByteSize,
    /// An instance that has grown past this is not used again.
    pub memory_watermark: ByteSize,
    /// The stack of a running guest.
    pub wasm_stack: ByteSize,
    /// The most bytes that a guest passes to the host at once: in a host call, or as its answer.
    pub max_transfer: ByteSize,
    /// The longest a call may take, for plugins that do not say.
    pub call_timeout: HumanDuration,
    /// The longest call that a plugin may ask for.
    pub max_call_timeout: HumanDuration,
    /// Calls at once, for plugins that do not say.
    pub concurrency: u32,
    /// The most calls at once that a plugin may ask for.
    pub max_concurrency: u32,
    /// The most calls that wait for one plugin.
    pub queue: u32,
    /// The longest a call waits for its turn.
    pub queue_wait: HumanDuration,
    /// How many calls an instance serves.
    pub calls_per_instance: u64,
    /// How often running guests are looked at.
    pub epoch_tick: HumanDuration,
    /// The most lines that one call may log.
    pub log_lines_per_call: u32,
    /// The longest line that a plugin may log.
    pub log_line_bytes: ByteSize,
    /// The largest body of one function in a component.
    pub max_function_body: ByteSize,
    /// Whether the rate limits that plugins ask for are enforced.
    pub rate_limits: bool,
    /// Compilation.
    pub compile: Compile,
}

/// `[limits.compile]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// The longest a compilation may take.
    pub timeout: HumanDuration,
    /// The most processor time a compilation may use.
    pub cpu: HumanDuration,
    /// The most address space a compilation may use.
    pub memory: ByteSize,
}
