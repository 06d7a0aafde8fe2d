//! `cargo xtask lint`: formatting and lints of everything, guests of the tests included.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::components::guests;
use crate::process::cargo;
use crate::progress::Steps;
use crate::workspace::{at_root, read_toml, target_dir};

/// Checks formatting and lints. Components are checked as native code: their lints do not depend on the target, and a
/// compiler that is linked only for its WebAssembly target has no clippy.
///
/// # Errors
/// Something is not formatted, or there is a warning.
pub(crate) fn run() -> Result<()> {
    // Crates that are workspaces of their own are not reached from the root.
    let apart: Vec<PathBuf> = guests()?
        .into_iter()
        .map(|guest| guest.join("Cargo.toml"))
        .filter(|manifest| read_toml(manifest).is_ok_and(|table| table.contains_key("workspace")))
        .collect();
    let mut steps = Steps::new(2 + 2 * apart.len());
    steps.step("Formatting", |step| {
        let mut format = at_root(cargo());
        format.args(["fmt", "--all", "--", "--check"]);
        step.run(format, "run `cargo fmt --all`")
    })?;
    steps.step("Lints", |step| {
        let mut clippy = at_root(cargo());
        clippy.args(["clippy", "--workspace", "--all-targets", "--target-dir"]).arg(target_dir());
        clippy.args(["--", "-D", "warnings"]);
        step.run(clippy, "correct what clippy says above; `cargo clippy --fix` can do some of it")
    })?;
    for manifest in &apart {
        guest(&mut steps, manifest)?;
    }
    println!("no findings after {}", steps.elapsed());
    Ok(())
}

fn guest(steps: &mut Steps, manifest: &Path) -> Result<()> {
    let shown = crate::dist::shown(manifest);
    steps.step(&format!("Formatting {shown}"), |step| {
        let mut format = at_root(cargo());
        format.args(["fmt", "--manifest-path"]).arg(manifest).args(["--", "--check"]);
        step.run(format, &format!("run `cargo fmt --manifest-path {shown}`"))
    })?;
    steps.step(&format!("Lints of {shown}"), |step| {
        let mut clippy = at_root(cargo());
        clippy.args(["clippy", "--manifest-path"]).arg(manifest);
        clippy.arg("--target-dir").arg(target_dir().join("guests")).args(["--", "-D", "warnings"]);
        step.run(clippy, "correct what clippy says above")
    })
}
