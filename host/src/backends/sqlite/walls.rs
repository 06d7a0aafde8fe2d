//! What SQL may do: the decision behind SQLite's authorizer, which is asked about every action while a statement is
//! compiled. What is not named here is denied.

use std::borrow::Cow;

use libsqlite3_sys as ffi;

use super::allowed_functions::{QUICK_FUNCTIONS, TABLES, is_offered};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A plugin's statement: reads and writes rows of its own tables.
    Plugin,
    /// A plugin's migration: also makes and changes tables.
    Migration,
    /// The host's own statement.
    Host,
}

/// Tables whose names begin so belong to the host, in every store.
pub(super) const HOST_PREFIX: &str = "_arcana_";

/// Tables that exist without having been made, which answer about the file instead of the plugin's rows, and the
/// modules that read whatever table they are given.
const BUILT_IN_TABLES: &[&str] =
    &["bytecode", "dbstat", "fts3tokenize", "fts5vocab", "sqlite_dbpage", "sqlite_stmt", "tables_used"];

/// One action of a statement as the authorizer reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Action<'a> {
    /// One of SQLite's action codes.
    pub code: i32,
    /// The first detail: for most actions a table.
    pub first: &'a str,
    /// The second detail: for most actions a column; for a function its name.
    pub second: &'a str,
    /// The schema: `main`, `temp` or empty.
    pub schema: &'a str,
}

impl Action<'_> {
    /// Whether it changes rows, or the schema, which is rows too.
    pub(super) fn writes_rows(&self) -> bool {
        matches!(self.code, ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE)
    }
}

impl Action<'_> {
    /// What a function that is used adds to the time of a step: one for a quick one, a lot for any other.
    pub(super) fn function_cost(&self) -> u32 {
        match self.code {
            ffi::SQLITE_FUNCTION if QUICK_FUNCTIONS.iter().any(|name| name.eq_ignore_ascii_case(self.second)) => 1,
            ffi::SQLITE_FUNCTION => 1_000,
            // A function in the shape of a table; those that are pragmas compile SQL as they run.
            ffi::SQLITE_READ if TABLES.iter().any(|name| name.eq_ignore_ascii_case(self.first)) => 1_000,
            ffi::SQLITE_READ if starts_with_ignore_case(self.first, "pragma_") => 1_000,
            ffi::SQLITE_PRAGMA => 1_000,
            _ => 0,
        }
    }
}

/// Whether SQL of this mode may do it; else a sentence that says what is denied.
pub(super) fn judge(mode: Mode, action: Action<'_>) -> Result<(), Cow<'static, str>> {
    match action.code {
        ffi::SQLITE_ATTACH => return Err("ATTACH and VACUUM would reach another file".into()),
        ffi::SQLITE_DETACH => return Err("DETACH is not for stores".into()),
        ffi::SQLITE_FUNCTION if action.second.eq_ignore_ascii_case("load_extension") => {
            return Err("the function load_extension would run native code".into());
        }
        _ if mode == Mode::Host => return Ok(()),
        _ => {}
    }
    // Both take every table of the file where they name none, and change no row.
    let maintenance = matches!(action.code, ffi::SQLITE_ANALYZE | ffi::SQLITE_REINDEX);
    if !maintenance && (is_host_name(action.first) || is_host_name(action.second)) {
        return Err(format!("names that begin with {HOST_PREFIX} belong to the host").into());
    }
    match action.code {
        ffi::SQLITE_SELECT | ffi::SQLITE_RECURSIVE => Ok(()),
        ffi::SQLITE_FUNCTION => function(mode, action.second),
        ffi::SQLITE_READ => read(mode, action.first),
        ffi::SQLITE_INSERT | ffi::SQLITE_UPDATE | ffi::SQLITE_DELETE => write(mode, action),
        // ALTER TABLE looks by it whether the rows there are fit for a new column that is NOT NULL or has a CHECK.
        ffi::SQLITE_PRAGMA if mode == Mode::Migration && action.first.eq_ignore_ascii_case("quick_check") => Ok(()),
        ffi::SQLITE_PRAGMA => Err(format!("PRAGMA {} is set by the host alone", action.first).into()),
        ffi::SQLITE_TRANSACTION => {
            Err(format!("{} is not SQL for stores; open a transaction with `begin`", action.first).into())
        }
        ffi::SQLITE_SAVEPOINT => Err("SAVEPOINT and its kin are not for stores".into()),
        _ => schema_change(mode, action),
    }
}

fn is_host_name(name: &str) -> bool {
    starts_with_ignore_case(name, HOST_PREFIX)
}

fn function(mode: Mode, name: &str) -> Result<(), Cow<'static, str>> {
    let (lower, known) = (name.to_ascii_lowercase(), is_offered(name));
    // ALTER TABLE calls these; SQLite itself refuses them to anybody else.
    let of_alter = mode == Mode::Migration && (lower.starts_with("sqlite_rename_") || lower == "sqlite_drop_column");
    if known || of_alter { Ok(()) } else { Err(format!("the function {name} is not offered").into()) }
}

