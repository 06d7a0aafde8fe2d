//! One connection, used by one thread at a time: prepared statements, their limits, transactions.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use libsqlite3_sys as ffi;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};

use super::control::{Control, Until};
use super::errors::{Phase, cannot_open, translate};
use super::raw::{Failure, Handle, Statement};
use super::rows::{Declared, read};
use super::settings::{SqliteSettings, Synchronous};
use super::walls::Mode;
use crate::backends::sql::{Rows, SqlError, Value};

/// After a read was too slow for the thread that asked, it goes straight to one that may block this many times.
const SLOW_FOR: u8 = 64;

/// Why a statement gave no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(SqlError),
    /// It took longer than a thread that serves others can give it; nothing was changed.
    Yielded,
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Failed(error)
    }
}

impl Stop {
    /// The error, where the run was not asked to yield.
    pub(super) fn into_error(self) -> SqlError {
        match self {
            Self::Failed(error) => error,
            Self::Yielded => SqlError::Timeout,
        }
    }
}

/// What an answer may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub rows: u32,
    pub bytes: u64,
}

/// An open connection. Statements are declared before the handle because they must be gone before it is closed.
pub(super) struct Connection {
    // Apart, because a statement is judged when it is compiled: what the host compiled is not for plugins.
    of_plugin: HashMap<Box<str>, Cached>,
    of_host: HashMap<Box<str>, Cached>,
    uses: u64,
    control: Arc<Control>,
    handle: Handle,
    settings: Arc<SqliteSettings>,
}

struct Cached {
    statement: Statement,
    columns: Arc<[String]>,
    declared: Box<[Declared]>,
    recompiled: i32,
    readonly: bool,
    parameters: usize,
    slow: u8,
    last_use: u64,
}

impl Connection {
    /// Opens the file, which is made where it is not there and the connection may write.
    pub(super) async fn open(path: &Path, readonly: bool, settings: &Arc<SqliteSettings>) -> Result<Self, SqlError> {
        let pages = settings.max_database_bytes / 4096;
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(readonly)
            .create_if_missing(!readonly)
            .foreign_keys(true)
            .busy_timeout(settings.busy_timeout)
            // Statements are prepared and kept here.
            .statement_cache_capacity(0)
            .disable_statement_logging()
            .pragma("temp_store", "MEMORY")
            .pragma("query_only", if readonly { "ON" } else { "OFF" })
            .thread_name(|id| format!("sqlite-{id}"));
        if !readonly {
            options = options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(match settings.synchronous {
                    Synchronous::Full => SqliteSynchronous::Full,
                    Synchronous::Normal => SqliteSynchronous::Normal,
                })
                .pragma("journal_size_limit", (64u32 << 20).to_string())
                .pragma("max_page_count", pages.clamp(1, u64::from(u32::MAX - 1)).to_string());
        }
        let owner = options.connect().await.map_err(|error| cannot_open(path, &error))?;
        let control = Arc::new(Control::new(settings.busy_timeout));
        let limits = limits(settings);
        let heap = i64::try_from(settings.max_heap_bytes).unwrap_or(i64::MAX);
        let handle = Handle::take(owner, Arc::clone(&control), &limits, heap)
            .await
            .map_err(|error| cannot_open(path, &error))?;
        Ok(Self {
            of_plugin: HashMap::new(),
            of_host: HashMap::new(),
            uses: 0,
            control,
            handle,
            settings: Arc::clone(settings),
        })
    }

