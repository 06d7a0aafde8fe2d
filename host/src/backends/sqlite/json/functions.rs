//! The functions themselves: check, then ask SQLite's own.
//!
//! Why it is sound: SQLite passes the user data that a function was registered with, which lives until SQLite destroys
//! it, and arguments that hold while the function runs. Bytes of an argument are asked for before anything converts it.
#![expect(unsafe_code, reason = "functions of SQLite are registered through its C interface; argued above")]

use std::ffi::{CStr, c_int, c_void};
use std::rc::Rc;
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::super::control::Control;
use super::calculator::Calculator;
use super::{FUNCTIONS, Refused, Rule, Value, check, each, groups};

/// The subtype of text that is JSON.
pub(super) const JSON: u32 = 74;

/// The functions answer the same for the same, may stand in a schema, and pass on what text is JSON.
pub(super) const FLAGS: c_int = ffi::SQLITE_UTF8
    | ffi::SQLITE_DETERMINISTIC
    | ffi::SQLITE_INNOCUOUS
    | ffi::SQLITE_SUBTYPE
    | ffi::SQLITE_RESULT_SUBTYPE;

struct Guarded {
    name: &'static CStr,
    rule: Rule,
    calculator: Rc<Calculator>,
    control: Arc<Control>,
}

/// Replaces the JSON functions of a connection.
///
/// # Safety
/// `db` is an open connection that one thread at a time uses.
pub(in super::super) unsafe fn install(db: *mut ffi::sqlite3, control: &Arc<Control>) {
    let calculator = Rc::new(Calculator::new());
    for (name, rule) in &FUNCTIONS {
        let guarded =
            Box::new(Guarded { name, rule: *rule, calculator: Rc::clone(&calculator), control: Arc::clone(control) });
        let data = Box::into_raw(guarded).cast::<c_void>();
        // SAFETY: `db` is open; SQLite calls the destructor in every case.
        unsafe {
            ffi::sqlite3_create_function_v2(
                db,
                name.as_ptr(),
                -1,
                FLAGS,
                data,
                Some(call),
                None,
                None,
                Some(destroy::<Guarded>),
            );
        }
    }
    // SAFETY: by the caller.
    unsafe {
        groups::install(db, &calculator);
        each::install(db, &calculator);
    }
}

/// # Safety
/// `data` comes from `Box::into_raw` of this type and is not used any more.
pub(super) unsafe extern "C" fn destroy<T>(data: *mut c_void) {
    // SAFETY: by the caller.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// The bytes of an argument, of which numbers have none.
///
/// # Safety
/// `value` is an argument of a running function, and is not converted while the answer lives.
pub(super) unsafe fn argument<'a>(value: *mut ffi::sqlite3_value) -> Value<'a> {
    // SAFETY: by the caller; the length is asked for after the pointer, as SQLite wants it.
    unsafe {
        let (blob, start) = match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_BLOB => (true, ffi::sqlite3_value_blob(value).cast::<u8>()),
            ffi::SQLITE_TEXT => (false, ffi::sqlite3_value_text(value)),
            _ => return Value { blob: false, bytes: &[] },
        };
        let bytes = match usize::try_from(ffi::sqlite3_value_bytes(value)) {
            Ok(length) if !start.is_null() => std::slice::from_raw_parts(start, length),
            _ => &[],
        };
        Value { blob, bytes }
    }
}

/// # Safety
/// `context` is that of a running function.
pub(super) unsafe fn refuse(context: *mut ffi::sqlite3_context, refused: Refused) {
    // SAFETY: by the caller.
    unsafe {
        match refused {
            Refused::TooLarge => ffi::sqlite3_result_error_toobig(context),
            Refused::Because(sentence) => ffi::sqlite3_result_error(context, sentence.as_ptr(), -1),
        }
    }
}

/// # Safety
/// `context` is that of a running function.
pub(super) unsafe fn limit(context: *mut ffi::sqlite3_context) -> usize {
    // SAFETY: by the caller.
    let limit = unsafe { ffi::sqlite3_limit(ffi::sqlite3_context_db_handle(context), ffi::SQLITE_LIMIT_LENGTH, -1) };
    usize::try_from(limit).unwrap_or(0)
}

/// Answers what SQLite's own function of this name does for these arguments.
///
/// # Safety
/// `context` and `values` are those of a running function.
pub(super) unsafe fn delegate(
    context: *mut ffi::sqlite3_context,
    calculator: &Calculator,
    name: &str,
    values: &[*mut ffi::sqlite3_value],
) {
    // An operator is called like any other function when its name is in quotes.
    let mut sql = format!("SELECT \"{name}\"(");
    for (number, value) in (1..).zip(values) {
        let comma = if number > 1 { "," } else { "" };
        // SAFETY: by the caller.
        let json = unsafe { ffi::sqlite3_value_subtype(*value) } == JSON;
        sql += &if json { format!("{comma}json(?{number})") } else { format!("{comma}?{number}") };
    }
    sql.push(')');
    // SAFETY: by the caller; the statement is ours until it is given back, and the answer is copied before.
    unsafe {
        let statement = match calculator.take(&sql, ffi::sqlite3_context_db_handle(context)) {
            Ok(statement) => statement,
            Err(code) => return calculator.fail(context, code),
        };
        let mut code = ffi::SQLITE_OK;
        for (number, value) in (1..).zip(values) {
            if code == ffi::SQLITE_OK {
                code = ffi::sqlite3_bind_value(statement, number, *value);
            }
        }
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_step(statement);
        }
        match code {
            ffi::SQLITE_ROW => ffi::sqlite3_result_value(context, ffi::sqlite3_column_value(statement, 0)),
            code => calculator.fail(context, code),
        }
        calculator.give(&sql, statement);
    }
}

unsafe extern "C" fn call(context: *mut ffi::sqlite3_context, count: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: see the top of the file.
    unsafe {
        let guarded = &*ffi::sqlite3_user_data(context).cast::<Guarded>();
        // SQLite asks whether to go on where its machine jumps; there may be thousands of calls before it does.
        if !guarded.control.may_go_on() {
            return ffi::sqlite3_result_error_code(context, ffi::SQLITE_INTERRUPT);
        }
        let values = match usize::try_from(count) {
            Ok(count) if count > 0 => std::slice::from_raw_parts(values, count),
            _ => &[],
        };
        let arguments: Vec<_> = values.iter().map(|value| argument(*value)).collect();
        match check(guarded.rule, &arguments, limit(context)) {
            Ok(()) => {
                delegate(context, &guarded.calculator, guarded.name.to_str().unwrap_or_default(), values);
            }
            Err(refused) => refuse(context, refused),
        }
    }
}
