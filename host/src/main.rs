//! The `arcana` binary: reads the command line and calls the library.

use std::process::ExitCode;

/// Values are made on one thread and freed on another all the time: the arenas of glibc's allocator contend for their locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    arcana::cli::run()
}
