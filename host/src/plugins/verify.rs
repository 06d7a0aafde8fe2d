//! From bytes to a plugin that may run: envelope → trust → signature → hash → manifest, and only then the component.

use std::sync::Arc;

use arcana_signing::{Code, Digest, Purpose, Request, TrustPolicy, Verdict, envelope};
use jiff::Timestamp;
use semver::Version;

use super::limited;
use super::manifest::{Manifest, OWN};
use super::pack::{self, MIGRATIONS_SECTION, PackedSections};
use super::prepass::{self, PrepassLimits};
use super::refusal::Refusal;
use crate::capabilities::missing_grant;
use crate::contract::Contract;

/// A file that passed every rule that needs no state: who signed it, what it is, what it exports and imports.
pub struct Verified {
    /// h, the plugin's identity.
    pub digest: Digest,
    /// What the manifest says.
    pub manifest: Arc<Manifest>,
    /// The principals whose signatures count.
    pub signers: Vec<String>,
    /// The capabilities that its signers may grant.
    pub granted: Vec<String>,
    /// The capabilities that its signers may only request: an administrator has to approve them before it may run.
    pub pending: Vec<String>,
    /// What the component exports and imports.
    pub contract: Arc<Contract>,
    /// What was packed beside the component.
    pub sections: PackedSections,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// The file itself: these bytes are what is compiled.
    pub bytes: Vec<u8>,
}

/// The version of this host, which manifests are made for.
///
/// # Errors
/// Never in practice: the version is the crate's own.
pub fn host_version() -> Result<Version, Refusal> {
    env!("CARGO_PKG_VERSION").parse().map_err(Refusal::host)
}

/// Verifies a whole file against the trust policy.
///
/// # Errors
/// A [`Refusal`] with the code of the first rule that it breaks.
pub fn verify(
    bytes: Vec<u8>,
    trust: &TrustPolicy,
    purpose: Purpose,
    limits: &PrepassLimits,
) -> Result<Verified, Refusal> {
    let envelope = envelope::parse(&bytes)?;
    let signed = trust.verify(&envelope)?;
    let text = std::str::from_utf8(signed.manifest())
        .map_err(|_| Refusal::new("MANIFEST_INVALID", 422, "the manifest is not UTF-8"))?;
    let manifest = Manifest::parse(text).map_err(|error| Refusal::new("MANIFEST_INVALID", 422, error))?;

    let digest = signed.digest();
    let judged = judge(&bytes, trust, purpose, limits, &signed, &manifest);
    // From here on it is known whose it is.
    let plugin = &manifest.plugin;
    let judged = judged.map_err(|refusal| refusal.about(plugin.id.as_str(), &plugin.version, digest))?;
    let (contract, sections, Verdict { signers, granted, pending, warnings }) = judged;
    let (manifest, contract) = (Arc::new(manifest), Arc::new(contract));
    Ok(Verified { digest, manifest, signers, granted, pending, contract, sections, warnings, bytes })
}

/// The component, and what the trust policy says of all of it.
fn judge(
    bytes: &[u8],
    trust: &TrustPolicy,
    purpose: Purpose,
    limits: &PrepassLimits,
    signed: &arcana_signing::Verified<'_>,
    manifest: &Manifest,
) -> Result<(Contract, PackedSections, Verdict), Refusal> {
    prepass::check(bytes, limits).map_err(|error| Refusal::new(error.code(), 422, error))?;
    let sections =
        pack::sections(signed.body(), limits).map_err(|error| Refusal::new("SECTION_INVALID", 422, error))?;
    let wit = sections.wit.iter().map(Vec::as_slice);
    let contract = Contract::decode(bytes, wit).map_err(|error| Refusal::new("CONTRACT", 422, error))?;
    limited::check(manifest, &contract, limits)?;

    let verdict = trust.evaluate(
        signed,
        &Request {
            purpose,
            now: Timestamp::now(),
            host_version: &host_version()?,
            host: &manifest.plugin.host,
            id: manifest.plugin.id.as_str(),
            seq: manifest.plugin.seq,
            expires: manifest.plugin.expires,
            packages: &exported_packages(&contract),
            routes: &manifest.route_templates(),
            events: &[],
            owned_stores: &owned_stores(manifest, &sections),
            capabilities: &manifest.capability_names(),
        },
    )?;
    check_stores(manifest, &sections)?;
    check_imports(manifest, &contract)?;
    Ok((contract, sections, verdict))
}

/// The shared stores that a file owns or migrates: the trust policy judges both, whether the manifest names them or not.
fn owned_stores(manifest: &Manifest, sections: &PackedSections) -> Vec<String> {
    let mut stores = manifest.owned_stores();
    stores.extend(sections.stores().map(|migrated| migrated.store).filter(|store| store != OWN));
    stores.sort();
    stores.dedup();
    stores
}

/// Every store that the migrations name must be one that the manifest declares as its own. Names need no other check: those
/// of the manifest have passed theirs.
fn check_stores(manifest: &Manifest, sections: &PackedSections) -> Result<(), Refusal> {
    let undeclared: Vec<String> = sections
        .stores()
        .filter(|migrated| !manifest.stores.contains_key(&migrated.store))
        .map(|migrated| format!("{:?}", migrated.store))
        .collect();
    if undeclared.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the section `{MIGRATIONS_SECTION}` has migrations for {}, which the manifest does not declare in `[stores]`",
        undeclared.join(", ")
    );
    Err(Refusal::new(Code::Store.as_str(), Code::Store.status(), message))
}

/// The packages that a component publishes interfaces of, without versions. The host's own extension points are everybody's.
fn exported_packages(contract: &Contract) -> Vec<String> {
    let mut packages: Vec<String> = contract
        .interfaces
        .iter()
        .filter_map(|interface| interface.package.as_ref())
        .map(|package| format!("{}:{}", package.namespace, package.name))
        .filter(|package| package != "arcana:plugin")
        .collect();
    packages.sort();
    packages.dedup();
    packages
}

/// Everything that the component imports must be asked for in the manifest.
fn check_imports(manifest: &Manifest, contract: &Contract) -> Result<(), Refusal> {
    // An import without functions only brings types.
    let imports = contract.imports.iter().filter(|import| !import.functions.is_empty());
    let missing: Vec<String> =
        imports.filter_map(|import| missing_grant(&import.name, |name| manifest.asks_for(name))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::new("IMPORT_NOT_GRANTED", 403, missing.join("; ")))
}
