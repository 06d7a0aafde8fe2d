//! What is told of plugins.

use std::sync::Arc;

use super::Inner;
use super::view::{Details, Figures, Listing, Method, State, Summary, Version};
use crate::contract::proto;
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{self, Desired, Snapshot, Standing};
use crate::plugins::verify::Verified;

/// Changes that are shown with a plugin.
const WITH_DETAILS: u32 = 20;

impl Inner {
    pub(super) async fn list(&self, state: Option<State>) -> Result<Listing, Refusal> {
        let snapshot = self.snapshot().await?;
        let there = snapshot.plugins.values().filter(|plugin| plugin.desired != Desired::Removed);
        let summaries = there.map(|plugin| self.summary(&snapshot, plugin));
        Ok(Listing {
            plugins: summaries.filter(|summary| state.is_none_or(|state| summary.state == state)).collect(),
            refused: self.status.strangers(),
        })
    }

    pub(super) async fn details(self: &Arc<Self>, id: &str) -> Result<Details, Refusal> {
        let snapshot = self.snapshot().await?;
        let plugin = snapshot.plugin(id).ok_or_else(|| Refusal::unknown(id))?;
        let summary = self.summary(&snapshot, plugin);
        let versions: Vec<Version> =
            snapshot.kept(id).map(|version| self.version(&snapshot, plugin, version)).collect();
        let changes = self.registry.changes(Some(id), WITH_DETAILS).await.map_err(Refusal::host)?;
        let (verified, warnings) = match self.keep(id, &plugin.digest).await {
            Ok(verified) => {
                let warnings = verified.warnings.clone();
                (Some(verified), warnings)
            }
            Err(refusal) => (None, vec![refusal.to_string()]),
        };
        let verified = verified.as_ref();
        let manifest = verified.map(|verified| &*verified.manifest);
        let requested = manifest.map(|manifest| manifest.capability_names()).unwrap_or_default();
        // What waits may be asked for by a newer version than the one that is to run.
        let waiting = snapshot.kept(id).find(|version| version.standing == Standing::Pending);
        let pending = match waiting {
            Some(version) => snapshot.unapproved(id, &version.facts.pending),
            None => verified.map(|verified| snapshot.unapproved(id, &verified.pending)).unwrap_or_default(),
        };
        let denied = verified.map(|verified| snapshot.unapproved(id, &verified.pending)).unwrap_or_default();
        Ok(Details {
            exports: verified
                .map(|verified| {
                    verified.contract.interfaces.iter().map(|interface| interface.full_name.clone()).collect()
                })
                .unwrap_or_default(),
            methods: verified.map(methods).unwrap_or_default(),
            granted: requested.iter().filter(|name| !denied.contains(name)).cloned().collect(),
            requested,
            pending,
            limits: self.loader.limits(manifest),
            warnings,
            versions,
            changes,
            plugin: summary,
        })
    }

    fn summary(&self, snapshot: &Snapshot, plugin: &registry::Plugin) -> Summary {
        let version = snapshot.version(&plugin.id, &plugin.digest);
        let facts = version.map(|version| version.facts.clone()).unwrap_or_default();
        let failed = snapshot.kept(&plugin.id).filter_map(|version| version.error.clone());
        let last_error = self.status.error(&plugin.id).into_iter().chain(failed).max_by(|a, b| a.at.cmp(&b.at));
        Summary {
            id: plugin.id.clone(),
            description: facts.description,
            state: self.state(snapshot, plugin),
            version: version.map(|version| version.version.clone()).unwrap_or_default(),
            seq: version.map_or(0, |version| version.seq),
            digest: hex::encode(plugin.digest.0),
            signers: facts.signers,
            figures: self.figures(&plugin.id),
            last_error,
            updated_at: plugin.updated_at.to_string(),
        }
    }

    fn state(&self, snapshot: &Snapshot, plugin: &registry::Plugin) -> State {
        if plugin.desired != Desired::Enabled {
            return State::Disabled;
        }
        if self.runs(&plugin.id, &plugin.digest) {
            return State::Active;
        }
        match snapshot.version(&plugin.id, &plugin.digest).map(|version| version.standing) {
            Some(Standing::Pending) => State::PendingApproval,
            _ => State::Failed,
        }
    }

    fn version(&self, snapshot: &Snapshot, plugin: &registry::Plugin, version: &registry::Version) -> Version {
        Version {
            version: version.version.clone(),
            seq: version.seq,
            digest: hex::encode(version.digest.0),
            state: match version.standing {
                _ if version.digest == plugin.digest => self.state(snapshot, plugin),
                Standing::Verified => State::Verified,
                Standing::Pending => State::PendingApproval,
                Standing::Failed => State::Failed,
            },
            signers: version.facts.signers.clone(),
            size_bytes: version.size,
            pending: snapshot.unapproved(&version.id, &version.facts.pending),
            error: version.error.clone(),
            installed_at: version.installed_at.to_string(),
            stores: version.facts.stores.clone(),
        }
    }

    fn figures(&self, id: &str) -> Figures {
        let metrics = &self.loader.metrics;
        let pool = metrics.plugin_pool(id);
        Figures {
            instances: u32::try_from(pool.instances.get()).unwrap_or(0),
            memory_bytes: u64::try_from(pool.memory.get()).unwrap_or(0),
            calls: metrics.plugin_calls(id),
            traps: metrics.plugin(id).traps.get(),
        }
    }
}

fn methods(verified: &Verified) -> Vec<Method> {
    let declared = verified.manifest.methods.iter();
    let described = declared.filter_map(|method| {
        let (interface, plan) = verified.contract.publish(&method.call).ok()?;
        let service = proto::service_name(interface.package.as_ref()?, &interface.name);
        Some(Method {
            call: method.call.clone(),
            grpc: format!("/{service}/{}", proto::method_name(&plan.name)),
            routes: method.http.iter().map(ToString::to_string).collect(),
            allow: method.allow.iter().map(ToString::to_string).collect(),
        })
    });
    described.collect()
}
