//! `[limits]`.

use serde::Deserialize;

use super::memory::MemorySize;
use super::units::{ByteSize, HumanDuration};

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most plugins that may be installed.
    pub max_plugins: u32,
    /// The most live instances of the whole host.
    pub max_instances: u32,
    /// Instances that are kept for each active plugin.
    pub instances_reserved: u32,
    /// How many of a hundred instances one plugin may have.
    pub instance_share: u32,
    /// The memory of all instances together.
    pub total_memory: MemorySize,
    /// The memory of one instance, for plugins that do not say.
    pub memory: ByteSize,
    /// The most memory of one instance that a plugin may ask for.
    pub max_memory: ByteSize,
    /// An instance that has grown past this is not used again.
    pub memory_watermark: ByteSize,
    /// The most handles that one instance holds open.
    pub max_handles: u32,
    /// The stack of a running guest.
    pub wasm_stack: ByteSize,
    /// The most bytes that a guest passes to the host at once: in a host call, or as its answer.
    pub max_transfer: ByteSize,
    /// Host calls over large input that cannot be divided and run beside the threads that serve.
    pub host_work: u32,
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
    /// The most lines that one plugin may log in a second, over all its calls.
    pub log_lines_per_second: u32,
    /// The longest line that a plugin may log.
    pub log_line_bytes: ByteSize,
    /// The largest body of one function in a component.
    pub max_function_body: ByteSize,
    /// Whether the rate limits that plugins ask for are enforced.
    pub rate_limits: bool,
    /// Compilation.
    pub compile: Compile,
    /// What a plugin publishes.
    pub contract: Contract,
}

/// `[limits.contract]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// The most parts of what a plugin exports, each named type once.
    pub parts: u64,
    /// The most parts with every type written out where it is used.
    pub expanded: u64,
    /// The most bytes of the WIT that a file carries.
    pub wit: ByteSize,
    /// The longest that reading a file and its types may take.
    pub timeout: HumanDuration,
}

impl Limits {
    /// The bytes of memory that all instances may have together: never less than one instance may have alone.
    #[must_use]
    pub fn total_memory_bytes(&self) -> u64 {
        self.total_memory.resolve().max(self.max_memory.as_u64())
    }
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
    /// Compilations at once; 0: half of the processors, at least three.
    pub places: u32,
    /// Files up to this size have a place that larger ones do not take.
    pub small: ByteSize,
    /// The longest that an installation waits for a place.
    pub wait: HumanDuration,
}
