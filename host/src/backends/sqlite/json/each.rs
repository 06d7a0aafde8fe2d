//! `json_each`, `json_tree` and their binary forms: functions in the shape of a table.
//!
//! Why it is sound: the structures that SQLite keeps for us begin with its own, so that a pointer to one is a pointer to
//! the other, as it wants it; each is a box that SQLite hands back to be freed. A cursor's statement is its own from
//! `filter` to `close`.
#![expect(unsafe_code, reason = "virtual tables of SQLite are registered through its C interface; argued above")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::rc::Rc;

use libsqlite3_sys as ffi;

use super::calculator::Calculator;
use super::functions::{argument, destroy};
use super::{MAX_PATH, Refused, check_document};

struct Each {
    name: &'static CStr,
    calculator: Rc<Calculator>,
}

#[repr(C)]
struct Table {
    base: ffi::sqlite3_vtab,
    db: *mut ffi::sqlite3,
    each: *const Each,
}

#[repr(C)]
struct Cursor {
    base: ffi::sqlite3_vtab_cursor,
    statement: *mut ffi::sqlite3_stmt,
    sql: String,
    row: bool,
}

const COLUMNS: [&str; 10] = ["key", "value", "type", "atom", "id", "parent", "fullkey", "path", "json", "root"];
const JSON: c_int = 8;
const ID: c_int = 4;

static MODULE: ffi::sqlite3_module = ffi::sqlite3_module {
    iVersion: 0,
    xCreate: None,
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: None,
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
    xIntegrity: None,
};

/// # Safety
/// As `functions::install`.
pub(super) unsafe fn install(db: *mut ffi::sqlite3, calculator: &Rc<Calculator>) {
    for name in [c"json_each", c"json_tree", c"jsonb_each", c"jsonb_tree"] {
        let data = Box::into_raw(Box::new(Each { name, calculator: Rc::clone(calculator) })).cast::<c_void>();
        // SAFETY: `db` is open, the module is static; SQLite calls the destructor in every case.
        unsafe { ffi::sqlite3_create_module_v2(db, name.as_ptr(), &raw const MODULE, data, Some(destroy::<Each>)) };
    }
}

unsafe extern "C" fn connect(
    db: *mut ffi::sqlite3,
    data: *mut c_void,
    _: c_int,
    _: *const *const c_char,
    table: *mut *mut ffi::sqlite3_vtab,
    _: *mut *mut c_char,
) -> c_int {
    let sql = c"CREATE TABLE x(key, value, type, atom, id, parent, fullkey, path, json HIDDEN, root HIDDEN)";
    // SAFETY: the connection is open, `table` is a place for what we make, `data` lives as long as the module.
    unsafe {
        let code = ffi::sqlite3_declare_vtab(db, sql.as_ptr());
        if code == ffi::SQLITE_OK {
            ffi::sqlite3_vtab_config(db, ffi::SQLITE_VTAB_INNOCUOUS);
            let base = ffi::sqlite3_vtab { pModule: ptr::null(), nRef: 0, zErrMsg: ptr::null_mut() };
            *table = Box::into_raw(Box::new(Table { base, db, each: data.cast::<Each>() })).cast();
        }
        code
    }
}

unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: it comes from `connect`.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    ffi::SQLITE_OK
}

