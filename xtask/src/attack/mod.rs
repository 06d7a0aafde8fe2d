//! `cargo xtask attack`: builds the host and the attacking program, and runs the latter.
//!
//! The attacking program is `src/bin/attack`, so that the other commands need not wait for its dependencies.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::components;
use crate::dist::{self, ASSEMBLE_STEPS, Profile, find_toolchain};
use crate::process::cargo;
use crate::progress::Steps;
use crate::suite;
use crate::workspace::{at_root, root, target_dir};

/// The options of `attack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The length of each attack in seconds [default: 10, with --short 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Only attacks with one of these words in their names
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// One second each, against the host that the tests use: fails if the host dies, serves nobody else or does not end;
    /// shows figures without judging them
    #[arg(long)]
    short: bool,
    /// How the host is built [default: release, with --short dev]
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Attacks this program instead of this checkout's host
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Writes the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds everything and runs the attacks. A successful attack is a failing exit code.
///
/// # Errors
/// A part does not build.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let profile = arguments.profile.unwrap_or(if arguments.short { Profile::Dev } else { Profile::Release });
    let (components, guests) = (components::components()?, components::guests()?);
    let mut steps = Steps::new(5 + ASSEMBLE_STEPS);
    find_toolchain(&mut steps)?;
    // The same build as that of the tests: with other features cargo would compile the dependencies once more.
    let host = steps.step("Building the host", |step| match profile {
        Profile::Dev => suite::build(step, &guests),
        Profile::Release => dist::build_host(step, profile),
    })?;
    steps.step("Building components", |step| components::build(step, &components))?;
    let guests = steps.step("Building guests", |step| components::build_guests(step, &guests))?;
    // `dist/` may be in use.
    let dist = target_dir().join(if profile == Profile::Dev { "test-dist" } else { "attack-dist" });
    dist::assemble(&mut steps, &host, &components, &dist)?;
    let attack = steps.step("Building the attacks", |step| {
        let mut build = at_root(cargo());
        build.args(["build", "-p", "xtask", "--features", "attack", "--bin", "attack", "--target-dir"]);
        build.arg(target_dir());
        step.run(build, "the compiler's message is above")?;
        Ok(target_dir().join("debug/attack"))
    })?;
    eprintln!("built after {}", steps.elapsed());

    let mut attack = Command::new(attack);
    let seconds = arguments.seconds.unwrap_or(if arguments.short { 1 } else { 10 });
    attack.arg("--program").arg(arguments.program.as_ref().unwrap_or(&host)).arg("--dist").arg(&dist);
    attack.arg("--guests").arg(guests).arg("--sources").arg(root().join("host/tests/guests"));
    attack.args(["--seconds", &seconds.to_string()]).args(arguments.short.then_some("--short"));
    for word in &arguments.only {
        attack.args(["--only", word]);
    }
    if let Some(json) = &arguments.json {
        attack.arg("--json").arg(json);
    }
    let right = attack.status().context("the attacks could not be started")?.success();
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
