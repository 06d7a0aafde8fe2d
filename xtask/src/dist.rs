//! `cargo xtask build`: the self-contained folder `dist/`, and the same for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use arcana_signing::SecretKey;
use arcana_signing::trust::development;

use crate::components::{self, Component};
use crate::process::{cargo, failure, output};
use crate::progress::{Step, Steps};
use crate::stale::{Inputs, copy_if_changed, is_current, mirror, record, write_if_changed};
use crate::wasm;
use crate::workspace::{at_root, local_dir, name_of, read_toml, root, target_dir, wasm_target_dir};

/// How the host is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Optimised: what is run and measured.
    Release,
    /// Quick to build.
    Dev,
}

/// Who signs what is built here.
struct Signer {
    /// The file of the secret key.
    key: PathBuf,
    /// The trust policy that accepts it.
    policy: String,
}

/// How many steps `assemble` takes.
pub(crate) const ASSEMBLE_STEPS: usize = 3;

/// Builds everything and leaves it in `dist/`; answers that folder. `more` steps of the caller's will follow.
///
/// # Errors
/// A part does not build; says which and what to do.
pub(crate) fn build(steps: &mut Steps, profile: Profile) -> Result<PathBuf> {
    let components = components::components()?;
    find_toolchain(steps)?;
    let host = steps.step("Building the host", |step| build_host(step, profile))?;
    steps.step("Building components", |step| components::build(step, &components))?;
    let dist = root().join("dist");
    assemble(steps, &host, &components, &dist)?;
    Ok(dist)
}

/// How many steps `build` takes.
pub(crate) const BUILD_STEPS: usize = 3 + ASSEMBLE_STEPS;

/// The step that makes sure components can be built.
///
/// # Errors
/// There is no way to.
pub(crate) fn find_toolchain(steps: &mut Steps) -> Result<()> {
    steps.step("Finding a WebAssembly toolchain", |step| {
        let toolchain = wasm::ensure(&|what| step.detail(what))?;
        step.note(toolchain.describe());
        Ok(())
    })
}

/// Makes the key where it is missing, packs and signs the components, and lays out `dist`, in three steps.
///
/// # Errors
/// The host's own commands refuse a component, or a file cannot be written.
pub(crate) fn assemble(steps: &mut Steps, host: &Path, components: &[Component], dist: &Path) -> Result<()> {
    let key = steps.step("Local signing key", |step| local_key(step, host))?;
    let public = SecretKey::load(&key).with_context(|| format!("{} is not usable", shown(&key)))?.public_key();
    let signer = Signer { key, policy: development(&public) };
    let packed = steps.step("Packing and signing", |step| pack_all(step, host, components, &signer))?;
    steps.step(&format!("Laying out {}", shown(dist)), |step| {
        let mut changed = usize::from(copy_if_changed(host, &dist.join("arcana"))?);
        for (component, file) in components.iter().zip(&packed) {
            changed +=
                usize::from(copy_if_changed(file, &dist.join("plugins").join(&component.name).with_extension("wasm"))?);
        }
        changed += forget_removed(components, dist)?;
        changed += copy_config(dist)?;
        changed += usize::from(write_if_changed(&dist.join("config/trust.toml"), signer.policy.as_bytes())?);
        changed += mirror(&root().join("migrations"), &dist.join("migrations"))?;
        step.note(if changed == 0 { "up to date".to_owned() } else { format!("{changed} files changed") });
        Ok(())
    })
}

/// Builds the host; answers its program.
///
/// # Errors
/// It does not build.
pub(crate) fn build_host(step: &mut Step, profile: Profile) -> Result<PathBuf> {
    let (name, folder) = match profile {
        Profile::Release => ("release", "release"),
        Profile::Dev => ("dev", "debug"),
    };
    let mut build = at_root(cargo());
    build.args(["build", "-p", "arcana", "--bin", "arcana", "--profile", name, "--target-dir"]).arg(target_dir());
    step.run(
        build,
        "the compiler's message is above; a C compiler (`apt-get install build-essential`) is needed for SQLite",
    )?;
    step.note(name);
    Ok(target_dir().join(folder).join("arcana"))
}

/// The key that signs what is built here. It never leaves the checkout, and only this checkout's `dist/` trusts it.
fn local_key(step: &mut Step, host: &Path) -> Result<PathBuf> {
    let key = local_dir().join("dev-key.pem");
    if key.exists() {
        step.note("kept");
        return Ok(key);
    }
    std::fs::create_dir_all(local_dir()).context("the folder .arcana could not be made")?;
    output(Command::new(host).args(["key", "generate", "--out"]).arg(&key))?;
    step.note(format!("new: {}", shown(&key)));
    Ok(key)
}

