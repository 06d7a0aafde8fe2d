//! SQLite's files: those of the system, with writes counted for the store and temporary files in its folder.
//!
//! SQLite's own way of the system's files (its VFS `unix`) is kept. When it has opened a file, the methods that make the
//! file grow or close are replaced by ours, which count, refuse what is past a limit with `SQLITE_FULL`, and call the
//! system's; reading, locking and shared memory go straight there. Temporary files (sorts, groups, views and journals
//! that do not fit into memory) get a name in the folder of the store, are for the owner alone, and lose the name as soon
//! as they are open, so that none is left whatever happens.
//!
//! Why it is sound:
//! - SQLite gives `xOpen` a place of `szOsFile` bytes, aligned to 8, which it frees after `xClose`. Ours asks for as much
//!   as the system's and a [`Counted`] behind it. A file opened here has that, and `pMethods` points into it, so a method
//!   of ours is only ever called on such a file.
//! - Nothing in the `unix` VFS looks at the `pMethods` of a file that it has opened.
//! - A connection uses its files on one thread at a time; the account is shared, and made of atomics.
//! - The system's VFS and ours live as long as the process and are never unregistered.
#![expect(unsafe_code, reason = "SQLite's files are C structures with tables of functions; argued above")]

use std::ffi::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;
use std::sync::OnceLock;

use libsqlite3_sys as ffi;

use super::account::{self, Account};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Main,
    Wal,
    Temporary,
}

/// What lies behind the system's part of an open file.
struct Counted {
    methods: ffi::sqlite3_io_methods,
    system: *const ffi::sqlite3_io_methods,
    account: &'static Account,
    kind: Kind,
    /// Of a temporary file.
    size: u64,
}

/// The system's VFS, ours, and where [`Counted`] begins in a file.
struct Registered {
    system: *mut ffi::sqlite3_vfs,
    offset: usize,
}

// SAFETY: the system's VFS is static; only SQLite writes to it, `pNext` under its own lock, which nothing here reads.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static REGISTERED: OnceLock<Option<Registered>> = OnceLock::new();

/// Makes this the way to files of every connection that is opened from now on; false where SQLite does not take it.
pub(super) fn install() -> bool {
    REGISTERED.get_or_init(register).is_some()
}

fn register() -> Option<Registered> {
    // SAFETY: null asks for the default; the answer is null or a VFS that lives as long as the process.
    let system = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    if system.is_null() {
        return None;
    }
    // SAFETY: not null, and a plain structure.
    let mut ours = unsafe { *system };
    let offset = usize::try_from(ours.szOsFile).ok()?.next_multiple_of(align_of::<Counted>());
    ours.szOsFile = c_int::try_from(offset + size_of::<Counted>()).ok()?;
    ours.zName = c"arcana".as_ptr();
    ours.pNext = ptr::null_mut();
    ours.xOpen = Some(open);
    // It is used until the process ends. Files are opened by it only after this has answered.
    let ours = Box::into_raw(Box::new(ours));
    // SAFETY: it lives as long as the process and is SQLite's from here on.
    let code = unsafe { ffi::sqlite3_vfs_register(ours, 1) };
    (code == ffi::SQLITE_OK).then_some(Registered { system, offset })
}

/// # Safety
/// `file` was opened by [`open`] and is not yet closed, or is the place for one.
unsafe fn counted(file: *mut ffi::sqlite3_file, offset: usize) -> *mut Counted {
    // SAFETY: by the caller the place is as long as we asked for.
    unsafe { file.cast::<u8>().add(offset).cast() }
}

fn offset() -> usize {
    REGISTERED.get().and_then(Option::as_ref).map_or(0, |registered| registered.offset)
}

fn kind(name: *const c_char, flags: c_int) -> Option<Kind> {
    const TEMPORARY: c_int = ffi::SQLITE_OPEN_TEMP_DB
        | ffi::SQLITE_OPEN_TRANSIENT_DB
        | ffi::SQLITE_OPEN_TEMP_JOURNAL
        | ffi::SQLITE_OPEN_SUBJOURNAL
        | ffi::SQLITE_OPEN_DELETEONCLOSE;
    if name.is_null() || flags & TEMPORARY != 0 {
        Some(Kind::Temporary)
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        Some(Kind::Wal)
    } else if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        Some(Kind::Main)
    } else {
        // The journal of a store that does not have a write-ahead log yet.
        None
    }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a place of `szOsFile` bytes, a name that is null or ends as a name does, and a place for the
    // flags or null; all go to the system's VFS as they came, or with a name of ours.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(registered) = REGISTERED.get().and_then(Option::as_ref) else { return ffi::SQLITE_CANTOPEN };
        let Some(open) = (*registered.system).xOpen else { return ffi::SQLITE_CANTOPEN };
        let account = account::current();
        let kind = kind(name, flags);
        let ours = match (name.is_null(), kind) {
            (true, Some(Kind::Temporary)) => match temporary_name(account) {
                Some(name) => Some(name),
                // Work for no store has no folder.
                None => return ffi::SQLITE_CANTOPEN,
            },
            _ => None,
        };
        let name = ours.as_ref().map_or(name, |name| name.as_ptr().cast());
        let code = open(registered.system, name, file, flags, out);
        if let (ffi::SQLITE_OK, Some(kind)) = (code, kind) {
            count(file, registered.offset, kind, account);
        }
        code
    }
}

