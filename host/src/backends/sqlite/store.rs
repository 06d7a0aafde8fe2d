//! A store: one file, one writer, some readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::account::{self, OpenAccount};
use super::checkpoint::keep_short;
use super::connection::{Connection, Limits};
use super::control::Until;
use super::pool::{Lease, Pool};
use super::prepared::Stop;
use super::settings::SqliteSettings;
use super::threads::SqliteThreads;
use super::transaction::SqliteTransaction;
use super::walls::Mode;
use crate::backends::sql::{Rows, SqlError, Statement, Value};
use crate::telemetry::metrics::StoreUsage;

/// Whose SQL a store runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Plugins': behind every wall, and schema changes only by [`SqliteStore::migrate`].
    Plugin,
    /// The host's own: only other files and native code are out of reach.
    Host,
}

/// One SQLite file. Reads run side by side, each on a state of its own; writes run one after the other.
pub struct SqliteStore {
    name: String,
    path: PathBuf,
    pub(super) mode: Mode,
    pub(super) settings: Arc<SqliteSettings>,
    pub(super) readers: Arc<Pool>,
    writer: Arc<Pool>,
    account: OpenAccount,
    keeper: AbortOnDropHandle<()>,
}

impl SqliteStore {
    /// Opens the file, which is made where it is not there, with the host's own tables in it.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be opened; the cause is logged.
    pub async fn open(
        name: &str,
        path: &Path,
        trust: Trust,
        settings: &Arc<SqliteSettings>,
        threads: &SqliteThreads,
    ) -> Result<Self, SqlError> {
        let (reading, writing) = threads.lanes(name);
        let account = account::open(name, path, settings);
        let long_log = Arc::new(Notify::new());
        let pool = |readonly, size, lane| {
            let (path, settings, long_log) = (path.to_owned(), Arc::clone(settings), Arc::clone(&long_log));
            Pool::new(path, readonly, size, settings, lane, *account, long_log)
        };
        let (readers, writer) = (pool(true, settings.read_connections, reading), pool(false, 1, writing));
        let keeper = keep_short(Arc::clone(&readers), Arc::clone(&writer), *account, long_log, Arc::clone(settings));
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
        let store = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            mode: if trust == Trust::Host { Mode::Host } else { Mode::Plugin },
            settings: Arc::clone(settings),
            readers,
            writer,
            account,
            keeper,
        };
        store.make_host_tables().await?;
        Ok(store)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it uses, and what its limits have refused.
    #[must_use]
    pub fn usage(&self) -> StoreUsage {
        self.account.usage()
    }

    /// Reads: exactly one statement that changes nothing. A short read that is compiled already runs at once on the
    /// calling thread; what takes more than `inline_steps` starts again on a thread of SQLite.
    ///
    /// # Errors
    /// Any [`SqlError`]. `Timeout` past the nearer of `deadline` and the statement's own limit, `Unavailable` where no
    /// connection was free until then. Dropping the future stops the statement.
    pub async fn query(&self, sql: &str, params: Vec<Value>, deadline: Instant) -> Result<Rows, SqlError> {
        let until = self.until(deadline, self.settings.statement_timeout)?;
        let lease = self.readers.acquire(until.deadline).await?;
        let limits = self.limits();
        read(lease, self.mode, sql, params, limits, until, self.settings.inline_steps).await.1
    }

