//! Where things are in the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // This crate is one folder below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The target folder of the native build.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The target folder of everything that is built for WebAssembly: apart from the native one, so that neither waits for
/// the other or makes it build anew.
pub(crate) fn wasm_target_dir() -> PathBuf {
    target_dir().join("components")
}

/// What belongs to this checkout alone and must survive `cargo clean`: the local key and what was packed with it.
pub(crate) fn local_dir() -> PathBuf {
    root().join(".arcana")
}

/// A file of TOML.
///
/// # Errors
/// The file cannot be read, or is not TOML; both with its name.
pub(crate) fn read_toml(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}

/// The folders below `parent` which hold a file of this name, sorted; none where `parent` is not there.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn folders_with(parent: &Path, file: &str) -> Result<Vec<PathBuf>> {
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    let entries = parent.read_dir().with_context(|| format!("{} could not be read", parent.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("{} could not be read", parent.display()))?.path();
        if path.join(file).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The name of a file or folder as text.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The command in the root of the checkout, whatever folder it was started in.
pub(crate) fn at_root(mut command: Command) -> Command {
    command.current_dir(root());
    command
}
