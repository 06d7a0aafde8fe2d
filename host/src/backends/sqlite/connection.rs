//! One connection, used by one thread at a time: prepared statements, their limits, transactions.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use libsqlite3_sys as ffi;
use rusqlite::OpenFlags;

use super::account::Account;
use super::bounds::{self, Facts, First, Needs, Object};
use super::control::{Control, Until};
use super::errors::{Phase, cannot_open, translate};
use super::prepared::{Cache, Compiler, Run, Stop};
use super::raw::{Handle, Statement};
use super::rows::read;
use super::settings::{SqliteSettings, Synchronous};
use super::walls::Mode;
use crate::backends::sql::{Rows, SqlError, Value};

/// What an answer may be at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub rows: u32,
    pub bytes: u64,
}

/// An open connection. Statements are declared before the handle because they must be gone before it is closed.
pub(super) struct Connection {
    // Apart, because a statement is judged when it is compiled: what the host compiled is not for plugins.
    of_plugin: Cache,
    of_host: Cache,
    control: Arc<Control>,
    handle: Handle,
    account: &'static Account,
    settings: Arc<SqliteSettings>,
    /// The schema as it was when something was last compiled, and its version.
    facts: Facts,
    facts_of: Option<i64>,
}

impl Connection {
    /// Opens the file, which is made where it is not there and the connection may write.
    pub(super) fn open(
        path: &Path,
        readonly: bool,
        settings: &Arc<SqliteSettings>,
        control: Arc<Control>,
        account: &'static Account,
    ) -> Result<Self, SqlError> {
        let _entered = account.enter();
        let open = || {
            let access = match readonly {
                true => OpenFlags::SQLITE_OPEN_READ_ONLY,
                false => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            };
            let owner = rusqlite::Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            owner.busy_timeout(settings.busy_timeout)?;
            owner.execute_batch(&pragmas(readonly, settings))?;
            Handle::new(owner, Arc::clone(&control), &limits(settings))
        };
        Ok(Self {
            handle: open().map_err(|error| cannot_open(path, &error))?,
            of_plugin: Cache::new(settings.statement_cache),
            of_host: Cache::new(settings.statement_cache),
            control,
            account,
            settings: Arc::clone(settings),
            facts: Facts::default(),
            facts_of: None,
        })
    }

