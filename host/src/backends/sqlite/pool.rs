//! A few connections of one kind, lent one caller at a time, and the way onto the threads of SQLite.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::account::Account;
use super::connection::Connection;
use super::control::{Control, GaveUp};
use super::prepared::Stop;
use super::settings::SqliteSettings;
use super::threads::{self, Job, Lane};
use crate::backends::sql::SqlError;

/// How long after its deadline a statement may still answer: SQLite looks at the clock between instructions only.
const GRACE: Duration = Duration::from_millis(250);

/// How long what has no deadline may take before it counts as stuck: undoing, and closing.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Connections to one file, opened when they are first needed.
pub(super) struct Pool {
    path: PathBuf,
    readonly: bool,
    settings: Arc<SqliteSettings>,
    lane: Arc<Lane>,
    account: &'static Account,
    /// Rung when the log is long after a write.
    long_log: Arc<Notify>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    size: u32,
    waiting: AtomicU32,
}

impl Pool {
    pub(super) fn new(
        path: PathBuf,
        readonly: bool,
        size: u32,
        settings: Arc<SqliteSettings>,
        lane: Arc<Lane>,
        account: &'static Account,
        long_log: Arc<Notify>,
    ) -> Arc<Self> {
        let size = size.max(1);
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        let (idle, waiting) = (Mutex::default(), AtomicU32::new(0));
        Arc::new(Self { path, readonly, settings, lane, account, long_log, idle, permits, size, waiting })
    }

    /// A connection, as soon as one is free and before the deadline. It is opened by the first job on it.
    pub(super) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Lease, SqlError> {
        if self.lane.is_retired(self.size) {
            return Err(SqlError::Unavailable("statements that ignore their deadline hold it".to_owned()));
        }
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => self.wait(deadline).await?,
        };
        Ok(self.lend(permit))
    }

    fn lend(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Lease {
        let connection = self.idle.lock().pop();
        let control = match &connection {
            Some(connection) => Arc::clone(connection.control()),
            None => Arc::new(Control::new(self.settings.busy_timeout)),
        };
        Lease { connection, control, pool: Arc::clone(self), permit: Some(permit) }
    }

    /// A connection for the host itself, which waits in the same queue and is not refused because it is long.
    pub(super) async fn acquire_for_host(self: &Arc<Self>, deadline: Instant) -> Option<Lease> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout_at(deadline.into(), permit).await.ok()?.ok()?;
        Some(self.lend(permit))
    }

    /// Every place, once those who have one are done: until it is dropped nobody else gets a connection.
    pub(super) async fn hold(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let all = Arc::clone(&self.permits).acquire_many_owned(self.size);
        tokio::time::timeout_at(deadline.into(), all).await.ok()?.ok()
    }

    async fn wait(self: &Arc<Self>, deadline: Instant) -> Result<OwnedSemaphorePermit, SqlError> {
        if self.waiting.fetch_add(1, Relaxed) >= self.settings.max_waiting {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(SqlError::Unavailable("too many calls wait for it".to_owned()));
        }
        let _place = Place(&self.waiting);
        match tokio::time::timeout_at(deadline.into(), Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| closed()),
            Err(_) => Err(SqlError::Unavailable("every connection was busy until the deadline".to_owned())),
        }
    }

    /// Closes every connection. Those that are lent, and closing itself, are waited for until the deadline.
    pub(super) async fn close(&self, deadline: Instant) {
        let all = Arc::clone(&self.permits).acquire_many_owned(self.size);
        let all = tokio::time::timeout_at(deadline.into(), all).await;
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        if idle.is_empty() {
            return;
        }
        let readonly = self.readonly;
        let (send, receive) = oneshot::channel::<()>();
        self.lane.push(housekeeping(move || {
            for mut connection in idle {
                if !readonly {
                    connection.checkpoint();
                }
            }
            drop((all, send));
        }));
        let _ = tokio::time::timeout_at(deadline.into(), receive).await;
    }
}

fn closed() -> SqlError {
    SqlError::Unavailable("it is closed".to_owned())
}

/// A job that no caller waits for.
fn housekeeping(work: impl FnOnce() + Send + 'static) -> Job {
    let control = Arc::new(Control::new(Duration::ZERO));
    let number = control.new_job();
    Job { control, number, deadline: Some(Instant::now() + HOUSEKEEPING), work: Box::new(work) }
}

