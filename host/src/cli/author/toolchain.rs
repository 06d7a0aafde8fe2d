//! A Rust toolchain that builds components: which one is taken. The order is told in `docs/toolchain.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The target of components.
pub(super) const TARGET: &str = "wasm32-wasip2";
/// Names the toolchain to use: one of rustup's, or `distro`.
const VARIABLE: &str = "ARCANA_WASM_TOOLCHAIN";
/// The name by which rustup knows a compiler of the distribution, and where that one is without rustup.
const DISTRO: (&str, &str) = ("arcana-wasm", "/usr/bin/rustc");

/// A compiler that has the target, with the cargo that drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchain {
    cargo: PathBuf,
    /// None for the active toolchain, whose cargo finds its compiler by itself.
    rustc: Option<PathBuf>,
}

impl Toolchain {
    /// The toolchain for a crate in this folder: the active one where it has the target, else the one that
    /// `ARCANA_WASM_TOOLCHAIN` names.
    ///
    /// # Errors
    /// None has it; says what to do. Nothing is installed.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let active = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let lacks = match has_target(&active, folder) {
            Ok(true) => return Ok(Self { cargo, rustc: None }),
            Ok(false) => format!("the active Rust toolchain has no {TARGET}"),
            Err(error) => format!("{error:#}"),
        };
        let asked = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        let (name, rustc) = match asked.as_deref() {
            None => bail!(
                "{lacks}: run `rustup target add {TARGET}`, or set {VARIABLE} to a toolchain that has it \
                 (`rustup toolchain list`, or `distro` for the distribution's)"
            ),
            Some("distro") => {
                let linked = rustup_which(DISTRO.0, "rustc", folder);
                ("distro", linked.unwrap_or_else(|_| PathBuf::from(DISTRO.1)))
            }
            Some(name) => {
                let found = rustup_which(name, "rustc", folder);
                (name, found.with_context(|| format!("{VARIABLE}={name}: rustup has no such toolchain"))?)
            }
        };
        if !has_target(&rustc, folder).with_context(|| format!("{VARIABLE}={name}"))? {
            bail!(
                "{VARIABLE}={name}: this toolchain has no {TARGET} either: `rustup target add --toolchain {name} {TARGET}` \
                 may add it"
            );
        }
        // A linked compiler has no cargo of its own.
        let cargo = rustup_which(name, "cargo", folder).unwrap_or(cargo);
        Ok(Self { cargo, rustc: Some(rustc) })
    }

    /// A toolchain that is not there.
    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self { cargo: PathBuf::from("/nonexistent/cargo"), rustc: None }
    }

    /// A call of cargo with this compiler.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }
}

/// Whether a compiler has the standard library of the target.
fn has_target(rustc: &Path, folder: &Path) -> Result<bool> {
    let libraries = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]), folder)?;
    let Ok(entries) = Path::new(&libraries).read_dir() else { return Ok(false) };
    Ok(entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    }))
}

fn rustup_which(toolchain: &str, tool: &str, folder: &Path) -> Result<PathBuf> {
    let mut rustup = Command::new("rustup");
    output(rustup.args(["which", "--toolchain", toolchain, tool]).env("RUST_BACKTRACE", "0"), folder).map(PathBuf::from)
}

/// The standard output of a command that must succeed, without the line end.
fn output(command: &mut Command, folder: &Path) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let out = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{program}` could not be started; is Rust installed?"))?;
    if !out.status.success() {
        bail!("`{program}` failed ({}): {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
}
