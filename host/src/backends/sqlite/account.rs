//! The account of a store: the memory and the bytes on the disk that SQLite has for it, and their limits.
//!
//! SQLite's allocator ([`super::memory`]) and its files ([`super::files`]) know neither stores nor statements; they
//! charge the account that the running thread stands in for. Whoever calls SQLite for a store enters its account first
//! ([`Account::enter`]), which is two stores to a thread-local; charging is one atomic addition.

use std::cell::Cell;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use super::settings::SqliteSettings;
use crate::telemetry::metrics::StoreUsage;

/// Memory is taken from the total of all stores in pieces of this many bytes, so that most allocations do not touch it.
const PIECE: u64 = 256 << 10;

/// The bytes a store may hold without use before it gives pieces back.
const SLACK: u64 = 4 * PIECE;

/// The memory that every store may have, however much the others use.
const FLOOR: u64 = 4 << 20;

/// The memory beyond the limit for what ends a transaction, so that a store that is at its limit can still roll back.
const RESERVE: u64 = 1 << 20;

/// A limit that refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// `max_memory`
    Memory,
    /// `max_total_memory`
    TotalMemory,
    /// `max_wal`
    Wal,
    /// `max_size`, of temporary files
    Temporary,
    /// That of the disk
    Disk,
}

/// The limits in the order of `Account::refused`, with the names that metrics use.
const LIMITS: [(Limit, &str); 5] = [
    (Limit::Memory, "memory"),
    (Limit::TotalMemory, "total_memory"),
    (Limit::Wal, "wal"),
    (Limit::Temporary, "temporary"),
    (Limit::Disk, "disk"),
];

/// The memory of all stores together.
pub(super) struct Total {
    turn: Mutex<()>,
    granted: AtomicU64,
    limit: AtomicU64,
}

/// The one that every store of the process draws on.
static TOTAL: Total = Total::new(u64::MAX);

/// What is not done for any store, such as what SQLite sets up for itself.
static NOBODY: Account = Account::new(&TOTAL);

/// Accounts of stores that were closed; SQLite may still have memory that is charged to them.
static CLOSED: Mutex<Vec<&'static Account>> = Mutex::new(Vec::new());

thread_local! {
    static THREAD: Thread = const {
        Thread { account: Cell::new(None), ends: Cell::new(false), refused: Cell::new(None) }
    };
}

struct Thread {
    account: Cell<Option<&'static Account>>,
    ends: Cell<bool>,
    refused: Cell<Option<Limit>>,
}

