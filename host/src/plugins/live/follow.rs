//! Follows what changes elsewhere: the registry, which other hosts may share, and the trust file, which is the operator's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arcana_signing::{Digest, TrustPolicy};

use super::admin::WAITS;
use super::{Actor, Inner};
use crate::plugins::files;
use crate::plugins::load::Prepared;
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{Deed, Desired, Snapshot};
use crate::plugins::verify::Verified;

/// The longest time between two attempts at what cannot be done right now.
const SLOWEST: Duration = Duration::from_secs(30);

/// Looks every `plugins.poll`, until the host stops.
pub(super) async fn run(inner: Arc<Inner>) {
    let every = inner.settings.poll.get();
    let mut wait = every;
    let mut trust = inner.trust_file.as_deref().and_then(files::stamp);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = inner.stop.cancelled() => return,
        }
        if let Some(path) = inner.trust_file.as_deref() {
            let now = files::stamp(path);
            if now.is_some() && now != trust {
                trust = now;
                inner.trust_changed(path).await;
            }
        }
        let outcome = match inner.registry.revision().await {
            Ok(revision) if revision == inner.seen.load(Ordering::Acquire) => Ok(()),
            Ok(_) => inner.reconcile().await,
            Err(error) => Err(Refusal::host(error)),
        };
        wait = match outcome {
            Ok(()) => every,
            Err(refusal) => {
                tracing::error!(
                    code = refusal.code,
                    reason = refusal.message,
                    "the registry of plugins cannot be followed"
                );
                (wait * 2).min(SLOWEST)
            }
        };
    }
}

impl Inner {
    /// Brings what runs here in step with the registry.
    async fn reconcile(self: &Arc<Self>) -> Result<(), Refusal> {
        let snapshot = self.snapshot().await?;
        let mut ready: BTreeMap<(String, Digest), (Verified, Prepared)> = BTreeMap::new();
        let mut late = None;
        for (id, digest) in self.missing(&snapshot) {
            let brought = match self.may_try(&digest, None) {
                Ok(()) => self.ready(&snapshot, &id, &digest, &Actor::Host).await,
                Err(refusal) => Err(refusal),
            };
            match brought {
                Ok(pair) => {
                    ready.insert((id, digest), pair);
                }
                Err(refusal) => late = self.not_followed(&id, refusal).or(late),
            }
        }
        let turn = self.turn().await?;
        for plugin in self.catalog.load_full().plugins() {
            let wanted = turn.snapshot.plugin(&plugin.id).is_some_and(|known| known.desired == Desired::Enabled);
            if !wanted {
                turn.take(&plugin.id)?;
                self.status.settled(&plugin.id);
                tracing::info!(plugin = %plugin.id, "plugin is switched off, as another host has it");
            }
        }
        for (id, digest) in self.missing(&turn.snapshot) {
            let Some((verified, prepared)) = ready.get(&(id.clone(), digest)) else { continue };
            if let Err(refusal) = turn.follow(prepared, verified).await {
                late = self.not_followed(&id, refusal).or(late);
            }
        }
        match late {
            Some(refusal) => Err(refusal),
            None if turn.snapshot.revision == snapshot.revision => {
                self.seen.store(turn.snapshot.revision, Ordering::Release);
                Ok(())
            }
            // More has changed meanwhile: the next look finds it.
            None => Ok(()),
        }
    }

    /// What is to run and does not, leaving out what waits for an approval.
    fn missing(&self, snapshot: &Snapshot) -> Vec<(String, Digest)> {
        let enabled = snapshot.plugins.values().filter(|plugin| plugin.desired == Desired::Enabled);
        let missing = enabled.filter(|plugin| !self.runs(&plugin.id, &plugin.digest));
        missing.map(|plugin| (plugin.id.clone(), plugin.digest)).collect()
    }

    /// An installed version, ready to be called.
    pub(super) async fn ready(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        id: &str,
        digest: &Digest,
        by: &Actor,
    ) -> Result<(Verified, Prepared), Refusal> {
        let verified = self.keep(id, digest).await?;
        self.made_ready(snapshot, verified, by).await
    }

