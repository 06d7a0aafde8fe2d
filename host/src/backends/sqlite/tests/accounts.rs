//! Accounts by themselves, and SQLite's memory and files on them.

use std::path::Path;

use super::super::account::{self, Account, Total};
use super::*;

const MIB: u64 = 1 << 20;

fn limits(memory: u64) -> SqliteSettings {
    SqliteSettings { max_memory_bytes: memory, ..Default::default() }
}

/// A total of its own, so that other tests have no part in it.
fn total(limit: u64) -> &'static Total {
    Box::leak(Box::new(Total::new(limit)))
}

fn usage(account: &'static Account, limit: &str) -> u64 {
    let refused = account.usage().refused;
    refused.into_iter().find_map(|(name, count)| (name == limit).then_some(count)).unwrap()
}

#[test]
fn an_account_refuses_what_is_past_its_limit_and_takes_what_was_freed() {
    let open = account::open_in(total(1_000 * MIB), "one", Path::new("one.db"), &limits(10 * MIB));
    let account = *open;
    let _entered = account.enter();
    assert!(account.charge(10 * MIB));
    assert!(!account.charge(1));
    assert_eq!(account::take_refusal(), Some(account::Limit::Memory));
    assert_eq!((account.usage().memory, usage(account, "memory")), (10 * MIB, 1));
    account.credit(MIB);
    assert!(account.charge(MIB) && !account.charge(1));
    // What ends a transaction has a little more, and what comes after has not.
    {
        let _ends = account.enter_to_end();
        assert!(account.charge(MIB / 2) && !account.charge(MIB));
        account.credit(MIB / 2);
    }
    assert!(!account.charge(1));
    account.credit(10 * MIB);
    assert_eq!(account.usage().memory, 0);
}

#[test]
fn all_stores_share_a_total_and_each_has_its_floor() {
    let total = total(20 * MIB);
    let [first, second, third] = ["1", "2", "3"].map(|name| {
        let open = account::open_in(total, name, Path::new("x.db"), &limits(16 * MIB));
        let account = *open;
        (open, account)
    });
    assert!(first.1.charge(16 * MIB));
    assert!(second.1.charge(4 * MIB) && !second.1.charge(MIB));
    assert_eq!(usage(second.1, "total_memory"), 1);
    // The total is used up, and the third still has what is every store's.
    assert!(third.1.charge(4 * MIB) && !third.1.charge(1));
    first.1.credit(16 * MIB);
    assert!(second.1.charge(8 * MIB));
    second.1.credit(12 * MIB);
    third.1.credit(4 * MIB);
    assert!(first.1.charge(16 * MIB));
    first.1.credit(16 * MIB);
}

#[test]
fn many_threads_leave_an_account_balanced() {
    let open = account::open_in(total(1_000 * MIB), "threads", Path::new("x.db"), &limits(8 * MIB));
    let account = *open;
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            scope.spawn(move || {
                let _entered = account.enter();
                let mut held = 0;
                for step in 0..20_000_u64 {
                    let bytes = 1 + (step * thread * 7_919) % 300_000;
                    if account.charge(bytes) {
                        assert!(account.usage().memory <= 8 * MIB + 4 * 300_000);
                        held += bytes;
                    }
                    if held > 2 * MIB {
                        account.credit(held);
                        held = 0;
                    }
                }
                account.credit(held);
            });
        }
    });
    assert_eq!(account.usage().memory, 0);
}

#[test]
fn an_account_is_used_again_once_nothing_is_charged_to_it() {
    let total = total(MIB);
    let settings = limits(MIB);
    let open = |name| account::open_in(total, name, Path::new("x.db"), &settings);
    let first = open("first");
    let account = *first;
    assert!(account.charge(100));
    drop(first);
    let second = open("second");
    assert!(!std::ptr::eq(account, *second), "something of the first is still there");
    account.credit(100);
    let third = open("third");
    assert!(std::ptr::eq(account, *third));
    assert_eq!((third.usage().store, third.usage().memory), ("third".to_owned(), 0));
}

#[test]
fn the_log_temporary_files_and_the_file_share_the_disk() {
    let settings = SqliteSettings { max_database_bytes: 100 * MIB, max_wal_bytes: 20 * MIB, ..Default::default() };
    let open = account::open_in(total(MIB), "disk", Path::new("x.db"), &settings);
    let account = *open;
    account.file_was_found(60 * MIB);
    assert!(account.wal_may_reach(20 * MIB) && !account.wal_may_reach(20 * MIB + 1));
    assert!(account.temporary_may_grow(20 * MIB) && !account.temporary_may_grow(1));
    assert_eq!((usage(account, "wal"), usage(account, "temporary")), (1, 1));
    assert!(!account.file_may_reach(61 * MIB), "its pages stay in the log for now");
    account.temporary_shrank(20 * MIB);
    assert!(account.file_may_reach(61 * MIB));
    // A migration may use what is left.
    let lifted = account.lift_wal_limit();
    assert!(account.wal_may_reach(39 * MIB) && !account.wal_may_reach(40 * MIB));
    drop(lifted);
    assert!(!account.wal_may_reach(39 * MIB));
    account.wal_was_written(0, 32);
    account.wal_was_written(32, 4_152);
    assert_eq!((account.usage().wal, account.wal_in_use()), (4_152, 4_152));
    // Its header begins it again.
    account.wal_was_written(0, 32);
    assert_eq!((account.usage().wal, account.wal_in_use()), (4_152, 32));
}
