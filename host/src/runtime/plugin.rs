//! One active plugin: its pool, its limits, and the call of one of its functions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout_at;
use wasmtime::PoolConcurrencyLimitError;
use wasmtime::component::{ComponentExportIndex, Val};

use super::engine::Engine;
use super::pool::{Lease, LeaseError, Pool};
use super::state::{DeadlineReached, Refused};
use crate::capabilities::{Call, HostFault};
use crate::problem::{Kind, Problem};
use crate::telemetry::metrics::{CallMetrics, PluginMetrics};
use crate::telemetry::tail::{Level, Tail};

/// Longest time for the first instance of a plugin to be made.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How wasmtime begins the part of an error that is the guest's stack.
const STACK: &str = "error while executing at wasm backtrace";

/// How many calls may run and wait.
#[derive(Debug, Clone)]
pub struct CallLimits {
    /// Calls of the plugin that run at once.
    pub concurrency: usize,
    /// Calls that may wait for their turn, beyond those that run.
    pub max_queue: usize,
    /// Longest wait for a turn.
    pub queue_wait: Duration,
}

/// An exported function that can be called.
pub struct Function {
    /// `interface.function`, for messages and metrics.
    pub name: Arc<str>,
    /// Where the component exports it.
    pub export: ComponentExportIndex,
    /// Whether it answers a value.
    pub has_result: bool,
    /// The time one call may take, its wait included.
    pub timeout: Duration,
    /// Calls of this function that run at once, where it has a limit of its own.
    pub concurrency: Option<Arc<Semaphore>>,
    /// What is counted for it.
    pub metrics: CallMetrics,
}

/// An active plugin as the host calls it.
pub struct PluginRuntime {
    engine: Arc<Engine>,
    pool: Arc<Pool>,
    functions: Vec<Function>,
    limits: CallLimits,
    running: Semaphore,
    waiting: AtomicUsize,
    metrics: PluginMetrics,
    traps: Arc<Traps>,
    tail: Arc<Tail>,
    id: Arc<str>,
}

/// The traps of one version.
#[derive(Default)]
pub struct Traps {
    count: AtomicU64,
    last: Mutex<String>,
    trapped: Notify,
}

impl Traps {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What the last one was.
    #[must_use]
    pub fn last(&self) -> String {
        self.last.lock().clone()
    }

    /// Waits for one more; one that came since the last wait counts.
    pub async fn changed(&self) {
        self.trapped.notified().await;
    }

    fn add(&self, cause: &str) {
        cause.clone_into(&mut self.last.lock());
        self.count.fetch_add(1, Ordering::Relaxed);
        self.trapped.notify_one();
    }
}

/// Why a call has no answer from the plugin.
#[derive(Debug)]
pub enum CallError {
    /// Too many calls are running and waiting, or no instance could be had.
    Overloaded(Overload),
    /// The time was over.
    Timeout,
    /// The guest trapped, for the log and for whoever installs it.
    Trap(Trap),
    /// A fault of the host. The text is for the log.
    Host(String),
}

/// How a guest ended. Written out it is the cause and what the guest said last; the stack is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// Why, in a line.
    pub cause: String,
    /// The last lines that it wrote before, such as the message of a panic; may be empty.
    pub last_words: Vec<String>,
    /// Everything that is known of it, the stack of the guest included.
    pub details: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        if self.last_words.is_empty() { Ok(()) } else { write!(f, "; it said: {}", self.last_words.join(" ")) }
    }
}

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// The queue of the plugin is full.
    Queue,
    /// The wait for a turn was too long.
    Concurrency,
    /// Every instance of the host is at work, or kept for another plugin.
    Instances,
    /// The memory of all instances together is used up, or kept for another plugin.
    Memory,
    /// The plugin is being stopped.
    Stopping,
}

impl Overload {
    /// A sentence for the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Queue => "too many calls are waiting for this plugin",
            Self::Concurrency => "too many calls are running in this plugin",
            Self::Instances => "every instance of the host is at work",
            Self::Memory => "the memory for instances of the host is used up",
            Self::Stopping => "the plugin is being stopped",
        }
    }
}

