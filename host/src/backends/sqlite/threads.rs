//! The threads that SQLite runs on: one bounded set for all stores.
//!
//! Nothing compiles SQL, and nothing runs it for long, anywhere else. Each store has two lanes, one for its readers and
//! one for its writer. A lane has a number of places, which is what it may use of the threads at once; lanes with work
//! take turns. Jobs of a lane start in the order in which they came.
//!
//! A job that goes on past its deadline cannot be ended: SQLite asks whether to go on between two instructions only. The
//! watch counts it as stuck: its thread no longer counts as one of the set, another one takes its place, and a store with
//! too many of them is refused until they end. Nothing waits for these threads, the end of the process included.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::control::Control;
use super::settings::SqliteSettings;
use crate::telemetry::metrics::SqliteMetrics;

/// The stack of each thread, in bytes. SQLite's parser is bounded, its compiler recurses over what it has parsed: 64 KiB,
/// the longest statement, nest some 5,000 subqueries in 2 MiB of stack, and a script of 1 MiB, the longest migration, makes
/// a chain of cascading foreign keys that takes some 22 MiB (9,000 of them, in 619 KB, took 12.8 MiB; without the limits that refuse both). It is address
/// space: only what is touched takes memory, and a thread without work gives it back by ending.
const STACK: usize = 64 << 20;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How often the watch looks at the jobs that run.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// How long after its deadline, or after its caller went away, a job counts as stuck. Generous, because a busy machine
/// must not retire a store.
const PATIENCE: Duration = Duration::from_secs(1);

/// The threads that the stores of a host share. A clone is the same set.
#[derive(Clone)]
pub struct SqliteThreads(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    wanted: Condvar,
    most: usize,
    max_stuck: u32,
    idle: Duration,
    metrics: SqliteMetrics,
}

#[derive(Default)]
struct State {
    /// Lanes with a job and a place for it, each once.
    turn: VecDeque<Arc<Lane>>,
    running: Vec<Running>,
    /// Threads that work or wait for work, without stuck ones.
    threads: usize,
    idle: usize,
    stuck: usize,
    watched: bool,
    started: u64,
}

/// A job that runs.
struct Running {
    thread: u64,
    lane: Arc<Lane>,
    control: Arc<Control>,
    job: u64,
    due: Option<Instant>,
    cancelled: Option<Instant>,
    stuck: bool,
}

/// A piece of work on a connection.
pub(super) struct Job {
    /// The control and the number that the job runs under. It does not begin if its caller has given up.
    pub control: Arc<Control>,
    pub number: u64,
    /// When it should have ended; none for what is not timed.
    pub deadline: Option<Instant>,
    pub work: Box<dyn FnOnce() + Send>,
}

/// The share of the threads that one store's readers, or its writer, may use.
pub(super) struct Lane {
    threads: SqliteThreads,
    store: Arc<Share>,
    places: usize,
    stuck: AtomicU32,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Instant, Job)>,
    working: usize,
    /// Whether the lane is in [`State::turn`].
    in_turn: bool,
}

/// The state that both lanes of a store share.
pub(super) struct Share {
    name: String,
    stuck: AtomicU32,
}

