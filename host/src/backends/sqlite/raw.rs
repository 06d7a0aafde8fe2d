//! SQLite's C interface behind safe types.
//!
//! rusqlite opens, configures and closes a connection; statements run here, on its handle. That is for the walls, which
//! need the handle anyway (authorizer, limits, the tail of a statement, declared column types), and because statements are
//! compiled by [`sqlite3_prepare`], which rusqlite has not: what it makes does not keep its text, so that SQLite cannot
//! compile it again by itself when the tables have changed. A step then runs instructions that exist already and nothing
//! else, with a stack that does not depend on the SQL, and may do so on a thread that serves others.
//!
//! Why it is sound:
//! - A handle opened without SQLite's own mutexes may move between threads as long as one thread at a time uses it.
//!   Every use goes through `&mut` of the [`Handle`] or of a [`Statement`] that lives beside it in one `Connection`.
//! - The callbacks get a pointer to [`Control`]. One `Arc` of it is in the [`Handle`], behind the connection, so that it is
//!   dropped after the connection is closed, another in every `Statement`: it outlives all that may call back. It is only
//!   read through `&`, and its fields are atomics and a mutex.
//! - A `Statement` that outlived its handle could not dangle: SQLite refuses to close a connection with open statements.
//! - Text and blobs that SQLite lends until the next step are borrowed from `&self`, and `step` takes `&mut self`.
#![expect(unsafe_code, reason = "SQLite's walls and its statements are reached through its C interface; argued above")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::control::{CHECK_EVERY, Control};
use super::functions::{Answer, Argument, Function, Kind, REPLACED};
use super::json;
use super::walls::Action;
use crate::backends::sql::Value;

/// What SQLite said when it did not do something.
#[derive(Debug)]
pub(super) struct Failure {
    /// The extended result code.
    pub code: i32,
    /// SQLite's message.
    pub message: String,
    /// The byte of the statement it is about.
    pub offset: Option<usize>,
}

/// A value of a row, lent until the next step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// An open connection behind its walls.
pub(super) struct Handle {
    db: NonNull<ffi::sqlite3>,
    // In this order: closing may call back.
    _owner: rusqlite::Connection,
    control: Arc<Control>,
}

// SAFETY: see the top of the file: one thread at a time, by `&mut`.
unsafe impl Send for Handle {}

impl Handle {
    /// Puts up the walls around an open connection: callbacks, then switches, then limits.
    pub(super) fn new(
        owner: rusqlite::Connection,
        control: Arc<Control>,
        limits: &[(c_int, c_int)],
    ) -> Result<Self, rusqlite::Error> {
        let watched = Arc::clone(&control);
        owner.progress_handler(CHECK_EVERY, Some(move || !watched.may_go_on()))?;
        let asked = Arc::clone(&control);
        owner.commit_hook(Some(move || !asked.may_commit()))?;
        let context = Arc::as_ptr(&control).cast_mut().cast::<c_void>();
        // SAFETY: the connection stays open as long as `owner` lives, and nothing else uses its handle;
        // `context` outlives it (see the top of the file).
        unsafe {
            let db = NonNull::new(owner.handle()).ok_or(rusqlite::Error::InvalidQuery)?;
            ffi::sqlite3_set_authorizer(db.as_ptr(), Some(authorize), context);
            ffi::sqlite3_busy_handler(db.as_ptr(), Some(wait_for_lock), context);
            for (switch, on) in SWITCHES {
                ffi::sqlite3_db_config(db.as_ptr(), switch, on, ptr::null_mut::<c_int>());
            }
            for function in &REPLACED {
                let (name, data) = (function.name.as_ptr(), ptr::from_ref(function).cast_mut().cast());
                let (count, flags) =
                    (function.arguments, ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS);
                ffi::sqlite3_create_function_v2(db.as_ptr(), name, count, flags, data, Some(call), None, None, None);
            }
            json::install(db.as_ptr(), &control);
            for (limit, value) in limits {
                ffi::sqlite3_limit(db.as_ptr(), *limit, *value);
            }
            Ok(Self { db, _owner: owner, control })
        }
    }

