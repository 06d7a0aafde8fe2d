//! What administrators do with what is installed: none of it needs a file.

use std::sync::Arc;

use arcana_signing::Digest;

use super::install::{Progress, told};
use super::view::{Change, Details, Listing, State};
use super::{Actor, Inner, Plugins, Target};
use crate::plugins::refusal::Refusal;
use crate::plugins::registry::{Deed, Desired, Snapshot, Standing, Version, Writes};
use crate::plugins::verify::Verified;

/// The code of what waits for an administrator's approval.
pub(super) const WAITS: &str = "APPROVAL_NEEDED";

/// Characters of a digest that name a version at least.
const SHORTEST_DIGEST: usize = 8;

/// A version that runs and does not do well.
pub(super) struct Unwell<'a> {
    pub(super) digest: Digest,
    pub(super) code: &'static str,
    pub(super) why: &'a str,
}

impl Plugins {
    /// Every plugin that is installed, and what was refused lately.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn list(&self, state: Option<State>) -> Result<Listing, Refusal> {
        self.0.list(state).await
    }

    /// All about one plugin.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn get(&self, id: &str) -> Result<Details, Refusal> {
        self.0.details(id).await
    }

    /// Whether there is such a plugin.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn find(&self, id: &str) -> Result<(), Refusal> {
        self.0.snapshot().await?.plugin(id).map(drop).ok_or_else(|| Refusal::unknown(id))
    }

    /// Lets a plugin run that was disabled, or tries again with one that failed.
    ///
    /// # Errors
    /// `NOT_FOUND`, and whatever stands against the version.
    pub async fn enable(&self, id: &str, by: &Actor) -> Result<Details, Refusal> {
        let inner = &self.0;
        let snapshot = inner.snapshot().await?;
        let plugin = snapshot.plugin(id).ok_or_else(|| Refusal::unknown(id))?;
        if plugin.desired != Desired::Enabled || !inner.runs(id, &plugin.digest) {
            let digest = plugin.digest;
            inner.recorded("enable", by, id, inner.run(&snapshot, id, digest, "enable", by).await).await?;
        }
        inner.details(id).await
    }

    /// Stops a plugin until it is enabled again. Calls in flight are finished.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn disable(&self, id: &str, by: &Actor) -> Result<Details, Refusal> {
        self.0.disable(id, by).await?;
        self.0.details(id).await
    }

    /// Puts a kept version in the place of the one that is to run.
    ///
    /// # Errors
    /// `NOT_FOUND`, `NOT_KEPT` where no such version is there, and whatever stands against it.
    pub async fn rollback(&self, id: &str, to: &Target, by: &Actor) -> Result<Details, Refusal> {
        let inner = &self.0;
        let snapshot = inner.snapshot().await?;
        let version = wanted(&snapshot, id, to)?;
        let digest = version.digest;
        inner.recorded("rollback", by, id, inner.run(&snapshot, id, digest, "rollback", by).await).await?;
        inner.details(id).await
    }

    /// Approves exactly what a version asks for beyond what its signers may grant, and activates it. An empty list where
    /// nothing waits takes every approval of the plugin back.
    ///
    /// # Errors
    /// `NOT_FOUND`, `GRANTS_MISMATCH` where the list is not what waits, and whatever stands against the version.
    pub async fn set_grants(
        &self,
        id: &str,
        digest: Option<&str>,
        capabilities: &[String],
        by: &Actor,
    ) -> Result<Details, Refusal> {
        self.0.set_grants(id, digest, capabilities, by).await?;
        self.0.details(id).await
    }

    /// Takes a plugin away with every kept version. Its stores stay.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn remove(&self, id: &str, by: &Actor) -> Result<(), Refusal> {
        let inner = &self.0;
        let turn = inner.turn().await?;
        let snapshot = &turn.snapshot;
        if snapshot.plugin(id).is_none() {
            return Err(Refusal::unknown(id));
        }
        let files: Vec<Digest> = snapshot.kept(id).map(|version| version.digest).collect();
        let mut writes = Writes::default();
        writes.remove(id);
        let from = snapshot.present(id);
        let deed = Deed { who: by.name(), action: "remove", id, from, to: None, outcome: "ok", message: "" };
        turn.commit(writes, &deed).await?;
        turn.take(id)?;
        inner.forget_files(&files);
        inner.status.settled(id);
        tracing::info!(plugin = id, who = by.name(), "plugin is removed");
        Ok(())
    }

    /// What was done, newest first, of one plugin or of all.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn changes(&self, id: Option<&str>, size: u32) -> Result<Vec<Change>, Refusal> {
        self.0.registry.changes(id, size).await.map_err(Refusal::host)
    }
}