/// A place in the queue, given up on drop.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection on loan. Dropping it rolls back what is open and gives it to the next caller.
pub(super) struct Lease {
    // Absent until a job has opened it.
    connection: Option<Connection>,
    control: Arc<Control>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Uses the connection on this thread, which serves others too; `Yielded` where it is not open yet.
    pub(super) fn here<T>(&mut self, work: impl FnOnce(&mut Connection) -> Result<T, Stop>) -> Result<T, Stop> {
        self.connection.as_mut().map_or(Err(Stop::Yielded), work)
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::in_transaction)
    }

    /// Uses the connection on a thread of SQLite. `work` gets the number of its job, for its time limit. When the caller
    /// goes away, or the deadline passes, the work is stopped, and the connection is cleaned and given back by the thread
    /// that has it; the lease does not come back then. Work without a deadline is waited for until it ends.
    pub(super) async fn on_thread<T, F>(
        mut self,
        deadline: Option<Instant>,
        work: F,
    ) -> (Option<Self>, Result<T, SqlError>)
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection, u64) -> Result<T, SqlError> + Send + 'static,
    {
        let (control, lane) = (Arc::clone(&self.control), Arc::clone(&self.pool.lane));
        let number = control.new_job();
        let mut caller = Caller { control: Arc::clone(&control), job: Some(number) };
        let (send, mut receive) = oneshot::channel();
        let due = Some(deadline.map_or_else(|| Instant::now() + HOUSEKEEPING, |deadline| deadline + GRACE));
        lane.push(Job {
            control: Arc::clone(&control),
            number,
            deadline: due,
            work: Box::new(move || {
                let result = self.open().and_then(|connection| work(connection, number));
                // If the caller has gone, the lease is dropped here, on a thread that may block.
                let _ = send.send((self, result));
            }),
        });
        let answer = match deadline {
            None => receive.await,
            Some(deadline) => match in_time(&mut receive, deadline, &control, number).await {
                Ok(answer) => answer,
                Err(late) => return (None, Err(late)),
            },
        };
        caller.job = None;
        match answer {
            Ok((lease, result)) => (Some(lease), result),
            Err(_) => {
                tracing::error!("work on a SQLite connection did not end");
                (None, Err(SqlError::Other("the store failed".to_owned())))
            }
        }
    }

    fn open(&mut self) -> Result<&mut Connection, SqlError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let pool = &self.pool;
                Connection::open(&pool.path, pool.readonly, &pool.settings, Arc::clone(&self.control), pool.account)?
            }
        };
        Ok(self.connection.insert(connection))
    }
}

/// Waits for a job until its deadline, and for what stops itself a little longer.
async fn in_time<T>(
    receive: &mut oneshot::Receiver<T>,
    deadline: Instant,
    control: &Control,
    job: u64,
) -> Result<Result<T, RecvError>, SqlError> {
    let mut until = deadline;
    loop {
        if let Ok(answer) = tokio::time::timeout_at(until.into(), &mut *receive).await {
            return Ok(answer);
        }
        if until == deadline && control.is_running(job) {
            until = deadline + GRACE;
            continue;
        }
        match control.give_up(job) {
            GaveUp::BeforeItBegan => {
                return Err(SqlError::Unavailable(
                    "every thread for statements was busy until the deadline".to_owned(),
                ));
            }
            GaveUp::WhileItRan => return Err(SqlError::Timeout),
            // It has begun in this moment, or is committing.
            GaveUp::No => until = Instant::now() + GRACE,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(mut connection), permit) = (self.connection.take(), self.permit.take()) else { return };
        let pool = Arc::clone(&self.pool);
        if !pool.readonly && pool.account.wal_is_long() {
            pool.long_log.notify_one();
        }
        let given_up = self.control.is_given_up() || std::thread::panicking() || pool.permits.is_closed();
        if !given_up && !connection.in_transaction() {
            pool.idle.lock().push(connection);
            // Last, here and below: the connection must be back before anybody is let in.
            drop(permit);
            return;
        }
        // To undo a lot, and to close, takes a while.
        let lane = Arc::clone(&pool.lane);
        let give_back = move || {
            if given_up {
                drop(connection);
            } else if connection.clean() && !pool.permits.is_closed() {
                pool.idle.lock().push(connection);
            }
            drop(permit);
        };
        if threads::is_ours() { give_back() } else { lane.push(housekeeping(give_back)) }
    }
}

/// Stops a job when nobody waits for it any more. Job numbers are never reused, so it does no harm after the end.
struct Caller {
    control: Arc<Control>,
    job: Option<u64>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.control.cancel(job);
        }
    }
}
