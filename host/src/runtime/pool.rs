//! Warm instances of one plugin, and the rules by which they retire.
//!
//! An instance serves one call at a time. It leaves the pool for good when
//! - the call trapped, ran out of time or was cancelled (its memory may be in any state),
//! - it has served `calls_per_instance` calls,
//! - its memory has grown past the watermark,
//! - the call left a transaction or a lock open,
//! - the plugin asks for a fresh instance for every call,
//! - it is idle, and another plugin needs its place, or somebody its memory (`live.rs`).
//!
//! So the rule is "poisoned before the call, cleared on success": a [`Lease`] that is dropped without [`Lease::keep`]
//! takes the instance with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Func, Instance as ComponentInstance, InstancePre};

use super::live::{HeldMemory, LiveInstances, Place, Share};
use super::state::{HostState, MemoryLimit, Refused, new_store};
use crate::capabilities::{Call, PluginGrants};
use crate::telemetry::metrics::{Gauged, PoolMetrics};

/// The host memory of one handle in bytes, at most: an entry in the instance's table, one in the host's, and its resource.
pub const BYTES_PER_HANDLE: usize = 160;

/// When instances of a plugin retire, and what they may use.
#[derive(Debug, Clone)]
pub struct PoolLimits {
    /// Linear memory and tables of one instance in bytes.
    pub memory: usize,
    /// Handles that one instance may hold open at once: its own, and those of the host.
    pub handles: usize,
    /// An instance whose memory has grown past this many bytes is not used again.
    pub watermark: usize,
    /// Bytes that the guest may pass to the host at once: in a host call, or as the answer of a call.
    pub transfer: usize,
    /// How many calls one instance serves; 1 makes a fresh one for every call.
    pub calls_per_instance: u64,
    /// How many idle instances are kept.
    pub max_idle: usize,
}

/// The warm instances of one plugin.
pub struct Pool {
    pre: InstancePre<HostState>,
    grants: Arc<PluginGrants>,
    limits: PoolLimits,
    live: Arc<LiveInstances>,
    share: Arc<Share>,
    metrics: PoolMetrics,
    idle: Mutex<Vec<Warm>>,
    closed: AtomicBool,
}

/// An instance with its store. The place is the last field: it is given back when the store is gone.
pub(super) struct Warm {
    store: Store<HostState>,
    instance: ComponentInstance,
    functions: Vec<Option<Func>>,
    calls: u64,
    _counted: Gauged,
    _place: Place,
}

/// Why there is no instance.
#[derive(Debug)]
pub enum LeaseError {
    /// Every place of the host is taken by an instance that is at work, or kept for another plugin.
    Full,
    /// The memory of all instances together is used up, or kept for another plugin.
    NoMemory,
    /// The component could not be instantiated: its start function trapped, or a fault of the host.
    Failed {
        /// What happened.
        error: wasmtime::Error,
        /// The last lines that the guest wrote.
        last_words: Vec<String>,
        /// Whether it was refused memory.
        refused: Refused,
    },
}

impl Pool {
    /// An empty pool, known to `live` so that its idle instances can give way.
    #[must_use]
    pub fn new(
        pre: InstancePre<HostState>,
        grants: Arc<PluginGrants>,
        limits: PoolLimits,
        live: Arc<LiveInstances>,
        metrics: PoolMetrics,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            pre,
            grants,
            limits,
            live,
            share: Arc::default(),
            metrics,
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        pool.live.add(&pool);
        pool
    }

    /// An instance for one call: a warm one where there is one. `functions` is how many exports the plugin publishes.
    ///
    /// # Errors
    /// When the host has no place left, or the component cannot be instantiated.
    pub async fn lease(self: &Arc<Self>, call: Call, functions: usize) -> Result<Lease, LeaseError> {
        let warm = self.idle.lock().pop();
        let warm = match warm {
            Some(mut warm) => {
                let state = warm.store.data_mut();
                state.capabilities.start_call(call);
                // A guest may live with a refusal; the next call's trap is another matter.
                state.memory.refused = Refused::No;
                warm.store.set_epoch_deadline(1);
                warm
            }
            None => self.fresh(call, functions).await?,
        };
        Ok(Lease { pool: self.clone(), warm: Some(warm) })
    }

