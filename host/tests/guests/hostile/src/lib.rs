//! A guest that spends what others need; `cargo xtask attack` calls it.

arcana_sdk::bindings!({ path: ["wit"], world: "test:hostile/guest" });

use core::hint::black_box;
use core::time::Duration;

use arcana_sdk::crypto::passwords::{self, Verdict};
use arcana_sdk::database::{Error, FromRow, Row, Store};
use arcana_sdk::{crypto, log, params};
use bindings::exports::test::hostile::hostile::Guest;

struct Plugin;

/// A row that nobody reads.
struct Ignored;

impl FromRow for Ignored {
    fn from_row(_: &mut Row<'_>) -> Result<Self, Error> {
        Ok(Self)
    }
}

impl Guest for Plugin {
    fn sql(sql: String, writes: Option<bool>) -> String {
        outcome(match writes {
            Some(true) => Store::OWN.execute(&sql, params![]).map(drop),
            _ => Store::OWN.query_all::<Ignored>(&sql, params![]).map(drop),
        })
    }

    fn overwrite(bytes: u32) -> String {
        let body = vec![1_u8; length(bytes)];
        outcome(Store::OWN.execute("INSERT OR REPLACE INTO rows (id, body) VALUES (1, ?1)", params![body]).map(drop))
    }

    fn nap(ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    }

    fn grow(bytes: u32, ms: u64) -> u32 {
        let memory = black_box(vec![1_u8; length(bytes)]);
        std::thread::sleep(Duration::from_millis(ms));
        u32::try_from(black_box(&memory).len()).unwrap_or(u32::MAX)
    }

    fn digest(bytes: u32) -> Vec<u8> {
        crypto::sha256(&vec![1; length(bytes)])
    }

    fn flood_log(lines: u32, bytes: u32) -> u32 {
        let line = "x".repeat(length(bytes));
        for _ in 0..lines {
            log::write(log::Level::Info, &line, &[]);
        }
        lines
    }

    fn verify_password(password: String, hash: String) -> String {
        match passwords::verify(&password, Some(&hash)) {
            Ok(Verdict::Wrong) => "wrong".to_owned(),
            Ok(Verdict::Correct | Verdict::CorrectRehash) => "correct".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// `ok`, or the error in words.
fn outcome(result: Result<(), Error>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

bindings::export!(Plugin with_types_in bindings);
