//! `cargo xtask test`: what the tests need is made, then every test runs.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::components::{self, Component};
use crate::dist::{ASSEMBLE_STEPS, assemble, find_toolchain};
use crate::process::{cargo, failure};
use crate::progress::{Step, Steps};
use crate::python::{self, Python};
use crate::wasm::component_cargo;
use crate::workspace::{at_root, target_dir};

/// What the result lines of all test programs add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Name and reason of those that could not do their work on this machine.
    skipped: Vec<String>,
}

/// Builds what the tests need and runs those whose names contain one of the filters; without filters all of them.
///
/// # Errors
/// Something does not build, or no test matches. Tests that fail are no error here but a failing exit code.
pub(crate) fn run(filter: &[String]) -> Result<ExitCode> {
    let (components, guests) = (components::components()?, components::guests()?);
    let mut steps = Steps::new(5 + ASSEMBLE_STEPS);
    find_toolchain(&mut steps)?;
    // The host is built by the same command that runs the tests, so that its dependencies are compiled once.
    let host = steps.step("Building the tests", |step| build(step, &guests))?;
    steps.step("Building components", |step| components::build(step, &components))?;
    let guest_dir = steps.step("Building guests", |step| components::build_guests(step, &guests))?;
    let dist = target_dir().join("test-dist");
    assemble(&mut steps, &host, &components, &dist)?;
    let python = steps.step("Installing the Python clients", python::environment)?;

    let mut tests = tests(&guests);
    tests.env("ARCANA_TEST_DIST", &dist).env("ARCANA_TEST_GUESTS", &guest_dir);
    // The compiler that built the components builds the plugins of the tests too.
    let compiler = component_cargo()?
        .get_envs()
        .find(|(name, _)| *name == "RUSTC")
        .and_then(|(_, value)| value.map(PathBuf::from));
    match compiler {
        Some(compiler) => tests.env("ARCANA_TEST_RUSTC", compiler),
        None => tests.env_remove("ARCANA_TEST_RUSTC"),
    };
    match python {
        Python::Ready(python) => tests.env("ARCANA_TEST_PYTHON", python).env_remove("ARCANA_TEST_PYTHON_MISSING"),
        Python::Missing(why) => tests.env_remove("ARCANA_TEST_PYTHON").env("ARCANA_TEST_PYTHON_MISSING", why),
    };
    if std::io::stderr().is_terminal() {
        tests.args(["--color", "always"]);
    }
    tests.arg("--").args(filter);
    let (totals, passed) = run_tests(tests)?;
    if passed && !filter.is_empty() && totals.passed + totals.ignored == 0 {
        return Err(failure(
            format!("no test has {} in its name", filter.join(" or ")),
            "`cargo test --workspace -- --list` lists them",
        ));
    }
    if !totals.skipped.is_empty() {
        println!("\nskipped:");
        totals.skipped.iter().for_each(|skipped| println!("    {skipped}"));
    }
    println!(
        "\n{}: {} passed, {} failed, {} ignored, {} skipped in {} test programs after {}",
        if passed { "all green" } else { "FAILED" },
        totals.passed.saturating_sub(totals.skipped.len() as u64),
        totals.failed,
        totals.ignored,
        totals.skipped.len(),
        totals.programs,
        steps.elapsed()
    );
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the tests and with them the host; answers its program.
///
/// # Errors
/// Something does not build.
pub(crate) fn build(step: &mut Step, guests: &[Component]) -> Result<PathBuf> {
    let mut build = tests(guests);
    build.arg("--no-run");
    step.run(build, "the compiler's message is above")?;
    Ok(target_dir().join("debug/arcana"))
}

/// The native tests. Those of components are their unit tests: what they do as plugins is tested through the host.
/// Guests have none.
fn tests(guests: &[Component]) -> Command {
    let mut tests = at_root(cargo());
    tests.args(["test", "--workspace", "--no-fail-fast", "--target-dir"]).arg(target_dir());
    for guest in guests {
        tests.args(["--exclude", &guest.package]);
    }
    tests
}

/// Runs the tests, shows their output as it comes and adds it up.
fn run_tests(mut tests: Command) -> Result<(Totals, bool)> {
    let mut child = tests.stdout(Stdio::piped()).spawn().context("cargo test could not be started")?;
    let mut totals = Totals::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("the tests' output could not be read")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            totals.add(&line);
        }
    }
    let status = child.wait().context("cargo test could not be waited for")?;
    Ok((totals, status.success()))
}

impl Totals {
    /// Takes in a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`, or `skipped: <name>: <reason>`, which a
    /// test writes that then counts as passed.
    fn add(&mut self, line: &str) {
        if let Some(skipped) = line.strip_prefix("skipped: ") {
            self.skipped.push(skipped.to_owned());
            return;
        }
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        self.programs += 1;
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn result_lines_add_up() {
        let mut totals = Totals::default();
        totals.add("running 4 tests");
        totals.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        totals.add("test result: \x1b[31mFAILED\x1b[0m. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        totals.add("skipped: clients::one: no python3");
        totals.add("skipping is told at the beginning of a line; skipped: not this");
        let skipped = vec!["clients::one: no python3".to_owned()];
        assert_eq!(totals, Totals { programs: 2, passed: 13, failed: 2, ignored: 1, skipped });
    }
}
