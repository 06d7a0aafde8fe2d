//! Running other programs, and failures that say what to do next.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// A failure with a way out of it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: String,
}

impl Failure {
    /// What to do about it: one sentence or a few lines.
    pub(crate) fn next(&self) -> &str {
        &self.next
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// An error that says what happened and what to do next.
pub(crate) fn failure(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    Failure { what: what.into(), next: next.into() }.into()
}

/// The cargo that runs this command, or the one in PATH where it was started by hand.
pub(crate) fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A call of the native cargo in the workspace.
pub(crate) fn cargo() -> Command {
    Command::new(cargo_path())
}

/// A command as a person would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    command.get_args().fold(name, |line, arg| line + " " + &arg.to_string_lossy())
}

/// The standard output of a command that must succeed, without the line end.
///
/// # Errors
/// The program is not there, or it failed; its standard error is in the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("`{line}` could not be started"))?;
    if !out.status.success() {
        anyhow::bail!("`{line}` failed ({}): {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
}
