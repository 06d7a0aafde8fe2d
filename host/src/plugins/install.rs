//! What is active: the files that are offered, those that were installed, and which version of each is to run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arcana_signing::sequence::{self, Step};
use arcana_signing::{Purpose, TrustPolicy, envelope};
use futures_util::future::join_all;

use super::files;
use super::load::{Loader, system_call};
use super::prepass::PrepassLimits;
use super::refusal::Refusal;
use super::registry::{Installed, Registry};
use super::verify::{Verified, verify};
use crate::runtime::catalog::{ActivePlugin, Catalog};

/// The plugins of this host.
pub struct Plugins {
    loader: Loader,
    registry: Registry,
    trust: TrustPolicy,
    catalog: Arc<ArcSwap<Catalog>>,
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
        catalog: Arc<ArcSwap<Catalog>>,
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
                Ok((verified, step)) => newest(&mut candidates, Candidate { what, verified, step }),
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
        if candidates.len() > self.max_plugins {
            for extra in candidates.split_off(self.max_plugins) {
                let message = format!("there are more than {} plugins (limits.max_plugins)", self.max_plugins);
                failed.push(Failed { what: extra.what, refusal: Refusal::new("TOO_MANY_PLUGINS", 409, message) });
            }
        }

        let mut active: Vec<Arc<ActivePlugin>> = Vec::new();
        for (what, outcome) in join_all(candidates.into_iter().map(|c| self.activate(c, &installed))).await {
            let (plugin, trouble) = outcome;
            failed.extend(trouble.map(|refusal| Failed { what: what.clone(), refusal }));
            let Some(plugin) = plugin else { continue };
            active.push(plugin);
            // The later of two that want the same is refused; the earlier goes on.
            if let Err(conflict) = Catalog::build(active.clone()) {
                active.pop();
                failed.push(Failed { what, refusal: Refusal::new("CONFLICT", 409, conflict) });
            }
        }
        let catalog = Catalog::build(active).map_err(Refusal::host)?;
        self.catalog.store(Arc::new(catalog));
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

    /// Loads a candidate; a new version that does not start leaves the installed one in its place.
    async fn activate(
        &self,
        candidate: Candidate,
        installed: &[Installed],
    ) -> (String, (Option<Arc<ActivePlugin>>, Option<Refusal>)) {
        let Candidate { what, verified, step } = candidate;
        for warning in &verified.warnings {
            tracing::warn!(plugin = verified.manifest.plugin.id.as_str(), warning, "trust");
        }
        let refusal = match self.load_and_record(&verified, step).await {
            Ok(plugin) => return (what, (Some(plugin), None)),
            Err(refusal) => refusal,
        };
        let id = verified.manifest.plugin.id.as_str();
        let before = installed.iter().find(|known| known.id == id && known.digest != verified.digest);
        let fallback = match before.map(|known| self.keep(known)) {
            Some(Ok(old)) => self.loader.load(&old).await.ok(),
            _ => None,
        };
        (what, (fallback, Some(refusal)))
    }

    async fn load_and_record(&self, verified: &Verified, step: Step) -> Result<Arc<ActivePlugin>, Refusal> {
        let plugin = self.loader.load(verified).await?;
        if step == Step::Install {
            // The file first: the row must never point at what is not there.
            files::keep(&self.kept, &verified.digest, &verified.bytes).map_err(Refusal::host)?;
            let manifest = &verified.manifest.plugin;
            let version = manifest.version.to_string();
            self.registry
                .record(manifest.id.as_str(), manifest.seq, &verified.digest, &version)
                .await
                .map_err(Refusal::host)?;
        }
        tracing::info!(
            plugin = %plugin.id, version = %plugin.version, seq = plugin.seq, digest = %hex::encode(plugin.digest),
            signers = plugin.signers.join(", "), routes = plugin.routes.len(),
            news = step == Step::Install, "plugin is active"
        );
        Ok(plugin)
    }

    /// Tells every plugin that it will not be called again.
    pub async fn stop(&self) {
        let catalog = self.catalog.load_full();
        for plugin in catalog.plugins() {
            let Some(place) = plugin.on_disable else { continue };
            // What goes wrong is logged where the call ends; the stop goes on.
            let _ = plugin.runtime.call(place, &[], system_call()).await;
            plugin.runtime.pool().close();
        }
    }
}

/// Of two files of one plugin the one with the higher sequence number counts.
fn newest(candidates: &mut Vec<Candidate>, new: Candidate) {
    let id = new.verified.manifest.plugin.id.as_str();
    match candidates.iter_mut().find(|known| known.verified.manifest.plugin.id.as_str() == id) {
        Some(known) if known.verified.manifest.plugin.seq >= new.verified.manifest.plugin.seq => {
            tracing::warn!(file = new.what, newer = known.what, "an older file of the same plugin is ignored");
        }
        Some(known) => *known = new,
        None => candidates.push(new),
    }
}

