//! The start: what was running runs again, and what the folder has that nobody has seen is installed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arcana_signing::{Code, Digest, Purpose, envelope};
use futures_util::future::join_all;

use super::admin::WAITS;
use super::{Actor, FOLDER, Inner, Plugins};
use crate::plugins::files;
use crate::plugins::load::{LoadOptions, Prepared};
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{Desired, Plugin, Snapshot};
use crate::plugins::verify::Verified;
use crate::runtime::catalog::{ActivePlugin, Catalog};

/// A plugin or a file that was refused.
#[derive(Debug)]
pub struct Failed {
    /// The file, or the id of what was installed.
    pub what: String,
    /// Why.
    pub refusal: Refusal,
}

/// A file of the folder with what its envelope says.
struct Offered {
    path: String,
    name: Arc<str>,
    bytes: Vec<u8>,
    digest: Digest,
}

/// A file of the folder that nobody has seen, verified.
struct Candidate {
    file: Offered,
    verified: Verified,
}

impl Plugins {
    /// Makes active what was installed and what the folder offers that nobody has seen. Every file is verified again.
    ///
    /// A file that is refused, or a version that does not start, is reported and leaves what ran before.
    ///
    /// # Errors
    /// When the registry or the folder cannot be read, or the trust file went back to an older serial.
    pub async fn start(&self) -> Result<Vec<Failed>, Refusal> {
        let inner = &self.0;
        let trust = inner.trust.load_full();
        trust.check_serial(inner.registry.trust_serial().await.map_err(Refusal::host)?)?;
        inner.registry.set_trust_serial(trust.serial).await.map_err(Refusal::host)?;

        inner.warn_of_development(&trust);
        let paths = files::offered(&inner.folder).map_err(|error| {
            Refusal::new("UNREADABLE", 500, format!("the plugin folder {}: {error}", inner.folder.display()))
        })?;
        let mut failed = Vec::new();
        let mut offered = Vec::new();
        for path in paths {
            match inner.read_offer(&path) {
                Ok(file) => offered.push(file),
                Err(refusal) => failed.push(Failed { what: path.display().to_string(), refusal }),
            }
        }
        let mut snapshot = inner.snapshot().await?;
        if inner.development {
            inner.follow_folder(&snapshot, &offered, !failed.is_empty()).await?;
            snapshot = inner.snapshot().await?;
        }
        inner.seen.store(snapshot.revision, Ordering::Release);

        for left in inner.loader.attempts.left_off() {
            let known = snapshot.versions.iter().any(|version| version.kept && version.digest == left.digest);
            if !known && !offered.iter().any(|file| file.digest == left.digest) {
                inner.loader.attempts.forget(&left.digest);
            }
        }
        // What ran comes first, whole: nobody takes another's place.
        inner.resume(&snapshot, &offered, &mut failed).await?;
        offered.retain(|file| !snapshot.knows(&file.digest));

        for refusals in inner.bring(offered).await {
            failed.push(refusals);
        }
        let snapshot = inner.snapshot().await?;
        let kept: Vec<Digest> =
            snapshot.versions.iter().filter(|version| version.kept).map(|version| version.digest).collect();
        inner.loader.cache.prune(&kept.iter().map(|digest| digest.0).collect::<Vec<_>>());
        files::forget_others(&inner.kept, &kept);
        for failure in &failed {
            match failure.what.ends_with(".wasm") {
                true => inner.status.file_refused(&failure.what, &failure.refusal),
                false => inner.status.down(&failure.what, &failure.refusal),
            }
        }
        Ok(failed)
    }
}

impl Inner {
    /// Reads a file of the folder as far as its envelope.
    fn read_offer(&self, path: &Path) -> Result<Offered, Refusal> {
        let bytes = files::read(path, self.max_file())?;
        let digest = envelope::parse(&bytes)?.digest();
        Ok(Offered { path: path.display().to_string(), name: Self::name_of(path), bytes, digest })
    }