    /// What others may cancel its work by.
    pub(super) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.handle.in_transaction()
    }

    /// Reads. A statement that could write is denied.
    pub(super) fn query(
        &mut self,
        mode: Mode,
        sql: &str,
        params: &[Value],
        limits: Limits,
        until: Until,
    ) -> Result<Rows, Stop> {
        self.run(mode, sql, params, until, |run| {
            if !run.cached.readonly {
                return Err(SqlError::Denied("a query only reads; write with `execute`".to_owned()).into());
            }
            let mut left = limits.bytes;
            let mut rows = Vec::new();
            while run.step()? {
                if rows.len() >= usize::try_from(limits.rows).unwrap_or(usize::MAX) {
                    return Err(SqlError::TooManyRows(limits.rows).into());
                }
                if rows.is_empty() {
                    run.cached.refresh();
                }
                rows.push(read(&run.cached.statement, &run.cached.declared, &mut left, limits.bytes)?);
            }
            run.cached.refresh();
            Ok(Rows { columns: Arc::clone(&run.cached.columns), rows })
        })
    }

    /// Writes; answers how many rows were changed. A statement that only reads is denied.
    pub(super) fn execute(&mut self, mode: Mode, sql: &str, params: &[Value], until: Until) -> Result<u64, Stop> {
        self.run(mode, sql, params, until, |run| {
            if run.cached.readonly && mode != Mode::Host {
                return Err(SqlError::Denied("this statement only reads; use `query`".to_owned()).into());
            }
            while run.step()? {}
            Ok(if run.cached.readonly { 0 } else { run.handle.changes() })
        })
    }

    /// Runs every statement of a script, whose parameters are none and whose rows nobody wants.
    pub(super) fn script(&mut self, mode: Mode, script: &str, until: Until) -> Result<(), SqlError> {
        let mut rest = script;
        while !rest.trim_start().is_empty() {
            self.control.arm(mode, until);
            let (statement, taken) = self.prepare(rest)?;
            if let Some(mut statement) = statement {
                if statement.parameters() > 0 {
                    return Err(SqlError::InvalidParameter("a script has no parameters".to_owned()));
                }
                while statement.step().map_err(|code| self.failed(code, Phase::Run))? {}
            }
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    /// Opens a transaction that may write.
    pub(super) fn begin(&mut self, until: Until) -> Result<(), Stop> {
        self.execute(Mode::Host, "BEGIN IMMEDIATE", &[], until).map(drop)
    }

    /// Makes the open transaction last.
    pub(super) fn commit(&mut self) -> Result<(), SqlError> {
        // A commit is neither cancelled nor timed: it would be known neither as done nor as undone.
        self.execute(Mode::Host, "COMMIT", &[], unlimited()).map(drop).map_err(Stop::into_error)
    }

    /// Leaves the connection without an open transaction; false where that failed and it must not be used again.
    pub(super) fn clean(&mut self) -> bool {
        !self.in_transaction() || self.execute(Mode::Host, "ROLLBACK", &[], unlimited()).is_ok()
    }

    /// Moves what the write-ahead log holds into the file and closes it.
    pub(super) async fn close(mut self) {
        self.clean();
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        if let Err(error) = self.query(Mode::Host, checkpoint, &[], Limits { rows: 1, bytes: 1024 }, unlimited()) {
            tracing::debug!(?error, "no checkpoint at close");
        }
        let Self { of_plugin, of_host, handle, .. } = self;
        drop((of_plugin, of_host));
        if let Err(error) = handle.into_owner().close().await {
            tracing::warn!(%error, "a SQLite connection did not close cleanly");
        }
    }

    fn run<T>(
        &mut self,
        mode: Mode,
        sql: &str,
        params: &[Value],
        until: Until,
        body: impl FnOnce(&mut Run<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.control.arm(mode, until);
        self.ensure_prepared(mode, sql)?;
        let max_value = u64::from(self.settings.max_value_bytes);
        let cache = if mode == Mode::Plugin { &mut self.of_plugin } else { &mut self.of_host };
        let Some(cached) = cache.get_mut(sql) else {
            return Err(SqlError::Other("a prepared statement was lost".to_owned()).into());
        };
        self.uses += 1;
        cached.last_use = self.uses;
        if until.yield_at.is_some() && cached.slow > 0 {
            cached.slow -= 1;
            return Err(Stop::Yielded);
        }
        if params.len() != cached.parameters {
            let (wanted, given) = (cached.parameters, params.len());
            let sentence = format!("the statement has {wanted} parameters and {given} were given");
            return Err(SqlError::InvalidParameter(sentence).into());
        }
        let mut run = Run { cached, handle: &self.handle, control: &self.control, max_value };
        run.bind(params)?;
        body(&mut run)
    }

    fn ensure_prepared(&mut self, mode: Mode, sql: &str) -> Result<(), Stop> {
        let cache = if mode == Mode::Plugin { &self.of_plugin } else { &self.of_host };
        if cache.contains_key(sql) {
            return Ok(());
        }
        let cached = self
            .compile(mode, sql)
            .map_err(|error| if self.control.yielded() { Stop::Yielded } else { Stop::Failed(error) })?;
        let cache = if mode == Mode::Plugin { &mut self.of_plugin } else { &mut self.of_host };
        if cache.len() >= self.settings.statement_cache.max(1) {
            let oldest = cache.iter().min_by_key(|(_, cached)| cached.last_use).map(|(sql, _)| sql.clone());
            oldest.and_then(|sql| cache.remove(&sql));
        }
        cache.insert(sql.into(), cached);
        Ok(())
    }

    /// Compiles text that must be exactly one statement.
    fn compile(&mut self, mode: Mode, sql: &str) -> Result<Cached, SqlError> {
        let limit = self.settings.max_sql_bytes;
        if sql.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(SqlError::TooLarge(u64::from(limit)));
        }
        // SQLite would stop reading there, and what follows would go unseen.
        if sql.contains('\0') {
            return Err(SqlError::Syntax("the statement holds a NUL".to_owned()));
        }
        let mut rest = sql;
        let statement = loop {
            let (statement, taken) = self.prepare(rest)?;
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            match statement {
                Some(statement) => break statement,
                None if rest.is_empty() => return Err(SqlError::Syntax("there is no statement".to_owned())),
                None => {}
            }
        };
        while !rest.trim_start().is_empty() {
            // Only compiling tells a comment from a statement; one that does not compile is one too many as well.
            match self.handle.prepare(rest) {
                Ok((None, taken)) => rest = rest.get(taken.max(1)..).unwrap_or_default(),
                Ok((Some(_), _)) | Err(_) => {
                    return Err(SqlError::Denied("a call takes exactly one statement".to_owned()));
                }
            }
        }
        // The authorizer is not asked about every statement: VACUUM is one that it would only meet later.
        if mode != Mode::Host && !statement.is_readonly() && !self.control.writes_rows() {
            return Err(SqlError::Denied("a statement reads or writes rows; this one does neither".to_owned()));
        }
        let parameters = statement.parameters();
        if let Some(index) = (1..=parameters).find(|index| statement.is_named(*index)) {
            let sentence = format!("parameter {index} has a name; write ?1, ?2 and so on");
            return Err(SqlError::InvalidParameter(sentence));
        }
        let mut cached = Cached {
            readonly: statement.is_readonly(),
            parameters: usize::try_from(parameters).unwrap_or(0),
            recompiled: statement.recompiled(),
            columns: Arc::default(),
            declared: Box::default(),
            slow: 0,
            last_use: 0,
            statement,
        };
        cached.describe();
        Ok(cached)
    }

    fn prepare(&mut self, sql: &str) -> Result<(Option<Statement>, usize), SqlError> {
        let max_sql = u64::from(self.settings.max_sql_bytes);
        self.handle.prepare(sql).map_err(|failure| translate(failure, Phase::Prepare, &self.control, max_sql))
    }

    fn failed(&self, code: i32, phase: Phase) -> SqlError {
        let max_value = u64::from(self.settings.max_value_bytes);
        translate(self.handle.failure(code), phase, &self.control, max_value)
    }
}

/// One run of a prepared statement; however it ends, the statement is reset.
struct Run<'a> {
    cached: &'a mut Cached,
    handle: &'a Handle,
    control: &'a Control,
    max_value: u64,
}

