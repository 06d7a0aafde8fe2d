//! SQLite's allocator: the program's own, with a header before each block that says whose it is.
//!
//! SQLite knows one limit of its memory, for the whole process, and takes a lock at every allocation to keep to it. Here
//! a block is charged to the account of the store that the thread works for ([`super::account`]), and credited to that
//! account wherever it is freed. Past its limit an allocation fails, and with it the statement; other stores go on.
//!
//! Why it is sound:
//! - A block is `HEADER` bytes followed by what SQLite sees, aligned to 16, allocated and freed by `std::alloc` with the
//!   layout that the header's size gives. SQLite hands back only what it was given, once, as it would to `free`.
//! - The header holds a `&'static Account`, so it cannot dangle.
//! - The methods are set before SQLite is initialized, which SQLite checks; they are never changed.
#![expect(unsafe_code, reason = "an allocator is made of raw pointers; argued above")]

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use libsqlite3_sys as ffi;

use super::account::{self, Account};

struct Header {
    account: &'static Account,
    /// What SQLite sees of the block, in bytes.
    size: usize,
}

/// SQLite wants blocks aligned to 8; this keeps them aligned to 16.
const HEADER: usize = 16;
const _: () = assert!(size_of::<Header>() <= HEADER && align_of::<Header>() <= HEADER);

/// Makes this SQLite's allocator, once for the process and before anything else uses SQLite. Where something already has,
/// SQLite keeps its own allocator and gets the limit of all stores together as that of the process.
pub(super) fn install(max_total: u64) {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let methods = ffi::sqlite3_mem_methods {
            xMalloc: Some(malloc),
            xFree: Some(free),
            xRealloc: Some(resize),
            xSize: Some(size),
            xRoundup: Some(round_up),
            xInit: Some(init),
            xShutdown: Some(shutdown),
            pAppData: ptr::null_mut(),
        };
        // SAFETY: the options take a pointer to methods, which SQLite copies, and an int. SQLite refuses both once it is
        // initialized.
        unsafe {
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods) == ffi::SQLITE_OK
                // Its own statistics cost a lock at every allocation.
                && ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) == ffi::SQLITE_OK
        }
    });
    if !installed {
        tracing::warn!(
            "SQLite was in use before its allocator was set: its memory is limited for all stores together only"
        );
        // SAFETY: takes a number.
        unsafe { ffi::sqlite3_hard_heap_limit64(i64::try_from(max_total).unwrap_or(i64::MAX)) };
    }
}

/// The layout of a block of which SQLite sees `size` bytes.
fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER)?, HEADER).ok()
}

/// The bytes for a request, in steps of eight.
fn rounded(bytes: c_int) -> Option<usize> {
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).map(|bytes| bytes.next_multiple_of(8))
}

/// Blocks are counted with their headers.
fn charged(size: usize) -> u64 {
    size.saturating_add(HEADER) as u64
}

unsafe extern "C" fn malloc(bytes: c_int) -> *mut c_void {
    let Some((size, layout)) = rounded(bytes).and_then(|size| Some((size, layout(size)?))) else {
        return ptr::null_mut();
    };
    let account = account::current();
    if !account.charge(charged(size)) {
        return ptr::null_mut();
    }
    // SAFETY: the layout is not empty; the header fits before the rest and is aligned like the block.
    unsafe {
        let block = alloc(layout);
        if block.is_null() {
            account.credit(charged(size));
            return ptr::null_mut();
        }
        block.cast::<Header>().write(Header { account, size });
        block.add(HEADER).cast()
    }
}

/// # Safety
/// `start` comes from [`malloc`] or [`resize`] and was not freed.
unsafe fn block(start: *mut c_void) -> *mut Header {
    // SAFETY: by the caller there is a header before it.
    unsafe { start.cast::<u8>().sub(HEADER).cast() }
}

unsafe extern "C" fn free(start: *mut c_void) {
    if start.is_null() {
        return;
    }
    // SAFETY: SQLite frees what it was given, once.
    unsafe {
        let block = block(start);
        let Header { account, size } = block.read();
        if let Some(layout) = layout(size) {
            dealloc(block.cast(), layout);
        }
        account.credit(charged(size));
    }
}

unsafe extern "C" fn resize(start: *mut c_void, bytes: c_int) -> *mut c_void {
    if start.is_null() {
        // SAFETY: takes a number.
        return unsafe { malloc(bytes) };
    }
    let Some((new, new_layout)) = rounded(bytes).and_then(|size| Some((size, layout(size)?))) else {
        return ptr::null_mut();
    };
    // SAFETY: as in `free`. When `realloc` fails the block is as it was.
    unsafe {
        let block = block(start);
        let Header { account, size: old } = block.read();
        let Some(old_layout) = layout(old) else { return ptr::null_mut() };
        // It stays with the account that has it, whoever makes it grow.
        let growth = charged(new).saturating_sub(charged(old));
        if growth > 0 && !account.charge(growth) {
            return ptr::null_mut();
        }
        let moved = realloc(block.cast(), old_layout, new_layout.size()).cast::<Header>();
        if moved.is_null() {
            account.credit(growth);
            return ptr::null_mut();
        }
        if old > new {
            account.credit(charged(old) - charged(new));
        }
        (*moved).size = new;
        moved.cast::<u8>().add(HEADER).cast()
    }
}

unsafe extern "C" fn size(start: *mut c_void) -> c_int {
    if start.is_null() {
        return 0;
    }
    // SAFETY: SQLite asks about what it was given and has not freed.
    c_int::try_from(unsafe { (*block(start)).size }).unwrap_or(c_int::MAX)
}

unsafe extern "C" fn round_up(bytes: c_int) -> c_int {
    rounded(bytes).and_then(|size| c_int::try_from(size).ok()).unwrap_or(bytes)
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shutdown(_: *mut c_void) {}
