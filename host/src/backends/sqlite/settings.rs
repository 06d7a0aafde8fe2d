//! The settings of every SQLite store.

use std::time::Duration;

/// How much of a commit survives a power cut. A crash of the process alone loses nothing with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Every commit is on the disk before it is answered.
    #[default]
    Full,
    /// The last commits before a power cut may be lost; the file stays whole.
    Normal,
}

/// What SQL may ask of SQLite's compiler, counted before it compiles. [`Default`] gives the values named here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlLimits {
    /// Levels of parentheses, subqueries, views and common table expressions, one inside the other: 64.
    pub nesting: u32,
    /// Common table expressions of one statement: 64.
    pub common_tables: u32,
    /// Tables that a statement reads, each as often as it is named once all views, common table expressions and triggers
    /// are in their places; a window function counts for 8, a `LIKE` or `GLOB` for
    /// 16: 1,000.
    pub sources: u32,
    /// Tokens that a statement may grow by when views, common table expressions, and the expressions behind columns of
    /// subqueries are in their places: 20,000.
    pub references: u32,
    /// Tables and views of a store: 1,000.
    pub tables: u32,
    /// Indexes of a table, those of its keys included: 64.
    pub indexes: u32,
    /// Triggers of a store: 500.
    pub triggers: u32,
    /// Triggers and actions of foreign keys that one write can set off one after the other: 64.
    pub trigger_chain: u32,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            nesting: 64,
            common_tables: 64,
            sources: 1_000,
            references: 20_000,
            tables: 1_000,
            indexes: 64,
            triggers: 500,
            trigger_chain: 64,
        }
    }
}

/// The settings of every SQLite store. [`Default`] gives the values named here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    /// Threads that run statements, for all stores together: 0, which is two for each core and 8 at least. 4 at least.
    pub threads: u32,
    /// Statements of one store that may ignore their deadline before the store is refused until they end: 2.
    pub max_stuck_threads: u32,
    /// How long a write waits for another process that is writing to the same file: 5 s.
    pub busy_timeout: Duration,
    /// What a commit waits for: `Full`.
    pub synchronous: Synchronous,
    /// Connections that only read, a store: 4. They are opened when they are first needed.
    pub read_connections: u32,
    /// Calls that may wait for a connection of a store, readers and the writer each: 256. More are refused at once.
    pub max_waiting: u32,
    /// The longest a statement may take where the call's own deadline is not nearer: 5 s.
    pub statement_timeout: Duration,
    /// The longest a migration may take: 60 s.
    pub migration_timeout: Duration,
    /// Instructions of SQLite's machine that a read may take on the thread that asked, before it starts again on one of
    /// SQLite's: 2,000, about 100 µs. Counted and not timed, so that a busy machine does not move the quick ones.
    pub inline_steps: u32,
    /// Rows that a query may answer: 10,000.
    pub max_rows: u32,
    /// Bytes that a query may answer, each value counted with 16 bytes on top: 8 MiB.
    pub max_result_bytes: u64,
    /// The longest value, and the longest row, in bytes: 2 MiB.
    pub max_value_bytes: u32,
    /// The longest statement in bytes: 64 KiB.
    pub max_sql_bytes: u32,
    /// Parameters a statement may have: 1,000.
    pub max_params: u16,
    /// What SQL may ask of the compiler.
    pub limits: SqlLimits,
    /// Statements a batch may have: 1,000.
    pub max_batch: u32,
    /// Prepared statements kept for every connection: 128.
    pub statement_cache: usize,
    /// What a store's file, its write-ahead log and its temporary files may take together, in bytes: 4 GiB.
    pub max_database_bytes: u64,
    /// The size of the write-ahead log past which new reads wait until it was moved into the file, in bytes: 32 MiB.
    pub wal_checkpoint_bytes: u64,
    /// The size that the write-ahead log may reach, in bytes: 128 MiB. Writes past it are refused.
    pub max_wal_bytes: u64,
    /// Memory that SQLite may use for a store, in bytes: 64 MiB. Sorts that need more go to temporary files.
    pub max_memory_bytes: u64,
    /// Memory that SQLite may use for all stores, in bytes: 256 MiB. A store may have 4 MiB however much others use.
    pub max_total_memory_bytes: u64,
}

/// The size of a page of every store, in bytes: SQLite's default.
const PAGE: u64 = 4096;

impl SqliteSettings {
    /// What the write-ahead log may reach: half of the store's part of the disk at most.
    pub(super) fn wal_limit(&self) -> u64 {
        self.max_wal_bytes.min(self.max_database_bytes / 2)
    }

    /// The size of the log from which on it is moved into the file.
    pub(super) fn wal_checkpoint(&self) -> u64 {
        self.wal_checkpoint_bytes.min(self.wal_limit() / 2)
    }

    /// The pages in the log after which SQLite tries to move them into the file: its own 1,000, or half of what is long.
    pub(super) fn autocheckpoint_pages(&self) -> u64 {
        (self.wal_checkpoint() / PAGE / 2).clamp(1, 1_000)
    }

    /// The pages that a store's file may have: what the log leaves of the disk.
    pub(super) fn max_pages(&self) -> u32 {
        let pages = (self.max_database_bytes - self.wal_limit()) / PAGE;
        u32::try_from(pages).unwrap_or(u32::MAX - 1).clamp(1, u32::MAX - 1)
    }

    /// The pages that a connection caches, as KiB: a quarter of the store's memory for all of them, 2 MiB each at most.
    pub(super) fn cache_kib(&self) -> u64 {
        let connections = u64::from(self.read_connections.max(1)) + 1;
        (self.max_memory_bytes / 4 / connections / 1024).clamp(64, 2_000)
    }
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            max_stuck_threads: 2,
            busy_timeout: Duration::from_secs(5),
            synchronous: Synchronous::Full,
            read_connections: 4,
            max_waiting: 256,
            statement_timeout: Duration::from_secs(5),
            migration_timeout: Duration::from_secs(60),
            inline_steps: 2_000,
            max_rows: 10_000,
            max_result_bytes: 8 << 20,
            max_value_bytes: 2 << 20,
            max_sql_bytes: 64 << 10,
            max_params: 1_000,
            limits: SqlLimits::default(),
            max_batch: 1_000,
            statement_cache: 128,
            max_database_bytes: 4 << 30,
            wal_checkpoint_bytes: 32 << 20,
            max_wal_bytes: 128 << 20,
            max_memory_bytes: 64 << 20,
            max_total_memory_bytes: 256 << 20,
        }
    }
}
