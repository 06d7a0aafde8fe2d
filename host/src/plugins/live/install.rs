//! From a signed file to the version that runs.

use std::sync::Arc;

use arcana_signing::sequence::{self, Step};
use arcana_signing::{Digest, Purpose};
use tokio::sync::mpsc::UnboundedSender;

use super::switch::Turn;
use super::view::{Compatibility, Installed, State, StoreMigrations};
use super::{Actor, FOLDER, Inner, Plugins, compare};
use crate::plugins::load::Prepared;
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{Deed, Desired, Facts, NewVersion, Snapshot, Standing, Writes};
use crate::plugins::verify::Verified;

/// How a file is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    /// Everything is tried that leaves nothing behind, and nothing is installed.
    pub dry_run: bool,
    /// Clients of the present version may break, and its stores may be changed in ways that kept versions cannot live with.
    pub allow_breaking: bool,
    /// A lower sequence number than one that was installed before is let in.
    pub allow_downgrade: bool,
    /// The version is to run. Otherwise it is only kept, and can be rolled "back" to.
    pub activate: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self { dry_run: false, allow_breaking: false, allow_downgrade: false, activate: true }
    }
}

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Signatures, hash, manifest, component, trust policy.
    Verifying,
    /// Compiling, linking, a first instance.
    Compiling,
    /// Waiting for its turn.
    Waiting,
    /// The stores that it owns, and `on-enable`.
    Starting,
    /// The registry and the catalog.
    Activating,
}

impl Stage {
    /// The word that clients are told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verifying => "verifying",
            Self::Compiling => "compiling",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Activating => "activating",
        }
    }
}

/// Who wants to know how far it is.
#[derive(Debug, Clone, Default)]
pub struct Progress(pub Option<UnboundedSender<Stage>>);

impl Progress {
    pub(super) fn reach(&self, stage: Stage) {
        if let Some(listener) = &self.0 {
            // Nobody listens any more: the installation goes on.
            let _ = listener.send(stage);
        }
    }
}

impl Plugins {
    /// Installs a signed file, or says what installing it would change.
    ///
    /// Once it has begun it ends, whoever waits for it: run it in a task of its own where the waiting may be given up.
    ///
    /// # Errors
    /// A [`Refusal`]: whatever ran before still runs. It is recorded, unless this was only tried.
    pub async fn install(
        &self,
        bytes: Vec<u8>,
        options: &InstallOptions,
        by: &Actor,
        progress: &Progress,
    ) -> Result<Installed, Refusal> {
        let outcome = self.0.install(bytes, options, by, progress).await;
        if let Err(refusal) = &outcome
            && !options.dry_run
        {
            self.0.record_refusal("install", by, refusal).await;
        }
        outcome
    }
}

impl Inner {
    async fn install(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        options: &InstallOptions,
        by: &Actor,
        progress: &Progress,
    ) -> Result<Installed, Refusal> {
        progress.reach(Stage::Verifying);
        if bytes.len() as u64 > self.max_file() {
            let message = format!("it is larger than {} (plugins.max_file_bytes)", self.settings.max_file_bytes);
            return Err(Refusal::new("TOO_LARGE", 413, message));
        }
        let verified = self.verify(bytes, Purpose::Install).await?;
        self.install_verified(&verified, options, by, progress).await
    }

    /// The same with a file that was verified.
    async fn install_verified(
        self: &Arc<Self>,
        verified: &Verified,
        options: &InstallOptions,
        by: &Actor,
        progress: &Progress,
    ) -> Result<Installed, Refusal> {
        let offer = Offer { inner: self, verified, options, by, progress };
        let plugin = &verified.manifest.plugin;
        offer.bring().await.map_err(|refusal| refusal.about(plugin.id.as_str(), &plugin.version, verified.digest))
    }

    /// Installs a file of the folder. Where an administrator has switched the plugin off it is only kept.
    ///
    /// # Errors
    /// A refusal, which is recorded.
    pub(super) async fn offer(self: &Arc<Self>, verified: &Verified, by: &Actor) -> Result<(), Refusal> {
        let id = verified.manifest.plugin.id.as_str();
        let off =
            self.snapshot().await?.plugins.get(id).is_some_and(|known| {
                known.desired == Desired::Disabled && known.disabled_by.as_deref() != Some(FOLDER)
            });
        let options = InstallOptions { activate: !off, allow_breaking: self.development, ..InstallOptions::default() };
        match self.install_verified(verified, &options, by, &Progress::default()).await {
            Ok(installed) => {
                if !installed.pending.is_empty() {
                    tracing::warn!(
                        plugin = id,
                        version = installed.version,
                        waits_for = installed.pending.join(", "),
                        "plugin waits for an approval"
                    );
                }
                Ok(())
            }
            Err(refusal) => {
                self.record_refusal("install", by, &refusal).await;
                Err(refusal)
            }
        }
    }