/// Replaces the methods of a file that the system has just opened.
///
/// # Safety
/// The file is open, and behind the system's part, at `offset`, there is room for [`Counted`].
unsafe fn count(file: *mut ffi::sqlite3_file, offset: usize, kind: Kind, account: &'static Account) {
    // SAFETY: by the caller; the system's methods are static.
    unsafe {
        let system = (*file).pMethods;
        if system.is_null() {
            return;
        }
        let mut methods = *system;
        methods.xClose = Some(close);
        methods.xWrite = Some(write);
        methods.xTruncate = Some(truncate);
        if kind != Kind::Main {
            methods.xFileControl = Some(control);
        }
        account.opened();
        let mut size = 0;
        let found = (*system).xFileSize.map_or(ffi::SQLITE_ERROR, |ask| ask(file, &raw mut size));
        let size = u64::try_from(size).unwrap_or(0);
        match kind {
            Kind::Main if found == ffi::SQLITE_OK => account.file_was_found(size),
            Kind::Wal if found == ffi::SQLITE_OK => account.wal_was_found(size),
            _ => {}
        }
        let place = counted(file, offset);
        place.write(Counted { methods, system, account, kind, size: 0 });
        (*file).pMethods = &raw const (*place).methods;
    }
}

/// A name that no file has, in the folder of the store, with the two NULs that end names in SQLite.
fn temporary_name(account: &Account) -> Option<Vec<u8>> {
    let name = account.folder()?.join(format!("{TEMPORARY_PREFIX}{:016x}", fastrand::u64(..)));
    let mut bytes = name.into_os_string().into_vec();
    bytes.extend_from_slice(b"\0\0");
    Some(bytes)
}

/// How names of temporary files begin.
pub(super) const TEMPORARY_PREFIX: &str = ".sqlite-";

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: it was opened here, and its place lives until SQLite has the answer.
    unsafe {
        let Counted { system, account, kind, size, .. } = counted(file, offset()).read();
        let code = (*system).xClose.map_or(ffi::SQLITE_ERROR, |close| close(file));
        if kind == Kind::Temporary {
            account.temporary_shrank(size);
        }
        account.closed();
        code
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, length: c_int, start: i64) -> c_int {
    // SAFETY: it was opened here; the rest goes to the system as it came.
    unsafe {
        let counted = counted(file, offset());
        let account = (*counted).account;
        let begin = u64::try_from(start).unwrap_or(0);
        let end = begin.saturating_add(u64::try_from(length).unwrap_or(0));
        let may = match (*counted).kind {
            Kind::Main => account.file_may_reach(end),
            Kind::Wal => account.wal_may_reach(end),
            Kind::Temporary => grow(counted, end),
        };
        if !may {
            return ffi::SQLITE_FULL;
        }
        let code = (*(*counted).system).xWrite.map_or(ffi::SQLITE_ERROR, |write| write(file, from, length, start));
        match code {
            ffi::SQLITE_OK if (*counted).kind == Kind::Wal => account.wal_was_written(begin, end),
            ffi::SQLITE_FULL => account.disk_is_full(),
            _ => {}
        }
        code
    }
}

/// Makes room in the account for a temporary file of this size.
///
/// # Safety
/// `counted` is that of an open file.
unsafe fn grow(counted: *mut Counted, end: u64) -> bool {
    // SAFETY: by the caller.
    let counted = unsafe { &mut *counted };
    let growth = end.saturating_sub(counted.size);
    if growth > 0 {
        if !counted.account.temporary_may_grow(growth) {
            return false;
        }
        counted.size = end;
    }
    true
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: it was opened here.
    unsafe {
        let counted = counted(file, offset());
        let wanted = u64::try_from(size).unwrap_or(0);
        if (*counted).kind == Kind::Temporary && !grow(counted, wanted) {
            return ffi::SQLITE_FULL;
        }
        let code = (*(*counted).system).xTruncate.map_or(ffi::SQLITE_ERROR, |truncate| truncate(file, size));
        if code != ffi::SQLITE_OK {
            return code;
        }
        let account = (*counted).account;
        match (*counted).kind {
            Kind::Main => account.file_was_cut(wanted),
            Kind::Wal => account.wal_was_cut(wanted),
            Kind::Temporary => {
                account.temporary_shrank((*counted).size.saturating_sub(wanted));
                (*counted).size = wanted;
            }
        }
        code
    }
}

unsafe extern "C" fn control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // These make a file grow ahead of what is written. Writes alone are counted.
    if matches!(operation, ffi::SQLITE_FCNTL_SIZE_HINT | ffi::SQLITE_FCNTL_CHUNK_SIZE) {
        return ffi::SQLITE_OK;
    }
    // SAFETY: it was opened here; the rest goes to the system as it came.
    unsafe {
        let system = (*counted(file, offset())).system;
        (*system).xFileControl.map_or(ffi::SQLITE_NOTFOUND, |control| control(file, operation, argument))
    }
}