/// Packs and signs what changed; answers the signed files in the order of the components. Each of them is one that a host
/// with the policy of `dist` accepts.
fn pack_all(step: &mut Step, host: &Path, components: &[Component], signer: &Signer) -> Result<Vec<PathBuf>> {
    let place = packed_dir();
    std::fs::create_dir_all(&place).with_context(|| format!("{} could not be made", place.display()))?;
    let trust = wasm_target_dir().join("trust.toml");
    write_if_changed(&trust, signer.policy.as_bytes())?;
    let (mut files, mut done) = (Vec::new(), Vec::new());
    for component in components {
        let signed = place.join(&component.name).with_extension("wasm");
        let packages = wit_packages(component)?;
        let fingerprint = inputs_of(component, &packages, signer)?.fingerprint();
        let accepted = || output(Command::new(host).args(["plugin", "verify"]).arg(&signed).arg("--trust").arg(&trust));
        // A host that reads files in another way than the one which packed them needs them anew.
        if !is_current(&signed, &fingerprint) || accepted().is_err() {
            step.detail(&component.name);
            pack(host, component, &packages, &signer.key, &signed)
                .and_then(|()| accepted().map(|_| ()))
                .map_err(|error| refused(component, &error))?;
            record(&signed, &fingerprint)?;
            done.push(component.name.as_str());
        }
        files.push(signed);
    }
    step.note(if done.is_empty() { "up to date".to_owned() } else { done.join(", ") });
    Ok(files)
}

/// All that ends up in a signed file.
fn inputs_of(component: &Component, packages: &[PathBuf], signer: &Signer) -> Result<Inputs> {
    let mut inputs = Inputs::new();
    let manifest = component.folder.join("plugin.toml");
    inputs.text(&signer.policy).path(&component.wasm)?.path(&manifest)?;
    for package in packages {
        inputs.path(package)?;
    }
    for folder in migrations_in(&read_toml(&manifest)?) {
        inputs.path(&component.folder.join(folder))?;
    }
    Ok(inputs)
}

/// The folders of migrations that a manifest names, relative to it.
fn migrations_in(manifest: &toml::Table) -> Vec<&str> {
    let stores = manifest.get("stores").and_then(toml::Value::as_table);
    stores.into_iter().flatten().filter_map(|(_, store)| store.get("migrations")?.as_str()).collect()
}

fn pack(host: &Path, component: &Component, packages: &[PathBuf], key: &Path, signed: &Path) -> Result<()> {
    let unsigned = signed.with_extension("unsigned");
    let mut pack = Command::new(host);
    pack.args(["plugin", "pack"]).arg(&component.wasm).arg("--manifest").arg(component.folder.join("plugin.toml"));
    for package in packages {
        pack.arg("--wit").arg(package);
    }
    output(pack.arg("-o").arg(&unsigned).args(["--seq", "now"]))?;
    output(Command::new(host).args(["plugin", "sign"]).arg(&unsigned).arg("--key").arg(key).arg("-o").arg(signed))?;
    std::fs::remove_file(&unsigned).with_context(|| format!("{} could not be removed", unsigned.display()))
}

fn refused(component: &Component, error: &anyhow::Error) -> anyhow::Error {
    failure(
        format!("the component {} was not packed: {error:#}", component.name),
        format!("correct {} or the component's code", shown(&component.folder.join("plugin.toml"))),
    )
}

/// The WIT packages whose documentation goes into a component: those of Arcana, and its own.
fn wit_packages(component: &Component) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    let wit = root().join("wit");
    for entry in wit.read_dir().with_context(|| format!("{} could not be read", wit.display()))?.flatten() {
        if entry.path().is_dir() {
            packages.push(entry.path());
        }
    }
    packages.sort();
    packages.extend(Some(component.folder.join("wit")).filter(|own| own.is_dir()));
    Ok(packages)
}

/// The configuration of the repository; the operator's own `local.toml` and what is made here are left alone.
fn copy_config(dist: &Path) -> Result<usize> {
    let (from, to) = (root().join("config"), dist.join("config"));
    let mut changed = 0;
    for entry in from.read_dir().with_context(|| format!("{} could not be read", from.display()))?.flatten() {
        let name = name_of(&entry.path());
        if name.ends_with(".toml") && name != "local.toml" && name != "trust.toml" {
            changed += usize::from(copy_if_changed(&entry.path(), &to.join(name))?);
        }
    }
    Ok(changed)
}

/// Takes plugins out of `dist` whose component is gone; what others put there stays.
fn forget_removed(components: &[Component], dist: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in packed_dir().read_dir().context("the packed components could not be read")?.flatten() {
        let path = entry.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if components.iter().any(|component| component.name == stem) {
            continue;
        }
        let copy = dist.join("plugins").join(name_of(&path));
        if copy.exists() {
            std::fs::remove_file(&copy).with_context(|| format!("{} could not be removed", copy.display()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn packed_dir() -> PathBuf {
    wasm_target_dir().join("packed")
}

/// A path as it is seen from the root of the checkout.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_migrations_are_those_of_every_store() {
        let manifest = "[plugin]\nid = \"a/b\"\n[stores.x]\nmigrations = \"m\"\n[stores.y]\nmigrations = \"../n\"\n";
        assert_eq!(migrations_in(&manifest.parse().unwrap()), ["m", "../n"]);
        assert!(migrations_in(&"[plugin]\n".parse().unwrap()).is_empty());
    }
}