    /// Writes: exactly one statement, in a transaction of its own. Answers how many rows were changed.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute(&self, sql: &str, params: Vec<Value>, deadline: Instant) -> Result<u64, SqlError> {
        let until = self.until(deadline, self.settings.statement_timeout)?;
        let lease = self.writer.acquire(until.deadline).await?;
        let (mode, sql) = (self.mode, sql.to_owned());
        lease
            .on_thread(Some(until.deadline), move |connection, job| {
                connection.execute(mode, &sql, &params, Until { job, ..until }).map_err(Stop::into_error)
            })
            .await
            .1
    }

    /// Writes all of these or none; answers how many rows each changed.
    ///
    /// # Errors
    /// As [`Self::query`]; `TooLarge` for more statements than `max_batch`.
    pub async fn batch(&self, statements: Vec<Statement>, deadline: Instant) -> Result<Vec<u64>, SqlError> {
        let limit = self.settings.max_batch;
        if statements.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(SqlError::InvalidParameter(format!("a batch has at most {limit} statements")));
        }
        let until = self.until(deadline, self.settings.statement_timeout)?;
        let lease = self.writer.acquire(until.deadline).await?;
        let mode = self.mode;
        lease
            .on_thread(Some(until.deadline), move |connection, job| {
                let until = Until { job, ..until };
                connection.begin(until).map_err(Stop::into_error)?;
                let mut changed = Vec::with_capacity(statements.len());
                for statement in &statements {
                    changed.push(write_within(connection, mode, &statement.sql, &statement.params, until)?);
                }
                connection.commit()?;
                Ok(changed)
            })
            .await
            .1
    }

    /// Opens a transaction, which has the writer for itself until it is committed or dropped.
    ///
    /// # Errors
    /// `Unavailable` where another one was open until the deadline.
    pub async fn begin(&self, deadline: Instant) -> Result<SqliteTransaction, SqlError> {
        let until = self.until(deadline, self.settings.statement_timeout)?;
        let mut lease = self.writer.acquire(until.deadline).await?;
        let here = Until { steps: Some(self.settings.inline_steps), ..until };
        match lease.here(|connection| connection.begin(here)) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            // It is the first on this connection, or another process writes: wait where waiting is allowed.
            Err(Stop::Yielded | Stop::Stale) => {
                let (back, result) = lease
                    .on_thread(Some(until.deadline), move |connection, job| {
                        connection.begin(Until { job, ..until }).map_err(Stop::into_error)
                    })
                    .await;
                result?;
                lease = back.ok_or_else(|| SqlError::Other("the store failed".to_owned()))?;
            }
        }
        Ok(SqliteTransaction::new(lease, self.mode, Arc::clone(&self.settings), deadline))
    }

    /// Closes it: waits for running calls, then moves the write-ahead log into the file. It does not take longer than
    /// until the deadline; the log is kept then, and nothing is lost.
    pub async fn close(&self, deadline: Instant) {
        self.keeper.abort();
        self.readers.close(deadline).await;
        self.writer.close(deadline).await;
    }

    /// The writer, on a thread of SQLite, for work of the host itself.
    pub(super) async fn with_writer<T, F>(&self, deadline: Instant, limit: Duration, work: F) -> Result<T, SqlError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection, Until) -> Result<T, SqlError> + Send + 'static,
    {
        let until = self.until(deadline, limit)?;
        let lease = self.writer.acquire(until.deadline).await?;
        lease.on_thread(Some(until.deadline), move |connection, job| work(connection, Until { job, ..until })).await.1
    }

    fn limits(&self) -> Limits {
        Limits { rows: self.settings.max_rows, bytes: self.settings.max_result_bytes }
    }

    fn until(&self, deadline: Instant, limit: Duration) -> Result<Until, SqlError> {
        until(deadline, limit)
    }
}

/// The time limit of a statement that starts now.
pub(super) fn until(deadline: Instant, limit: Duration) -> Result<Until, SqlError> {
    let now = Instant::now();
    if now >= deadline {
        return Err(SqlError::Timeout);
    }
    Ok(Until { deadline: deadline.min(now + limit), steps: None, job: 0 })
}

/// Reads here where that is quick, else on a thread of SQLite. The lease comes back unless the read was left behind.
pub(super) async fn read(
    mut lease: Lease,
    mode: Mode,
    sql: &str,
    params: Vec<Value>,
    limits: Limits,
    until: Until,
    steps: u32,
) -> (Option<Lease>, Result<Rows, SqlError>) {
    let here = Until { steps: Some(steps), ..until };
    match lease.here(|connection| connection.query(mode, sql, &params, limits, here)) {
        Ok(rows) => return (Some(lease), Ok(rows)),
        Err(Stop::Failed(error)) => return (Some(lease), Err(error)),
        Err(Stop::Yielded | Stop::Stale) => {}
    }
    let sql = sql.to_owned();
    let reading = lease.on_thread(Some(until.deadline), move |connection, job| {
        connection.query(mode, &sql, &params, limits, Until { job, ..until }).map_err(Stop::into_error)
    });
    reading.await
}

/// A write inside an open transaction. Some failures, and `OR ROLLBACK`, end the transaction; what came after would then
/// be kept by itself, so it is refused.
pub(super) fn write_within(
    connection: &mut Connection,
    mode: Mode,
    sql: &str,
    params: &[Value],
    until: Until,
) -> Result<u64, SqlError> {
    if !connection.in_transaction() {
        return Err(rolled_back());
    }
    let result = connection.execute(mode, sql, params, until).map_err(Stop::into_error)?;
    if connection.in_transaction() { Ok(result) } else { Err(rolled_back()) }
}

pub(super) fn rolled_back() -> SqlError {
    SqlError::Other("the transaction has been rolled back".to_owned())
}
