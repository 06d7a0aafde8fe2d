//! The WIT packages of a component, from its author's files: a built component has no doc comments.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use wit_component::DecodedWasm;
use wit_parser::{PackageId, PackageName, Resolve, WorldItem};

/// Encodes the packages that clients of the component see: those of its exported interfaces and of the types in them. What
/// it only calls is documented by whoever offers it.
pub(super) fn encode(component: &[u8], paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let decoded = wit_component::decode(component).context("the component's type cannot be read")?;
    let DecodedWasm::Component(built, world) = decoded else {
        bail!("the input is a WIT package and not a component");
    };
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let source = resolve(paths)?;
    let world = &built.worlds[world];
    let exported = world.exports.values().map(|item| (item, true));
    // An import without functions is only there for its types, which the exported functions use.
    let imported = world.imports.values().map(|item| (item, false));
    let mut packages: Vec<PackageId> = Vec::new();
    for (item, is_export) in exported.chain(imported) {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = &built.interfaces[*id];
        let Some(package) = interface.package else { continue };
        if !is_export && !interface.functions.is_empty() {
            continue;
        }
        let name = &built.packages[package].name;
        match source.package_names.get(name) {
            Some(found) if !packages.contains(found) => packages.push(*found),
            Some(_) => {}
            None if is_export && name.namespace != "wasi" => {
                bail!(
                    "the component exports the package {name}, which is in none of the WIT folders; they have {}",
                    listed(&source)
                );
            }
            None => {}
        }
    }
    packages
        .into_iter()
        .map(|package| {
            wit_component::encode(&source, package, false)
                .with_context(|| format!("the WIT package {} cannot be encoded", source.packages[package].name))
        })
        .collect()
}

fn resolve(paths: &[PathBuf]) -> Result<Resolve> {
    let mut resolve = Resolve::default();
    let mut waiting: Vec<&PathBuf> = paths.iter().collect();
    // A folder whose dependencies are not there yet may find them once the others have been read.
    while !waiting.is_empty() {
        let mut failed = Vec::new();
        for path in &waiting {
            let mut attempt = resolve.clone();
            match attempt.push_path(path) {
                Ok(_) => resolve = attempt,
                Err(error) => failed.push((*path, error)),
            }
        }
        if failed.len() == waiting.len() {
            let (path, error) = failed.swap_remove(0);
            return Err(error).with_context(|| format!("the WIT in {} cannot be read", path.display()));
        }
        waiting = failed.into_iter().map(|(path, _)| path).collect();
    }
    Ok(resolve)
}

fn listed(resolve: &Resolve) -> String {
    resolve.package_names.keys().map(PackageName::to_string).collect::<Vec<_>>().join(", ")
}