    /// Moves the write-ahead log into the file and cuts it; false where that was not done to the end.
    pub(super) fn cut_log(&mut self) -> bool {
        let (db, mode) = (self.db.as_ptr(), ffi::SQLITE_CHECKPOINT_TRUNCATE);
        // SAFETY: the handle is open; null is every database of it, and the counts are not asked for.
        let code = unsafe { ffi::sqlite3_wal_checkpoint_v2(db, ptr::null(), mode, ptr::null_mut(), ptr::null_mut()) };
        code == ffi::SQLITE_OK
    }

    /// Frees cached pages and other memory that is kept to be used again.
    pub(super) fn release_memory(&mut self) {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_db_release_memory(self.db.as_ptr()) };
    }

    /// Sets the longest value, and the longest row, in bytes that what runs next may meet.
    pub(super) fn bound_values(&mut self, bytes: u32) {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_limit(self.db.as_ptr(), ffi::SQLITE_LIMIT_LENGTH, bytes) };
    }

    /// Compiles the first statement of `sql`; answers it, or nothing where there is only blank or comment, and how many
    /// bytes it took.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<(Option<Statement>, usize), Failure> {
        let length = c_int::try_from(sql.len()).map_err(|_| Failure::of_ours("the statement is too long"))?;
        let start = sql.as_ptr().cast::<c_char>();
        let mut statement = ptr::null_mut();
        let mut tail = ptr::null();
        // SAFETY: the handle is open, `start` is readable for `length` bytes, both places are ours to be written.
        let (code, taken) = unsafe {
            let code = sqlite3_prepare(self.db.as_ptr(), start, length, &raw mut statement, &raw mut tail);
            (code, if tail.is_null() { 0 } else { tail.offset_from(start) })
        };
        if code != ffi::SQLITE_OK {
            return Err(self.failure(code));
        }
        let statement = NonNull::new(statement).map(|raw| Statement { raw, _control: Arc::clone(&self.control) });
        Ok((statement, usize::try_from(taken).unwrap_or(sql.len())))
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { ffi::sqlite3_get_autocommit(self.db.as_ptr()) == 0 }
    }

    /// The rows that the last INSERT, UPDATE or DELETE changed.
    pub(super) fn changes(&self) -> u64 {
        // SAFETY: the handle is open.
        u64::try_from(unsafe { ffi::sqlite3_changes64(self.db.as_ptr()) }).unwrap_or(0)
    }

    /// What the last call on this handle says of its failure.
    pub(super) fn failure(&self, code: c_int) -> Failure {
        // SAFETY: the handle is open; the message is a C string that is valid until the next call on the handle.
        let (message, offset) = unsafe {
            let message = CStr::from_ptr(ffi::sqlite3_errmsg(self.db.as_ptr()));
            (message.to_string_lossy().into_owned(), ffi::sqlite3_error_offset(self.db.as_ptr()))
        };
        Failure { code, message, offset: usize::try_from(offset).ok() }
    }
}

impl Failure {
    pub(super) fn of_ours(message: &str) -> Self {
        Self { code: ffi::SQLITE_ERROR, message: message.to_owned(), offset: None }
    }
}

/// A compiled statement, finalized on drop.
pub(super) struct Statement {
    raw: NonNull<ffi::sqlite3_stmt>,
    _control: Arc<Control>,
}

// SAFETY: as `Handle`.
unsafe impl Send for Statement {}

