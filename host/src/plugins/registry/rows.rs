//! The rows of the registry, read.

use std::collections::BTreeMap;
use std::time::Instant;

use arcana_signing::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backends::sql::{SqlError, Value};
use crate::backends::sqlite::SqliteStore;
use crate::plugins::live::view::{Change, Failure, StoreMigrations};

/// What is to become of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    /// It is to run.
    Enabled,
    /// It is not to run.
    Disabled,
    /// It is gone; only its highest sequence number and its digests are remembered.
    Removed,
}

/// Whether something stands against a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing does.
    Verified,
    /// It waits for an approval.
    Pending,
    /// It ran and was taken back.
    Failed,
}

impl Standing {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Pending => "pending",
            Self::Failed => "failed",
        }
    }
}

/// What is told of a version without reading its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The principals whose signatures counted when it came.
    pub signers: Vec<String>,
    /// The capabilities that its signers may only request.
    pub pending: Vec<String>,
    /// What the plugin says it does.
    pub description: Option<String>,
    /// The stores that it migrates.
    pub stores: Vec<StoreMigrations>,
}

impl Facts {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

/// A plugin.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its id.
    pub id: String,
    /// What is to become of it.
    pub desired: Desired,
    /// The version that is to run, or was last.
    pub digest: Digest,
    /// The version that ran before that one.
    pub previous: Option<Digest>,
    /// The highest sequence number that was ever installed.
    pub highest_seq: u64,
    /// Where the present version came from: `api`, or the name of a file.
    pub source: String,
    /// Who disabled it.
    pub disabled_by: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A version that is known.
#[derive(Debug, Clone)]
pub struct Version {
    /// The plugin.
    pub id: String,
    /// h.
    pub digest: Digest,
    /// The sequence number.
    pub seq: u64,
    /// The version.
    pub version: String,
    /// Whether something stands against it.
    pub standing: Standing,
    /// Whether its file is there.
    pub kept: bool,
    /// What is told of it.
    pub facts: Facts,
    /// The size of the file in bytes.
    pub size: u64,
    /// When it came.
    pub installed_at: Timestamp,
    /// When it was last made the one that runs.
    pub ran_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// Everything at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The revision.
    pub revision: u64,
    /// The plugins by id.
    pub plugins: BTreeMap<String, Plugin>,
    /// The versions, newest first for each plugin.
    pub versions: Vec<Version>,
    /// What administrators have approved, by plugin.
    pub approvals: BTreeMap<String, Vec<String>>,
}

impl Snapshot {
    /// The version of a plugin with this digest.
    #[must_use]
    pub fn version(&self, id: &str, digest: &Digest) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id && version.digest == *digest)
    }

    /// The versions of a plugin whose files are there, newest first.
    pub fn kept(&self, id: &str) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(move |version| version.id == id && version.kept)
    }

    /// The version that ran before the present one and can be gone back to; where it failed, the one that ran before that.
    #[must_use]
    pub fn before(&self, plugin: &Plugin) -> Option<&Version> {
        let good = |version: &&Version| version.digest != plugin.digest && version.standing == Standing::Verified;
        let previous = plugin.previous.and_then(|digest| self.version(&plugin.id, &digest));
        let ran = self.kept(&plugin.id).filter(good).filter(|version| version.ran_at.is_some());
        previous.filter(|version| version.kept).filter(good).or_else(|| ran.max_by_key(|version| version.ran_at))
    }

    /// Whether any plugin has ever had a version with this digest.
    #[must_use]
    pub fn knows(&self, digest: &Digest) -> bool {
        self.versions.iter().any(|version| version.digest == *digest)
    }

    /// A plugin that is there: enabled or disabled.
    #[must_use]
    pub fn plugin(&self, id: &str) -> Option<&Plugin> {
        self.plugins.get(id).filter(|plugin| plugin.desired != Desired::Removed)
    }

    /// The highest sequence number of a plugin that ever ran, with its digest.
    #[must_use]
    pub fn highest(&self, id: &str) -> Option<(u64, Digest)> {
        let plugin = self.plugins.get(id)?;
        let version = self.versions.iter().find(|version| version.id == id && version.seq == plugin.highest_seq);
        Some((plugin.highest_seq, version.map_or(plugin.digest, |version| version.digest)))
    }

    /// The version and digest that are to run, or ran last.
    #[must_use]
    pub fn present(&self, id: &str) -> Option<(&str, Digest)> {
        let plugin = self.plugin(id)?;
        Some((self.version(id, &plugin.digest).map_or("", |version| version.version.as_str()), plugin.digest))
    }

    /// What of `pending` no administrator has approved.
    #[must_use]
    pub fn unapproved(&self, id: &str, pending: &[String]) -> Vec<String> {
        let approved = self.approvals.get(id);
        pending.iter().filter(|name| !approved.is_some_and(|list| list.contains(name))).cloned().collect()
    }
}

pub(super) fn damaged(table: &str) -> SqlError {
    SqlError::Other(format!("the host's table {table} holds a row that this host did not write"))
}