thread_local! {
    static IS_OURS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this is one of these threads, so that SQLite may take its time here.
pub(super) fn is_ours() -> bool {
    IS_OURS.get()
}

impl SqliteThreads {
    /// A set of threads as these settings say; none is started yet.
    #[must_use]
    pub fn new(settings: &SqliteSettings, metrics: SqliteMetrics) -> Self {
        Self::with_idle(settings, IDLE, metrics)
    }

    pub(super) fn with_idle(settings: &SqliteSettings, idle: Duration, metrics: SqliteMetrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most = match settings.threads {
            // Commits wait for the disk more than they compute.
            0 => cores.saturating_mul(2).clamp(8, 64),
            threads => usize::try_from(threads).unwrap_or(4).max(4),
        };
        let (state, wanted) = (Mutex::default(), Condvar::new());
        let max_stuck = settings.max_stuck_threads.max(1);
        Self(Arc::new(Inner { state, wanted, most, max_stuck, idle, metrics }))
    }

    /// The lanes of a store for its readers and for its writer: half of the threads together.
    pub(super) fn lanes(&self, store: &str) -> (Arc<Lane>, Arc<Lane>) {
        let store = Arc::new(Share { name: store.to_owned(), stuck: AtomicU32::new(0) });
        let lane = |places| {
            let (threads, store) = (self.clone(), Arc::clone(&store));
            Arc::new(Lane { threads, store, places, stuck: AtomicU32::new(0), queue: Mutex::default() })
        };
        (lane((self.0.most / 2).saturating_sub(1).max(1)), lane(1))
    }
}

impl Lane {
    /// Queues a job.
    pub(super) fn push(self: &Arc<Self>, job: Job) {
        let inner = &self.threads.0;
        let mut state = inner.state.lock();
        self.queue.lock().jobs.push_back((Instant::now(), job));
        inner.metrics.queued.inc();
        state.line_up(self);
        let watch = !std::mem::replace(&mut state.watched, true);
        inner.wake(state);
        if watch {
            let watched = Arc::clone(inner);
            if !spawn("sqlite-watch".to_owned(), 256 << 10, move || watch_over(&watched)) {
                inner.state.lock().watched = false;
            }
        }
    }

    /// Whether so many statements do not end that no more are taken on: of the store, or on every connection of this lane.
    pub(super) fn is_retired(&self, connections: u32) -> bool {
        self.store.stuck.load(Relaxed) >= self.threads.0.max_stuck || self.stuck.load(Relaxed) >= connections
    }

    fn next_job(&self) -> Option<(Instant, Job)> {
        let mut queue = self.queue.lock();
        queue.in_turn = false;
        let job = queue.jobs.pop_front()?;
        queue.working += 1;
        Some(job)
    }

    fn left_a_place(&self) {
        let mut queue = self.queue.lock();
        queue.working = queue.working.saturating_sub(1);
    }
}

impl State {
    /// Lets a lane wait for its turn where it has a job and a place, and does not wait yet.
    fn line_up(&mut self, lane: &Arc<Lane>) {
        let mut queue = lane.queue.lock();
        if !queue.in_turn && !queue.jobs.is_empty() && queue.working < lane.places {
            queue.in_turn = true;
            self.turn.push_back(Arc::clone(lane));
        }
    }
}

impl Inner {
    /// Gives a lane whose turn it is a thread, if there may be one.
    fn wake(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let wanted = state.turn.len();
        if wanted == 0 {
            return;
        }
        let room = state.threads < self.most && state.threads + state.stuck < self.most.saturating_mul(2);
        if wanted > state.idle && room {
            state.threads += 1;
            state.started += 1;
            let (number, inner) = (state.started, Arc::clone(self));
            drop(state);
            if !spawn(format!("sqlite-{number}"), STACK, move || inner.work(number)) {
                self.state.lock().threads -= 1;
            }
        } else {
            drop(state);
            self.wanted.notify_one();
        }
    }

    /// A thread of the set: works until there has been nothing to do for a while.
    fn work(self: &Arc<Self>, thread: u64) {
        IS_OURS.set(true);
        let mut state = self.state.lock();
        loop {
            let next = state.turn.pop_front().and_then(|lane| lane.next_job().map(|job| (lane, job)));
            let Some((lane, (since, job))) = next else {
                state.idle += 1;
                self.metrics.idle.inc();
                let woken = !self.wanted.wait_for(&mut state, self.idle).timed_out();
                state.idle -= 1;
                self.metrics.idle.dec();
                if woken || !state.turn.is_empty() {
                    continue;
                }
                state.threads -= 1;
                return;
            };
            let Job { control, number, deadline, work } = job;
            state.running.push(Running {
                thread,
                lane: Arc::clone(&lane),
                control: Arc::clone(&control),
                job: number,
                due: deadline.map(|deadline| deadline + PATIENCE),
                cancelled: None,
                stuck: false,
            });
            state.line_up(&lane);
            self.wake(state);
            self.metrics.queued.dec();
            self.metrics.wait.observe(since.elapsed().as_secs_f64());
            self.metrics.running.inc();
            // A fault in one job must not take the thread from the others. The connection is given up on the way.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if control.start(number) {
                    work();
                }
            }));
            state = self.state.lock();
            let at = state.running.iter().position(|running| running.thread == thread);
            if at.map(|at| state.running.swap_remove(at)).is_some_and(|ended| ended.stuck) {
                state.stuck -= 1;
                self.metrics.stuck.dec();
                lane.stuck.fetch_sub(1, Relaxed);
                lane.store.stuck.fetch_sub(1, Relaxed);
                tracing::warn!(store = lane.store.name, "a statement that ignored its deadline has ended");
                self.wake(state);
                return;
            }
            self.metrics.running.dec();
            lane.left_a_place();
            state.line_up(&lane);
        }
    }

    /// Counts the jobs that should have ended as stuck. False where nothing is left to be watched.
    fn look(self: &Arc<Self>, now: Instant) -> bool {
        let mut state = self.state.lock();
        let mut late = Vec::new();
        for running in state.running.iter_mut().filter(|running| !running.stuck) {
            if running.cancelled.is_none() && running.control.is_cancelled(running.job) {
                running.cancelled = Some(now);
            }
            let overdue = running.due.is_some_and(|due| now > due);
            if overdue || running.cancelled.is_some_and(|since| now > since + PATIENCE) {
                running.stuck = true;
                // From here on its writes are rolled back, and its connection is not used again.
                running.control.give_up(running.job);
                late.push(Arc::clone(&running.lane));
            }
        }
        for lane in &late {
            state.threads -= 1;
            state.stuck += 1;
            self.metrics.running.dec();
            self.metrics.stuck.inc();
            self.metrics.overruns.inc();
            lane.stuck.fetch_add(1, Relaxed);
            let (store, stuck) = (&lane.store.name, lane.store.stuck.fetch_add(1, Relaxed) + 1);
            tracing::error!(store, stuck, "a statement ignores its deadline; its thread and connection are given up");
            if stuck == self.max_stuck {
                self.metrics.retired.inc();
                tracing::error!(store, "the store is refused until its statements end");
            }
            lane.left_a_place();
            state.line_up(lane);
        }
        let last = state.threads == 0 && state.stuck == 0 && state.turn.is_empty();
        state.watched = !last;
        for _ in 1..late.len() {
            self.wake(state);
            state = self.state.lock();
        }
        self.wake(state);
        !last
    }
}

fn watch_over(inner: &Arc<Inner>) {
    loop {
        std::thread::sleep(WATCH_EVERY);
        if !inner.look(Instant::now()) {
            return;
        }
    }
}

/// Starts a thread that nothing waits for.
fn spawn(name: String, stack: usize, body: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new().name(name).stack_size(stack).spawn(body);
    started.inspect_err(|error| tracing::error!(%error, "a thread for SQLite cannot be started")).is_ok()
}