impl Run<'_> {
    fn bind(&mut self, params: &[Value]) -> Result<(), Stop> {
        for (index, value) in (1..).zip(params) {
            // SQLite would keep NULL in its place.
            if matches!(value, Value::Float64(number) if number.is_nan()) {
                return Err(SqlError::InvalidParameter(format!("parameter {index} is not a number (NaN)")).into());
            }
            let code = self.cached.statement.bind(index, value);
            if code != ffi::SQLITE_OK {
                return Err(self.failed(code, Phase::Bind).into());
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<bool, Stop> {
        match self.cached.statement.step() {
            Ok(row) => Ok(row),
            Err(_) if self.control.yielded() => {
                self.cached.slow = SLOW_FOR;
                Err(Stop::Yielded)
            }
            Err(code) => Err(self.failed(code, Phase::Run).into()),
        }
    }

    fn failed(&self, code: i32, phase: Phase) -> SqlError {
        let failure: Failure = self.handle.failure(code);
        translate(failure, phase, self.control, self.max_value)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.cached.statement.reset();
    }
}

impl Cached {
    /// Looks at the columns again where SQLite has compiled the statement anew.
    fn refresh(&mut self) {
        let recompiled = self.statement.recompiled();
        if recompiled != self.recompiled {
            self.recompiled = recompiled;
            self.describe();
        }
    }

    fn describe(&mut self) {
        let columns = 0..self.statement.columns();
        self.columns = columns.clone().map(|column| self.statement.name(column)).collect();
        self.declared = columns.map(|column| Declared::parse(&self.statement.declared(column))).collect();
    }
}

/// Without a time limit, for what is short and must not be cut.
pub(super) fn unlimited() -> Until {
    // Far beyond any process's life.
    let deadline = Instant::now() + std::time::Duration::from_secs(60 * 60 * 24 * 365);
    Until { deadline, yield_at: None, job: 0 }
}

fn limits(settings: &SqliteSettings) -> [(i32, i32); 11] {
    let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    [
        (ffi::SQLITE_LIMIT_LENGTH, int(settings.max_value_bytes)),
        // Migrations are longer than statements, whose own limit is checked before they are compiled.
        (ffi::SQLITE_LIMIT_SQL_LENGTH, int(settings.max_sql_bytes.max(1 << 20))),
        (ffi::SQLITE_LIMIT_COLUMN, 512),
        (ffi::SQLITE_LIMIT_EXPR_DEPTH, 256),
        (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 64),
        (ffi::SQLITE_LIMIT_VDBE_OP, 250_000),
        (ffi::SQLITE_LIMIT_ATTACHED, 0),
        (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256),
        (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, int(u32::from(settings.max_params))),
        (ffi::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
        (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
    ]
}
