//! A guest that does what plugins should not do.

mod capabilities;
mod limits;
mod sql;

arcana_sdk::bindings!({
    path: ["../../../../wit/types", "../../../../wit/plugin", "wit"],
    world: "test:chaos/guest",
    with: { "arcana:types/types@1.0.0": arcana_sdk::types },
});

use core::sync::atomic::{AtomicU64, Ordering};

use arcana_sdk::{Result, config, log};
use bindings::exports::arcana::plugin::lifecycle;
use bindings::exports::test::chaos::chaos::{CallContext, Ending, Guest, SqlMode};

struct Plugin;

/// Lives as long as the instance.
static CALLS: AtomicU64 = AtomicU64::new(0);

fn count_call() -> u64 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

impl lifecycle::Guest for Plugin {
    fn on_enable() -> Result<(), String> {
        match config::get::<String>("refuse_to_start") {
            Ok(None) => Ok(()),
            Ok(Some(reason)) if reason == "panic" => limits::stop(Ending::Panic),
            Ok(Some(reason)) if reason == "spin" => loop {
                core::hint::spin_loop();
            },
            Ok(Some(reason)) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }

    fn on_disable() -> Result<(), String> {
        log::info!("chaos is over");
        Ok(())
    }
}

/// Writes the methods of the trait: each counts the call and hands it on.
macro_rules! guest {
    ($($module:ident::$name:ident($($parameter:ident: $type:ty),*) $(-> $result:ty)?;)+) => {
        impl Guest for Plugin {
            $(fn $name($($parameter: $type),*) $(-> $result)? {
                count_call();
                $module::$name($($parameter),*)
            })+

            fn calls_served() -> u64 {
                count_call()
            }
        }
    };
}

guest! {
    limits::spin() -> u64;
    limits::nap(ms: u64) -> u64;
    limits::allocate() -> u64;
    limits::recurse() -> u64;
    limits::flood_log(lines: u32, bytes: u32) -> u32;
    limits::flood_stdout(lines: u32, bytes: u32) -> u32;
    limits::stop(how: Ending) -> u32;
    limits::large_answer(bytes: u32) -> String;
    limits::leak(bytes: u64) -> u64;
    sql::count_notes(note: String) -> Result<u64>;
    sql::leave_transaction_open(note: String) -> Result<()>;
    sql::hold_transaction_spinning(note: String) -> Result<()>;
    sql::hold_transaction_napping(note: String, ms: u64) -> Result<()>;
    sql::panic_in_transaction(note: String) -> Result<()>;
    sql::begin_twice() -> Result<String>;
    sql::sql(store: String, sql: String, mode: Option<SqlMode>) -> String;
    sql::rows(store: String, sql: String) -> Result<Vec<Vec<String>>>;
    sql::many_rows(count: u32) -> Result<u32>;
    sql::slow_sql(steps: u64) -> Result<u64>;
    capabilities::cache_set(key: String, value: String, ttl_ms: Option<u64>) -> Result<()>;
    capabilities::cache_get(key: String) -> Result<Option<String>>;
    capabilities::cache_delete(key: String) -> Result<bool>;
    capabilities::cache_increment(key: String, by: i64) -> Result<i64>;
    capabilities::cache_compute(key: String, wait_ms: u32, compute_ms: u64) -> Result<String>;
    capabilities::cache_leak_lock(key: String) -> Result<()>;
    capabilities::random(len: u32) -> u32;
    capabilities::sha256(data: Vec<u8>) -> Vec<u8>;
    capabilities::hmac(key: Vec<u8>, data: Vec<u8>) -> Vec<u8>;
    capabilities::hash_password(password: String) -> Result<String>;
    capabilities::verify_password(password: String, hash: Option<String>) -> Result<String>;
    capabilities::sign(key: String, message: Vec<u8>) -> Result<Vec<u8>>;
    capabilities::verify_signature(key: String, message: Vec<u8>, signature: Vec<u8>) -> Result<bool>;
    capabilities::whoami() -> CallContext;
    capabilities::setting(key: String) -> Option<String>;
    capabilities::look_around() -> Vec<String>;
    limits::hold(bytes: u64, ms: u64) -> u64;
    capabilities::work_on(how: String, bytes: u64) -> Result<String>;
    capabilities::called_by_host() -> bool;
    limits::say(message: String, value: String) -> u32;
}

bindings::export!(Plugin with_types_in bindings);
