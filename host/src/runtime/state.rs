//! What a store holds for its guest: the capabilities' state, the WASI base set that gives nothing, and the memory limit.

use std::sync::Arc;

use prometheus::IntGauge;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::capabilities::{self, Call, PluginGrants};
use crate::telemetry::metrics::Gauged;

/// Most handles that one instance may hold open at once.
const MAX_HANDLES: usize = 1_000;

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
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_HANDLES);
    let mut store = Store::new(engine, HostState { capabilities, table, wasi, memory });
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(|store| {
        if store.data().capabilities.call().deadline <= std::time::Instant::now() {
            return Err(DeadlineReached.into());
        }
        Ok(UpdateDeadline::Yield(1))
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

/// The quota of linear memory, over all memories of the instance.
pub(super) struct MemoryLimit {
    max: usize,
    /// Bytes of linear memory in use. Memories never shrink.
    used: Gauged,
    /// Whether the guest asked for more than it may have.
    pub(super) refused: bool,
}

impl MemoryLimit {
    /// At most `max` bytes, shown in the gauge.
    pub(super) fn new(max: usize, gauge: &IntGauge) -> Self {
        Self { max, used: Gauged::new(gauge, 0), refused: false }
    }

    /// Bytes of linear memory in use.
    pub(super) fn used(&self) -> usize {
        usize::try_from(self.used.get()).unwrap_or(usize::MAX)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used().saturating_add(desired.saturating_sub(current));
        if used > self.max || maximum.is_some_and(|max| desired > max) {
            self.refused = true;
            return Ok(false);
        }
        self.used.set(i64::try_from(used)?);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= super::engine::TABLE_ELEMENTS && maximum.is_none_or(|max| desired <= max))
    }
}