    /// What others may cancel its work by.
    pub(super) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The account of its store.
    pub(super) fn account(&self) -> &'static Account {
        self.account
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
            if !run.prepared.readonly {
                return Err(SqlError::Denied("a query only reads; write with `execute`".to_owned()).into());
            }
            let mut left = limits.bytes;
            let mut rows = Vec::new();
            while run.step()? {
                if rows.len() >= usize::try_from(limits.rows).unwrap_or(usize::MAX) {
                    return Err(SqlError::TooManyRows(limits.rows).into());
                }
                rows.push(read(&run.prepared.statement, &run.prepared.declared, &mut left, limits.bytes)?);
            }
            Ok(Rows { columns: Arc::clone(&run.prepared.columns), rows })
        })
    }

    /// Writes; answers how many rows were changed. A statement that only reads is denied.
    pub(super) fn execute(&mut self, mode: Mode, sql: &str, params: &[Value], until: Until) -> Result<u64, Stop> {
        self.make_room(until)?;
        self.run(mode, sql, params, until, |run| {
            if run.prepared.readonly && mode != Mode::Host {
                return Err(SqlError::Denied("this statement only reads; use `query`".to_owned()).into());
            }
            while run.step()? {}
            Ok(if run.prepared.readonly { 0 } else { run.handle.changes() })
        })
    }

    /// Runs every statement of a script, whose parameters are none and whose rows nobody wants.
    pub(super) fn script(&mut self, mode: Mode, script: &str, until: Until) -> Result<(), SqlError> {
        // SQLite would stop reading there, and what follows would go unseen.
        if script.contains('\0') {
            return Err(SqlError::Syntax("the script holds a NUL".to_owned()));
        }
        // A version that was rolled back is given again to another schema.
        self.facts_of = None;
        self.make_room(until).map_err(Stop::into_error)?;
        let _entered = self.account.enter();
        let mut rest = script;
        let mut again = 0;
        while !rest.trim_start().is_empty() {
            if mode != Mode::Host {
                let first = First::of(rest);
                let needs = first.needs();
                if needs != Needs::Nothing {
                    self.read_facts(until).map_err(Stop::into_error)?;
                }
                if needs == Needs::Schema {
                    bounds::check_schema(&self.facts, &self.settings.limits)?;
                }
                first.check(&self.facts, &self.settings.limits)?;
            }
            self.control.arm(mode, until);
            self.handle.bound_values(self.settings.max_value_bytes);
            let mut compiler = Compiler {
                handle: &mut self.handle,
                control: &self.control,
                settings: &self.settings,
                facts: &self.facts,
            };
            let (statement, taken) = compiler.prepare(rest)?;
            if let Some(mut statement) = statement {
                if statement.parameters() > 0 {
                    return Err(SqlError::InvalidParameter("a script has no parameters".to_owned()));
                }
                match run_to_end(&mut statement) {
                    Ok(()) => {}
                    Err(code) if code & 0xff == ffi::SQLITE_SCHEMA && again < COMPILE_AGAIN => {
                        again += 1;
                        continue;
                    }
                    Err(code) => return Err(self.failed(code)),
                }
            }
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        }
        if mode != Mode::Host {
            self.read_facts(until).map_err(Stop::into_error)?;
            bounds::check_schema(&self.facts, &self.settings.limits)?;
        }
        Ok(())
    }

    /// Brings what is known of the schema up to its version.
    fn read_facts(&mut self, until: Until) -> Result<(), Stop> {
        let limits = Limits { rows: 1_000_000, bytes: u64::MAX };
        let version = self.query(Mode::Host, "PRAGMA schema_version", &[], limits, until)?;
        let version = match version.rows.first().map(Vec::as_slice) {
            Some([Value::Int64(version)]) => Some(*version),
            _ => None,
        };
        if version.is_some() && self.facts_of == version {
            return Ok(());
        }
        let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema";
        let rows = self.query(Mode::Host, sql, &[], limits, until)?.rows;
        let object = |row| match <[Value; 4]>::try_from(row) {
            Ok([Value::Text(kind), Value::Text(name), Value::Text(on), Value::Text(sql)]) => {
                Some(Object { kind, name, on, sql })
            }
            _ => None,
        };
        self.facts = Facts::new(rows.into_iter().filter_map(object).collect());
        self.facts_of = version;
        Ok(())
    }

    /// Opens a transaction that may write.
    pub(super) fn begin(&mut self, until: Until) -> Result<(), Stop> {
        match self.execute(Mode::Host, "BEGIN IMMEDIATE", &[], until) {
            Ok(_) => Ok(()),
            // SQLite asks whether to go on once more when the statement is done: the transaction is open all the same.
            Err(Stop::Yielded) if self.in_transaction() => Ok(()),
            Err(stop) => {
                if until.steps.is_none() {
                    self.clean();
                }
                Err(stop)
            }
        }
    }

    /// Makes the open transaction last.
    pub(super) fn commit(&mut self) -> Result<(), SqlError> {
        let _entered = self.account.enter_to_end();
        // A commit is neither cancelled nor timed: it would be known neither as done nor as undone.
        let committed = self.execute(Mode::Host, "COMMIT", &[], unlimited());
        self.control.committed();
        committed.map(drop).map_err(Stop::into_error)
    }

    /// Leaves the connection without an open transaction; false where that failed and it must not be used again.
    pub(super) fn clean(&mut self) -> bool {
        self.facts_of = None;
        let _entered = self.account.enter_to_end();
        !self.in_transaction() || self.execute(Mode::Host, "ROLLBACK", &[], unlimited()).is_ok()
    }

    /// Moves what the write-ahead log holds into the file, except for pages that are still being read.
    pub(super) fn checkpoint(&mut self) {
        self.clean();
        if !self.cut_log() {
            tracing::debug!(store = self.account.name(), "no checkpoint at close");
        }
    }

    /// Moves the write-ahead log into the file and cuts it, without waiting for anybody; false where somebody was in the
    /// way.
    pub(super) fn cut_log(&mut self) -> bool {
        let _entered = self.account.enter_to_end();
        // Past its deadline nothing waits for a lock.
        self.control.arm(Mode::Host, Until { deadline: Instant::now(), steps: None, job: 0 });
        self.handle.cut_log()
    }

    /// Forgets what is kept to be used again.
    fn relieve(&mut self) {
        self.of_plugin.clear();
        self.of_host.clear();
        self.handle.release_memory();
    }

    fn failed(&self, code: i32) -> SqlError {
        let max_value = u64::from(self.settings.max_value_bytes);
        translate(self.handle.failure(code), Phase::Run, &self.control, max_value)
    }

    /// Runs a statement, and keeps little of it where the store's memory is tight.
    fn run<T>(
        &mut self,
        mode: Mode,
        sql: &str,
        params: &[Value],
        until: Until,
        body: impl FnMut(&mut Run<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let _entered = self.account.enter();
        let result = self.compile_and_run(mode, sql, params, until, body);
        if self.account.is_tight() {
            self.relieve();
        }
        result
    }

    /// Runs a statement. Where the tables have changed since it was compiled it is compiled again: here, as SQLite cannot
    /// do it for a statement of ours, and so never on a thread that serves others.
    fn compile_and_run<T>(
        &mut self,
        mode: Mode,
        sql: &str,
        params: &[Value],
        until: Until,
        mut body: impl FnMut(&mut Run<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let here = until.steps.is_some();
        let max_value = self.settings.max_value_bytes;
        let mut again = 0;
        loop {
            let known = if mode == Mode::Plugin { &self.of_plugin } else { &self.of_host };
            if !known.has(sql) {
                if here {
                    return Err(Stop::Yielded);
                }
                if mode != Mode::Host {
                    self.read_facts(until)?;
                }
            }
            self.control.arm(mode, until);
            let cache = if mode == Mode::Plugin { &mut self.of_plugin } else { &mut self.of_host };
            self.handle.bound_values(if here { max_value.min(VALUE_HERE) } else { max_value });
            let compiler = Compiler {
                handle: &mut self.handle,
                control: &self.control,
                settings: &self.settings,
                facts: &self.facts,
            };
            let prepared = cache.get(sql, |sql| compiler.compile(mode, sql))?;
            if here && !prepared.may_run_here() {
                return Err(Stop::Yielded);
            }
            let mut run =
                Run { prepared, handle: &self.handle, control: &self.control, max_value: u64::from(max_value) };
            let result = run.bind(params).and_then(|()| body(&mut run));
            drop(run);
            match result {
                Err(Stop::Stale) => cache.forget(sql),
                result => return result,
            }
            if here {
                return Err(Stop::Yielded);
            }
            again += 1;
            if again > COMPILE_AGAIN {
                return Err(Stop::Stale);
            }
        }
    }
}

/// The longest value, and the longest row, in bytes that a statement may meet on a thread that serves others: with it no
/// instruction takes long.
const VALUE_HERE: u32 = 64 << 10;

/// How often a statement is compiled again because the tables have changed in between, as often as SQLite would.
const COMPILE_AGAIN: u32 = 50;

fn run_to_end(statement: &mut Statement) -> Result<(), i32> {
    while statement.step()? {}
    Ok(())
}

fn pragmas(readonly: bool, settings: &SqliteSettings) -> String {
    let mut pragmas =
        format!("PRAGMA foreign_keys = ON; PRAGMA temp_store = FILE; PRAGMA cache_size = -{};", settings.cache_kib());
    if readonly {
        return pragmas + "PRAGMA query_only = ON;";
    }
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    pragmas += &format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA journal_size_limit = {}; \
         PRAGMA wal_autocheckpoint = {}; PRAGMA max_page_count = {};",
        settings.wal_checkpoint(),
        settings.autocheckpoint_pages(),
        settings.max_pages(),
    );
    pragmas
}

/// Without a time limit, for what is short and must not be cut.
pub(super) fn unlimited() -> Until {
    // Far beyond any process's life.
    let deadline = Instant::now() + std::time::Duration::from_secs(60 * 60 * 24 * 365);
    Until { deadline, steps: None, job: 0 }
}

fn limits(settings: &SqliteSettings) -> [(i32, i32); 12] {
    let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    [
        (ffi::SQLITE_LIMIT_LENGTH, int(settings.max_value_bytes)),
        // Migrations are longer than statements, whose own limit is checked before they are compiled.
        (ffi::SQLITE_LIMIT_SQL_LENGTH, int(settings.max_sql_bytes.max(1 << 20))),
        (ffi::SQLITE_LIMIT_COLUMN, 512),
        (ffi::SQLITE_LIMIT_EXPR_DEPTH, 256),
        (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 64),
        (ffi::SQLITE_LIMIT_VDBE_OP, 250_000),
        (ffi::SQLITE_LIMIT_FUNCTION_ARG, 127),
        (ffi::SQLITE_LIMIT_ATTACHED, 0),
        (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128),
        (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, int(u32::from(settings.max_params))),
        (ffi::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
        (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
    ]
}