impl CallError {
    /// What the client is told.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Overloaded(what) => {
                let mut problem = Problem::new(Kind::Unavailable, what.message());
                problem.retry_after_ms = Some(1_000);
                problem
            }
            Self::Timeout => Problem::new(Kind::Timeout, "the call took longer than it may"),
            Self::Trap(_) => Problem::new(Kind::Internal, "the plugin failed").with_code("PLUGIN_EXECUTION_ERROR"),
            Self::Host(_) => Problem::new(Kind::Internal, "internal"),
        }
    }
}

impl PluginRuntime {
    /// Puts a plugin together. Nothing of it runs yet.
    #[must_use]
    pub fn new(
        id: Arc<str>,
        engine: Arc<Engine>,
        pool: Arc<Pool>,
        functions: Vec<Function>,
        limits: CallLimits,
        metrics: PluginMetrics,
        tail: Arc<Tail>,
    ) -> Self {
        let running = Semaphore::new(limits.concurrency);
        let (waiting, traps) = (AtomicUsize::new(0), Arc::default());
        Self { engine, pool, functions, running, waiting, limits, metrics, traps, tail, id }
    }

    /// The plugin's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The functions that can be called, by place.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The traps of this version.
    #[must_use]
    pub fn traps(&self) -> &Arc<Traps> {
        &self.traps
    }

    /// The pool, for its figures and its end.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Makes one instance, to show that it can be made, and keeps it warm.
    ///
    /// # Errors
    /// See [`CallError`]; a start function that traps is [`CallError::Trap`].
    pub async fn prove(&self, mut call: Call) -> Result<(), CallError> {
        let deadline = Instant::now() + START_TIMEOUT;
        call.deadline = deadline;
        let _running = self.engine.enter();
        let leased = timeout_at(deadline.into(), self.lease(call)).await.unwrap_or(Err(CallError::Timeout));
        if let Err(CallError::Trap(trap)) = &leased {
            tracing::error!(plugin = %self.id, cause = trap.details, "the plugin cannot be instantiated");
        }
        leased?.keep();
        Ok(())
    }

    async fn lease(&self, call: Call) -> Result<Lease, CallError> {
        self.pool.lease(call, self.functions.len()).await.map_err(|error| match error {
            LeaseError::Full => CallError::Overloaded(Overload::Instances),
            LeaseError::NoMemory => CallError::Overloaded(Overload::Memory),
            LeaseError::Failed { error, last_words, refused } => classify(&error, refused, last_words),
        })
    }

    /// Calls the function at `place`. The function's own time limit may move the call's deadline forward, never back.
    /// Dropping the future stops the guest.
    ///
    /// # Errors
    /// See [`CallError`]. A trap is logged here, once.
    pub async fn call(&self, place: usize, params: &[Val], call: Call) -> Result<Option<Val>, CallError> {
        let function = self.functions.get(place).ok_or_else(|| CallError::Host(format!("no function {place}")))?;
        let mut record = function.metrics.start();
        let request = call.request_id;
        let outcome = self.run(function, place, params, call).await;
        match &outcome {
            Ok(_) => record.ok(),
            Err(CallError::Overloaded(limit)) => {
                record.overloaded();
                match limit {
                    Overload::Queue => self.metrics.queue_full.inc(),
                    Overload::Concurrency => self.metrics.concurrency_full.inc(),
                    Overload::Instances => self.metrics.instances_full.inc(),
                    Overload::Memory => self.metrics.total_memory_full.inc(),
                    Overload::Stopping => {}
                }
                tracing::debug!(plugin = %self.id, function = %function.name, request_id = %request, ?limit, "refused");
            }
            Err(CallError::Timeout) => {
                record.timeout();
                tracing::warn!(plugin = %self.id, function = %function.name, request_id = %request, "call timed out");
                let says = "the call took longer than it may and was stopped";
                self.tail.write(Level::Warn, says, [("function", &*function.name)], Some(request));
            }
            Err(CallError::Trap(trap)) => {
                record.trap();
                self.metrics.traps.inc();
                self.traps.add(&trap.to_string());
                let cause = &trap.details;
                tracing::error!(plugin = %self.id, function = %function.name, request_id = %request, cause, "plugin trapped");
                let fields = [("function", &*function.name), ("cause", cause.as_str())];
                self.tail.write(Level::Error, "the plugin trapped", fields, Some(request));
            }
            Err(CallError::Host(cause)) => {
                record.host_error();
                tracing::error!(plugin = %self.id, function = %function.name, request_id = %request, cause, "host fault");
                let says = "a fault of the host ended the call; the host's log has the cause";
                self.tail.write(Level::Error, says, [("function", &*function.name)], Some(request));
            }
        }
        outcome
    }

