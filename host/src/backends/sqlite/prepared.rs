//! Prepared statements: how they are checked when they are compiled, kept, and run.

use std::collections::HashMap;
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::bounds::{self, Facts};
use super::control::Control;
use super::errors::{Phase, translate};
use super::raw::{Handle, Statement};
use super::rows::Declared;
use super::settings::SqliteSettings;
use super::walls::Mode;
use crate::backends::sql::{SqlError, Value};

/// After a statement was too long for the thread that asked, it goes straight to one of SQLite's this many times, and
/// twice as many each time it is too long again.
const LONG_FOR: u32 = 64;

/// Why a statement gave no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(SqlError),
    /// It is not for a thread that serves others: it is not compiled yet, or took longer than such a thread can give it.
    /// Nothing was changed.
    Yielded,
    /// The tables have changed since it was compiled; nothing was changed.
    Stale,
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
            Self::Stale => SqlError::Unavailable("its tables change all the time".to_owned()),
        }
    }
}

/// The statements of one connection and one kind of caller.
pub(super) struct Cache {
    statements: HashMap<Box<str>, Prepared>,
    capacity: usize,
    uses: u64,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { statements: HashMap::new(), capacity: capacity.max(1), uses: 0 }
    }

    /// Whether the statement with this text is compiled.
    pub(super) fn has(&self, sql: &str) -> bool {
        self.statements.contains_key(sql)
    }

    /// Lets go of a statement, which is compiled again when it is asked for next.
    pub(super) fn forget(&mut self, sql: &str) {
        self.statements.remove(sql);
    }

    /// Forgets every statement.
    pub(super) fn clear(&mut self) {
        self.statements.clear();
    }

    /// The statement with this text, compiled where it is not there; the one that was not used for longest makes room.
    pub(super) fn get(
        &mut self,
        sql: &str,
        compile: impl FnOnce(&str) -> Result<Prepared, Stop>,
    ) -> Result<&mut Prepared, Stop> {
        if !self.has(sql) {
            let prepared = compile(sql)?;
            if self.statements.len() >= self.capacity {
                let oldest = self.statements.iter().min_by_key(|(_, prepared)| prepared.last_use);
                let oldest = oldest.map(|(sql, _)| sql.clone());
                oldest.and_then(|sql| self.statements.remove(&sql));
            }
            self.statements.insert(sql.into(), prepared);
        }
        self.uses += 1;
        match self.statements.get_mut(sql) {
            Some(prepared) => {
                prepared.last_use = self.uses;
                Ok(prepared)
            }
            None => Err(SqlError::Other("a prepared statement was lost".to_owned()).into()),
        }
    }
}

/// A compiled statement and what is known of it.
pub(super) struct Prepared {
    pub statement: Statement,
    pub columns: Arc<[String]>,
    pub declared: Box<[Declared]>,
    pub readonly: bool,
    parameters: usize,
    /// Whether every step of it is short, so that it can be stopped in time.
    short_steps: bool,
    /// How often it is still kept off threads that must not block, and how often it will be when it is long again.
    long: u32,
    long_next: u32,
    last_use: u64,
}

impl Prepared {
    /// Whether it may be tried on a thread that serves others too.
    pub(super) fn may_run_here(&mut self) -> bool {
        let long = self.long > 0;
        self.long = self.long.saturating_sub(1);
        self.short_steps && !long
    }

    /// Keeps it off such threads for a while.
    fn was_long(&mut self) {
        self.long = self.long_next;
        self.long_next = self.long_next.saturating_mul(2);
    }

    fn describe(&mut self) {
        let columns = 0..self.statement.columns();
        self.columns = columns.clone().map(|column| self.statement.name(column)).collect();
        self.declared = columns.map(|column| Declared::parse(&self.statement.declared(column))).collect();
    }
}

/// Compiles on an open connection whose control has been armed.
pub(super) struct Compiler<'a> {
    pub handle: &'a mut Handle,
    pub control: &'a Control,
    pub settings: &'a SqliteSettings,
    pub facts: &'a Facts,
}

