//! The `arcana` binary: reads the command line and calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    arcana::cli::run()
}
