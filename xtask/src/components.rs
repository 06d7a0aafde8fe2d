//! The components of this checkout and the guests of the host's tests: found, and built for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::wasm::{TARGET, component_cargo};
use crate::workspace::{at_root, folders_with, name_of, read_toml, root, wasm_target_dir};

/// The profile of everything that runs inside the sandbox (`[profile.component]` of the workspace).
const PROFILE: &str = "component";
const BUILD_FAILED: &str =
    "the compiler's message is above; docs/toolchain.md helps where the target or the linker is at fault";

/// A plugin that ships with Arcana.
#[derive(Debug)]
pub(crate) struct Component {
    /// The name of its folder and of its file in `plugins/`.
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
    let mut found = Vec::new();
    for folder in folders_with(&root().join("components"), "plugin.toml")? {
        if folder.join("Cargo.toml").is_file() {
            let (package, library) = package_of(&folder)?;
            let wasm = artifact(&wasm_target_dir(), &library);
            found.push(Component { name: name_of(&folder), folder, package, wasm });
        }
    }
    Ok(found)
}

/// Builds the components.
///
/// # Errors
/// There is no toolchain, or one of them does not build.
pub(crate) fn build(step: &mut Step, components: &[Component]) -> Result<()> {
    if components.is_empty() {
        bail!("no folder of components/ has a Cargo.toml and a plugin.toml");
    }
    let mut cargo = at_root(component_cargo()?);
    cargo.args(["build", "--target", TARGET, "--profile", PROFILE]);
    for component in components {
        cargo.args(["-p", &component.package]);
    }
    step.run(cargo, BUILD_FAILED)?;
    step.note(components.iter().map(|component| component.name.as_str()).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// The folders of the guests which the host's tests load: each a crate of its own below `host/tests/guests/`.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn guests() -> Result<Vec<PathBuf>> {
    folders_with(&root().join("host/tests/guests"), "Cargo.toml")
}

/// Builds the guests into one folder, `<crate folder>.wasm` each, neither packed nor signed; answers the folder.
///
/// # Errors
/// There is no toolchain, or one of them does not build.
pub(crate) fn build_guests(step: &mut Step) -> Result<PathBuf> {
    let place = wasm_target_dir().join("guests");
    std::fs::create_dir_all(&place).with_context(|| format!("{} could not be made", place.display()))?;
    let guests = guests()?;
    let (own, shared): (Vec<_>, Vec<_>) = guests.into_iter().partition(|guest| has_own_workspace(guest));
    for guest in &own {
        step.detail(&name_of(guest));
        let mut cargo = guest_cargo(&guest.join("Cargo.toml"))?;
        cargo.args(["--config", "profile.component.inherits=\"release\""]);
        cargo.args(["--config", "profile.component.panic=\"abort\""]);
        step.run(cargo, BUILD_FAILED)?;
    }
    if let Some(manifest) = shared.first().and_then(|guest| workspace_of(guest)) {
        let mut cargo = guest_cargo(&manifest)?;
        for guest in &shared {
            cargo.args(["-p", &package_of(guest)?.0]);
        }
        step.run(cargo, BUILD_FAILED)?;
    }
    let mut names = Vec::new();
    for guest in own.iter().chain(&shared) {
        let (_, library) = package_of(guest)?;
        let (from, name) = (artifact(&wasm_target_dir(), &library), name_of(guest) + ".wasm");
        std::fs::copy(&from, place.join(&name)).with_context(|| format!("{} could not be copied", from.display()))?;
        names.push(name);
    }
    forget_others(&place, &names)?;
    step.note(format!("{} guests", names.len()));
    Ok(place)
}

fn guest_cargo(manifest: &Path) -> Result<Command> {
    let mut cargo = at_root(component_cargo()?);
    cargo.args(["build", "--target", TARGET, "--profile", PROFILE, "--manifest-path"]).arg(manifest);
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

fn has_own_workspace(folder: &Path) -> bool {
    read_toml(&folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains_key("workspace"))
}

/// The manifest of the nearest workspace above a crate.
fn workspace_of(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().skip(1).find(|above| has_own_workspace(above)).map(|above| above.join("Cargo.toml"))
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

fn artifact(target: &Path, library: &str) -> PathBuf {
    target.join(TARGET).join(PROFILE).join(library).with_extension("wasm")
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