impl Inner {
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        self.registry.snapshot().await.map_err(Refusal::host)
    }

    /// Records a refusal of something that was to be done with an installed plugin.
    async fn recorded<T>(
        &self,
        action: &'static str,
        by: &Actor,
        id: &str,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match outcome {
            Ok(done) => Ok(done),
            Err(refusal) => {
                let refusal = match self.present(id).await {
                    Some((version, digest)) => refusal.about(id, &version, digest),
                    None => refusal,
                };
                self.record_refusal(action, by, &refusal).await;
                Err(refusal)
            }
        }
    }

    /// Makes a kept version the one that runs.
    pub(super) async fn run(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        id: &str,
        digest: Digest,
        action: &'static str,
        by: &Actor,
    ) -> Result<(), Refusal> {
        self.run_instead(snapshot, id, digest, (action, by), None).await
    }

    /// The same; where it is put in the place of one that does not do well, that one is marked, unless somebody has done
    /// something about it meanwhile.
    pub(super) async fn run_instead(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        id: &str,
        digest: Digest,
        (action, by): (&'static str, &Actor),
        instead: Option<&Unwell<'_>>,
    ) -> Result<(), Refusal> {
        self.may_bring(&digest, by)?;
        let (verified, prepared) = self.ready(snapshot, id, &digest, by).await?;
        let turn = self.turn().await?;
        self.approved(&turn.snapshot, id, &verified)?;
        let Some(plugin) = turn.snapshot.plugin(id) else { return Err(Refusal::unknown(id)) };
        if instead.is_some_and(|bad| plugin.digest != bad.digest || !self.runs(id, &bad.digest)) {
            return Ok(());
        }
        let mut writes = Writes::default();
        writes.run(id, digest, verified.manifest.plugin.seq, &plugin.source);
        if let Some(bad) = instead {
            writes.failed(id, bad.digest, bad.code, bad.why);
        }
        let version = verified.manifest.plugin.version.to_string();
        let from = turn.snapshot.present(id).map(|(version, digest)| (version.to_owned(), digest));
        let from = from.as_ref().map(|(version, digest)| (version.as_str(), *digest));
        let stores: Vec<_> = verified.sections.stores().collect();
        let message = &told(instead.map_or("", |bad| bad.why), &stores);
        let deed = Deed { who: by.name(), action, id, from, to: Some((&version, digest)), outcome: "ok", message };
        turn.put(&prepared, &verified, false, writes, &deed, &Progress::default()).await
    }

    /// Refuses what an administrator has not approved.
    pub(super) fn approved(&self, snapshot: &Snapshot, id: &str, verified: &Verified) -> Result<(), Refusal> {
        let waiting = snapshot.unapproved(id, &verified.pending);
        if waiting.is_empty() {
            return Ok(());
        }
        let message = format!(
            "its signers may request {} and not grant it: an administrator has to approve it (PUT /api/v1/plugins/{id}, or \
             `arcana plugin approve {id}`)",
            waiting.join(", ")
        );
        Err(Refusal::new(WAITS, 409, message))
    }

    pub(super) async fn disable(self: &Arc<Self>, id: &str, by: &Actor) -> Result<(), Refusal> {
        let turn = self.turn().await?;
        let plugin = turn.snapshot.plugin(id).ok_or_else(|| Refusal::unknown(id))?;
        if plugin.desired == Desired::Enabled {
            let mut writes = Writes::default();
            writes.disable(id, by.name());
            let from = turn.snapshot.present(id);
            let deed = Deed { who: by.name(), action: "disable", id, from, to: None, outcome: "ok", message: "" };
            turn.commit(writes, &deed).await?;
        }
        turn.take(id)?;
        self.status.settled(id);
        tracing::info!(plugin = id, who = by.name(), "plugin is disabled");
        Ok(())
    }

    async fn set_grants(
        self: &Arc<Self>,
        id: &str,
        digest: Option<&str>,
        capabilities: &[String],
        by: &Actor,
    ) -> Result<(), Refusal> {
        let snapshot = self.snapshot().await?;
        let plugin = snapshot.plugin(id).ok_or_else(|| Refusal::unknown(id))?;
        let version = match digest {
            Some(digest) => wanted(&snapshot, id, &Target::Digest(digest.to_owned()))?.clone(),
            None => snapshot
                .kept(id)
                .find(|version| version.standing == Standing::Pending)
                .or_else(|| snapshot.version(id, &plugin.digest))
                .ok_or_else(|| Refusal::unknown(id))?
                .clone(),
        };
        let verified = self.keep(id, &version.digest).await?;
        let mut waiting = snapshot.unapproved(id, &verified.pending);
        let mut named = capabilities.to_vec();
        waiting.sort();
        named.sort();
        named.dedup();
        if waiting.is_empty() && named.is_empty() {
            return self.withdraw(&snapshot, id, &verified, by).await;
        }
        if waiting != named {
            let list = |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
            let message = format!(
                "version {} waits for {}, and {} was named; an approval names exactly what waits",
                version.version,
                list(&waiting),
                list(&named)
            );
            return Err(Refusal::new("GRANTS_MISMATCH", 422, message));
        }
        let message = told(&format!("approved: {}", named.join(", ")), &version.facts.stores);
        let mut writes = Writes::default();
        writes.approve(id, &named, by.name());
        writes.standing(id, version.digest, Standing::Verified);
        let deed = Deed {
            who: by.name(),
            action: "approve",
            id,
            from: snapshot.present(id),
            to: Some((&version.version, version.digest)),
            outcome: "ok",
            message: &message,
        };
        let turn = self.turn().await?;
        turn.commit(writes, &deed).await?;
        drop(turn);
        tracing::info!(plugin = id, version = version.version, who = by.name(), message, "capabilities are approved");
        if plugin.desired != Desired::Enabled {
            return Ok(());
        }
        let snapshot = self.snapshot().await?;
        self.recorded("approve", by, id, self.run(&snapshot, id, version.digest, "enable", by).await).await
    }

    /// Takes approvals back: a version that needs them waits again.
    async fn withdraw(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        id: &str,
        verified: &Verified,
        by: &Actor,
    ) -> Result<(), Refusal> {
        if !snapshot.approvals.contains_key(id) {
            let message = format!(
                "version {} waits for no approval, and none was given before",
                verified.manifest.plugin.version
            );
            return Err(Refusal::new("NOTHING_PENDING", 409, message));
        }
        let turn = self.turn().await?;
        let mut writes = Writes::default();
        writes.withdraw(id);
        for version in turn.snapshot.kept(id).filter(|version| !version.facts.pending.is_empty()) {
            writes.standing(id, version.digest, Standing::Pending);
        }
        let from = turn.snapshot.present(id);
        let message = "approvals were taken back";
        let deed = Deed { who: by.name(), action: "approve", id, from, to: from, outcome: "ok", message };
        turn.commit(writes, &deed).await?;
        let stops = match turn.snapshot.plugin(id) {
            Some(plugin) => {
                turn.snapshot.version(id, &plugin.digest).is_some_and(|version| !version.facts.pending.is_empty())
            }
            None => false,
        };
        if stops {
            turn.take(id)?;
        }
        tracing::info!(plugin = id, who = by.name(), message, "capabilities are withdrawn");
        Ok(())
    }
}