impl Total {
    pub(super) const fn new(limit: u64) -> Self {
        Self { turn: Mutex::new(()), granted: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    pub(super) fn limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    fn is_tight(&self) -> bool {
        self.granted.load(Relaxed) > self.limit.load(Relaxed) / 4 * 3
    }
}

/// The account of one store. Accounts live as long as the process, because memory may be freed long after its store was
/// closed; one whose balance is nought is used again for the next store.
pub(super) struct Account {
    used: AtomicU64,
    /// What `used` may come to before it takes the long way.
    granted: AtomicU64,
    total: &'static Total,
    max_memory: AtomicU64,

    wal: AtomicU64,
    /// The end of what was last written to the log: its size once the log was begun again is not its length.
    wal_end: AtomicU64,
    /// From here on it is long.
    long_wal: AtomicU64,
    max_wal: AtomicU64,
    wal_lifted: AtomicBool,
    temporary: AtomicU64,
    file: AtomicU64,
    max_disk: AtomicU64,
    open_files: AtomicU32,

    refused: [AtomicU64; 5],
    checkpoints: (AtomicU64, AtomicU64),
    store: RwLock<Named>,
}

/// The name of a store and the folder of its file.
struct Named {
    name: String,
    folder: Option<PathBuf>,
}

/// A store's hold on its account. The account is free for another store once this is dropped and nothing is charged.
pub(super) struct OpenAccount(&'static Account);

impl Drop for OpenAccount {
    fn drop(&mut self) {
        self.0.give_back();
        CLOSED.lock().push(self.0);
    }
}

impl std::ops::Deref for OpenAccount {
    type Target = &'static Account;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The account of a store that is being opened, with the limits that the settings say. SQLite's allocator and files are
/// ours from the first one on.
pub(super) fn open(name: &str, file: &Path, settings: &SqliteSettings) -> OpenAccount {
    TOTAL.limit(settings.max_total_memory_bytes);
    super::memory::install(settings.max_total_memory_bytes);
    if !super::files::install() {
        tracing::error!("SQLite does not take our way to files: logs and temporary files are not limited");
    }
    open_in(&TOTAL, name, file, settings)
}

pub(super) fn open_in(total: &'static Total, name: &str, file: &Path, settings: &SqliteSettings) -> OpenAccount {
    let mut closed = CLOSED.lock();
    let free = closed.iter().position(|account| account.is_free() && std::ptr::eq(account.total, total));
    let account = match free {
        Some(free) => closed.swap_remove(free),
        None => Box::leak(Box::new(Account::new(total))),
    };
    drop(closed);
    account.reset(name, file, settings);
    OpenAccount(account)
}

/// The account that this thread stands in for.
pub(super) fn current() -> &'static Account {
    THREAD.with(|thread| thread.account.get()).unwrap_or(&NOBODY)
}

/// The limit that refused something on this thread since the account was entered.
pub(super) fn take_refusal() -> Option<Limit> {
    THREAD.with(|thread| thread.refused.take())
}

/// While this lives, the thread stands in for an account.
pub(super) struct Entered {
    before: Option<&'static Account>,
    ended: bool,
    // It must be dropped on the thread that made it.
    _thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            thread.account.set(self.before);
            thread.ends.set(self.ended);
        });
    }
}

