//! `cargo xtask proto`: the folder `proto/`, the gRPC contracts of everything that ships.

use std::process::Command;

use anyhow::{Context, Result};

use crate::components;
use crate::dist::{ASSEMBLE_STEPS, assemble, find_toolchain};
use crate::process::{failure, output};
use crate::progress::Steps;
use crate::stale::mirror;
use crate::suite;
use crate::workspace::{root, target_dir};

/// Derives the contracts from the packed components and the host, and replaces `proto/` with them.
///
/// # Errors
/// A part does not build, or the contracts do not go together.
pub(crate) fn run() -> Result<()> {
    let (components, guests) = (components::components()?, components::guests()?);
    let mut steps = Steps::new(4 + ASSEMBLE_STEPS);
    find_toolchain(&mut steps)?;
    // As for the tests, one of which is what sends people here: nothing is built a second time.
    let host = steps.step("Building the host", |step| suite::build(step, &guests))?;
    steps.step("Building components", |step| components::build(step, &components))?;
    let packed = target_dir().join("test-dist");
    assemble(&mut steps, &host, &components, &packed)?;
    let changed = steps.step("Deriving proto/", |step| {
        let fresh = tempfile::tempdir().context("a temporary folder could not be made")?;
        let mut derive = Command::new(&host);
        derive.args(["plugin", "proto", "--host"]);
        derive.args(
            components.iter().map(|component| packed.join("plugins").join(&component.name).with_extension("wasm")),
        );
        output(derive.arg("--out").arg(fresh.path())).map_err(|error| {
            failure(format!("the contracts were not derived: {error:#}"), "correct the WIT that the message names")
        })?;
        let changed = mirror(fresh.path(), &root().join("proto"))?;
        step.note(if changed == 0 { "up to date".to_owned() } else { format!("{changed} files changed") });
        Ok(changed)
    })?;
    if changed == 0 {
        println!("proto/ is in step with the WIT after {}", steps.elapsed());
    } else {
        println!("proto/ is in step with the WIT now; look at `git diff proto` for what clients will notice");
    }
    Ok(())
}
