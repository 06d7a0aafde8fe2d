//! The components of this checkout and the guests of the host's tests: found, and built for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::stale::copy_if_changed;
use crate::wasm::{TARGET, component_cargo};
use crate::workspace::{at_root, folders_with, name_of, read_toml, root, wasm_target_dir};

/// The profile of everything that runs inside the sandbox (`[profile.component]` of the workspace).
const PROFILE: &str = "component";
const BUILD_FAILED: &str =
    "the compiler's message is above; docs/toolchain.md helps where the target or the linker is at fault";

/// A crate that becomes a WebAssembly component.
#[derive(Debug)]
pub(crate) struct Component {
    /// The name of its folder, and of its file.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The name of its Cargo package.
    pub(crate) package: String,
    /// What cargo builds of it.
    pub(crate) wasm: PathBuf,
}

/// Every folder of `components/` with a `Cargo.toml` and a `plugin.toml`, by name.
///
/// # Errors
/// A manifest cannot be read.
pub(crate) fn components() -> Result<Vec<Component>> {
    let mut folders = folders_with(&root().join("components"), "Cargo.toml")?;
    // The others are libraries that components share.
    folders.retain(|folder| folder.join("plugin.toml").is_file());
    folders.into_iter().map(component).collect()
}

/// The guests which the host's tests load: every crate below `host/tests/guests/`, by name.
///
/// # Errors
/// A manifest cannot be read.
pub(crate) fn guests() -> Result<Vec<Component>> {
    folders_with(&root().join("host/tests/guests"), "Cargo.toml")?.into_iter().map(component).collect()
}

fn component(folder: PathBuf) -> Result<Component> {
    let (package, library) = package_of(&folder)?;
    let wasm = wasm_target_dir().join(TARGET).join(PROFILE).join(library).with_extension("wasm");
    Ok(Component { name: name_of(&folder), folder, package, wasm })
}

/// Builds the components.
///
/// # Errors
/// There is no toolchain, or one of them does not build.
pub(crate) fn build(step: &mut Step, components: &[Component]) -> Result<()> {
    if components.is_empty() {
        bail!("no folder of components/ has a Cargo.toml and a plugin.toml");
    }
    step.run(wasm_build(components)?, BUILD_FAILED)?;
    step.note(components.iter().map(|component| component.name.as_str()).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Builds the guests into one folder, `<crate folder>.wasm` each, neither packed nor signed; answers the folder.
///
/// # Errors
/// There is no toolchain, or one of them does not build.
pub(crate) fn build_guests(step: &mut Step, guests: &[Component]) -> Result<PathBuf> {
    let place = wasm_target_dir().join("guests");
    std::fs::create_dir_all(&place).with_context(|| format!("{} could not be made", place.display()))?;
    if !guests.is_empty() {
        step.run(wasm_build(guests)?, BUILD_FAILED)?;
    }
    let mut names = Vec::new();
    for guest in guests {
        let name = format!("{}.wasm", guest.name);
        copy_if_changed(&guest.wasm, &place.join(&name))?;
        names.push(name);
    }
    forget_others(&place, &names)?;
    step.note(guests.iter().map(|guest| guest.name.as_str()).collect::<Vec<_>>().join(", "));
    Ok(place)
}

fn wasm_build(crates: &[Component]) -> Result<Command> {
    let mut cargo = at_root(component_cargo()?);
    cargo.args(["build", "--target", TARGET, "--profile", PROFILE]);
    for one in crates {
        cargo.args(["-p", &one.package]);
    }
    Ok(cargo)
}

/// A guest that was removed must not be found by a test.
fn forget_others(place: &Path, names: &[String]) -> Result<()> {
    for entry in place.read_dir().with_context(|| format!("{} could not be read", place.display()))?.flatten() {
        if !names.contains(&name_of(&entry.path())) {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("{} could not be removed", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The names of a crate's package and of its library (or, without one, its program) as they are in file names.
fn package_of(folder: &Path) -> Result<(String, String)> {
    let manifest = read_toml(&folder.join("Cargo.toml"))?;
    names_in(&manifest).with_context(|| format!("{} names no package", folder.join("Cargo.toml").display()))
}

fn names_in(manifest: &toml::Table) -> Option<(String, String)> {
    let package = manifest.get("package")?.get("name")?.as_str()?.to_owned();
    let library = manifest.get("lib").and_then(|lib| lib.get("name")).and_then(|name| name.as_str());
    let file = library.map_or_else(|| package.replace('-', "_"), str::to_owned);
    Some((package, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_after_the_library_or_the_package() {
        let names = |text: &str| text.parse::<toml::Table>().ok().as_ref().and_then(names_in);
        let plain = names("[package]\nname = \"arcana-auth\"\n[lib]\ncrate-type = [\"cdylib\"]\n");
        assert_eq!(plain, Some(("arcana-auth".into(), "arcana_auth".into())));
        let named = names("[package]\nname = \"arcana-auth\"\n[lib]\nname = \"sign_in\"\n");
        assert_eq!(named, Some(("arcana-auth".into(), "sign_in".into())));
        assert_eq!(names("[workspace]\n"), None);
    }
}
