//! SQLite's result codes in the words of [`SqlError`].

use libsqlite3_sys as ffi;

use super::account::{self, Limit};
use super::control::Control;
use super::raw::Failure;
use crate::backends::sql::SqlError;

/// Where a statement failed: the same code means something else before and after it began to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// While it was compiled.
    Prepare,
    /// While its parameters were set.
    Bind,
    /// While it ran.
    Run,
}

/// Says what a failure was. What is the host's to know and not the caller's is logged here, once.
pub(super) fn translate(failure: Failure, phase: Phase, control: &Control, max_value: u64) -> SqlError {
    // The authorizer knows better than SQLite's message, whose code is sometimes a plain error.
    if let Some(sentence) = control.take_denied() {
        return SqlError::Denied(sentence.into_owned());
    }
    let Failure { code, message, offset } = failure;
    match (code, code & 0xff) {
        (ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID, _) => {
            SqlError::UniqueViolation(after_colon(message))
        }
        (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, _) => SqlError::ForeignKeyViolation(message),
        // Our commit callback refuses it: the caller has given up.
        (ffi::SQLITE_CONSTRAINT_COMMITHOOK, _) => SqlError::Timeout,
        (_, ffi::SQLITE_CONSTRAINT) => SqlError::ConstraintViolation(after_colon(message)),
        (ffi::SQLITE_BUSY_SNAPSHOT, _) | (_, ffi::SQLITE_LOCKED) => SqlError::Conflict,
        (_, ffi::SQLITE_BUSY) => SqlError::Unavailable("another process is writing to it".to_owned()),
        (_, ffi::SQLITE_INTERRUPT) => SqlError::Timeout,
        (_, ffi::SQLITE_AUTH) => SqlError::Denied(message),
        (_, ffi::SQLITE_READONLY) => SqlError::Denied("this connection only reads".to_owned()),
        (_, ffi::SQLITE_TOOBIG) => SqlError::TooLarge(max_value),
        (_, ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE) => SqlError::InvalidParameter(message),
        (_, ffi::SQLITE_ERROR) => match phase {
            Phase::Prepare => SqlError::Syntax(match offset {
                Some(offset) => format!("{message} (at byte {offset})"),
                None => message,
            }),
            // What compiled and then failed met a value that it could not use: malformed JSON, an overflow.
            Phase::Bind | Phase::Run => SqlError::InvalidParameter(message),
        },
        (_, ffi::SQLITE_FULL | ffi::SQLITE_NOMEM) => past_a_limit(code),
        (ffi::SQLITE_IOERR_NOMEM, _) => past_a_limit(ffi::SQLITE_NOMEM),
        (_, ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN) => unavailable("its file cannot be used", code, &message),
        _ => {
            tracing::error!(code, %message, "a SQLite statement failed");
            SqlError::Other("the store failed".to_owned())
        }
    }
}

/// Says why a connection could not be opened, and logs the cause.
pub(super) fn cannot_open(path: &std::path::Path, error: &rusqlite::Error) -> SqlError {
    if let Some(limit @ (Limit::Memory | Limit::TotalMemory)) = account::take_refusal() {
        return SqlError::Unavailable(sentence(limit).to_owned());
    }
    tracing::error!(path = %path.display(), %error, "a SQLite file cannot be opened");
    SqlError::Unavailable("its file cannot be opened".to_owned())
}

fn unavailable(sentence: &str, code: i32, message: &str) -> SqlError {
    tracing::error!(store = account::current().name(), code, message, "a SQLite store is not available");
    SqlError::Unavailable(sentence.to_owned())
}

/// There was no more memory or no more room. Limits of a store are counted where they refuse something; only what the
/// operator must know at once is logged.
fn past_a_limit(code: i32) -> SqlError {
    let limit = account::take_refusal();
    match limit {
        Some(Limit::Disk) => {
            tracing::error!(store = account::current().name(), "the disk is full: a store cannot write");
        }
        None if code & 0xff == ffi::SQLITE_NOMEM => {
            tracing::error!(store = account::current().name(), "the system gives SQLite no memory");
            return SqlError::Unavailable("the host has no memory".to_owned());
        }
        limit => tracing::debug!(store = account::current().name(), ?limit, "a store is at a limit"),
    }
    SqlError::Unavailable(limit.map_or("it is full (database.sqlite.max_size)", sentence).to_owned())
}

fn sentence(limit: Limit) -> &'static str {
    match limit {
        Limit::Memory => "the statement needs more memory than is left to the store (database.sqlite.max_memory)",
        Limit::TotalMemory => {
            "the stores use all the memory that they have together (database.sqlite.max_total_memory)"
        }
        Limit::Wal => "its write-ahead log is full, or the transaction is too large (database.sqlite.max_wal)",
        Limit::Temporary => {
            "the statement needs more temporary files than fit into the store (database.sqlite.max_size)"
        }
        Limit::Disk => "the disk is full",
    }
}

/// `UNIQUE constraint failed: users.email` → `users.email`.
fn after_colon(message: String) -> String {
    match message.split_once("constraint failed: ") {
        Some((_, names)) => names.to_owned(),
        None => message,
    }
}
