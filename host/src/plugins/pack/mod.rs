//! Packing: a component, its manifest, the documentation of its WIT and its migrations in one file that can be signed.
//!
//! ```text
//! component header
//! custom section "arcana:plugin"       the manifest as it was written
//! the component's own sections         byte for byte
//! custom section "arcana:wit"          0 or more: each one WIT package in its binary form, docs included
//! custom section "arcana:migrations"   0 or 1: JSON {"<store>": {"<backend>": [{"version", "name", "sql"}, …]}}
//! ```

mod migrations;
#[cfg(test)]
mod tests;
mod wit;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use arcana_signing::envelope::{self, COMPONENT_HEADER, MANIFEST_SECTION, SIGNATURE_SECTION};
use serde::{Deserialize, Serialize};
use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::Parser;
use wit_component::ComponentEncoder;

use self::migrations::Stores;
use super::manifest::Manifest;
use super::prepass::{self, PrepassLimits};
use crate::backends::sqlite::Migration;

/// The custom sections with WIT packages.
pub const WIT_SECTION: &str = "arcana:wit";
/// The custom section with the migrations of the stores that the plugin owns.
pub const MIGRATIONS_SECTION: &str = "arcana:migrations";

/// Packs a component, or a core module that carries its component type (built for wasm32-unknown-unknown with
/// wit-bindgen), with a manifest. `wit` are files or folders of WIT whose docs are packed, in any order, each with what it
/// depends on somewhere among them; `base` is where the manifest's paths start.
///
/// # Errors
/// Where the manifest has mistakes, the input is nothing that can be packed or was packed already, the WIT does not
/// describe the component, or the migrations cannot be read.
pub fn pack(input: &[u8], manifest: &str, wit: &[PathBuf], base: &Path) -> Result<Vec<u8>> {
    let parsed = Manifest::parse(manifest).context("the manifest cannot be used")?;
    let component = component(input)?;
    let Some(sections) = component.strip_prefix(&COMPONENT_HEADER) else {
        bail!("the component has another binary version than the one in use");
    };
    for section in envelope::custom_sections(sections).context("the component cannot be read")? {
        let name = String::from_utf8_lossy(section.name);
        ensure!(name != SIGNATURE_SECTION, "the input is signed already: pack the component as the compiler made it");
        ensure!(
            ![MANIFEST_SECTION, WIT_SECTION, MIGRATIONS_SECTION].contains(&&*name),
            "the input is packed already (it has a section `{name}`): pack the component as the compiler made it"
        );
    }
    let packages = wit::encode(&component, wit)?;
    let stores = migrations::read(&parsed, base)?;

    let mut packed = COMPONENT_HEADER.to_vec();
    append(&mut packed, MANIFEST_SECTION, manifest.as_bytes());
    packed.extend_from_slice(sections);
    for package in &packages {
        append(&mut packed, WIT_SECTION, package);
    }
    if !stores.is_empty() {
        append(&mut packed, MIGRATIONS_SECTION, &serde_json::to_vec(&stores)?);
    }
    Ok(packed)
}

/// What was packed beside the component and the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedSections {
    /// The WIT packages in their binary form.
    pub wit: Vec<Vec<u8>>,
    stores: Stores,
}

impl PackedSections {
    /// The migrations of a store for a backend (`sqlite`, `postgres`, `mysql`), in ascending order. The store is one that the
    /// manifest declares: the section alone says nothing about which stores there are.
    #[must_use]
    pub fn migrations(&self, store: &str, backend: &str) -> Vec<Migration> {
        let list = self.stores.get(store).and_then(|backends| backends.get(backend));
        list.into_iter().flatten().map(|migration| migration.clone().into()).collect()
    }

    /// The stores that the section names, each with the migrations that it has.
    pub fn stores(&self) -> impl Iterator<Item = StoreMigrations> + '_ {
        self.stores.iter().map(|(store, backends)| StoreMigrations {
            store: store.clone(),
            backends: backends.keys().cloned().collect(),
            migrations: backends.values().map(|list| u32::try_from(list.len()).unwrap_or(u32::MAX)).max().unwrap_or(0),
            newest: backends.values().flatten().map(|migration| migration.version()).max(),
        })
    }
}

/// A store that a file migrates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMigrations {
    /// `own`, or the name of a shared store.
    pub store: String,
    /// The databases that the migrations are written for.
    pub backends: Vec<String>,
    /// How many there are, for the database that has most.
    pub migrations: u32,
    /// The version of the last one.
    pub newest: Option<u64>,
}

impl fmt::Display for StoreMigrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, backends, migrations, newest } = self;
        let plural = if *migrations == 1 { "" } else { "s" };
        write!(f, "{store} ({migrations} migration{plural} for {}", backends.join(", "))?;
        newest.iter().try_for_each(|version| write!(f, ", the last is {version}"))?;
        f.write_str(")")
    }
}

/// Why what was packed cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SectionError(String);

/// Reads what was packed: of a body, or of a packed file without its header.
///
/// # Errors
/// Where a section does not fit, there is more than one with migrations, or those are not as [`pack`] writes them or pass a
/// limit.
pub fn sections(body: &[u8], limits: &PrepassLimits) -> Result<PackedSections, SectionError> {
    let mut packed = PackedSections::default();
    let (mut has_migrations, mut wit_bytes) = (false, 0_usize);
    for section in envelope::custom_sections(body).map_err(|error| SectionError(error.to_string()))? {
        if section.name == WIT_SECTION.as_bytes() {
            wit_bytes = wit_bytes.saturating_add(section.payload.len());
            let max = limits.max_wit;
            if wit_bytes > max {
                return Err(SectionError(format!("the packed WIT has more than {max} bytes (limits.contract.wit)")));
            }
            prepass::check(section.payload, limits)
                .map_err(|error| SectionError(format!("a section `{WIT_SECTION}`: {error}")))?;
            packed.wit.push(section.payload.to_vec());
        } else if section.name == MIGRATIONS_SECTION.as_bytes() {
            if has_migrations {
                return Err(SectionError(format!("there are two sections `{MIGRATIONS_SECTION}`")));
            }
            has_migrations = true;
            packed.stores = migrations::parse(section.payload, limits)
                .map_err(|error| SectionError(format!("the section `{MIGRATIONS_SECTION}`: {error}")))?;
        }
    }
    Ok(packed)
}

/// The input as a component.
fn component(input: &[u8]) -> Result<Vec<u8>> {
    if Parser::is_component(input) {
        return Ok(input.to_vec());
    }
    if !Parser::is_core_wasm(input) {
        bail!("the input is neither a WebAssembly component nor a core module");
    }
    let mut encoder = ComponentEncoder::default();
    encoder.module(input).and_then(|encoder| encoder.validate(true).encode()).context(
        "the core module cannot be wrapped into a component; it must be built with wit-bindgen for wasm32-unknown-unknown \
         (for code that uses the system's interfaces build for wasm32-wasip2)",
    )
}

fn append(file: &mut Vec<u8>, name: &str, data: &[u8]) {
    CustomSection { name: name.into(), data: data.into() }.append_to_component(file);
}