    /// In development the folder is what there is: a plugin that came from a file which is gone is switched off, and one
    /// that was switched off in this way is back with its file. Where a file cannot be read nobody knows whose it was to be,
    /// and nothing is taken away.
    async fn follow_folder(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        offered: &[Offered],
        unreadable: bool,
    ) -> Result<(), Refusal> {
        let there: BTreeSet<&str> = offered.iter().map(|file| &*file.name).collect();
        for plugin in snapshot.plugins.values() {
            let from_file = plugin.source.ends_with(".wasm");
            let has_file = there.contains(plugin.source.as_str())
                || offered.iter().any(|file| snapshot.version(&plugin.id, &file.digest).is_some());
            if plugin.desired == Desired::Enabled && from_file && !has_file && !unreadable {
                self.disable(&plugin.id, &Actor::Directory(plugin.source.as_str().into())).await?;
            }
        }
        self.back_with_file(snapshot, offered.iter().map(|file| file.digest)).await
    }

    /// Plugins that were switched off because their files were gone, and whose files are there again.
    pub(super) async fn back_with_file(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        digests: impl Iterator<Item = Digest>,
    ) -> Result<(), Refusal> {
        for digest in digests {
            let by_folder = |plugin: &&Plugin| {
                plugin.desired == Desired::Disabled
                    && plugin.disabled_by.as_deref() == Some(FOLDER)
                    && snapshot.version(&plugin.id, &digest).is_some_and(|version| version.kept)
            };
            let Some(plugin) = snapshot.plugins.values().find(by_folder) else { continue };
            let by = Actor::Directory(plugin.source.as_str().into());
            let _ = self.run(snapshot, &plugin.id, digest, "enable", &by).await.map_err(|refusal| {
                tracing::error!(plugin = plugin.id, code = refusal.code, reason = refusal.message, "plugin refused");
                self.status.down(&plugin.id, &refusal);
            });
        }
        Ok(())
    }

    /// An installed version, ready to be called; where its kept file was lost, from the same file in the folder.
    async fn ready_from(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        plugin: &Plugin,
        offered: &[Offered],
    ) -> Result<(Verified, Prepared), Refusal> {
        let (id, digest) = (&plugin.id, &plugin.digest);
        let file = offered.iter().find(|file| file.digest == *digest);
        let verified = match (self.keep(id, digest).await, file) {
            (Err(refusal), Some(file)) => {
                // Its name is what its envelope claims: no kept copy is overwritten before all of it was verified.
                let Ok(verified) = self.check(id, digest, file.bytes.clone()).await else { return Err(refusal) };
                self.registry.restore(digest, &verified.bytes).await.map_err(Refusal::host)?;
                self.keep_at_hand(&verified).await;
                verified
            }
            (kept, _) => kept?,
        };
        self.made_ready(snapshot, verified, &Actor::Host).await
    }

    /// What is to run runs again.
    async fn resume(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        offered: &[Offered],
        failed: &mut Vec<Failed>,
    ) -> Result<(), Refusal> {
        let enabled = snapshot.plugins.values().filter(|plugin| plugin.desired == Desired::Enabled);
        let may_try = |digest: &Digest| {
            let file = offered.iter().find(|file| file.digest == *digest);
            self.may_try(digest, file.map(|file| Path::new(&file.path))).is_ok()
        };
        let (enabled, off): (Vec<_>, Vec<_>) = enabled.partition(|plugin| may_try(&plugin.digest));
        for plugin in off {
            failed.extend(
                self.leave_off(&plugin.digest).await.map(|refusal| Failed { what: plugin.id.clone(), refusal }),
            );
        }
        let ready = join_all(enabled.iter().map(|plugin| self.ready_from(snapshot, plugin, offered))).await;
        let mut active = Vec::new();
        for (plugin, ready) in enabled.iter().zip(ready) {
            match self.resume_one(ready, &mut active).await {
                Ok(()) => {}
                // Nobody is to be woken up by what waits for them.
                Err(refusal) if refusal.code == WAITS => {
                    tracing::warn!(plugin = plugin.id, reason = refusal.message, "plugin waits for an approval");
                }
                Err(refusal) => failed.push(Failed { what: plugin.id.clone(), refusal }),
            }
        }
        self.catalog.store(Catalog::build(self.host.clone(), active).map_err(Refusal::host)?);
        Ok(())
    }