impl Statement {
    /// Whether it can change nothing.
    pub(super) fn is_readonly(&self) -> bool {
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_stmt_readonly(self.raw.as_ptr()) != 0 }
    }

    /// The highest number of its parameters.
    pub(super) fn parameters(&self) -> i32 {
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_bind_parameter_count(self.raw.as_ptr()) }
    }

    /// Whether parameter `index` (from 1) is written with a name instead of `?` or `?1`.
    pub(super) fn is_named(&self, index: i32) -> bool {
        // SAFETY: the statement is open; a name is a C string that lives as long as it.
        unsafe {
            let name = ffi::sqlite3_bind_parameter_name(self.raw.as_ptr(), index);
            !name.is_null() && CStr::from_ptr(name).to_bytes().first() != Some(&b'?')
        }
    }

    /// How many columns its rows have.
    pub(super) fn columns(&self) -> i32 {
        // SAFETY: the statement is open.
        unsafe { ffi::sqlite3_column_count(self.raw.as_ptr()) }
    }

    /// The name of a column.
    pub(super) fn name(&self, column: i32) -> String {
        // SAFETY: the statement is open; null is checked for.
        unsafe { text(ffi::sqlite3_column_name(self.raw.as_ptr(), column)) }
    }

    /// The type a column was declared with; empty for an expression.
    pub(super) fn declared(&self, column: i32) -> String {
        // SAFETY: the statement is open; null is checked for.
        unsafe { text(ffi::sqlite3_column_decltype(self.raw.as_ptr(), column)) }
    }

    /// Sets parameter `index` (from 1); SQLite keeps a copy. Answers the result code.
    pub(super) fn bind(&mut self, index: i32, value: &Value) -> c_int {
        let raw = self.raw.as_ptr();
        // SAFETY: the statement is open and not running; SQLITE_TRANSIENT makes SQLite copy before it returns.
        unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(raw, index),
                Value::Boolean(value) => ffi::sqlite3_bind_int64(raw, index, i64::from(*value)),
                Value::Int64(value) | Value::Timestamp(value) => ffi::sqlite3_bind_int64(raw, index, *value),
                Value::Float64(value) => ffi::sqlite3_bind_double(raw, index, *value),
                Value::Text(value) | Value::Json(value) => bind_text(raw, index, value),
                Value::Uuid(value) => {
                    bind_text(raw, index, value.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
                }
                Value::Bytes(value) => {
                    let (start, length) = (value.as_ptr().cast(), value.len() as u64);
                    ffi::sqlite3_bind_blob64(raw, index, start, length, ffi::SQLITE_TRANSIENT())
                }
            }
        }
    }

    /// Runs to the next row. True: there is one; false: it is done; else the result code, which is `SQLITE_SCHEMA` where
    /// the tables have changed since it was compiled.
    pub(super) fn step(&mut self) -> Result<bool, c_int> {
        // SAFETY: the statement is open.
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            // Of a statement without its text a step only says that it failed; why is said when it is reset.
            // SAFETY: as above.
            code => Err(match unsafe { ffi::sqlite3_reset(self.raw.as_ptr()) } {
                ffi::SQLITE_OK => code,
                code => code,
            }),
        }
    }

    /// Ends a run and forgets the parameters.
    pub(super) fn reset(&mut self) {
        // SAFETY: the statement is open. The code only repeats that of the last step.
        unsafe {
            ffi::sqlite3_reset(self.raw.as_ptr());
            ffi::sqlite3_clear_bindings(self.raw.as_ptr());
        }
    }

    /// A value of the row that `step` has reached.
    pub(super) fn cell(&self, column: i32) -> Cell<'_> {
        let raw = self.raw.as_ptr();
        // SAFETY: the statement is open; a column that is not there reads as null. The length is asked for after the
        // pointer, as SQLite wants it, and both hold until the next step or reset, which take `&mut self`.
        unsafe {
            match ffi::sqlite3_column_type(raw, column) {
                ffi::SQLITE_INTEGER => Cell::Integer(ffi::sqlite3_column_int64(raw, column)),
                ffi::SQLITE_FLOAT => Cell::Real(ffi::sqlite3_column_double(raw, column)),
                ffi::SQLITE_TEXT => {
                    let start = ffi::sqlite3_column_text(raw, column);
                    Cell::Text(bytes(start, ffi::sqlite3_column_bytes(raw, column)))
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_column_blob(raw, column);
                    Cell::Blob(bytes(start.cast(), ffi::sqlite3_column_bytes(raw, column)))
                }
                _ => Cell::Null,
            }
        }
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        // SAFETY: the statement is open and nobody else has it.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

unsafe extern "C" {
    /// Compiles the first statement of a text, which the statement does not keep. libsqlite3-sys has the function in its
    /// library and not in its bindings.
    fn sqlite3_prepare(
        db: *mut ffi::sqlite3,
        sql: *const c_char,
        length: c_int,
        statement: *mut *mut ffi::sqlite3_stmt,
        tail: *mut *const c_char,
    ) -> c_int;
}

