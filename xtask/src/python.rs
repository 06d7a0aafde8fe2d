//! The Python of the tests whose clients others wrote: a virtual environment of its own in the target folder, with exactly
//! the packages of `host/tests/clients/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;
use crate::progress::Step;
use crate::stale::Inputs;
use crate::workspace::{name_of, root, target_dir};

/// The oldest Python that the pinned packages run on.
const OLDEST: (u32, u32) = (3, 11);
/// Folders of environments begin with this; what they were made from follows.
const PREFIX: &str = "python-";
/// Written last: an environment without it was not finished.
const COMPLETE: &str = "complete";

/// What the tests are given.
#[derive(Debug)]
pub(crate) enum Python {
    /// The interpreter of the environment.
    Ready(PathBuf),
    /// Why there is none here. The tests that need it are skipped.
    Missing(String),
}

/// Makes the environment unless it is there. Where the machine has no suitable Python, or the packages cannot be had, the
/// answer says so.
///
/// # Errors
/// The target folder cannot be written, or the requirements contradict each other.
pub(crate) fn environment(step: &mut Step) -> Result<Python> {
    let found = match find() {
        Ok(found) => found,
        Err(why) => return missing(step, why),
    };
    let requirements = root().join("host/tests/clients/requirements.txt");
    let fingerprint = Inputs::new().text(&found).path(&requirements)?.fingerprint();
    let place = target_dir().join(format!("{PREFIX}{fingerprint}"));
    let python = place.join("bin/python");
    if place.join(COMPLETE).is_file() && python.exists() {
        step.note("up to date");
        return Ok(Python::Ready(python));
    }
    forget_all()?;
    step.detail("making a virtual environment");
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&place);
    if let Err(why) = output(&mut venv) {
        return missing(step, format!("python3 makes no virtual environment: {}", reason(&why)));
    }
    step.detail("installing packages");
    let mut pip = pip(&python);
    // Wheels only: nothing is compiled here, and no package runs code while it is installed.
    pip.args(["install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:", "--retries", "2"]);
    pip.arg("--requirement").arg(&requirements);
    if let Err(why) = output(&mut pip) {
        return missing(step, format!("its packages cannot be installed: {}", reason(&why)));
    }
    let mut check = self::pip(&python);
    output(check.arg("check")).context("host/tests/clients/requirements.txt does not fit together")?;
    let complete = place.join(COMPLETE);
    std::fs::write(&complete, "").with_context(|| format!("{} could not be written", complete.display()))?;
    step.note(found);
    Ok(Python::Ready(python))
}

fn missing(step: &mut Step, why: String) -> Result<Python> {
    step.note(format!("skipped: {why}"));
    Ok(Python::Missing(why))
}

/// The name, version and machine of the Python in PATH; or why it is of no use.
fn find() -> Result<String, String> {
    let mut ask = Command::new("python3");
    ask.args(["-c", "import platform as p; print(p.python_implementation(), p.python_version(), p.machine())"]);
    let found = output(&mut ask).map_err(|_| "there is no python3 here".to_owned())?;
    match version(&found) {
        Some(version) if version >= OLDEST => Ok(found),
        Some(_) => Err(format!("{found} is older than Python {}.{}", OLDEST.0, OLDEST.1)),
        None => Err(format!("python3 is not understood: {found}")),
    }
}

/// Major and minor version in an answer such as `CPython 3.11.7 x86_64`.
fn version(found: &str) -> Option<(u32, u32)> {
    let mut numbers = found.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn pip(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    pip
}

/// The last thing that a failed program said, on one line.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let said = |line: &&str| !line.trim().is_empty();
    let last = text.lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| text.lines().rfind(said));
    last.unwrap_or_default().trim_start_matches("ERROR:").trim().to_owned()
}

/// Removes the environments of other requirements, and unfinished ones: they are big.
fn forget_all() -> Result<()> {
    let Ok(entries) = target_dir().read_dir() else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if name_of(&path).starts_with(PREFIX) {
            std::fs::remove_dir_all(&path).with_context(|| format!("{} could not be removed", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(version("CPython 3.11.7 x86_64"), Some((3, 11)));
        assert!(version("CPython 3.9.2 aarch64") < Some(OLDEST));
        assert!(version("PyPy 3.12.0rc1 x86_64") > Some(OLDEST));
        assert_eq!(version("Python"), None);
    }

    #[test]
    fn the_reason_is_the_last_error_on_one_line() {
        let told = |text: &str| reason(&anyhow::anyhow!("{text}"));
        assert_eq!(
            told("`python` failed: WARNING: Retrying\nERROR: first\nERROR: No match for x==1\n\n[notice] new"),
            "No match for x==1"
        );
        assert_eq!(told("`python3` failed (exit status: 1): No module named venv\n"), {
            "`python3` failed (exit status: 1): No module named venv"
        });
        assert_eq!(told(""), "");
    }

    #[test]
    fn every_requirement_is_pinned() {
        let file = std::fs::read_to_string(root().join("host/tests/clients/requirements.txt")).unwrap();
        let lines: Vec<&str> = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(lines.iter().any(|line| line.starts_with("grpcio==")));
        for line in lines {
            let (name, version) = line.split_once("==").unwrap_or((line, ""));
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !version.is_empty(), "{line}");
            assert!(version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'), "{line}");
        }
    }
}