/// The kept version that is named.
fn wanted<'s>(snapshot: &'s Snapshot, id: &str, to: &Target) -> Result<&'s Version, Refusal> {
    let plugin = snapshot.plugin(id).ok_or_else(|| Refusal::unknown(id))?;
    let not_kept = |what: String| {
        let kept: Vec<String> =
            snapshot.kept(id).map(|version| format!("{} ({})", version.version, version.seq)).collect();
        Refusal::new("NOT_KEPT", 404, format!("{what}; kept are the versions {}", kept.join(", ")))
    };
    match to {
        Target::Previous => snapshot.before(plugin).ok_or_else(|| {
            not_kept(format!("no version of {id} ran before the present one, or it is not kept any more"))
        }),
        Target::Digest(text) => {
            let text = text.to_ascii_lowercase();
            let mut found = snapshot.kept(id).filter(|version| hex::encode(version.digest.0).starts_with(&text));
            match (found.next(), found.next()) {
                (Some(version), None) if text.len() >= SHORTEST_DIGEST => Ok(version),
                (Some(_), Some(_)) => {
                    Err(not_kept(format!("several kept versions of {id} have digests that begin with {text}")))
                }
                (Some(_), None) => {
                    Err(not_kept(format!("{text} is too short for a digest: {SHORTEST_DIGEST} characters at least")))
                }
                (None, _) => Err(not_kept(format!("no kept version of {id} has the digest {text}"))),
            }
        }
        Target::Version(text) => snapshot
            .kept(id)
            .find(|version| version.version == *text)
            .ok_or_else(|| not_kept(format!("no kept version of {id} is {text}"))),
    }
}
