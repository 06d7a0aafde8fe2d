//! What authors of plugins do: `arcana plugin new`, `build`, `test`, and `arcana dev`.

pub(super) mod build;
mod carried;
pub(super) mod dev;
mod home;
pub(super) mod new;
mod project;
pub(super) mod test;
mod toolchain;

use std::process::ExitCode;

use super::shown;
use crate::telemetry::output;

/// What kept a command from doing its work at all: a mistake in how it was called, in the crate, or on this machine.
pub(super) const CANNOT: u8 = 2;

/// The exit code where the work was not done, with the reason told.
fn cannot(error: &anyhow::Error) -> ExitCode {
    output::complain(&format!("arcana: {}", shown::clean(&format!("{error:#}"))));
    ExitCode::from(CANNOT)
}
