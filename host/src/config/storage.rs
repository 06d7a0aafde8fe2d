//! `[database]`, `[cache]` and `[plugins]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::units::{ByteSize, HumanDuration, Secret};

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
    /// The largest a store's file may grow.
    pub max_size: ByteSize,
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

/// A setting of a plugin's own. Texts may be secrets and are hidden from `Debug` and `config show`.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Decimal(f64),
    /// Text.
    Text(Secret<String>),
    /// A list of texts.
    Texts(Secret<Vec<String>>),
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, an integer, a float, a text or a list of texts")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting::Integer(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting::Decimal(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
                Ok(Setting::Text(Secret::new(value.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Setting, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(Setting::Texts(Secret::new(texts)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