    async fn resume_one(
        &self,
        ready: Result<(Verified, Prepared), Refusal>,
        active: &mut Vec<Arc<ActivePlugin>>,
    ) -> Result<(), Refusal> {
        let (verified, prepared) = ready?;
        let plugin = &prepared.plugin;
        if active.len() >= self.max_plugins {
            let message = format!("there are more than {} plugins (limits.max_plugins)", self.max_plugins);
            return Err(Refusal::new("TOO_MANY_PLUGINS", 409, message));
        }
        active.push(plugin.clone());
        if let Err(conflict) = Catalog::build(self.host.clone(), active.clone()) {
            active.pop();
            return Err(Refusal::new("CONFLICT", 409, conflict));
        }
        if let Err(refusal) = self.loader.enable(&prepared, &verified, &LoadOptions { allow_breaking: true }).await {
            active.pop();
            return Err(refusal);
        }
        for warning in &verified.warnings {
            tracing::warn!(plugin = %plugin.id, warning, "trust");
        }
        tracing::info!(
            plugin = %plugin.id, version = %plugin.version, seq = plugin.seq, digest = %verified.digest,
            signers = plugin.signers.join(", "), routes = plugin.routes.len(), news = false, "plugin is active"
        );
        Ok(())
    }

    /// Installs files that nobody has seen; answers those that were refused.
    async fn bring(self: &Arc<Self>, offered: Vec<Offered>) -> Vec<Failed> {
        let mut failed = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        for mut file in offered {
            if let Err(refusal) = self.may_try(&file.digest, Some(Path::new(&file.path))) {
                failed.push(Failed { what: file.path, refusal });
                continue;
            }
            match self.verify(std::mem::take(&mut file.bytes), Purpose::Install).await {
                Ok(verified) => failed.extend(newest(&mut candidates, Candidate { file, verified })),
                Err(refusal) => failed.push(Failed { what: file.path, refusal }),
            }
        }
        // They are compiled side by side, and installed by name: the first one gets what two want.
        join_all(candidates.iter().map(|candidate| self.loader.warm(&candidate.verified))).await;
        for Candidate { file, verified } in candidates {
            if let Err(refusal) = self.offer(&verified, &Actor::Directory(file.name)).await {
                failed.push(Failed { what: file.path, refusal });
            }
        }
        failed
    }
}

/// Of two files of one plugin the one with the higher sequence number counts; with one number and other content neither does.
fn newest(candidates: &mut Vec<Candidate>, new: Candidate) -> Vec<Failed> {
    let id = |candidate: &Candidate| candidate.verified.manifest.plugin.id.to_string();
    let Some(place) = candidates.iter().position(|known| id(known) == id(&new)) else {
        candidates.push(new);
        return Vec::new();
    };
    let known = &candidates[place];
    let (seq, new_seq) = (known.verified.manifest.plugin.seq, new.verified.manifest.plugin.seq);
    if new_seq == seq && known.file.digest != new.file.digest {
        let refuse = |what: &str, other: &str| {
            let message =
                format!("seq {seq} is that of {other} too, with other content; every release needs a higher seq");
            Failed { what: what.to_owned(), refusal: Refusal::new(Code::SeqConflict.as_str(), 409, message) }
        };
        let both = vec![refuse(&known.file.path, &new.file.path), refuse(&new.file.path, &known.file.path)];
        candidates.remove(place);
        return both;
    }
    let newer = new_seq > seq;
    let (older, winner) = if newer { (&known.file.path, &new.file.path) } else { (&new.file.path, &known.file.path) };
    tracing::warn!(file = older, newer = winner, "another file of the same plugin counts");
    if newer {
        candidates[place] = new;
    }
    Vec::new()
}
