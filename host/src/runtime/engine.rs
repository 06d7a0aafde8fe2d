//! The one wasmtime engine of the host, and the clock that stops guests which do not return.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::config::Limits;

/// Most core modules that one component is instantiated from.
pub const CORE_INSTANCES_PER_COMPONENT: u32 = 32;
/// Most linear memories and tables of one component.
pub const MEMORIES_PER_COMPONENT: u32 = 4;
/// Most elements of one table.
pub const TABLE_ELEMENTS: usize = 20_000;
/// Bytes of a freed slot that are zeroed in place instead of being given back to the kernel: saves page faults on
/// a fresh instance, costs as much resident memory for each slot that was ever used.
const KEEP_RESIDENT: usize = 256 << 10;

/// The part of the configuration that compiled code depends on: the same in the host and in the compiling child.
pub fn compile_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(true)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .wasm_memory64(false)
        .native_unwind_info(false)
        .generate_address_map(true);
    config
}

/// The engine and its clock. Dropping it stops the clock.
pub struct Engine {
    engine: wasmtime::Engine,
    clock: Arc<Clock>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The tick is only given while calls are in flight, so that an idle host sleeps.
#[derive(Default)]
struct Clock {
    active: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

impl Engine {
    /// An engine with the pooling allocator and a running clock.
    ///
    /// # Errors
    /// When the address space cannot be reserved or the clock's thread cannot be started.
    pub fn new(limits: &Limits) -> anyhow::Result<Self> {
        let n = limits.max_instances;
        let mut pool = PoolingAllocationConfig::new();
        // As many of each as the largest components together can need, so that nothing runs out before the places do. This
        // is address space; memory is taken when it is used.
        pool.total_component_instances(n)
            .total_core_instances(n.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
            .total_memories(n.saturating_mul(MEMORIES_PER_COMPONENT))
            .total_tables(n.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
            .total_stacks(n.saturating_mul(2))
            .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
            .max_memories_per_component(MEMORIES_PER_COMPONENT)
            .max_tables_per_component(CORE_INSTANCES_PER_COMPONENT)
            .max_memory_size(limits.max_memory.as_usize())
            .table_elements(TABLE_ELEMENTS)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(64 << 10)
            .async_stack_keep_resident(32 << 10)
            .max_unused_warm_slots(n.min(100))
            .pagemap_scan(Enabled::Auto);
        let mut config = compile_config();
        let stack = limits.wasm_stack.as_usize();
        // Host functions run on the guest's stack too and need room beyond it.
        config.max_wasm_stack(stack).async_stack_size(stack.saturating_add(512 << 10));
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config)
            .map_err(anyhow::Error::from)
            .context("the address space for instances cannot be reserved; lower limits.max_instances")?;

        let clock = Arc::new(Clock::default());
        let thread = {
            let (engine, clock, tick) = (engine.clone(), clock.clone(), limits.epoch_tick.get());
            thread::Builder::new().name("arcana-epoch".into()).spawn(move || clock.run(&engine, tick))?
        };
        Ok(Self { engine, clock, thread: Some(thread) })
    }

    /// The engine itself.
    #[must_use]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Says that guest code is about to run; the clock ticks until the answer is dropped.
    #[must_use]
    pub fn enter(&self) -> Running<'_> {
        self.clock.active.fetch_add(1, Ordering::SeqCst);
        if self.clock.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
        Running(&self.clock)
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clock.stop.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Clock {
    fn run(&self, engine: &wasmtime::Engine, tick: Duration) {
        while !self.stop.load(Ordering::SeqCst) {
            self.parked.store(true, Ordering::SeqCst);
            if self.active.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            self.parked.store(false, Ordering::SeqCst);
            thread::sleep(tick);
            engine.increment_epoch();
        }
    }
}

/// Guest code is running as long as this lives.
pub struct Running<'a>(&'a Clock);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}
