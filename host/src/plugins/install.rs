//! What is active: the files that are offered, those that were installed, and which version of each is to run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arcana_signing::sequence::{self, Step};
use arcana_signing::{Code, Purpose, TrustPolicy, envelope};
use futures_util::future::join_all;

use super::files;
use super::load::{Loader, system_call};
use super::prepass::PrepassLimits;
use super::refusal::Refusal;
use super::registry::{Installed, Registry};
use super::verify::{Verified, verify};
use crate::runtime::catalog::{ActivePlugin, Catalog, LiveCatalog};
use crate::runtime::method::Service;

/// The plugins of this host.
pub struct Plugins {
    loader: Loader,
    registry: Registry,
    trust: TrustPolicy,
    catalog: Arc<LiveCatalog>,
    /// The host's own services.
    host: Arc<[Service]>,
    /// Where installed files are kept.
    kept: PathBuf,
    max_plugins: usize,
    max_file: u64,
    prepass: PrepassLimits,
    /// In development a plugin whose file is gone is gone too.
    development: bool,
}

/// A plugin that could not be started.
#[derive(Debug)]
pub struct Failed {
    /// The file, or the id of what was installed.
    pub what: String,
    /// Why.
    pub refusal: Refusal,
}

/// A file on its way to be active.
struct Candidate {
    what: String,
    verified: Verified,
    step: Step,
}

impl Plugins {
    /// The plugins over this registry and trust policy, with nothing active yet.
    #[must_use]
    pub fn new(
        loader: Loader,
        registry: Registry,
        trust: TrustPolicy,
        catalog: Arc<LiveCatalog>,
        host: Arc<[Service]>,
        kept: PathBuf,
        development: bool,
    ) -> Self {
        let config = &loader.config;
        Self {
            max_plugins: usize::try_from(config.limits.max_plugins).unwrap_or(usize::MAX),
            max_file: config.plugins.max_file_bytes.as_u64(),
            prepass: PrepassLimits {
                max_function_body: config.limits.max_function_body.as_usize(),
                max_memory: config.limits.max_memory.as_u64(),
                ..PrepassLimits::default()
            },
            loader,
            registry,
            trust,
            catalog,
            host,
            kept,
            development,
        }
    }

    /// Makes active what was installed and what this folder offers that is newer. Every file is verified again.
    ///
    /// A file that is refused, or a version that does not start, is reported and leaves what ran before.
    ///
    /// # Errors
    /// When the registry or the folder cannot be read, or the trust file went back to an older serial.
    pub async fn start(&self, offered: &Path) -> Result<Vec<Failed>, Refusal> {
        self.trust.check_serial(self.registry.trust_serial().await.map_err(Refusal::host)?)?;
        self.registry.set_trust_serial(self.trust.serial).await.map_err(Refusal::host)?;

        let installed = self.registry.installed().await.map_err(Refusal::host)?;
        let paths = files::offered(offered).map_err(|error| {
            Refusal::new("UNREADABLE", 500, format!("the plugin folder {}: {error}", offered.display()))
        })?;
        let mut failed = Vec::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        for path in paths {
            let what = path.display().to_string();
            match self.offer(&path, &installed).await {
                Ok((verified, step)) => {
                    failed.extend(newest(&mut candidates, Candidate { what, verified, step }));
                }
                Err(refusal) => failed.push(Failed { what, refusal }),
            }
        }
        for known in &installed {
            let offered = candidates.iter().any(|candidate| candidate.verified.manifest.plugin.id.as_str() == known.id);
            // Where a file was refused nobody knows whose it was to be, and nothing is taken away.
            if offered || (self.development && failed.is_empty()) {
                continue;
            }
            match self.keep(known) {
                Ok(verified) => candidates.push(Candidate { what: known.id.clone(), verified, step: Step::Unchanged }),
                Err(refusal) => failed.push(Failed { what: known.id.clone(), refusal }),
            }
        }
        // What runs already comes before its own next version, and that before anything new: nobody takes another's place.
        candidates.sort_by_key(|candidate| {
            let id = candidate.verified.manifest.plugin.id.as_str();
            (candidate.step == Step::Install, !installed.iter().any(|known| known.id == id))
        });
        if candidates.len() > self.max_plugins {
            for extra in candidates.split_off(self.max_plugins) {
                let message = format!("there are more than {} plugins (limits.max_plugins)", self.max_plugins);
                failed.push(Failed { what: extra.what, refusal: Refusal::new("TOO_MANY_PLUGINS", 409, message) });
            }
        }

        let mut active: Vec<Arc<ActivePlugin>> = Vec::new();
        let loaded = join_all(candidates.iter().map(|candidate| self.loader.load(&candidate.verified))).await;
        for (candidate, loaded) in candidates.iter().zip(loaded) {
            let refusal = match loaded {
                Ok(plugin) => self.take(candidate, plugin, &mut active).await.err(),
                Err(refusal) => Some(refusal),
            };
            let Some(refusal) = refusal else { continue };
            failed.push(Failed { what: candidate.what.clone(), refusal });
            // A new version that does not start leaves the installed one in its place.
            let id = candidate.verified.manifest.plugin.id.as_str();
            if let Some(known) = installed.iter().find(|known| known.id == id && candidate.step == Step::Install)
                && let Err(refusal) = self.go_on(known, &mut active).await
            {
                failed.push(Failed { what: id.to_owned(), refusal });
            }
        }
        let catalog = Catalog::build(self.host.clone(), active).map_err(Refusal::host)?;
        self.catalog.store(catalog);
        self.loader.cache.prune();
        Ok(failed)
    }