impl Compiler<'_> {
    /// Compiles text that must be exactly one statement.
    pub(super) fn compile(mut self, mode: Mode, sql: &str) -> Result<Prepared, Stop> {
        let limit = self.settings.max_sql_bytes;
        if sql.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(SqlError::TooLarge(u64::from(limit)).into());
        }
        // SQLite would stop reading there, and what follows would go unseen.
        if sql.contains('\0') {
            return Err(SqlError::Syntax("the statement holds a NUL".to_owned()).into());
        }
        if mode != Mode::Host {
            bounds::check(sql, self.facts, &self.settings.limits)?;
        }
        let statement = self.only_statement(sql).map_err(|error| match self.control.yielded() {
            true => Stop::Yielded,
            false => Stop::Failed(error),
        })?;
        // The authorizer is not asked about every statement: VACUUM is one that it would only meet later.
        if mode != Mode::Host && !statement.is_readonly() && !self.control.writes_rows() {
            return Err(SqlError::Denied("a statement reads or writes rows; this one does neither".to_owned()).into());
        }
        let parameters = statement.parameters();
        if let Some(index) = (1..=parameters).find(|index| statement.is_named(*index)) {
            let sentence = format!("parameter {index} has a name; write ?1, ?2 and so on");
            return Err(SqlError::InvalidParameter(sentence).into());
        }
        let mut prepared = Prepared {
            readonly: statement.is_readonly(),
            parameters: usize::try_from(parameters).unwrap_or(0),
            short_steps: self.control.has_short_steps(),
            columns: Arc::default(),
            declared: Box::default(),
            long: 0,
            long_next: LONG_FOR,
            last_use: 0,
            statement,
        };
        prepared.describe();
        Ok(prepared)
    }

    /// Compiles the first statement of a text; see [`Handle::prepare`].
    pub(super) fn prepare(&mut self, sql: &str) -> Result<(Option<Statement>, usize), SqlError> {
        let max_sql = u64::from(self.settings.max_sql_bytes);
        self.handle.prepare(sql).map_err(|failure| translate(failure, Phase::Prepare, self.control, max_sql))
    }

    fn only_statement(&mut self, sql: &str) -> Result<Statement, SqlError> {
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
        Ok(statement)
    }
}

/// One run of a prepared statement; however it ends, the statement is reset.
pub(super) struct Run<'a> {
    pub prepared: &'a mut Prepared,
    pub handle: &'a Handle,
    pub control: &'a Control,
    pub max_value: u64,
}

impl Run<'_> {
    /// Sets the parameters, which must be as many as the statement has.
    pub(super) fn bind(&mut self, params: &[Value]) -> Result<(), Stop> {
        let (wanted, given) = (self.prepared.parameters, params.len());
        if given != wanted {
            let sentence = format!("the statement has {wanted} parameters and {given} were given");
            return Err(SqlError::InvalidParameter(sentence).into());
        }
        for (index, value) in (1..).zip(params) {
            // SQLite would keep NULL in its place.
            if matches!(value, Value::Float64(number) if number.is_nan()) {
                return Err(SqlError::InvalidParameter(format!("parameter {index} is not a number (NaN)")).into());
            }
            let code = self.prepared.statement.bind(index, value);
            if code != ffi::SQLITE_OK {
                return Err(self.stopped(code, Phase::Bind));
            }
        }
        Ok(())
    }

    /// Runs to the next row; false at the end.
    pub(super) fn step(&mut self) -> Result<bool, Stop> {
        match self.prepared.statement.step() {
            Ok(row) => Ok(row),
            Err(code) => Err(self.stopped(code, Phase::Run)),
        }
    }

    fn stopped(&mut self, code: i32, phase: Phase) -> Stop {
        if self.control.yielded() {
            if self.control.used_its_steps() {
                self.prepared.was_long();
            }
            return Stop::Yielded;
        }
        match code & 0xff {
            ffi::SQLITE_SCHEMA => Stop::Stale,
            // Longer than values may be here; elsewhere it may be all right.
            ffi::SQLITE_TOOBIG if self.control.shares_thread() => {
                self.prepared.was_long();
                Stop::Yielded
            }
            _ => self.failed(code, phase).into(),
        }
    }

    fn failed(&self, code: i32, phase: Phase) -> SqlError {
        translate(self.handle.failure(code), phase, self.control, self.max_value)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.prepared.statement.reset();
    }
}
