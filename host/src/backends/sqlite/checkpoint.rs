//! How a write-ahead log is kept short.
//!
//! A log is begun again from its start only when all of it is in the file and no read uses it. SQLite tries after a
//! thousand pages and gives way to every read, so reads that overlap make the log grow for as long as they come. Here a
//! writer tries before it begins where the log is long, which is enough unless a read is under way. Otherwise new reads
//! wait: all the places of the readers are taken, in the order of the queue, until those who have one are done, and then
//! the log is moved into the file and cut. Past `max_wal` SQLite's file refuses what is written ([`super::files`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::account::Account;
use super::connection::Connection;
use super::control::Until;
use super::pool::Pool;
use super::prepared::Stop;
use super::settings::SqliteSettings;

/// How long a read may go on past the longest time of a statement before the others are let in again.
const GRACE: Duration = Duration::from_secs(1);

/// Makes new reads wait whenever the log of a store is long after a write, until it was moved into the file. Runs until
/// it is dropped.
pub(super) async fn keep_short(
    readers: Arc<Pool>,
    writer: Arc<Pool>,
    account: &'static Account,
    long: Arc<Notify>,
    settings: Arc<SqliteSettings>,
) {
    let patience = settings.statement_timeout + GRACE;
    loop {
        long.notified().await;
        // A write since then may have done it by itself.
        if !account.wal_is_long() {
            continue;
        }
        let done = checkpoint(&readers, &writer, patience).await;
        account.checkpointed(done);
        if !done {
            tracing::warn!(
                store = account.name(),
                bytes = account.wal_in_use(),
                "a write-ahead log could not be moved into its file, because a read or a write did not end"
            );
            // A read that does not end must not keep the others out all the time.
            tokio::time::sleep(patience).await;
        }
    }
}

async fn checkpoint(readers: &Arc<Pool>, writer: &Arc<Pool>, patience: Duration) -> bool {
    // First the writer, so that the log does not grow while reads are waited for.
    let Some(lease) = writer.acquire_for_host(Instant::now() + patience).await else { return false };
    let Some(_no_reads) = readers.hold(Instant::now() + patience).await else { return false };
    lease.on_thread(None, |connection, _| Ok(connection.cut_log())).await.1.unwrap_or(false)
}

impl Connection {
    /// Moves a long log into the file before a write begins, where no read is in the way.
    pub(super) fn make_room(&mut self, until: Until) -> Result<(), Stop> {
        if self.account().wal_is_long() && !self.in_transaction() {
            if until.steps.is_some() {
                return Err(Stop::Yielded);
            }
            self.cut_log();
        }
        Ok(())
    }
}
