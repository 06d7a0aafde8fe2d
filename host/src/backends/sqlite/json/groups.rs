//! `json_group_array`, `json_group_object` and their binary forms. SQLite's own let an answer grow past every limit while
//! it is made, so these keep it themselves.
//!
//! Why it is sound: as in `functions`; and what an aggregate has gathered is a box, whose pointer SQLite keeps for it from
//! the first row to the last call, which frees it.
#![expect(unsafe_code, reason = "aggregates of SQLite are registered through its C interface; argued above")]

use std::collections::VecDeque;
use std::ffi::{CStr, c_int, c_void};
use std::rc::Rc;

use libsqlite3_sys as ffi;

use super::calculator::Calculator;
use super::functions::{FLAGS, JSON, argument, destroy, limit, refuse};
use super::{Refused, check_document};

struct Group {
    object: bool,
    binary: bool,
    calculator: Rc<Calculator>,
}

/// The elements so far, each with its comma, and how long each is; none for a name that is NULL, which is left out.
#[derive(Default)]
struct Gathered {
    text: Vec<u8>,
    start: usize,
    lengths: VecDeque<usize>,
}

/// # Safety
/// As `functions::install`.
pub(super) unsafe fn install(db: *mut ffi::sqlite3, calculator: &Rc<Calculator>) {
    for (name, object, binary) in [
        (c"json_group_array", false, false),
        (c"json_group_object", true, false),
        (c"jsonb_group_array", false, true),
        (c"jsonb_group_object", true, true),
    ] {
        let group = Box::new(Group { object, binary, calculator: Rc::clone(calculator) });
        let (data, count) = (Box::into_raw(group).cast::<c_void>(), if object { 2 } else { 1 });
        // SAFETY: `db` is open; SQLite calls the destructor in every case.
        unsafe {
            ffi::sqlite3_create_window_function(
                db,
                name.as_ptr(),
                count,
                FLAGS,
                data,
                Some(step),
                Some(last),
                Some(value),
                Some(inverse),
                Some(destroy::<Group>),
            );
        }
    }
}

/// What the running aggregate has gathered; made where `make` says so.
unsafe fn gathered<'a>(context: *mut ffi::sqlite3_context, make: bool) -> Option<&'a mut Gathered> {
    // SAFETY: SQLite gives the same place, which is zero at first, to all calls of one aggregate.
    unsafe {
        let size = if make { c_int::try_from(size_of::<*mut Gathered>()).unwrap_or(8) } else { 0 };
        let place = ffi::sqlite3_aggregate_context(context, size).cast::<*mut Gathered>();
        if place.is_null() {
            return None;
        }
        if (*place).is_null() && make {
            *place = Box::into_raw(Box::default());
        }
        (*place).as_mut()
    }
}

unsafe extern "C" fn step(context: *mut ffi::sqlite3_context, count: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: see the top of the file.
    unsafe {
        let group = &*ffi::sqlite3_user_data(context).cast::<Group>();
        let values = std::slice::from_raw_parts(values, usize::try_from(count).unwrap_or(0));
        let Some(gathered) = gathered(context, true) else { return ffi::sqlite3_result_error_nomem(context) };
        let mut element = Vec::new();
        if group.object {
            let Some(name) = values.first().filter(|name| ffi::sqlite3_value_type(**name) != ffi::SQLITE_NULL) else {
                gathered.lengths.push_back(0);
                return;
            };
            if !append(context, group, *name, c"SELECT json_quote(CAST(?1 AS TEXT))", &mut element) {
                return;
            }
            element.push(b':');
        }
        let Some(value) = values.last() else { return };
        let sql = match ffi::sqlite3_value_type(*value) {
            ffi::SQLITE_BLOB => c"SELECT json(?1)",
            ffi::SQLITE_TEXT if ffi::sqlite3_value_subtype(*value) == JSON => c"SELECT ?1",
            _ => c"SELECT json_quote(?1)",
        };
        if !append(context, group, *value, sql, &mut element) {
            return;
        }
        element.push(b',');
        if gathered.text.len() - gathered.start + element.len() > limit(context) {
            return refuse(context, Refused::TooLarge);
        }
        gathered.text.extend_from_slice(&element);
        gathered.lengths.push_back(element.len());
    }
}