/// While this lives, the log of a store is held to `max_size` only.
pub(super) struct Lifted(&'static Account);

impl Drop for Lifted {
    fn drop(&mut self) {
        self.0.wal_lifted.store(false, Relaxed);
    }
}

impl Account {
    const fn new(total: &'static Total) -> Self {
        Self {
            used: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            total,
            max_memory: AtomicU64::new(u64::MAX),
            wal: AtomicU64::new(0),
            wal_end: AtomicU64::new(0),
            long_wal: AtomicU64::new(u64::MAX),
            max_wal: AtomicU64::new(u64::MAX),
            wal_lifted: AtomicBool::new(false),
            temporary: AtomicU64::new(0),
            file: AtomicU64::new(0),
            max_disk: AtomicU64::new(u64::MAX),
            open_files: AtomicU32::new(0),
            refused: [const { AtomicU64::new(0) }; 5],
            checkpoints: (AtomicU64::new(0), AtomicU64::new(0)),
            store: RwLock::new(Named { name: String::new(), folder: None }),
        }
    }

    fn is_free(&self) -> bool {
        self.used.load(Relaxed) == 0 && self.open_files.load(Relaxed) == 0
    }

    fn reset(&self, name: &str, file: &Path, settings: &SqliteSettings) {
        self.max_memory.store(settings.max_memory_bytes, Relaxed);
        self.long_wal.store(settings.wal_checkpoint(), Relaxed);
        self.max_wal.store(settings.wal_limit(), Relaxed);
        self.max_disk.store(settings.max_database_bytes, Relaxed);
        let refused = self.refused.iter().chain([&self.checkpoints.0, &self.checkpoints.1]);
        for counter in [&self.wal, &self.wal_end, &self.file].into_iter().chain(refused) {
            counter.store(0, Relaxed);
        }
        *self.store.write() = Named { name: name.to_owned(), folder: file.parent().map(Path::to_owned) };
    }

    /// Charges this account with what SQLite does on this thread, until the answer is dropped.
    pub(super) fn enter(&'static self) -> Entered {
        self.enter_as(false)
    }

    /// As [`Self::enter`], for what ends a transaction or closes a connection: it has a little memory beyond the limit.
    pub(super) fn enter_to_end(&'static self) -> Entered {
        self.enter_as(true)
    }

    fn enter_as(&'static self, ends: bool) -> Entered {
        THREAD.with(|thread| {
            thread.refused.set(None);
            let before = thread.account.replace(Some(self));
            // What is done on the way to an end is a part of it.
            let ends = ends || (thread.ends.get() && before.is_some_and(|before| std::ptr::eq(before, self)));
            Entered { before, ended: thread.ends.replace(ends), _thread: PhantomData }
        })
    }

    /// What it uses now.
    pub(super) fn usage(&self) -> StoreUsage {
        let (done, given_up) = &self.checkpoints;
        StoreUsage {
            store: self.name(),
            memory: self.used.load(Relaxed),
            wal: self.wal.load(Relaxed),
            temporary: self.temporary.load(Relaxed),
            file: self.file.load(Relaxed),
            refused: LIMITS.map(|(limit, name)| (name, self.refused[limit as usize].load(Relaxed))).to_vec(),
            checkpoints: vec![("done", done.load(Relaxed)), ("given_up", given_up.load(Relaxed))],
        }
    }

    /// The store's name.
    pub(super) fn name(&self) -> String {
        self.store.read().name.clone()
    }

    /// The folder of the store's file, where its temporary files are made too.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.store.read().folder.clone()
    }

    fn refuse(&self, limit: Limit) -> bool {
        self.refused[limit as usize].fetch_add(1, Relaxed);
        THREAD.with(|thread| thread.refused.set(Some(limit)));
        false
    }

    /// Something could not be written because the disk is full.
    pub(super) fn disk_is_full(&self) {
        self.refuse(Limit::Disk);
    }

    /// Adds memory; false, and nothing added, where that is more than the store may have.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let used = self.used.fetch_add(bytes, Relaxed) + bytes;
        used <= self.granted.load(Relaxed) || self.ask(bytes)
    }

    /// Takes memory off.
    pub(super) fn credit(&self, bytes: u64) {
        let used = self.used.fetch_sub(bytes, Relaxed) - bytes;
        if self.granted.load(Relaxed) > used + SLACK || used == 0 {
            self.give_back();
        }
    }

    /// Whether so much of the memory is used that connections should keep nothing they do not need.
    pub(super) fn is_tight(&self) -> bool {
        let used = self.used.load(Relaxed);
        used > self.max_memory.load(Relaxed) / 2 || (used > FLOOR && self.total.is_tight())
    }

    #[cold]
    fn ask(&self, bytes: u64) -> bool {
        let refusal = {
            let _turn = self.total.turn.lock();
            let (used, granted) = (self.used.load(Relaxed), self.granted.load(Relaxed));
            let total = self.total.granted.load(Relaxed);
            let limit = self.max_memory.load(Relaxed);
            if used <= granted {
                return true;
            }
            if used > limit {
                Limit::Memory
            } else {
                let room = self.total.limit.load(Relaxed).saturating_sub(total.saturating_sub(granted));
                let most = limit.min(room.max(FLOOR));
                if used <= most {
                    let grant = used.next_multiple_of(PIECE).min(most);
                    self.total.granted.store(total.saturating_add(grant - granted), Relaxed);
                    self.granted.store(grant, Relaxed);
                    return true;
                }
                Limit::TotalMemory
            }
        };
        // The reserve is not granted: what comes after must ask again.
        let ends = THREAD.with(|thread| thread.ends.get());
        if ends && self.used.load(Relaxed) <= self.granted.load(Relaxed).saturating_add(RESERVE) {
            return true;
        }
        self.used.fetch_sub(bytes, Relaxed);
        self.refuse(refusal)
    }

    #[cold]
    fn give_back(&self) {
        let _turn = self.total.turn.lock();
        let (used, granted) = (self.used.load(Relaxed), self.granted.load(Relaxed));
        let keep = if used == 0 { 0 } else { used.next_multiple_of(PIECE) + PIECE };
        if keep < granted {
            let total = self.total.granted.load(Relaxed);
            self.total.granted.store(total.saturating_sub(granted - keep), Relaxed);
            self.granted.store(keep, Relaxed);
        }
    }

    /// A file was opened or closed whose writes are counted here.
    pub(super) fn opened(&self) {
        self.open_files.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open_files.fetch_sub(1, Relaxed);
    }

    /// Whether the store's file may grow to this size. Where temporary files are in the way, its pages stay in the log.
    pub(super) fn file_may_reach(&self, end: u64) -> bool {
        let temporary = self.temporary.load(Relaxed);
        if end <= self.file.load(Relaxed) || temporary == 0 || end.saturating_add(temporary) <= self.shared_disk() {
            self.file.fetch_max(end, Relaxed);
            return true;
        }
        self.refuse(Limit::Temporary)
    }

    /// The file was opened and has this size.
    pub(super) fn file_was_found(&self, size: u64) {
        self.file.fetch_max(size, Relaxed);
    }

    /// The file was cut to this size.
    pub(super) fn file_was_cut(&self, size: u64) {
        self.file.store(size, Relaxed);
    }

    /// Makes room for growth of a temporary file; false where the store has no more.
    pub(super) fn temporary_may_grow(&self, by: u64) -> bool {
        let temporary = self.temporary.fetch_add(by, Relaxed) + by;
        if self.file.load(Relaxed).saturating_add(temporary) <= self.shared_disk() {
            return true;
        }
        self.temporary.fetch_sub(by, Relaxed);
        self.refuse(Limit::Temporary)
    }

    pub(super) fn temporary_shrank(&self, by: u64) {
        self.temporary.fetch_sub(by, Relaxed);
    }

    /// What the file and temporary files have together: the log's part is never theirs, so that a store that is full can
    /// be emptied.
    fn shared_disk(&self) -> u64 {
        self.max_disk.load(Relaxed).saturating_sub(self.max_wal.load(Relaxed))
    }

    /// Whether the log may reach this size.
    pub(super) fn wal_may_reach(&self, end: u64) -> bool {
        if end <= self.max_wal.load(Relaxed) {
            return true;
        }
        if self.wal_lifted.load(Relaxed) {
            let others = self.file.load(Relaxed).saturating_add(self.temporary.load(Relaxed));
            if end.saturating_add(others) <= self.max_disk.load(Relaxed) {
                return true;
            }
        }
        self.refuse(Limit::Wal)
    }

    /// Something was written to the log. At its start there is its header, which begins it again.
    pub(super) fn wal_was_written(&self, start: u64, end: u64) {
        self.wal.fetch_max(end, Relaxed);
        if start == 0 {
            self.wal_end.store(end, Relaxed);
        } else {
            self.wal_end.fetch_max(end, Relaxed);
        }
    }

    /// The log was opened and has this size. The first to open it does not know how much of it is in use.
    pub(super) fn wal_was_found(&self, size: u64) {
        if self.wal.fetch_max(size, Relaxed) == 0 {
            self.wal_end.fetch_max(size, Relaxed);
        }
    }

    /// The log was cut to this size.
    pub(super) fn wal_was_cut(&self, size: u64) {
        self.wal.store(size, Relaxed);
        self.wal_end.fetch_min(size, Relaxed);
    }

    /// The bytes of the log that are in use.
    pub(super) fn wal_in_use(&self) -> u64 {
        self.wal_end.load(Relaxed)
    }

    /// Whether so much of the log is in use that it should be moved into the file.
    pub(super) fn wal_is_long(&self) -> bool {
        self.wal_in_use() > self.long_wal.load(Relaxed)
    }

    /// Lets the log grow as far as the disk's part of the store allows, for a migration, which is one transaction
    /// however large the tables are.
    pub(super) fn lift_wal_limit(&'static self) -> Lifted {
        self.wal_lifted.store(true, Relaxed);
        Lifted(self)
    }

    /// Counts a checkpoint that readers waited for.
    pub(super) fn checkpointed(&self, done: bool) {
        let counter = if done { &self.checkpoints.0 } else { &self.checkpoints.1 };
        counter.fetch_add(1, Relaxed);
    }
}
