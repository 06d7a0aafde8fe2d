//! What needs a limit: time, memory, stack, output.

use core::hint::black_box;
use core::time::Duration;
use std::sync::Mutex;

use arcana_sdk::log;

use crate::bindings::exports::test::chaos::chaos::Ending;

pub(crate) fn spin() -> u64 {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub(crate) fn nap(ms: u64) -> u64 {
    // WASI's clock: a pending host call.
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

pub(crate) fn allocate() -> u64 {
    const PIECE: usize = 1 << 20;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        pieces.push(black_box(vec![1; PIECE]));
    }
}

#[expect(unconditional_recursion, reason = "the point of it")]
pub(crate) fn recurse() -> u64 {
    let frame = black_box([1_u64; 32]);
    frame[0] + black_box(recurse())
}

pub(crate) fn flood_log(lines: u32, bytes: u32) -> u32 {
    let line = text(bytes);
    for _ in 0..lines {
        log::write(log::Level::Info, &line, &[]);
    }
    lines
}

pub(crate) fn flood_stdout(lines: u32, bytes: u32) -> u32 {
    let line = text(bytes);
    for _ in 0..lines {
        println!("{line}");
    }
    lines
}

pub(crate) fn say(message: String, value: String) -> u32 {
    log::write(log::Level::Info, &message, &[("field".to_owned(), value)]);
    println!("{message}");
    1
}

#[expect(clippy::panic, reason = "the point of it")]
pub(crate) fn stop<T>(how: Ending) -> T {
    match how {
        Ending::Panic => panic!("as you wished"),
        Ending::Unreachable => std::process::abort(),
        Ending::OutOfBounds => {
            let pieces: Vec<u32> = Vec::new();
            let piece = pieces[black_box(1)];
            panic!("there is no piece {piece}")
        }
        Ending::Exit => std::process::exit(3),
    }
}

pub(crate) fn large_answer(bytes: u32) -> String {
    text(bytes)
}

static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub(crate) fn leak(bytes: u64) -> u64 {
    let piece = vec![1; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let Ok(mut leaked) = LEAKED.lock() else { return 0 };
    leaked.push(piece);
    leaked.iter().map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX)).sum()
}

pub(crate) fn hold(bytes: u64, ms: u64) -> u64 {
    let held = black_box(vec![1_u8; usize::try_from(bytes).unwrap_or(usize::MAX)]);
    nap(ms);
    u64::try_from(held.len()).unwrap_or(u64::MAX)
}

fn text(bytes: u32) -> String {
    "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX))
}