    /// How long an actor waits for the compiler: an administrator gets an answer when it is busy, the host waits.
    pub(super) fn patience(&self, by: &Actor) -> Option<Duration> {
        matches!(by, Actor::Admin(_)).then(|| self.loader.config.limits.compile.wait.get())
    }

    /// The same with one that was verified.
    pub(super) async fn made_ready(
        &self,
        snapshot: &Snapshot,
        verified: Verified,
        by: &Actor,
    ) -> Result<(Verified, Prepared), Refusal> {
        self.approved(snapshot, verified.manifest.plugin.id.as_str(), &verified)?;
        let prepared = self.loader.prepare(&verified, self.patience(by)).await?;
        Ok((verified, prepared))
    }

    /// What another host runs does not run here. Answers what is worth another attempt.
    fn not_followed(&self, id: &str, refusal: Refusal) -> Option<Refusal> {
        if refusal.code == WAITS {
            tracing::warn!(plugin = id, reason = refusal.message, "plugin waits for an approval");
            return None;
        }
        tracing::error!(plugin = id, code = refusal.code, reason = refusal.message, "plugin refused");
        self.status.down(id, &refusal);
        (refusal.status >= 500).then_some(refusal)
    }

    /// Reads the trust file again. One that cannot be used leaves the policy that was in force.
    async fn trust_changed(self: &Arc<Self>, path: &Path) {
        let policy = match self.read_trust(path).await {
            Ok(policy) => policy,
            Err(why) => {
                tracing::error!(file = %path.display(), why, "the trust file cannot be used; the one before stays in force");
                return;
            }
        };
        self.warn_of_development(&policy);
        let serial = policy.serial;
        self.trust.store(Arc::new(policy));
        tracing::info!(file = %path.display(), serial, "another trust file is in force");
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(refusal) => {
                tracing::error!(code = refusal.code, reason = refusal.message, "the registry cannot be read");
                return;
            }
        };
        for plugin in self.catalog.load_full().plugins() {
            let judged = match self.keep(&plugin.id, &Digest(plugin.digest)).await {
                Ok(verified) => self.approved(&snapshot, &plugin.id, &verified),
                Err(refusal) => Err(refusal),
            };
            // Only the policy's word takes away what runs; a file that cannot be read does not.
            if let Err(refusal) = judged
                && matches!(refusal.status, 403 | 409)
            {
                self.unload(&plugin.id, &plugin.version.to_string(), Digest(plugin.digest), &refusal).await;
            }
        }
    }

    async fn read_trust(&self, path: &Path) -> Result<TrustPolicy, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let policy = TrustPolicy::parse(&text).map_err(|error| error.to_string())?;
        let last = self.registry.trust_serial().await.map_err(|error| error.to_string())?;
        policy.check_serial(last).map_err(|error| error.to_string())?;
        self.registry.set_trust_serial(policy.serial).await.map_err(|error| error.to_string())?;
        Ok(policy)
    }

    /// What may no longer run is gone at once.
    async fn unload(self: &Arc<Self>, id: &str, version: &str, digest: Digest, refusal: &Refusal) {
        let Ok(turn) = self.turn().await else { return };
        if !self.runs(id, &digest) {
            return;
        }
        if let Err(refusal) = turn.take(id) {
            tracing::error!(plugin = id, reason = refusal.message, "plugin cannot be taken out");
            return;
        }
        drop(turn);
        tracing::error!(plugin = id, version, code = refusal.code, reason = refusal.message, "plugin is unloaded");
        self.status.down(id, refusal);
        self.loader.metrics.plugin_change("revoke", refusal.code);
        let from = Some((version, digest));
        let deed = Deed {
            who: Actor::Host.name(),
            action: "revoke",
            id,
            from,
            to: None,
            outcome: refusal.code,
            message: &refusal.message,
        };
        if let Err(error) = self.registry.note(&deed).await {
            tracing::error!(plugin = id, %error, "the change cannot be recorded");
        }
    }
}
