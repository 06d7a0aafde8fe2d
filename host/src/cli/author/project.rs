//! The crate of a plugin on its author's disk.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::plugins::manifest::{Manifest, PluginId};

/// The manifest, which makes a crate that of a plugin.
pub(super) const MANIFEST: &str = "plugin.toml";
/// Settings of the host for `arcana dev` and `arcana plugin test`.
pub(super) const SETTINGS: &str = "dev.toml";
/// Calls with the answers that they must get.
pub(super) const CALLS: &str = "calls.toml";

/// A crate with a `plugin.toml`.
#[derive(Debug, Clone)]
pub(super) struct Project {
    /// Its folder, absolute.
    pub(super) folder: PathBuf,
}

impl Project {
    /// The crate in this folder or in the nearest one above it; `path` may also be a file in it.
    ///
    /// # Errors
    /// There is no `plugin.toml`, or no `Cargo.toml` beside it.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let start = path.canonicalize().with_context(|| format!("{} cannot be used", path.display()))?;
        let found = start.ancestors().find(|folder| folder.join(MANIFEST).is_file());
        let Some(folder) = found else {
            bail!(
                "there is no {MANIFEST} in {} or a folder above it; `arcana plugin new NAME` makes a crate with one",
                path.display()
            );
        };
        if !folder.join("Cargo.toml").is_file() {
            bail!(
                "{} has a {MANIFEST} and no Cargo.toml: only Rust crates are built here; `arcana plugin pack` takes a \
                 component that was built by other tools",
                folder.display()
            );
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// A file of the crate.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of the manifest, and the id in it.
    ///
    /// # Errors
    /// It cannot be read, or has mistakes: all of them.
    pub(super) fn manifest(&self) -> Result<(String, PluginId)> {
        let path = self.path(MANIFEST);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let manifest = Manifest::parse(&text).with_context(|| format!("{} cannot be used", path.display()))?;
        Ok((text, manifest.plugin.id))
    }

    /// The WIT of the crate: its own folder, with what that depends on in `deps/`; none where there is no such folder.
    pub(super) fn wit(&self) -> Vec<PathBuf> {
        Some(self.path("wit")).filter(|folder| folder.is_dir()).into_iter().collect()
    }
}
