//! `cargo xtask lint`: formatting and lints of everything.

use anyhow::Result;

use crate::process::cargo;
use crate::progress::Steps;
use crate::workspace::{at_root, target_dir};

/// Checks formatting and lints. Components and guests are checked as native code: their lints do not depend on the target,
/// and a compiler that is linked only for its WebAssembly target has no clippy.
///
/// # Errors
/// Something is not formatted, or there is a warning.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::new(2);
    steps.step("Formatting", |step| {
        let mut format = at_root(cargo());
        format.args(["fmt", "--all", "--", "--check"]);
        step.run(format, "run `cargo fmt --all`")
    })?;
    steps.step("Lints", |step| {
        let mut clippy = at_root(cargo());
        clippy.args(["clippy", "--workspace", "--all-targets", "--features", "xtask/bench", "--target-dir"]);
        clippy.arg(target_dir());
        clippy.args(["--", "-D", "warnings"]);
        step.run(clippy, "correct what clippy says above; `cargo clippy --fix` can do some of it")
    })?;
    println!("no findings after {}", steps.elapsed());
    Ok(())
}
