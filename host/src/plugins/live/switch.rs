//! The one place where what runs is changed: whoever has the [`Turn`] does it, on the registry as it is then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arcana_signing::Digest;
use tokio::sync::MutexGuard;

use super::install::{Progress, Stage};
use super::{Inner, probation};
use crate::plugins::files;
use crate::plugins::load::{LoadOptions, Prepared, system_call};
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{CommitError, Deed, Desired, Snapshot, Standing, Writes};
use crate::plugins::verify::Verified;
use crate::runtime::catalog::{ActivePlugin, Catalog};
use crate::telemetry::tail::Level;

/// How long the end of the host waits for versions that are being drained.
pub(super) const LAST_DRAIN: Duration = Duration::from_secs(5);

/// How often a drain looks whether it is over.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// The right to change what runs, with the registry as it is.
pub(super) struct Turn<'i> {
    inner: &'i Arc<Inner>,
    pub(super) snapshot: Snapshot,
    _guard: MutexGuard<'i, ()>,
}

impl Inner {
    /// Waits for the turn. Changes are made one at a time; requests are never held up by one.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<Turn<'_>, Refusal> {
        let guard = self.turn.lock().await;
        if self.stop.is_cancelled() {
            return Err(Refusal::new("STOPPING", 503, "the host is stopping"));
        }
        let snapshot = self.registry.snapshot().await.map_err(Refusal::host)?;
        Ok(Turn { inner: self, snapshot, _guard: guard })
    }

    /// The version that answers requests here.
    pub(super) fn running(&self, id: &str) -> Option<Arc<ActivePlugin>> {
        self.catalog.load().plugins().iter().find(|plugin| *plugin.id == *id).cloned()
    }

    /// Whether this version answers requests here.
    pub(super) fn runs(&self, id: &str, digest: &Digest) -> bool {
        self.running(id).is_some_and(|plugin| plugin.digest == digest.0)
    }

    /// The catalog with this plugin in the place of its present version, or beside the others.
    fn with(&self, plugin: &Arc<ActivePlugin>) -> Result<Catalog, Refusal> {
        let mut plugins = self.catalog.load().plugins().to_vec();
        match plugins.iter_mut().find(|known| known.id == plugin.id) {
            Some(known) => *known = plugin.clone(),
            None => plugins.push(plugin.clone()),
        }
        Catalog::build(self.host.clone(), plugins).map_err(|conflict| Refusal::new("CONFLICT", 409, conflict))
    }

    /// The catalog with a plugin that is to run, unless another one, or the host, has what it wants, or there are too many.
    pub(super) fn catalog_with(&self, snapshot: &Snapshot, prepared: &Prepared) -> Result<Catalog, Refusal> {
        let id = &*prepared.plugin.id;
        let others = snapshot.plugins.values().filter(|plugin| plugin.desired == Desired::Enabled && plugin.id != id);
        if others.count() >= self.max_plugins {
            let message = format!("there are {} plugins already (limits.max_plugins)", self.max_plugins);
            return Err(Refusal::new("TOO_MANY_PLUGINS", 409, message));
        }
        self.with(&prepared.plugin)
    }
}

impl Turn<'_> {
    /// Makes a version the one that runs: its stores, `on-enable`, the registry, the catalog. The old one is drained.
    ///
    /// # Errors
    /// Whatever went wrong; what ran before runs on.
    pub(super) async fn put(
        self,
        prepared: &Prepared,
        verified: &Verified,
        allow_breaking: bool,
        mut writes: Writes,
        deed: &Deed<'_>,
        progress: &Progress,
    ) -> Result<(), Refusal> {
        let inner = self.inner;
        // Nobody else changes the catalog as long as this turn lasts.
        let catalog = inner.catalog_with(&self.snapshot, prepared)?;
        progress.reach(Stage::Starting);
        inner.loader.enable(prepared, verified, &LoadOptions { allow_breaking }).await?;
        progress.reach(Stage::Activating);
        let present = self.snapshot.plugin(deed.id).map(|plugin| plugin.digest);
        let gone = self.prune(deed.id, &[Some(verified.digest), present], &mut writes);
        if let Err(refusal) = self.commit(writes, deed).await {
            end(&prepared.plugin).await;
            return Err(refusal);
        }
        inner.swap(catalog, deed.id);
        inner.announce(&prepared.plugin, verified, deed);
        probation::begin(inner, &prepared.plugin);
        inner.keep_at_hand(verified).await;
        inner.forget_files(&gone);
        Ok(())
    }

    /// Makes a version run that the registry says is to run: nothing is written.
    pub(super) async fn follow(&self, prepared: &Prepared, verified: &Verified) -> Result<(), Refusal> {
        let inner = self.inner;
        let catalog = inner.with(&prepared.plugin)?;
        inner.loader.enable(prepared, verified, &LoadOptions { allow_breaking: true }).await?;
        inner.swap(catalog, &prepared.plugin.id);
        inner.status.settled(&prepared.plugin.id);
        tracing::info!(plugin = %prepared.plugin.id, version = %prepared.plugin.version, "plugin is active, as another host has it");
        Ok(())
    }

    /// Takes a plugin out of what runs, where it is in there.
    pub(super) fn take(&self, id: &str) -> Result<(), Refusal> {
        let inner = self.inner;
        if inner.running(id).is_none() {
            return Ok(());
        }
        let rest = inner.catalog.load().plugins().iter().filter(|plugin| *plugin.id != *id).cloned().collect();
        inner.swap(Catalog::build(inner.host.clone(), rest).map_err(Refusal::host)?, id);
        Ok(())
    }

    /// Writes what was decided, on the registry that it was decided on.
    pub(super) async fn commit(&self, writes: Writes, deed: &Deed<'_>) -> Result<(), Refusal> {
        let inner = self.inner;
        let seen = self.snapshot.revision;
        let revision = inner.registry.commit(writes, deed, seen).await.map_err(|error| match error {
            CommitError::Stale => Refusal::new("CONCURRENT_CHANGE", 409, format!("{error}; try again")),
            CommitError::Database(error) => Refusal::host(error),
        })?;
        // Where something of another host has not been seen yet, it is still to be looked for.
        let _ = inner.seen.compare_exchange(seen, revision, Ordering::AcqRel, Ordering::Acquire);
        inner.loader.metrics.plugin_change(deed.action, deed.outcome);
        Ok(())
    }

    /// Kept versions beyond `plugins.keep_versions` go, the oldest first and never one that is spared. Those that wait for an
    /// approval are counted apart, by the same number.
    pub(super) fn prune(&self, id: &str, spared: &[Option<Digest>], writes: &mut Writes) -> Vec<Digest> {
        let spared: BTreeSet<Digest> = spared.iter().flatten().copied().collect();
        let others = self.snapshot.kept(id).filter(|version| !spared.contains(&version.digest));
        let (mut waiting, mut others): (Vec<_>, Vec<_>) =
            others.partition(|version| version.standing == Standing::Pending);
        waiting.sort_by_key(|version| std::cmp::Reverse(version.seq));
        others.sort_by_key(|version| std::cmp::Reverse((version.ran_at, version.seq)));
        let keep = usize::try_from(self.inner.settings.keep_versions).unwrap_or(usize::MAX);
        let others = others.into_iter().skip(keep.saturating_sub(spared.len()));
        let gone: Vec<Digest> =
            others.chain(waiting.into_iter().skip(keep.saturating_sub(1))).map(|version| version.digest).collect();
        for digest in &gone {
            writes.forget(id, *digest);
        }
        gone
    }
}