    async fn fresh(&self, call: Call, functions: usize) -> Result<Warm, LeaseError> {
        let place = self.live.place(&self.share).ok_or(LeaseError::Full)?;
        let counted = Gauged::new(&self.metrics.instances, 1);
        let mut held = HeldMemory::new(self.live.clone(), self.share.clone());
        // The handles are counted as if all of them were open: wasmtime does not tell how many are.
        if !held.take(self.limits.handles.saturating_mul(BYTES_PER_HANDLE)).await {
            return Err(LeaseError::NoMemory);
        }
        let memory = MemoryLimit::new(self.limits.memory, held, &self.metrics.memory);
        let mut store = new_store(self.pre.engine(), &self.grants, call, memory, self.limits.handles);
        store.set_hostcall_fuel(self.limits.transfer);
        let instance = match self.pre.instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => {
                let state = store.data();
                let (last_words, refused) = (state.capabilities.last_words(), state.memory.refused);
                return Err(LeaseError::Failed { error, last_words, refused });
            }
        };
        Ok(Warm { store, instance, functions: vec![None; functions], calls: 0, _counted: counted, _place: place })
    }

    /// Gives up every idle instance, and those at work as they come back.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }

    /// How many instances are idle.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// Gives up an idle instance.
    pub(super) fn take_idle(&self) -> Option<Warm> {
        self.idle.lock().pop()
    }

    /// Whether it takes part no longer.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The places and the memory that the plugin has taken.
    pub(super) const fn share(&self) -> &Arc<Share> {
        &self.share
    }
}

/// An instance at work. Dropped without [`Self::keep`] it is never used again.
pub struct Lease {
    pool: Arc<Pool>,
    warm: Option<Warm>,
}

impl Lease {
    /// The store and the function at this place among the plugin's exports.
    ///
    /// # Errors
    /// When the instance has no such function, which the load has ruled out.
    pub(super) fn function(
        &mut self,
        place: usize,
        export: &ComponentExportIndex,
    ) -> wasmtime::Result<(&mut Store<HostState>, Func)> {
        let warm = self.warm.as_mut().ok_or_else(|| wasmtime::format_err!("the lease has ended"))?;
        let known = warm.functions.get(place).copied().flatten();
        let func = match known {
            Some(func) => func,
            None => {
                let func = warm
                    .instance
                    .get_func(&mut warm.store, export)
                    .ok_or_else(|| wasmtime::format_err!("the export has vanished"))?;
                if let Some(slot) = warm.functions.get_mut(place) {
                    *slot = Some(func);
                }
                func
            }
        };
        Ok((&mut warm.store, func))
    }

    /// Whether the guest was refused memory.
    #[must_use]
    pub fn memory_refused(&self) -> Refused {
        self.warm.as_ref().map_or(Refused::No, |warm| warm.store.data().memory.refused)
    }

    /// The last lines that the guest wrote in this call.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        self.warm.as_ref().map(|warm| warm.store.data().capabilities.last_words()).unwrap_or_default()
    }

    /// The call went well: the instance goes back to the pool unless a rule retires it.
    pub fn keep(mut self) {
        let Some(mut warm) = self.warm.take() else { return };
        warm.calls += 1;
        let limits = &self.pool.limits;
        let state = warm.store.data_mut();
        let retire = warm.calls >= limits.calls_per_instance
            || state.memory.used() > limits.watermark
            || !state.capabilities.end_call()
            || self.pool.closed.load(Ordering::Acquire);
        if retire {
            return;
        }
        let mut idle = self.pool.idle.lock();
        if idle.len() < limits.max_idle {
            idle.push(warm);
        }
    }
}
