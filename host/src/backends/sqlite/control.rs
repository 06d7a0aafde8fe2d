//! What the callbacks inside SQLite look at while a statement runs: whose it is, how long it may take, whether anybody
//! still waits for it, and what was denied.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::walls::{Action, Mode, judge};

/// Instructions of SQLite's machine between two looks at the clock: a few microseconds where the values are small.
pub(super) const CHECK_EVERY: i32 = 100;

/// The time after which a statement makes room on a shared thread however few its instructions were.
const SHARED_TIME: Duration = Duration::from_millis(2);

/// Times are kept as nanoseconds since this moment, so that they fit an atomic.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long a statement may run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    /// Past this it has timed out.
    pub deadline: Instant,
    /// Where it runs on a thread that serves others too: the instructions after which it is in their way and starts
    /// again on a thread that may block.
    pub steps: Option<u32>,
    /// The job it belongs to, for [`Control::cancel`].
    pub job: u64,
}

/// Shared by a connection, its callbacks and whoever may want to cancel its work.
#[derive(Debug)]
pub(super) struct Control {
    mode: AtomicU8,
    deadline: AtomicU64,
    /// Instructions left on this thread, and the time up to which they may take; none and no limit where it may block.
    steps: AtomicU32,
    yield_at: AtomicU64,
    current_job: AtomicU64,
    cancelled_job: AtomicU64,
    jobs: AtomicU64,
    yielded: AtomicBool,
    writes: AtomicBool,
    functions: AtomicU32,
    denied: Mutex<Option<Cow<'static, str>>>,
    busy_timeout: Duration,
}

impl Control {
    pub(super) fn new(busy_timeout: Duration) -> Self {
        Self {
            mode: AtomicU8::new(PLUGIN),
            deadline: AtomicU64::new(u64::MAX),
            steps: AtomicU32::new(0),
            yield_at: AtomicU64::new(u64::MAX),
            current_job: AtomicU64::new(0),
            cancelled_job: AtomicU64::new(0),
            jobs: AtomicU64::new(0),
            yielded: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            functions: AtomicU32::new(0),
            denied: Mutex::new(None),
            busy_timeout,
        }
    }

    /// A number that names one piece of work on this connection. Numbers are never used twice, so cancelling one that
    /// is over does nothing to the next.
    pub(super) fn new_job(&self) -> u64 {
        self.jobs.fetch_add(1, Relaxed) + 1
    }

    /// Stops the statement of this job, now or when it starts.
    pub(super) fn cancel(&self, job: u64) {
        self.cancelled_job.store(job, Relaxed);
    }

    /// Sets the limits of what runs next.
    pub(super) fn arm(&self, mode: Mode, until: Until) {
        self.mode.store(code(mode), Relaxed);
        self.deadline.store(nanos(until.deadline), Relaxed);
        self.steps.store(until.steps.unwrap_or(0), Relaxed);
        let yield_at = until.steps.map_or(u64::MAX, |_| nanos(Instant::now() + SHARED_TIME));
        self.yield_at.store(yield_at, Relaxed);
        self.current_job.store(until.job, Relaxed);
        self.yielded.store(false, Relaxed);
        self.writes.store(false, Relaxed);
        self.functions.store(0, Relaxed);
        *self.denied.lock() = None;
    }

    /// Whether the last run stopped because it took too long for the thread it was on.
    pub(super) fn yielded(&self) -> bool {
        self.yielded.load(Relaxed)
    }

    /// Whether a statement that was compiled since [`Control::arm`] writes rows.
    pub(super) fn writes_rows(&self) -> bool {
        self.writes.load(Relaxed)
    }

    /// Whether no single step of a statement compiled since [`Control::arm`] can take long: SQLite asks whether to go
    /// on between steps only, and some functions take their time over a value of megabytes.
    pub(super) fn has_short_steps(&self) -> bool {
        self.functions.load(Relaxed) <= SHORT_STEPS
    }

    /// What the authorizer denied since [`Control::arm`].
    pub(super) fn take_denied(&self) -> Option<Cow<'static, str>> {
        self.denied.lock().take()
    }

    /// The progress callback: whether the statement may run on.
    pub(super) fn may_go_on(&self) -> bool {
        let job = self.current_job.load(Relaxed);
        if job != 0 && self.cancelled_job.load(Relaxed) == job {
            return false;
        }
        let now = nanos(Instant::now());
        if self.shares_thread() {
            let steps = self.steps.load(Relaxed).saturating_sub(CHECK_EVERY.cast_unsigned());
            self.steps.store(steps, Relaxed);
            if steps == 0 || now >= self.yield_at.load(Relaxed) {
                self.yielded.store(true, Relaxed);
                return false;
            }
        }
        now < self.deadline.load(Relaxed)
    }

    fn shares_thread(&self) -> bool {
        self.yield_at.load(Relaxed) != u64::MAX
    }

    /// Whether the last run used up its instructions, and not only time that others may have taken.
    pub(super) fn used_its_steps(&self) -> bool {
        self.yielded() && self.steps.load(Relaxed) == 0
    }

    /// The busy callback: waits a little for another process's lock; false gives up.
    pub(super) fn wait_for_lock(&self, tries: i32) -> bool {
        if self.shares_thread() {
            self.yielded.store(true, Relaxed);
            return false;
        }
        let pause = Duration::from_millis(if tries < 10 { 1 } else { 5 });
        let waited = Duration::from_millis(u64::try_from(tries).unwrap_or(0).saturating_mul(5));
        if waited >= self.busy_timeout || !self.may_go_on() {
            return false;
        }
        std::thread::sleep(pause);
        true
    }

    /// The authorizer: whether the statement may do this.
    pub(super) fn allows(&self, action: Action<'_>) -> bool {
        match judge(mode(self.mode.load(Relaxed)), action) {
            Ok(()) => {
                if action.writes_rows() {
                    self.writes.store(true, Relaxed);
                }
                self.functions.fetch_add(action.function_cost(), Relaxed);
                true
            }
            Err(sentence) => {
                // The first denial is the one the statement fails with.
                self.denied.lock().get_or_insert(sentence);
                false
            }
        }
    }
}

/// The cost of functions up to which a statement is taken to be short at every step.
const SHORT_STEPS: u32 = 8;

const PLUGIN: u8 = 0;
const MIGRATION: u8 = 1;
const HOST: u8 = 2;

fn code(mode: Mode) -> u8 {
    match mode {
        Mode::Plugin => PLUGIN,
        Mode::Migration => MIGRATION,
        Mode::Host => HOST,
    }
}

fn mode(code: u8) -> Mode {
    match code {
        MIGRATION => Mode::Migration,
        HOST => Mode::Host,
        _ => Mode::Plugin,
    }
}

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*START).as_nanos()).unwrap_or(u64::MAX)
}
