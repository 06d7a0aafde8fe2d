//! What is told of plugins: the records of `wit/plugin-admin`, which say what every field means. Their names in JSON are
//! those of the contract.

use serde::{Deserialize, Serialize};

pub use crate::plugins::pack::StoreMigrations;

/// What became of a version; of a plugin, of the version that is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Kept, and does not run.
    Verified,
    /// Waits for an administrator's approval.
    PendingApproval,
    /// Answers requests.
    Active,
    /// Switched off.
    Disabled,
    /// Was to run and could not.
    Failed,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The version that it was about.
    pub version: Option<String>,
    /// When (RFC 3339, UTC).
    pub at: String,
}

/// What a plugin has done since this host was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Live instances.
    pub instances: u32,
    /// Their linear memory in bytes.
    pub memory_bytes: u64,
    /// Calls that have ended.
    pub calls: u64,
    /// Those that ended in a trap.
    pub traps: u64,
}

/// A plugin at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// `namespace/name`.
    pub id: String,
    /// What it does, in its own words.
    pub description: Option<String>,
    /// The state of the version which is to run.
    pub state: State,
    /// That version.
    pub version: String,
    /// Its sequence number.
    pub seq: u64,
    /// h, in hexadecimal.
    pub digest: String,
    /// The principals whose signatures count.
    pub signers: Vec<String>,
    /// What it has done.
    pub figures: Figures,
    /// What failed last, of any of its versions.
    pub last_error: Option<Failure>,
    /// When it was last changed.
    pub updated_at: String,
}

/// The plugins of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// By id.
    pub plugins: Vec<Summary>,
    /// Files that were refused before it was known whose they are, newest first.
    pub refused: Vec<Failure>,
}

/// A published function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// `interface.function`.
    pub call: String,
    /// The gRPC method.
    pub grpc: String,
    /// The routes, such as `GET /api/v1/bookmarks/{id}`.
    pub routes: Vec<String>,
    /// Who may call it.
    pub allow: Vec<String>,
}

/// What a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory of one instance in bytes.
    pub memory_bytes: u64,
    /// The longest a call may take in milliseconds.
    pub call_timeout_ms: u64,
    /// Calls at once.
    pub concurrency: u32,
    /// Calls that one instance serves.
    pub calls_per_instance: u64,
}

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version.
    pub version: String,
    /// Its sequence number.
    pub seq: u64,
    /// h, in hexadecimal.
    pub digest: String,
    /// What became of it.
    pub state: State,
    /// The principals whose signatures count.
    pub signers: Vec<String>,
    /// The size of its file.
    pub size_bytes: u64,
    /// The capabilities that wait for an approval.
    pub pending: Vec<String>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// When it was installed.
    pub installed_at: String,
    /// The stores that it migrates; a host of an earlier version does not say.
    #[serde(default)]
    pub stores: Vec<StoreMigrations>,
}

/// Something that was done, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: String,
    /// Who.
    pub who: String,
    /// What.
    pub action: String,
    /// The plugin.
    pub id: String,
    /// The version before.
    pub from_version: Option<String>,
    /// Its digest.
    pub from_digest: Option<String>,
    /// The version after, or that was to be.
    pub to_version: Option<String>,
    /// Its digest.
    pub to_digest: Option<String>,
    /// `ok`, or the code of the refusal.
    pub outcome: String,
    /// A sentence about it.
    pub message: String,
}

/// All about a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// At a glance.
    pub plugin: Summary,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// The functions that it publishes.
    pub methods: Vec<Method>,
    /// The capabilities that its manifest asks for.
    pub requested: Vec<String>,
    /// The capabilities that it has.
    pub granted: Vec<String>,
    /// The capabilities that wait for an approval.
    pub pending: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// What an operator should know of its signatures.
    pub warnings: Vec<String>,
    /// The versions that are kept, newest first.
    pub versions: Vec<Version>,
    /// The last changes, newest first.
    pub changes: Vec<Change>,
}

/// What the clients of a plugin would meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// Nothing changes for them.
    Same,
    /// They can go on.
    Compatible,
    /// Some of them cannot.
    Breaking,
}

/// One thing that clients would notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether a client breaks by it.
    pub breaking: bool,
    /// `grpc`, `rest`.
    pub protocols: Vec<String>,
    /// Where.
    pub path: String,
    /// What.
    pub message: String,
}

/// A new version against the one that is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// The version that is to run.
    pub from_version: Option<String>,
    /// The new one.
    pub to_version: String,
    /// Capabilities that only the new one asks for.
    pub capabilities_added: Vec<String>,
    /// Capabilities that it no longer asks for.
    pub capabilities_removed: Vec<String>,
    /// Methods that are new.
    pub methods_added: Vec<String>,
    /// Methods that are gone.
    pub methods_removed: Vec<String>,
    /// Routes that are new.
    pub routes_added: Vec<String>,
    /// Routes that are gone.
    pub routes_removed: Vec<String>,
    /// What clients would meet.
    pub compatibility: Compatibility,
    /// In detail.
    pub findings: Vec<Finding>,
}

/// What came of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Whether anything was changed.
    pub changed: bool,
    /// The plugin.
    pub id: String,
    /// The state of the version.
    pub state: State,
    /// The version.
    pub version: String,
    /// Its sequence number.
    pub seq: u64,
    /// h, in hexadecimal.
    pub digest: String,
    /// The principals whose signatures count.
    pub signers: Vec<String>,
    /// The capabilities that wait for an approval.
    pub pending: Vec<String>,
    /// What changes.
    pub comparison: Comparison,
    /// What an operator should know of its signatures.
    pub warnings: Vec<String>,
    /// The stores that it migrates; a host of an earlier version does not say.
    #[serde(default)]
    pub stores: Vec<StoreMigrations>,
}
