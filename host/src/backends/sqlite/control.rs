//! What the callbacks inside SQLite look at while a statement runs: whose it is, how long it may take, whether anybody
//! still waits for it, and what was denied.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
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
    /// again on a thread of SQLite. Only a statement that is compiled already runs there.
    pub steps: Option<u32>,
    /// The job it belongs to, for [`Control::cancel`].
    pub job: u64,
}

/// The result of giving up a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    /// It does not begin.
    BeforeItBegan,
    /// It is stopped as soon as SQLite checks, and its writes are rolled back.
    WhileItRan,
    /// It is committing, and has to be waited for.
    No,
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
    /// The last job, shifted, and how far it is: one of the phases.
    phase: AtomicU64,
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
            phase: AtomicU64::new(0),
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
        let job = self.jobs.fetch_add(1, Relaxed) + 1;
        self.phase.store(at(job, QUEUED), SeqCst);
        job
    }

    /// Begins a job on the thread that runs it; false if its caller has given up.
    pub(super) fn start(&self, job: u64) -> bool {
        !self.is_cancelled(job) && self.moves(job, QUEUED, RUNNING)
    }

    /// Whether a job has begun.
    pub(super) fn is_running(&self, job: u64) -> bool {
        self.phase.load(SeqCst) != at(job, QUEUED)
    }

    /// Gives up a job whose time is up: it does not begin, or its writes are rolled back. A job that is committing cannot be
    /// given up, because its outcome is unknown until it answers.
    pub(super) fn give_up(&self, job: u64) -> GaveUp {
        if self.moves(job, QUEUED, SKIPPED) {
            GaveUp::BeforeItBegan
        } else if self.moves(job, RUNNING, GIVEN_UP) || self.is_given_up() {
            GaveUp::WhileItRan
        } else {
            GaveUp::No
        }
    }

    /// Whether the last job was given up while it ran, so that its connection must not be used again.
    pub(super) fn is_given_up(&self) -> bool {
        self.phase.load(SeqCst) & PHASES == GIVEN_UP
    }

    /// The commit callback: whether what was written may be kept.
    pub(super) fn may_commit(&self) -> bool {
        let job = self.phase.load(SeqCst) >> PHASE_BITS;
        self.moves(job, RUNNING, COMMITTING) || !self.is_given_up()
    }

    /// A commit is over, and the job goes on.
    pub(super) fn committed(&self) {
        let job = self.phase.load(SeqCst) >> PHASE_BITS;
        self.moves(job, COMMITTING, RUNNING);
    }

    fn moves(&self, job: u64, from: u64, to: u64) -> bool {
        self.phase.compare_exchange(at(job, from), at(job, to), SeqCst, SeqCst).is_ok()
    }

    /// Whether the caller of this job went away.
    pub(super) fn is_cancelled(&self, job: u64) -> bool {
        self.cancelled_job.load(Relaxed) == job
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
        if job != 0 && self.is_cancelled(job) {
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

    /// Whether what runs is on a thread that serves others too.
    pub(super) fn shares_thread(&self) -> bool {
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

const PHASE_BITS: u32 = 3;
const PHASES: u64 = (1 << PHASE_BITS) - 1;
const QUEUED: u64 = 0;
const RUNNING: u64 = 1;
const COMMITTING: u64 = 2;
const GIVEN_UP: u64 = 3;
const SKIPPED: u64 = 4;

/// A job and its phase in one number, so that they change together.
const fn at(job: u64, phase: u64) -> u64 {
    job << PHASE_BITS | phase
}

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