    async fn run(
        &self,
        function: &Function,
        place: usize,
        params: &[Val],
        mut call: Call,
    ) -> Result<Option<Val>, CallError> {
        let deadline = call.deadline.min(Instant::now() + function.timeout);
        call.deadline = deadline;
        // The function's own limit first: its storm waits there without holding the plugin's places.
        let _own = match &function.concurrency {
            Some(semaphore) => Some(self.admit(semaphore, deadline).await?),
            None => None,
        };
        let _permit = self.admit(&self.running, deadline).await?;
        let _running = self.engine.enter();
        let work = async {
            let mut lease = self.lease(call).await?;
            let mut results = [Val::Bool(false)];
            let results_len = usize::from(function.has_result);
            let called = {
                let (store, func) =
                    lease.function(place, &function.export).map_err(|error| CallError::Host(format!("{error:#}")))?;
                func.call_async(store, params, &mut results[..results_len]).await
            };
            match called {
                Ok(()) => {
                    lease.keep();
                    let [value] = results;
                    Ok(function.has_result.then_some(value))
                }
                Err(error) => {
                    let memory_refused = lease.memory_refused();
                    if memory_refused == Refused::Own {
                        self.metrics.memory_full.inc();
                    }
                    Err(classify(&error, memory_refused, lease.last_words()))
                }
            }
        };
        // The epoch stops a guest that computes; this stops one that waits in the host.
        timeout_at(deadline.into(), work).await.unwrap_or(Err(CallError::Timeout))
    }

    /// A turn, within the limits of the queue.
    async fn admit<'a>(&self, semaphore: &'a Semaphore, deadline: Instant) -> Result<SemaphorePermit<'a>, CallError> {
        if let Ok(permit) = semaphore.try_acquire() {
            return Ok(permit);
        }
        let _place =
            Waiting::enter(&self.waiting, self.limits.max_queue).ok_or(CallError::Overloaded(Overload::Queue))?;
        let start = Instant::now();
        let until = deadline.min(start + self.limits.queue_wait);
        let permit = timeout_at(until.into(), semaphore.acquire()).await;
        self.metrics.queue_wait.observe(start.elapsed().as_secs_f64());
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(CallError::Overloaded(Overload::Stopping)),
            Err(_) => Err(CallError::Overloaded(Overload::Concurrency)),
        }
    }
}

/// A place in the queue, given back when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) >= max {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn classify(error: &wasmtime::Error, memory_refused: Refused, last_words: Vec<String>) -> CallError {
    if error.downcast_ref::<DeadlineReached>().is_some() {
        return CallError::Timeout;
    }
    if error.downcast_ref::<HostFault>().is_some() {
        return CallError::Host(format!("{error:#}"));
    }
    // Both are a lack of the host's, whatever the guest makes of it, and no fault of this version.
    if memory_refused == Refused::Total {
        return CallError::Overloaded(Overload::Memory);
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::Overloaded(Overload::Instances);
    }
    // Everything else that ends a guest is its own doing: a trap, an exit, a value that is none of its type.
    let why = if memory_refused == Refused::Own { "out of memory (limits.memory): " } else { "" };
    let links: Vec<String> = error.chain().map(ToString::to_string).filter(|link| !link.starts_with(STACK)).collect();
    CallError::Trap(Trap {
        cause: format!("{why}{}", links.join(": ")),
        last_words,
        details: format!("{why}{error:#}"),
    })
}
