//! `[database]`, `[cache]` and `[plugins]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::setting::Setting;
use super::units::{ByteSize, HumanDuration};
use crate::principal::Role;

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The stores of this host: one SQLite file each.
    pub sqlite: Sqlite,
}

/// `[database.sqlite]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// Threads that run statements, for all stores together; 0 is two for each core, and 8 at least.
    pub threads: u32,
    /// Statements of one store that may ignore their deadline before the store is refused.
    pub max_stuck_threads: u32,
    /// When a commit counts as written.
    pub synchronous: Synchronous,
    /// The longest a statement waits for another writer.
    pub busy_timeout: HumanDuration,
    /// Connections for reading, for each store.
    pub read_connections: u32,
    /// The longest one statement may run.
    pub statement_timeout: HumanDuration,
    /// The most rows one query may answer.
    pub max_rows: u32,
    /// The most bytes one query may answer.
    pub max_result_bytes: ByteSize,
    /// What a store's file, its write-ahead log and its temporary files may take together.
    pub max_size: ByteSize,
    /// The size of a write-ahead log past which new reads wait until it was moved into the file.
    pub wal_checkpoint: ByteSize,
    /// The size of a write-ahead log past which writes are refused.
    pub max_wal: ByteSize,
    /// The memory that SQLite may use for one store.
    pub max_memory: ByteSize,
    /// The memory that SQLite may use for all stores.
    pub max_total_memory: ByteSize,
    /// `[database.sqlite.limits]`
    pub limits: SqlLimits,
}

/// `[database.sqlite.limits]`: what SQL may ask of SQLite's compiler.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlLimits {
    /// Levels of parentheses, subqueries, views and common table expressions.
    pub nesting: u32,
    /// Common table expressions of one statement.
    pub common_tables: u32,
    /// Tables that a statement reads with everything in its place.
    pub sources: u32,
    /// Tokens that a statement may grow by with everything in its place.
    pub references: u32,
    /// Tables and views of a store.
    pub tables: u32,
    /// Indexes of a table.
    pub indexes: u32,
    /// Triggers of a store.
    pub triggers: u32,
    /// Triggers and actions of foreign keys that one write can set off one after the other.
    pub trigger_chain: u32,
}

/// SQLite's `synchronous`, which decides when a commit counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Survives a crash of the process, not a power cut.
    Normal,
    /// Survives a power cut.
    Full,
}

/// `[cache]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The most bytes one plugin keeps.
    pub max_bytes_per_plugin: ByteSize,
    /// The longest value.
    pub max_value_bytes: ByteSize,
    /// The longest key.
    pub max_key_bytes: ByteSize,
    /// The longest an entry lives, and the life of one set without a time.
    pub max_ttl: HumanDuration,
}

/// `[plugins]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugins {
    /// The folder of signed files that are installed at start.
    pub dir: PathBuf,
    /// Whether files that appear there later are installed too.
    pub watch: bool,
    /// How long a file must have been left alone before it is looked at.
    pub debounce: HumanDuration,
    /// The trust policy.
    pub trust: PathBuf,
    /// The largest signed file.
    pub max_file_bytes: ByteSize,
    /// The most migrations of one file.
    pub max_migrations: u32,
    /// The longest text of one migration.
    pub max_migration_bytes: ByteSize,
    /// The database that remembers what is installed, relative to the data folder.
    pub registry: PathBuf,
    /// How often it and the trust policy are looked at for changes of others.
    pub poll: HumanDuration,
    /// How long a replaced version may take to finish its calls.
    pub drain: HumanDuration,
    /// Versions of a plugin that are kept.
    pub keep_versions: u32,
    /// Changes that are remembered.
    pub keep_changes: u32,
    /// `[plugins.probation]`
    pub probation: Probation,
    /// The role that manages plugins; higher ones do too.
    #[serde(deserialize_with = "role")]
    pub admin_role: Role,
    /// The longest an upload may take to arrive.
    pub upload_timeout: HumanDuration,
    /// The most uploads at once.
    pub max_uploads: u32,
    /// How many log lines of each plugin are kept.
    pub log_lines: u32,
    /// The most who follow the log of a plugin at once, over all plugins.
    pub max_followers: u32,
    /// The most logs that one account follows at once.
    pub max_followers_per_account: u32,
    /// The settings of each plugin, by its id.
    pub settings: BTreeMap<String, BTreeMap<String, Setting>>,
}

/// `[plugins.probation]`: when a version that was just activated is taken back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probation {
    /// How long it is watched.
    pub window: HumanDuration,
    /// The traps that are too many.
    pub traps: u32,
    /// And the least share of the calls, in percent.
    pub percent: u32,
}

fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
    let name = String::deserialize(deserializer)?;
    let expected = "a role: user, moderator, admin or superadmin";
    Role::parse(&name).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&name), &expected))
}