fn read(mode: Mode, table: &str) -> Result<(), Cow<'static, str>> {
    let lower = table.to_ascii_lowercase();
    if lower == "pragma_quick_check" && mode == Mode::Migration {
        return Ok(());
    }
    if lower.starts_with("pragma_") || BUILT_IN_TABLES.contains(&lower.as_str()) {
        return Err(format!("the table {table} tells of the file, not of the store").into());
    }
    if lower.starts_with("sqlite_") && mode != Mode::Migration {
        return Err(format!("the table {table} is SQLite's own").into());
    }
    Ok(())
}

fn write(mode: Mode, action: Action<'_>) -> Result<(), Cow<'static, str>> {
    // CREATE, DROP and ALTER write SQLite's tables, which is asked about first; it refuses a direct write by itself.
    if starts_with_ignore_case(action.first, "sqlite_") {
        return if mode == Mode::Migration { Ok(()) } else { Err("changing the schema is for migrations".into()) };
    }
    if action.schema.eq_ignore_ascii_case("temp") {
        return Err("temporary tables are not offered".into());
    }
    Ok(())
}

fn schema_change(mode: Mode, action: Action<'_>) -> Result<(), Cow<'static, str>> {
    let (what, in_migrations) = match action.code {
        ffi::SQLITE_CREATE_TABLE => ("CREATE TABLE", true),
        ffi::SQLITE_CREATE_INDEX => ("CREATE INDEX", true),
        ffi::SQLITE_CREATE_VIEW => ("CREATE VIEW", true),
        ffi::SQLITE_CREATE_TRIGGER => ("CREATE TRIGGER", true),
        ffi::SQLITE_DROP_TABLE => ("DROP TABLE", true),
        ffi::SQLITE_DROP_INDEX => ("DROP INDEX", true),
        ffi::SQLITE_DROP_VIEW => ("DROP VIEW", true),
        ffi::SQLITE_DROP_TRIGGER => ("DROP TRIGGER", true),
        ffi::SQLITE_ALTER_TABLE => ("ALTER TABLE", true),
        ffi::SQLITE_REINDEX => ("REINDEX", true),
        ffi::SQLITE_ANALYZE => ("ANALYZE", true),
        ffi::SQLITE_CREATE_VTABLE | ffi::SQLITE_DROP_VTABLE => ("a virtual table", false),
        ffi::SQLITE_CREATE_TEMP_TABLE
        | ffi::SQLITE_CREATE_TEMP_INDEX
        | ffi::SQLITE_CREATE_TEMP_VIEW
        | ffi::SQLITE_CREATE_TEMP_TRIGGER
        | ffi::SQLITE_DROP_TEMP_TABLE
        | ffi::SQLITE_DROP_TEMP_INDEX
        | ffi::SQLITE_DROP_TEMP_VIEW
        | ffi::SQLITE_DROP_TEMP_TRIGGER => ("a temporary table, index, view or trigger", false),
        _ => ("this statement", false),
    };
    match (mode, in_migrations) {
        (Mode::Migration, true) if starts_with_ignore_case(action.schema, "temp") => {
            Err("temporary tables are not offered".into())
        }
        (Mode::Migration, true) => Ok(()),
        (_, true) => Err(format!("{what} is for migrations").into()),
        (_, false) => Err(format!("{what} is not offered").into()),
    }
}

fn starts_with_ignore_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}
