//! What a store holds for its guest: the capabilities' state, the WASI base set that gives nothing, and the memory limit.

use std::sync::Arc;

use prometheus::IntGauge;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiterAsync, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::live::HeldMemory;
use crate::capabilities::{self, Call, PluginGrants};
use crate::telemetry::metrics::Gauged;

/// Most random bytes that a guest gets at once; the same as of `arcana:host/crypto`.
const MAX_RANDOM: u64 = 64 << 10;

/// The data of one store: one instance's side of the host.
pub struct HostState {
    pub(super) capabilities: capabilities::State,
    table: ResourceTable,
    wasi: WasiCtx,
    pub(super) memory: MemoryLimit,
}

/// The call ran into its deadline. Raised in the guest as a trap that it cannot catch.
#[derive(Debug, thiserror::Error)]
#[error("the call reached its deadline")]
pub struct DeadlineReached;

/// A store for one instance with everything a guest could grow bounded.
pub(super) fn new_store(
    engine: &Engine,
    grants: &Arc<PluginGrants>,
    call: Call,
    memory: MemoryLimit,
    handles: usize,
) -> Store<HostState> {
    let capabilities = capabilities::State::new(grants.clone(), call);
    let output = capabilities.output();
    // The base set is always there and gives nothing: no arguments, no environment, no folders; names are not
    // looked up and no address is allowed.
    let wasi = WasiCtxBuilder::new()
        .stdout(output.clone())
        .stderr(output)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM)
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(handles);
    let mut store = Store::new(engine, HostState { capabilities, table, wasi, memory });
    store.limiter_async(|state| &mut state.memory);
    // Those of the guest's own resources, which no code of the host sees.
    store.set_max_component_handles(handles);
    store.epoch_deadline_callback(|store| {
        if store.data().capabilities.call().deadline <= std::time::Instant::now() {
            return Err(DeadlineReached.into());
        }
        // Tokio's own way to yield: its ready tasks and the sockets come first. A task that only wakes itself keeps the worker
        // from looking at the sockets for 61 polls, which are as many ticks while guests compute.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store.set_epoch_deadline(1);
    store
}

impl HostState {
    /// What the capabilities see of this state.
    pub fn view(&mut self) -> capabilities::View<'_> {
        capabilities::View { state: &mut self.capabilities, table: &mut self.table }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Why a guest got no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It got what it asked for.
    No,
    /// It asked for more than one instance may have.
    Own,
    /// There was no room in what all instances may have together.
    Total,
}

/// The quota of memory, over all linear memories and tables of the instance.
pub(super) struct MemoryLimit {
    max: usize,
    /// Bytes in use. Memories and tables never shrink.
    used: Gauged,
    /// The same as a part of what all instances have.
    held: HeldMemory,
    /// Whether the guest asked for more than it may have in this call.
    pub(super) refused: Refused,
}

impl MemoryLimit {
    /// At most `max` bytes, shown in the gauge.
    pub(super) fn new(max: usize, held: HeldMemory, gauge: &IntGauge) -> Self {
        Self { max, used: Gauged::new(gauge, 0), held, refused: Refused::No }
    }

    /// Bytes of linear memory and tables in use.
    pub(super) fn used(&self) -> usize {
        usize::try_from(self.used.get()).unwrap_or(usize::MAX)
    }

    async fn grow(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        let used = self.used().saturating_add(bytes);
        if used > self.max {
            self.refused = Refused::Own;
            return Ok(false);
        }
        if !self.held.take(bytes).await {
            self.refused = Refused::Total;
            return Ok(false);
        }
        self.used.set(i64::try_from(used)?);
        Ok(true)
    }
}

#[wasmtime_wasi::async_trait]
impl ResourceLimiterAsync for MemoryLimit {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|max| desired > max) {
            self.refused = Refused::Own;
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current)).await
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > super::engine::TABLE_ELEMENTS || maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())).await
    }
}