impl Inner {
    /// Puts another catalog in force, and lets go of the version of this plugin that ran so far.
    fn swap(self: &Arc<Self>, catalog: Catalog, id: &str) {
        let old = self.running(id);
        let before = self.catalog.swap(catalog);
        self.loader.metrics.plugin_swapped(id);
        self.tell(id, old.as_deref());
        let Some(plugin) = old else { return };
        // Nobody can come to the old version any more once nobody has the old catalog.
        let holders = Arc::downgrade(&before);
        drop(before);
        let drain = self.settings.drain.get();
        self.tasks.spawn(async move {
            let until = Instant::now() + drain;
            while holders.strong_count() > 0 && Instant::now() < until {
                tokio::time::sleep(DRAIN_STEP).await;
            }
            if holders.strong_count() > 0 {
                tracing::warn!(plugin = %plugin.id, version = %plugin.version,
                    "calls are still running after plugins.drain; their own time limits end them");
            }
            end(&plugin).await;
        });
    }

    /// Tells whoever reads the log of the plugin what runs from now on.
    fn tell(&self, id: &str, old: Option<&ActivePlugin>) {
        let named = |plugin: &ActivePlugin| format!("version {} (seq {})", plugin.version, plugin.seq);
        let says = match (old, self.running(id).as_deref()) {
            (Some(old), Some(new)) => format!("{} takes the place of {}", named(new), named(old)),
            (None, Some(new)) => format!("{} answers requests from now on", named(new)),
            (Some(old), None) => format!("{} answers no more requests", named(old)),
            (None, None) => return,
        };
        self.loader.tails.of(id).say(Level::Info, &says);
    }

    /// The file that runs on the disk too, where the database is slower to be asked.
    pub(super) async fn keep_at_hand(&self, verified: &Verified) {
        let (dir, digest, bytes) = (self.kept.clone(), verified.digest, verified.bytes.clone());
        let kept = tokio::task::spawn_blocking(move || match files::is_kept(&dir, &digest, &bytes) {
            true => Ok(()),
            false => files::keep(&dir, &digest, &bytes),
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(digest = %verified.digest, %error, "the installed file cannot be kept on the disk");
        }
    }

    /// The files of versions that are no longer kept.
    pub(super) fn forget_files(&self, digests: &[Digest]) {
        for digest in digests {
            self.loader.attempts.forget(digest);
            self.loader.cache.forget(&digest.0);
            let path = files::kept(&self.kept, digest);
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a file that is no longer kept cannot be deleted");
            }
        }
    }

    fn announce(&self, plugin: &ActivePlugin, verified: &Verified, deed: &Deed<'_>) {
        self.status.settled(&plugin.id);
        for warning in &verified.warnings {
            tracing::warn!(plugin = %plugin.id, warning, "trust");
        }
        tracing::info!(
            plugin = %plugin.id, version = %plugin.version, seq = plugin.seq, digest = %verified.digest,
            signers = plugin.signers.join(", "), routes = plugin.routes.len(), who = deed.who, action = deed.action,
            before = deed.from.map(|(version, _)| version), news = deed.action == "install", "plugin is active"
        );
    }
}

/// Tells a version that it will not be called again, and gives up its instances.
pub(super) async fn end(plugin: &ActivePlugin) {
    if let Some(place) = plugin.on_disable {
        // What goes wrong is logged where the call ends; the stop goes on.
        let _ = plugin.runtime.call(place, &[], system_call()).await;
    }
    plugin.runtime.pool().close();
}