/// Switches of a connection: no writes to the schema's own pages, nothing of the schema trusted, no way to other files or
/// native code, no double-quoted text.
const SWITCHES: [(c_int, c_int); 9] = [
    (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
    (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (ffi::SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0),
    (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
    (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
];

/// # Safety
/// `raw` is an open statement that is not running.
unsafe fn bind_text(raw: *mut ffi::sqlite3_stmt, index: c_int, text: &str) -> c_int {
    let (start, length) = (text.as_ptr().cast(), text.len() as u64);
    // SAFETY: by the caller; SQLite copies before it returns.
    unsafe { ffi::sqlite3_bind_text64(raw, index, start, length, ffi::SQLITE_TRANSIENT(), ffi::SQLITE_UTF8 as u8) }
}

/// # Safety
/// `start` is null or readable for `length` bytes for as long as the answer lives.
unsafe fn bytes<'a>(start: *const u8, length: c_int) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: by the caller.
        Ok(length) if !start.is_null() => unsafe { std::slice::from_raw_parts(start, length) },
        _ => &[],
    }
}

/// # Safety
/// `start` is null or a C string.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

unsafe extern "C" fn authorize(
    context: *mut c_void,
    code: c_int,
    first: *const c_char,
    second: *const c_char,
    schema: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: SQLite passes the `Control` it was given, which is alive (see the top of the file), and C strings or null
    // that are valid during this call.
    let (control, [first, second, schema]) = unsafe {
        let strings = [first, second, schema].map(|start| if start.is_null() { c"" } else { CStr::from_ptr(start) });
        (&*context.cast::<Control>(), strings.map(CStr::to_bytes))
    };
    // A name that is not UTF-8 cannot be judged.
    let [Ok(first), Ok(second), Ok(schema)] = [first, second, schema].map(std::str::from_utf8) else {
        return ffi::SQLITE_DENY;
    };
    if control.allows(Action { code, first, second, schema }) { ffi::SQLITE_OK } else { ffi::SQLITE_DENY }
}

unsafe extern "C" fn wait_for_lock(context: *mut c_void, tries: c_int) -> c_int {
    // SAFETY: as in `authorize`.
    let control = unsafe { &*context.cast::<Control>() };
    c_int::from(control.wait_for_lock(tries))
}

/// Calls the [`Function`] that the context carries.
unsafe extern "C" fn call(context: *mut ffi::sqlite3_context, count: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: SQLite passes the `Function` it was given, which is static, and `count` values, which hold while it runs
    // as nothing else converts them. Text results are copied before it returns.
    unsafe {
        let function = &*ffi::sqlite3_user_data(context).cast::<Function>();
        let values = std::slice::from_raw_parts(values, usize::try_from(count).unwrap_or(0));
        let mut arguments = [None; 3];
        for (place, value) in arguments.iter_mut().zip(values) {
            *place = argument(*value);
        }
        let limit = ffi::sqlite3_limit(ffi::sqlite3_context_db_handle(context), ffi::SQLITE_LIMIT_LENGTH, -1);
        let limit = usize::try_from(limit).unwrap_or(0);
        match (function.body)(arguments.get(..values.len()).unwrap_or_default(), limit) {
            Answer::Null => ffi::sqlite3_result_null(context),
            Answer::Integer(number) => ffi::sqlite3_result_int64(context, number),
            Answer::TooLarge => ffi::sqlite3_result_error_toobig(context),
            Answer::Blob(bytes) => {
                let (start, length) = (bytes.as_ptr().cast(), bytes.len() as u64);
                ffi::sqlite3_result_blob64(context, start, length, ffi::SQLITE_TRANSIENT());
            }
            Answer::Text(text) => {
                let (start, length, utf8) = (text.as_ptr().cast(), text.len() as u64, ffi::SQLITE_UTF8 as u8);
                ffi::sqlite3_result_text64(context, start, length, ffi::SQLITE_TRANSIENT(), utf8);
            }
        }
    }
}

/// # Safety
/// `value` is a value of a running function call, and is not converted while the answer lives.
unsafe fn argument<'a>(value: *mut ffi::sqlite3_value) -> Argument<'a> {
    // SAFETY: by the caller; the length is asked for after the pointer, as SQLite wants it.
    unsafe {
        match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_NULL => None,
            ffi::SQLITE_BLOB => {
                let start = ffi::sqlite3_value_blob(value).cast();
                Some((Kind::Blob, bytes(start, ffi::sqlite3_value_bytes(value))))
            }
            _ => {
                let start = ffi::sqlite3_value_text(value);
                Some((Kind::Text, bytes(start, ffi::sqlite3_value_bytes(value))))
            }
        }
    }
}
