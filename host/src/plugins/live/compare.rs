//! A version against the one that is to run: what it may, what it publishes, what clients would meet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Inner;
use super::view::{Comparison, Compatibility, Finding};
use crate::contract::Contract;
use crate::contract::compat::{self, Level, Surface};
use crate::plugins::manifest::Manifest;
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::Snapshot;
use crate::plugins::surface::surface;
use crate::plugins::verify::Verified;

/// Compares with the version that is to run, where there is one whose file can still be read: on a thread that may block, as
/// large contracts take a while.
///
/// # Errors
/// A fault of the host.
pub(super) async fn with_present(
    inner: &Arc<Inner>,
    snapshot: &Snapshot,
    new: &Verified,
) -> Result<Comparison, Refusal> {
    let id = new.manifest.plugin.id.as_str();
    let old = match snapshot.plugin(id) {
        Some(plugin) => inner.keep(id, &plugin.digest).await.ok(),
        None => None,
    };
    let (old, new) = (old.as_ref().map(Version::of), Version::of(new));
    tokio::task::spawn_blocking(move || compare(old.as_ref(), &new)).await.map_err(Refusal::host)
}

/// What of a verified file is compared.
struct Version {
    manifest: Arc<Manifest>,
    contract: Arc<Contract>,
}

impl Version {
    fn of(verified: &Verified) -> Self {
        Self { manifest: verified.manifest.clone(), contract: verified.contract.clone() }
    }
}

/// What one version has.
struct Side {
    capabilities: BTreeSet<String>,
    methods: BTreeSet<String>,
    routes: BTreeSet<String>,
    surface: Option<Surface>,
}

impl Side {
    fn of(version: &Version) -> Self {
        let manifest = &version.manifest;
        let routes = manifest.methods.iter().flat_map(|method| &method.http);
        Self {
            capabilities: manifest.capability_names().into_iter().collect(),
            methods: manifest.methods.iter().map(|method| method.call.clone()).collect(),
            routes: routes.map(ToString::to_string).collect(),
            // One that cannot be published is refused when it is loaded, with the reason.
            surface: surface(manifest, &version.contract).ok(),
        }
    }
}

fn compare(old: Option<&Version>, new: &Version) -> Comparison {
    let from_version = old.map(|old| old.manifest.plugin.version.to_string());
    let none =
        || Side { capabilities: BTreeSet::new(), methods: BTreeSet::new(), routes: BTreeSet::new(), surface: None };
    let (old, new_side) = (old.map_or_else(none, Side::of), Side::of(new));
    let more = |new: &BTreeSet<String>, old: &BTreeSet<String>| new.difference(old).cloned().collect::<Vec<_>>();
    let findings: Vec<Finding> = match (&old.surface, &new_side.surface) {
        (Some(old), Some(new)) => compat::compare(old, new).into_iter().map(told).collect(),
        _ => Vec::new(),
    };
    let same = old.methods == new_side.methods && old.routes == new_side.routes && findings.is_empty();
    Comparison {
        from_version,
        to_version: new.manifest.plugin.version.to_string(),
        capabilities_added: more(&new_side.capabilities, &old.capabilities),
        capabilities_removed: more(&old.capabilities, &new_side.capabilities),
        methods_added: more(&new_side.methods, &old.methods),
        methods_removed: more(&old.methods, &new_side.methods),
        routes_added: more(&new_side.routes, &old.routes),
        routes_removed: more(&old.routes, &new_side.routes),
        compatibility: if findings.iter().any(|finding| finding.breaking) {
            Compatibility::Breaking
        } else if same {
            Compatibility::Same
        } else {
            Compatibility::Compatible
        },
        findings,
    }
}

fn told(finding: compat::Finding) -> Finding {
    Finding {
        breaking: finding.level == Level::Breaking,
        protocols: finding.protocols.iter().map(|protocol| protocol.to_string().to_ascii_lowercase()).collect(),
        path: finding.path,
        message: finding.message,
    }
}
