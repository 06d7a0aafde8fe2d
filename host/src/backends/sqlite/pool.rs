//! A few connections of one kind, lent one caller at a time, and the way onto a thread that may block.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::connection::Connection;
use super::control::Control;
use super::settings::SqliteSettings;
use crate::backends::sql::SqlError;

/// Connections to one file, opened when they are first needed.
pub(super) struct Pool {
    path: PathBuf,
    readonly: bool,
    settings: Arc<SqliteSettings>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    size: u32,
    waiting: AtomicU32,
}

impl Pool {
    pub(super) fn new(path: PathBuf, readonly: bool, size: u32, settings: Arc<SqliteSettings>) -> Arc<Self> {
        let size = size.max(1);
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        let (idle, waiting) = (Mutex::default(), AtomicU32::new(0));
        Arc::new(Self { path, readonly, settings, idle, permits, size, waiting })
    }

    /// A connection, as soon as one is free and before the deadline.
    pub(super) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Lease, SqlError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => self.wait(deadline).await?,
        };
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.path, self.readonly, &self.settings).await?,
        };
        Ok(Lease { connection: Some(connection), pool: Arc::clone(self), permit: Some(permit) })
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

    /// Closes every connection, waiting up to `patience` for those that are lent.
    pub(super) async fn close(&self, patience: Duration) {
        let all = Arc::clone(&self.permits).acquire_many_owned(self.size);
        let all = tokio::time::timeout(patience, all).await;
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            connection.close().await;
        }
        drop(all);
    }
}

fn closed() -> SqlError {
    SqlError::Unavailable("it is closed".to_owned())
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
    connection: Option<Connection>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Uses the connection on this thread.
    pub(super) fn with<T, E: From<SqlError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        match &mut self.connection {
            Some(connection) => work(connection),
            None => Err(closed().into()),
        }
    }

    /// Uses the connection on a thread that may block. `work` gets the number of its job, for its time limit. When the
    /// caller goes away the work is stopped, and the connection is cleaned and given back by the thread that has it.
    pub(super) async fn with_blocking<T, F>(mut self, work: F) -> (Option<Self>, Result<T, SqlError>)
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection, u64) -> Result<T, SqlError> + Send + 'static,
    {
        let Some(control) = self.connection.as_ref().map(|connection| Arc::clone(connection.control())) else {
            return (None, Err(closed()));
        };
        let job = control.new_job();
        let cancel = CancelOnDrop { control, job };
        let done = tokio::task::spawn_blocking(move || {
            let result = self.with(|connection| work(connection, job));
            (self, result)
        });
        let answer = match done.await {
            Ok((lease, result)) => (Some(lease), result),
            Err(error) => {
                tracing::error!(%error, "work on a SQLite connection did not end");
                (None, Err(SqlError::Other("the store failed".to_owned())))
            }
        };
        drop(cancel);
        answer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(mut connection), permit) = (self.connection.take(), self.permit.take()) else { return };
        let pool = Arc::clone(&self.pool);
        let rolls_back = connection.in_transaction();
        let give_back = move || {
            if connection.clean() && !pool.permits.is_closed() {
                pool.idle.lock().push(connection);
            }
            // Last: the connection must be back before anybody is let in.
            drop(permit);
        };
        match tokio::runtime::Handle::try_current() {
            // To undo a lot takes a while.
            Ok(runtime) if rolls_back => drop(runtime.spawn_blocking(give_back)),
            _ => give_back(),
        }
    }
}

/// Stops a job when nobody waits for it any more. Job numbers are never reused, so it does no harm after the end.
struct CancelOnDrop {
    control: Arc<Control>,
    job: u64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.control.cancel(self.job);
    }
}