    /// Verifies a file of the plugin folder and says whether it is news.
    async fn offer(&self, path: &Path, installed: &[Installed]) -> Result<(Verified, Step), Refusal> {
        let bytes = files::read(path, self.max_file)?;
        let digest = envelope::parse(&bytes)?.digest();
        // What runs already keeps running under a key that has since been retired.
        let known = installed.iter().any(|known| known.digest == digest);
        let purpose = if known { Purpose::Keep } else { Purpose::Install };
        let verified = verify(bytes, &self.trust, purpose, &self.prepass)?;
        let highest = installed
            .iter()
            .find(|known| known.id == verified.manifest.plugin.id.as_str())
            .map(|known| (known.highest_seq, known.digest));
        let step = sequence::check(highest, verified.manifest.plugin.seq, verified.digest, false)?;
        Ok((verified, step))
    }

    /// Verifies again what was installed.
    fn keep(&self, known: &Installed) -> Result<Verified, Refusal> {
        let bytes = files::read(&files::kept(&self.kept, &known.digest), self.max_file)?;
        let verified = verify(bytes, &self.trust, Purpose::Keep, &self.prepass)?;
        if verified.digest != known.digest || verified.manifest.plugin.id.as_str() != known.id {
            return Err(Refusal::new("DIGEST_MISMATCH", 422, "the kept file is not the one that was installed"));
        }
        Ok(verified)
    }

    /// Puts a loaded plugin beside the active ones, and records it where it is news.
    async fn take(
        &self,
        candidate: &Candidate,
        plugin: Arc<ActivePlugin>,
        active: &mut Vec<Arc<ActivePlugin>>,
    ) -> Result<(), Refusal> {
        let Candidate { verified, step, .. } = candidate;
        for warning in &verified.warnings {
            tracing::warn!(plugin = %plugin.id, warning, "trust");
        }
        active.push(plugin.clone());
        let taken = match Catalog::build(self.host.clone(), active.clone()) {
            Ok(_) => self.record(verified, *step).await,
            Err(conflict) => Err(Refusal::new("CONFLICT", 409, conflict)),
        };
        if let Err(refusal) = taken {
            active.pop();
            disable(&plugin).await;
            return Err(refusal);
        }
        tracing::info!(
            plugin = %plugin.id, version = %plugin.version, seq = plugin.seq, digest = %hex::encode(plugin.digest),
            signers = plugin.signers.join(", "), routes = plugin.routes.len(),
            news = *step == Step::Install, "plugin is active"
        );
        Ok(())
    }

    /// Makes the version active that was installed before.
    async fn go_on(&self, known: &Installed, active: &mut Vec<Arc<ActivePlugin>>) -> Result<(), Refusal> {
        let verified = self.keep(known)?;
        let plugin = self.loader.load(&verified).await?;
        let candidate = Candidate { what: known.id.clone(), verified, step: Step::Unchanged };
        self.take(&candidate, plugin, active).await
    }

    async fn record(&self, verified: &Verified, step: Step) -> Result<(), Refusal> {
        // The file first: the row must never point at what is not there. One that somebody changed is made good.
        if !files::is_kept(&self.kept, &verified.digest, &verified.bytes) {
            files::keep(&self.kept, &verified.digest, &verified.bytes).map_err(Refusal::host)?;
        }
        if step == Step::Install {
            let manifest = &verified.manifest.plugin;
            let version = manifest.version.to_string();
            self.registry
                .record(manifest.id.as_str(), manifest.seq, &verified.digest, &version)
                .await
                .map_err(Refusal::host)?;
        }
        Ok(())
    }

    /// Tells every plugin that it will not be called again.
    pub async fn stop(&self) {
        let catalog = self.catalog.load_full();
        for plugin in catalog.plugins() {
            disable(plugin).await;
        }
    }
}

async fn disable(plugin: &ActivePlugin) {
    if let Some(place) = plugin.on_disable {
        // What goes wrong is logged where the call ends; the stop goes on.
        let _ = plugin.runtime.call(place, &[], system_call()).await;
    }
    plugin.runtime.pool().close();
}

/// Of two files of one plugin the one with the higher sequence number counts; with one number and other content neither does.
fn newest(candidates: &mut Vec<Candidate>, new: Candidate) -> Vec<Failed> {
    let plugin = &new.verified.manifest.plugin;
    let same = |known: &Candidate| known.verified.manifest.plugin.id.as_str() == plugin.id.as_str();
    let Some(place) = candidates.iter().position(same) else {
        candidates.push(new);
        return Vec::new();
    };
    let known = &candidates[place];
    let installed = known.verified.manifest.plugin.seq;
    if plugin.seq == installed && known.verified.digest != new.verified.digest {
        let refuse = |what: &str, other: &str| {
            let message =
                format!("seq {installed} is that of {other} too, with other content; every release needs a higher seq");
            Failed { what: what.to_owned(), refusal: Refusal::new(Code::SeqConflict.as_str(), 409, message) }
        };
        let both = vec![refuse(&known.what, &new.what), refuse(&new.what, &known.what)];
        candidates.remove(place);
        return both;
    }
    let (older, newer) = if plugin.seq > installed { (&known.what, &new.what) } else { (&new.what, &known.what) };
    tracing::warn!(file = older, newer, "another file of the same plugin counts");
    if plugin.seq > installed {
        candidates[place] = new;
    }
    Vec::new()
}