    /// Remembers that something was refused, in the registry and for those who look.
    pub(super) async fn record_refusal(&self, action: &'static str, by: &Actor, refusal: &Refusal) {
        self.status.refused(refusal);
        let about = refusal.about.as_deref();
        let id = about.map_or("", |about| about.id.as_str());
        tracing::warn!(plugin = id, action, who = by.name(), code = refusal.code, reason = refusal.message, "refused");
        self.loader.metrics.plugin_change(action, refusal.code);
        let Some(about) = about else { return };
        let from = self.present(&about.id).await;
        let deed = Deed {
            who: by.name(),
            action,
            id,
            from: from.as_ref().map(|(version, digest)| (version.as_str(), *digest)),
            to: Some((&about.version, about.digest)),
            outcome: refusal.code,
            message: &refusal.message,
        };
        if let Err(error) = self.registry.note(&deed).await {
            tracing::error!(plugin = id, %error, "the refusal cannot be recorded");
        }
    }

    /// The version and digest that are to run.
    pub(super) async fn present(&self, id: &str) -> Option<(String, Digest)> {
        let snapshot = self.registry.snapshot().await.ok()?;
        snapshot.present(id).map(|(version, digest)| (version.to_owned(), digest))
    }
}

/// A verified file on its way.
struct Offer<'a> {
    inner: &'a Arc<Inner>,
    verified: &'a Verified,
    options: &'a InstallOptions,
    by: &'a Actor,
    progress: &'a Progress,
}

