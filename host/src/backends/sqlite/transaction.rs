//! An open transaction.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Limits;
use super::control::Until;
use super::pool::Lease;
use super::settings::SqliteSettings;
use super::store::{read, rolled_back, until, write_within};
use super::walls::Mode;
use crate::backends::sql::{Rows, SqlError, Value};

/// A transaction that may write. It has the store's only writer until it is committed or dropped; dropping it rolls it
/// back. A call whose future is dropped before it has answered ends the transaction too.
pub struct SqliteTransaction {
    // Absent once a call was left behind or the transaction has ended.
    lease: Option<Lease>,
    mode: Mode,
    settings: Arc<SqliteSettings>,
    deadline: Instant,
}

impl SqliteTransaction {
    pub(super) fn new(lease: Lease, mode: Mode, settings: Arc<SqliteSettings>, deadline: Instant) -> Self {
        Self { lease: Some(lease), mode, settings, deadline }
    }

    /// Reads, and sees what this transaction has written.
    ///
    /// # Errors
    /// As [`super::SqliteStore::query`]; `Timeout` past the deadline the transaction was opened with.
    pub async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Rows, SqlError> {
        let limits = Limits { rows: self.settings.max_rows, bytes: self.settings.max_result_bytes };
        self.read(self.mode, sql, params, limits).await
    }

    /// Writes; answers how many rows were changed.
    ///
    /// # Errors
    /// As [`Self::query`]. A failed statement leaves nothing; the transaction goes on where the database allows it.
    pub async fn execute(&mut self, sql: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.write(self.mode, sql, params).await
    }

    /// Reads with the host's own SQL, whose walls are lifted. Never pass text of a plugin.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn host_query(&mut self, sql: &'static str, params: Vec<Value>) -> Result<Rows, SqlError> {
        self.read(Mode::Host, sql, params, Limits { rows: u32::MAX, bytes: u64::MAX }).await
    }

    /// Writes with the host's own SQL, whose walls are lifted. Never pass text of a plugin.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn host_execute(&mut self, sql: &'static str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.write(Mode::Host, sql, params).await
    }

    /// Makes every write last. When this has answered, a crash does not lose them.
    ///
    /// # Errors
    /// What a deferred constraint says, or that the transaction has been rolled back. Nothing was kept then.
    pub async fn commit(mut self) -> Result<(), SqlError> {
        let lease = self.lease.take().ok_or_else(rolled_back)?;
        if Instant::now() >= self.deadline {
            return Err(SqlError::Timeout);
        }
        lease
            .on_thread(
                None,
                |connection, _| {
                    if connection.in_transaction() { connection.commit() } else { Err(rolled_back()) }
                },
            )
            .await
            .1
    }

    async fn read(&mut self, mode: Mode, sql: &str, params: Vec<Value>, limits: Limits) -> Result<Rows, SqlError> {
        let until = self.until()?;
        let lease = self.lease.take().ok_or_else(rolled_back)?;
        if !lease.in_transaction() {
            return Err(rolled_back());
        }
        let (lease, result) = read(lease, mode, sql, params, limits, until, self.settings.inline_steps).await;
        self.lease = lease;
        result
    }

    async fn write(&mut self, mode: Mode, sql: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        let until = self.until()?;
        let lease = self.lease.take().ok_or_else(rolled_back)?;
        let sql = sql.to_owned();
        let (lease, result) = lease
            .on_thread(Some(until.deadline), move |connection, job| {
                write_within(connection, mode, &sql, &params, Until { job, ..until })
            })
            .await;
        self.lease = lease;
        result
    }

    fn until(&self) -> Result<Until, SqlError> {
        until(self.deadline, self.settings.statement_timeout)
    }
}
