//! A new version is watched for a while: where too many of its first calls trap, the version before takes its place again.

use std::sync::{Arc, Weak};
use std::time::Instant;

use arcana_signing::Digest;
use jiff::Timestamp;

use super::admin::Unwell;
use super::view::Failure;
use super::{Actor, Inner};
use crate::plugins::refusal::Refusal;
use crate::runtime::catalog::ActivePlugin;

/// The code of the failure of a version that was taken back.
const CODE: &str = "TOO_MANY_TRAPS";

/// Begins to watch a version that answers requests from now on.
pub(super) fn begin(inner: &Arc<Inner>, plugin: &Arc<ActivePlugin>) {
    let settings = &inner.settings.probation;
    if settings.traps == 0 || settings.window.get().is_zero() {
        return;
    }
    let before = inner.loader.metrics.plugin_calls(&plugin.id);
    // Neither the host nor the version is kept alive by being watched.
    inner.tasks.spawn(watch(Arc::downgrade(inner), Arc::downgrade(plugin), before));
}

async fn watch(inner: Weak<Inner>, plugin: Weak<ActivePlugin>, before: u64) {
    let Some((until, stop)) =
        inner.upgrade().map(|inner| (Instant::now() + inner.settings.probation.window.get(), inner.stop.clone()))
    else {
        return;
    };
    loop {
        let Some(traps) = plugin.upgrade().map(|plugin| plugin.runtime.traps().clone()) else { return };
        let trapped = traps.changed();
        if let (Some(inner), Some(plugin)) = (inner.upgrade(), plugin.upgrade()) {
            let calls = inner.loader.metrics.plugin_calls(&plugin.id).saturating_sub(before);
            if inner.is_too_much(traps.count(), calls) {
                inner.take_back(&plugin, traps.count(), calls).await;
                return;
            }
            if !inner.runs(&plugin.id, &Digest(plugin.digest)) {
                return;
            }
        }
        tokio::select! {
            () = trapped => {}
            () = tokio::time::sleep_until(until.into()) => return,
            () = stop.cancelled() => return,
        }
    }
}

impl Inner {
    fn is_too_much(&self, traps: u64, calls: u64) -> bool {
        let settings = &self.settings.probation;
        traps >= u64::from(settings.traps) && traps.saturating_mul(100) >= calls.saturating_mul(settings.percent.into())
    }

    /// Puts the version before in the place of this one.
    async fn take_back(self: &Arc<Self>, plugin: &Arc<ActivePlugin>, traps: u64, calls: u64) {
        let last = plugin.runtime.traps().last();
        let why = format!(
            "{traps} of its first {calls} calls trapped (plugins.probation); the last: {}",
            last.lines().next().unwrap_or_default()
        );
        tracing::error!(plugin = %plugin.id, version = %plugin.version, traps, calls, "a new version does not do well");
        if let Err(refusal) = self.try_take_back(plugin, &why).await {
            tracing::error!(plugin = %plugin.id, code = refusal.code, reason = refusal.message, "it cannot be taken back");
            let message = format!("{why}; it runs on: {}", refusal.message);
            let version = Some(plugin.version.to_string());
            let at = Timestamp::now().to_string();
            self.status.note(&plugin.id, Failure { code: CODE.into(), message, version, at });
        }
    }

    async fn try_take_back(self: &Arc<Self>, plugin: &Arc<ActivePlugin>, why: &str) -> Result<(), Refusal> {
        let id = &*plugin.id;
        let snapshot = self.snapshot().await?;
        let before = snapshot.plugin(id).and_then(|plugin| snapshot.before(plugin));
        let Some(good) = before.map(|version| version.digest) else {
            return Err(Refusal::new("NOT_KEPT", 404, "there is no earlier version to go back to"));
        };
        let unwell = Unwell { digest: Digest(plugin.digest), code: CODE, why };
        self.run_instead(&snapshot, id, good, ("rollback", &Actor::Host), Some(&unwell)).await?;
        self.loader.metrics.plugin_change("rollback", CODE);
        Ok(())
    }
}