/// The plan is which columns are wanted, and above them whether the JSON and the root are given.
unsafe extern "C" fn best_index(_: *mut ffi::sqlite3_vtab, info: *mut ffi::sqlite3_index_info) -> c_int {
    // SAFETY: SQLite passes lists as long as it says.
    unsafe {
        let info = &mut *info;
        let count = usize::try_from(info.nConstraint).unwrap_or(0);
        let mut given = [None; 2];
        let mut unusable = [false; 2];
        for at in 0..count {
            let constraint = &*info.aConstraint.add(at);
            let Ok(which) = usize::try_from(constraint.iColumn - JSON) else { continue };
            if which > 1 {
                continue;
            }
            if constraint.usable == 0 {
                unusable[which] = true;
            } else if c_int::from(constraint.op) == ffi::SQLITE_INDEX_CONSTRAINT_EQ {
                given[which] = Some(at);
            }
        }
        if (0..2).any(|which| unusable[which] && given[which].is_none()) {
            return ffi::SQLITE_CONSTRAINT;
        }
        let by_rowid = info.nOrderBy > 0 && (*info.aOrderBy).iColumn < 0 && (*info.aOrderBy).desc == 0;
        info.orderByConsumed = c_int::from(by_rowid && info.nOrderBy == 1);
        info.idxNum = c_int::try_from(info.colUsed & 0x3ff).unwrap_or(0x3ff);
        if let Some(json) = given[0] {
            info.estimatedCost = 1.0;
            for (number, at) in (1..).zip([Some(json), given[1]].into_iter().flatten()) {
                let usage = &mut *info.aConstraintUsage.add(at);
                (usage.argvIndex, usage.omit) = (number, 1);
            }
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn open(_: *mut ffi::sqlite3_vtab, cursor: *mut *mut ffi::sqlite3_vtab_cursor) -> c_int {
    let base = ffi::sqlite3_vtab_cursor { pVtab: ptr::null_mut() };
    let made = Cursor { base, statement: ptr::null_mut(), sql: String::new(), row: false };
    // SAFETY: `cursor` is a place for what we make.
    unsafe { *cursor = Box::into_raw(Box::new(made)).cast() };
    ffi::SQLITE_OK
}

impl Cursor {
    /// # Safety
    /// The cursor is open.
    unsafe fn table(&self) -> &Table {
        // SAFETY: SQLite keeps the table for as long as its cursors are open.
        unsafe { &*self.base.pVtab.cast::<Table>() }
    }

    /// # Safety
    /// As `table`.
    unsafe fn each(&self) -> &Each {
        // SAFETY: what a table points at lives as long as its module.
        unsafe { &*self.table().each }
    }

    /// # Safety
    /// As `table`.
    unsafe fn end(&mut self) {
        self.row = false;
        let statement = std::mem::replace(&mut self.statement, ptr::null_mut());
        if !statement.is_null() {
            // SAFETY: the statement was taken with this text; what the table points at lives as long as the module.
            unsafe { self.each().calculator.give(&self.sql, statement) };
        }
    }

    /// # Safety
    /// As `table`.
    unsafe fn step(&mut self) -> c_int {
        // SAFETY: the statement is open and ours.
        match unsafe { ffi::sqlite3_step(self.statement) } {
            ffi::SQLITE_ROW => self.row = true,
            ffi::SQLITE_DONE => self.row = false,
            // SAFETY: by the caller.
            code => unsafe {
                let message = self.each().calculator.message();
                self.row = false;
                return self.fail(code, &message);
            },
        }
        ffi::SQLITE_OK
    }

    /// # Safety
    /// As `table`.
    unsafe fn fail(&mut self, code: c_int, message: &CStr) -> c_int {
        // SAFETY: the message of a table is freed by SQLite, and made by it too.
        unsafe {
            let table = &mut *self.base.pVtab;
            ffi::sqlite3_free(table.zErrMsg.cast());
            table.zErrMsg = ffi::sqlite3_mprintf(c"%s".as_ptr(), message.as_ptr());
        }
        code
    }
}

unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: it comes from `open`.
    unsafe {
        let mut cursor = Box::from_raw(cursor.cast::<Cursor>());
        cursor.end();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    wanted: c_int,
    _: *const c_char,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) -> c_int {
    // SAFETY: the cursor comes from `open`; SQLite passes as many values as it says.
    unsafe {
        let cursor = &mut *cursor.cast::<Cursor>();
        cursor.end();
        let values = match usize::try_from(count) {
            Ok(count) if count > 0 => std::slice::from_raw_parts(values, count),
            _ => return ffi::SQLITE_OK,
        };
        for value in values {
            let refused = match check_document(argument(*value)) {
                Ok(()) => continue,
                Err(Refused::Because(sentence)) => sentence,
                Err(Refused::TooLarge) => c"too large",
            };
            return cursor.fail(ffi::SQLITE_ERROR, refused);
        }
        if values.get(1).is_some_and(|path| argument(*path).bytes.len() > MAX_PATH) {
            return cursor.fail(ffi::SQLITE_ERROR, c"a JSON path has at most 4096 bytes");
        }
        let (each, db) = (&*cursor.table().each, cursor.table().db);
        // What is not wanted is not made: some columns copy all of the JSON for each row.
        let columns = COLUMNS.iter().enumerate().map(|(at, name)| {
            let is_wanted = wanted & (1 << at) != 0 || at == ID as usize;
            if is_wanted { *name } else { "NULL" }
        });
        let columns: Vec<&str> = columns.collect();
        let name = each.name.to_str().unwrap_or_default();
        let parameters = if values.len() > 1 { "?1,?2" } else { "?1" };
        let sql = format!("SELECT {} FROM {name}({parameters})", columns.join(","));
        match each.calculator.take(&sql, db) {
            Ok(statement) => (cursor.statement, cursor.sql) = (statement, sql),
            Err(code) => {
                let message: CString = each.calculator.message();
                return cursor.fail(code, &message);
            }
        }
        for (number, value) in (1..).zip(values) {
            let code = ffi::sqlite3_bind_value(cursor.statement, number, *value);
            if code != ffi::SQLITE_OK {
                return code;
            }
        }
        cursor.step()
    }
}

unsafe extern "C" fn next(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: it comes from `open`, and `filter` has found a row.
    unsafe {
        let cursor = &mut *cursor.cast::<Cursor>();
        cursor.step()
    }
}

unsafe extern "C" fn eof(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: it comes from `open`.
    c_int::from(!unsafe { &*cursor.cast::<Cursor>() }.row)
}

unsafe extern "C" fn column(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    column: c_int,
) -> c_int {
    // SAFETY: the cursor comes from `open` and is at a row; the value is copied.
    unsafe {
        let cursor = &*cursor.cast::<Cursor>();
        ffi::sqlite3_result_value(context, ffi::sqlite3_column_value(cursor.statement, column));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn rowid(cursor: *mut ffi::sqlite3_vtab_cursor, rowid: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: as in `column`; `rowid` is a place to be written.
    unsafe { *rowid = ffi::sqlite3_column_int64((*cursor.cast::<Cursor>()).statement, ID) };
    ffi::SQLITE_OK
}