pub(super) async fn revision(database: &SqliteStore, until: Instant) -> Result<u64, SqlError> {
    let rows = database.query("SELECT revision FROM registry_state WHERE one = 1", Vec::new(), until).await?;
    match rows.rows.first().map(Vec::as_slice) {
        Some([Value::Int64(revision)]) => u64::try_from(*revision).map_err(|_| damaged("registry_state")),
        _ => Err(damaged("registry_state")),
    }
}

pub(super) async fn snapshot(database: &SqliteStore, until: Instant) -> Result<Snapshot, SqlError> {
    // The revision first: what changes in between makes a commit on this snapshot stale, and never the other way round.
    let mut snapshot = Snapshot { revision: revision(database, until).await?, ..Snapshot::default() };
    let sql = "SELECT id, highest_seq, digest, previous, state, source, disabled_by, updated_at FROM plugins";
    for row in database.query(sql, Vec::new(), until).await?.rows {
        let plugin = plugin(row).ok_or_else(|| damaged("plugins"))?;
        snapshot.plugins.insert(plugin.id.clone(), plugin);
    }
    let sql = "SELECT id, digest, seq, version, state, kept, facts, size, installed_at, ran_at, error_code, \
               error_message, error_at FROM plugin_versions ORDER BY id, seq DESC";
    for row in database.query(sql, Vec::new(), until).await?.rows {
        snapshot.versions.push(version(row).ok_or_else(|| damaged("plugin_versions"))?);
    }
    let sql = "SELECT id, capability FROM plugin_approvals ORDER BY id, capability";
    for row in database.query(sql, Vec::new(), until).await?.rows {
        let [Value::Text(id), Value::Text(capability)] =
            <[Value; 2]>::try_from(row).map_err(|_| damaged("plugin_approvals"))?
        else {
            return Err(damaged("plugin_approvals"));
        };
        snapshot.approvals.entry(id).or_default().push(capability);
    }
    Ok(snapshot)
}

pub(super) async fn changes(
    database: &SqliteStore,
    id: Option<&str>,
    size: u32,
    until: Instant,
) -> Result<Vec<Change>, SqlError> {
    let sql = "SELECT at, who, action, id, from_version, from_digest, to_version, to_digest, outcome, message \
               FROM plugin_changes WHERE ?1 IS NULL OR id = ?1 ORDER BY n DESC LIMIT ?2";
    let id = id.map_or(Value::Null, |id| Value::Text(id.into()));
    let rows = database.query(sql, vec![id, Value::Int64(size.into())], until).await?;
    rows.rows.into_iter().map(|row| change(row).ok_or_else(|| damaged("plugin_changes"))).collect()
}

fn plugin(row: Vec<Value>) -> Option<Plugin> {
    let [id, highest_seq, digest, previous, state, source, disabled_by, updated_at] =
        <[Value; 8]>::try_from(row).ok()?;
    Some(Plugin {
        id: text(id)?,
        desired: match text(state)?.as_str() {
            "enabled" => Desired::Enabled,
            "disabled" => Desired::Disabled,
            "removed" => Desired::Removed,
            _ => return None,
        },
        digest: read_digest(&text(digest)?)?,
        previous: optional(previous).and_then(|digest| read_digest(&digest)),
        highest_seq: number(&highest_seq)?,
        source: text(source)?,
        disabled_by: optional(disabled_by),
        updated_at: time(&updated_at)?,
    })
}

fn version(row: Vec<Value>) -> Option<Version> {
    let [id, digest, seq, version, state, kept, facts, size, installed_at, ran_at, code, message, at] =
        <[Value; 13]>::try_from(row).ok()?;
    let version = text(version)?;
    let error = match (optional(code), optional(message), time(&at)) {
        (Some(code), Some(message), Some(at)) => {
            Some(Failure { code, message, version: Some(version.clone()), at: at.to_string() })
        }
        _ => None,
    };
    Some(Version {
        id: text(id)?,
        digest: read_digest(&text(digest)?)?,
        seq: number(&seq)?,
        version,
        standing: match text(state)?.as_str() {
            "verified" => Standing::Verified,
            "pending" => Standing::Pending,
            "failed" => Standing::Failed,
            _ => return None,
        },
        kept: matches!(kept, Value::Boolean(true)),
        facts: serde_json::from_str(&text(facts)?).unwrap_or_default(),
        size: number(&size)?,
        installed_at: time(&installed_at)?,
        ran_at: time(&ran_at),
        error,
    })
}

fn change(row: Vec<Value>) -> Option<Change> {
    let [at, who, action, id, from_version, from_digest, to_version, to_digest, outcome, message] =
        <[Value; 10]>::try_from(row).ok()?;
    Some(Change {
        at: time(&at)?.to_string(),
        who: text(who)?,
        action: text(action)?,
        id: text(id)?,
        from_version: optional(from_version),
        from_digest: optional(from_digest),
        to_version: optional(to_version),
        to_digest: optional(to_digest),
        outcome: text(outcome)?,
        message: text(message)?,
    })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn optional(value: Value) -> Option<String> {
    text(value)
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int64(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Timestamp(micros) => Timestamp::from_microsecond(*micros).ok(),
        _ => None,
    }
}

fn read_digest(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Digest(bytes))
}