/// Appends what SQLite makes of a value; false where the function has failed.
///
/// # Safety
/// `context` and `value` are those of a running function.
unsafe fn append(
    context: *mut ffi::sqlite3_context,
    group: &Group,
    value: *mut ffi::sqlite3_value,
    sql: &CStr,
    element: &mut Vec<u8>,
) -> bool {
    // SAFETY: by the caller; the statement is ours until it is given back, and the answer is copied before.
    unsafe {
        let bytes = argument(value);
        if let Err(refused) = check_document(bytes) {
            refuse(context, refused);
            return false;
        }
        let sql = sql.to_str().unwrap_or_default();
        let statement = match group.calculator.take(sql, ffi::sqlite3_context_db_handle(context)) {
            Ok(statement) => statement,
            Err(code) => {
                group.calculator.fail(context, code);
                return false;
            }
        };
        let mut code = ffi::sqlite3_bind_value(statement, 1, value);
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_step(statement);
        }
        let done = code == ffi::SQLITE_ROW;
        if done {
            let start = ffi::sqlite3_column_text(statement, 0);
            if let (false, Ok(length)) = (start.is_null(), usize::try_from(ffi::sqlite3_column_bytes(statement, 0))) {
                element.extend_from_slice(std::slice::from_raw_parts(start, length));
            }
        } else if bytes.blob && code & 0xff == ffi::SQLITE_ERROR {
            ffi::sqlite3_result_error(context, c"JSON cannot hold BLOB values".as_ptr(), -1);
        } else {
            group.calculator.fail(context, code);
        }
        group.calculator.give(sql, statement);
        done
    }
}

unsafe extern "C" fn inverse(context: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: see the top of the file.
    let Some(gathered) = (unsafe { gathered(context, false) }) else { return };
    gathered.start += gathered.lengths.pop_front().unwrap_or(0);
    // Moving what is left costs no more than what has gone.
    if gathered.start > gathered.text.len() / 2 {
        gathered.text.drain(..gathered.start.min(gathered.text.len()));
        gathered.start = 0;
    }
}

unsafe extern "C" fn value(context: *mut ffi::sqlite3_context) {
    // SAFETY: see the top of the file.
    unsafe { answer(context, gathered(context, false).as_deref()) }
}

unsafe extern "C" fn last(context: *mut ffi::sqlite3_context) {
    // SAFETY: see the top of the file; after this call nobody asks for what was gathered.
    unsafe {
        let gathered = gathered(context, false).map(|gathered| Box::from_raw(gathered));
        answer(context, gathered.as_deref());
    }
}

/// # Safety
/// `context` is that of a running aggregate of ours.
unsafe fn answer(context: *mut ffi::sqlite3_context, gathered: Option<&Gathered>) {
    // SAFETY: by the caller; SQLite copies the text before it returns.
    unsafe {
        let group = &*ffi::sqlite3_user_data(context).cast::<Group>();
        let elements = gathered.and_then(|gathered| gathered.text.get(gathered.start..)).unwrap_or_default();
        let (open, close) = if group.object { (b'{', b'}') } else { (b'[', b']') };
        let mut text = Vec::with_capacity(elements.len() + 2);
        text.push(open);
        text.extend_from_slice(elements.strip_suffix(b",").unwrap_or(elements));
        text.push(close);
        if group.binary {
            return binary(context, &group.calculator, &text);
        }
        let (start, length, utf8) = (text.as_ptr().cast(), text.len() as u64, ffi::SQLITE_UTF8 as u8);
        ffi::sqlite3_result_text64(context, start, length, ffi::SQLITE_TRANSIENT(), utf8);
        ffi::sqlite3_result_subtype(context, JSON);
    }
}

/// # Safety
/// `context` is that of a running function.
unsafe fn binary(context: *mut ffi::sqlite3_context, calculator: &Calculator, text: &[u8]) {
    const SQL: &str = "SELECT jsonb(?1)";
    // SAFETY: by the caller; the statement is ours until it is given back, and everything is copied.
    unsafe {
        let statement = match calculator.take(SQL, ffi::sqlite3_context_db_handle(context)) {
            Ok(statement) => statement,
            Err(code) => return calculator.fail(context, code),
        };
        let (start, length, utf8) = (text.as_ptr().cast(), text.len() as u64, ffi::SQLITE_UTF8 as u8);
        let mut code = ffi::sqlite3_bind_text64(statement, 1, start, length, ffi::SQLITE_TRANSIENT(), utf8);
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_step(statement);
        }
        match code {
            ffi::SQLITE_ROW => ffi::sqlite3_result_value(context, ffi::sqlite3_column_value(statement, 0)),
            code => calculator.fail(context, code),
        }
        calculator.give(SQL, statement);
    }
}
