//! The connection without a file on which SQLite's own functions run.
//!
//! Why it is sound: a calculator belongs to one connection, whose functions alone reach it, so one thread at a time uses
//! it. Its statements are finalized before it is closed, and values that it lends are copied by SQLite before the next
//! step.
#![expect(unsafe_code, reason = "functions of SQLite are called through its C interface; argued above")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::ptr;

use libsqlite3_sys as ffi;

/// The statements that are kept for the next call.
const KEPT: usize = 64;

/// A connection without a file, opened when it is first needed.
pub(super) struct Calculator {
    db: Cell<*mut ffi::sqlite3>,
    /// Statements that nobody uses now, by their text.
    idle: RefCell<HashMap<String, Vec<*mut ffi::sqlite3_stmt>>>,
}

impl Calculator {
    pub(super) fn new() -> Self {
        Self { db: Cell::new(ptr::null_mut()), idle: RefCell::default() }
    }

    /// A statement with this text, to be given back; a result code where there is none. Values are as long as those of
    /// the connection it is for.
    ///
    /// # Safety
    /// `of` is an open connection.
    pub(super) unsafe fn take(&self, sql: &str, of: *mut ffi::sqlite3) -> Result<*mut ffi::sqlite3_stmt, c_int> {
        // SAFETY: `of` is open by the caller, ours is where opening it says so; all places are ours to be written.
        unsafe {
            if self.db.get().is_null() {
                let mut db = ptr::null_mut();
                let flags = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_MEMORY | ffi::SQLITE_OPEN_NOMUTEX;
                let code = ffi::sqlite3_open_v2(c":memory:".as_ptr(), &raw mut db, flags, ptr::null());
                if code != ffi::SQLITE_OK {
                    ffi::sqlite3_close(db);
                    return Err(code);
                }
                self.db.set(db);
            }
            let limit = ffi::sqlite3_limit(of, ffi::SQLITE_LIMIT_LENGTH, -1);
            ffi::sqlite3_limit(self.db.get(), ffi::SQLITE_LIMIT_LENGTH, limit);
            let idle = self.idle.borrow_mut().get_mut(sql).and_then(Vec::pop);
            if let Some(statement) = idle {
                return Ok(statement);
            }
            let Ok(text) = CString::new(sql) else { return Err(ffi::SQLITE_ERROR) };
            let mut statement = ptr::null_mut();
            match ffi::sqlite3_prepare_v2(self.db.get(), text.as_ptr(), -1, &raw mut statement, ptr::null_mut()) {
                ffi::SQLITE_OK => Ok(statement),
                code => Err(code),
            }
        }
    }

    /// Takes a statement back.
    ///
    /// # Safety
    /// The statement was taken with this text and is not used any more.
    pub(super) unsafe fn give(&self, sql: &str, statement: *mut ffi::sqlite3_stmt) {
        // SAFETY: by the caller.
        unsafe {
            ffi::sqlite3_reset(statement);
            ffi::sqlite3_clear_bindings(statement);
            let mut idle = self.idle.borrow_mut();
            if idle.len() >= KEPT && !idle.contains_key(sql) {
                ffi::sqlite3_finalize(statement);
                return;
            }
            let list = idle.entry(sql.to_owned()).or_default();
            if list.len() < 4 {
                list.push(statement);
            } else {
                ffi::sqlite3_finalize(statement);
            }
        }
    }

    /// Ends the function with the failure of the last call here.
    ///
    /// # Safety
    /// `context` is that of a running function.
    pub(super) unsafe fn fail(&self, context: *mut ffi::sqlite3_context, code: c_int) {
        // SAFETY: `context` by the caller; the message holds until the next call on our connection.
        unsafe {
            match code & 0xff {
                ffi::SQLITE_TOOBIG => ffi::sqlite3_result_error_toobig(context),
                ffi::SQLITE_NOMEM => ffi::sqlite3_result_error_nomem(context),
                _ => {
                    let message = self.message();
                    ffi::sqlite3_result_error(context, message.as_ptr(), -1);
                }
            }
        }
    }

    /// What the last call here says of its failure.
    pub(super) fn message(&self) -> CString {
        if self.db.get().is_null() {
            return c"out of memory".to_owned();
        }
        // SAFETY: the connection is open; the message is copied.
        unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.db.get())) }.to_owned()
    }
}

impl Drop for Calculator {
    fn drop(&mut self) {
        for statement in self.idle.take().into_values().flatten() {
            // SAFETY: the statement is open and nobody else has it.
            unsafe { ffi::sqlite3_finalize(statement) };
        }
        // SAFETY: the connection is open, or null, which is fine; every statement is finalized by now.
        unsafe { ffi::sqlite3_close(self.db.get()) };
    }
}