impl Offer<'_> {
    async fn bring(&self) -> Result<Installed, Refusal> {
        let (inner, verified, options) = (self.inner, self.verified, self.options);
        let snapshot = inner.registry.snapshot().await.map_err(Refusal::host)?;
        let comparison = compare::with_present(inner, &snapshot, verified).await?;
        let mut answer = Installed {
            changed: false,
            id: self.id().to_owned(),
            state: State::Verified,
            version: verified.manifest.plugin.version.to_string(),
            seq: verified.manifest.plugin.seq,
            digest: hex::encode(verified.digest.0),
            signers: verified.signers.clone(),
            pending: snapshot.unapproved(self.id(), &verified.pending),
            comparison,
            warnings: verified.warnings.clone(),
            stores: verified.sections.stores().collect(),
        };
        if !self.is_news(&snapshot)? {
            answer.state = State::Active;
            return Ok(answer);
        }
        // Whoever only looks is told what would break, and everybody else must have said that it may.
        if answer.comparison.compatibility == Compatibility::Breaking && !options.allow_breaking && !options.dry_run {
            return Err(breaking(&answer));
        }
        if !answer.pending.is_empty() {
            answer.state = State::PendingApproval;
            if !options.dry_run {
                self.keep(Standing::Pending, "it waits for an administrator's approval").await?;
                answer.changed = true;
            }
            return Ok(answer);
        }
        inner.may_bring(&verified.digest, self.by)?;
        self.progress.reach(Stage::Compiling);
        let prepared = inner.loader.prepare(verified, inner.patience(self.by)).await?;
        if options.dry_run {
            inner.catalog_with(&snapshot, &prepared)?;
            return Ok(answer);
        }
        answer.changed = true;
        if !options.activate {
            self.keep(Standing::Verified, "it is kept, and does not run").await?;
            return Ok(answer);
        }
        self.progress.reach(Stage::Waiting);
        let turn = inner.turn().await?;
        // Somebody else may have been first: what is newest counts.
        if !self.is_news(&turn.snapshot)? {
            return Ok(Installed { state: State::Active, changed: false, ..answer });
        }
        self.activate(turn, &prepared).await?;
        answer.state = State::Active;
        Ok(answer)
    }

    fn id(&self) -> &str {
        self.verified.manifest.plugin.id.as_str()
    }

    /// Whether there is anything to do. An administrator who brings the newest version again wants it to run again.
    fn is_news(&self, snapshot: &Snapshot) -> Result<bool, Refusal> {
        let (digest, seq) = (self.verified.digest, self.verified.manifest.plugin.seq);
        let lower = self.options.allow_downgrade;
        let step = sequence::check(snapshot.highest(self.id()), seq, digest, lower)?;
        let same = snapshot.versions.iter().find(|version| version.id == self.id() && version.seq == seq);
        if let Some(other) = same.filter(|version| version.digest != digest) {
            let message =
                format!("seq {seq} is that of {} with other content; every release needs a higher seq", other.digest);
            return Err(Refusal::new("SEQ_CONFLICT", 409, message));
        }
        if step == Step::Install {
            return Ok(true);
        }
        let runs = self.inner.runs(self.id(), &digest);
        let wanted =
            snapshot.plugin(self.id()).is_some_and(|known| known.digest == digest && known.desired == Desired::Enabled);
        Ok(!(runs && wanted))
    }

    /// Keeps the version without running it.
    async fn keep(&self, standing: Standing, message: &str) -> Result<(), Refusal> {
        let turn = self.inner.turn().await?;
        if !self.is_news(&turn.snapshot)? {
            return Ok(());
        }
        let mut writes = Writes::default();
        let facts = facts(self.verified);
        writes.keep(self.id(), &self.new_version(standing, &facts));
        if turn.snapshot.plugin(self.id()).is_none() {
            // Nothing of it runs, and it is there all the same.
            let plugin = &self.verified.manifest.plugin;
            writes.run(self.id(), self.verified.digest, plugin.seq, self.by.source());
            match standing {
                Standing::Pending => writes.standing(self.id(), self.verified.digest, Standing::Pending),
                Standing::Verified | Standing::Failed => writes.disable(self.id(), self.by.name()),
            }
        }
        let version = self.verified.manifest.plugin.version.to_string();
        let deed = Deed {
            who: self.by.name(),
            action: "install",
            id: self.id(),
            from: turn.snapshot.present(self.id()),
            to: Some((&version, self.verified.digest)),
            outcome: "ok",
            message: &told(message, &facts.stores),
        };
        let known = turn.snapshot.plugin(self.id());
        let (present, previous) = (known.map(|plugin| plugin.digest), known.and_then(|plugin| plugin.previous));
        let gone = turn.prune(self.id(), &[Some(self.verified.digest), present, previous], &mut writes);
        turn.commit(writes, &deed).await?;
        self.inner.forget_files(&gone);
        tracing::info!(plugin = self.id(), version, who = self.by.name(), message, "a version is kept");
        Ok(())
    }

    async fn activate(&self, turn: Turn<'_>, prepared: &Prepared) -> Result<(), Refusal> {
        let plugin = &self.verified.manifest.plugin;
        let mut writes = Writes::default();
        let facts = facts(self.verified);
        writes.keep(self.id(), &self.new_version(Standing::Verified, &facts));
        writes.run(self.id(), self.verified.digest, plugin.seq, self.by.source());
        let version = plugin.version.to_string();
        let from = turn.snapshot.present(self.id()).map(|(version, digest)| (version.to_owned(), digest));
        let deed = Deed {
            who: self.by.name(),
            action: "install",
            id: self.id(),
            from: from.as_ref().map(|(version, digest)| (version.as_str(), *digest)),
            to: Some((&version, self.verified.digest)),
            outcome: "ok",
            message: &told("", &facts.stores),
        };
        turn.put(prepared, self.verified, self.options.allow_breaking, writes, &deed, self.progress).await
    }

    fn new_version<'v>(&'v self, standing: Standing, facts: &'v Facts) -> NewVersion<'v> {
        NewVersion {
            digest: self.verified.digest,
            seq: self.verified.manifest.plugin.seq,
            version: self.verified.manifest.plugin.version.to_string(),
            standing,
            facts,
            bytes: &self.verified.bytes,
        }
    }
}

/// What is told of a version later on.
fn facts(verified: &Verified) -> Facts {
    Facts {
        signers: verified.signers.clone(),
        pending: verified.pending.clone(),
        description: Some(&verified.manifest.plugin.description).filter(|text| !text.is_empty()).cloned(),
        stores: verified.sections.stores().collect(),
    }
}

/// What a record of a change says of a version: what happened, where there is something to say, and what it migrates.
pub(super) fn told(what: &str, stores: &[StoreMigrations]) -> String {
    let migrates: Vec<String> = stores.iter().map(ToString::to_string).collect();
    match (what.is_empty(), migrates.is_empty()) {
        (_, true) => what.to_owned(),
        (true, false) => format!("it migrates {}", migrates.join(", ")),
        (false, false) => format!("{what}; it migrates {}", migrates.join(", ")),
    }
}

fn breaking(answer: &Installed) -> Refusal {
    let findings = answer.comparison.findings.iter().filter(|finding| finding.breaking);
    let told: Vec<String> =
        findings.clone().take(5).map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
    let more = match findings.count().saturating_sub(told.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!(
        "clients of {} would break: {}{more}. Change the contract in a way that adds to it, or allow it (allow_breaking)",
        answer.comparison.from_version.as_deref().unwrap_or("the present version"),
        told.join("; ")
    );
    Refusal::new("WIRE_BREAKING", 409, message)
}
