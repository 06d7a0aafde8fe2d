//! The settings: typed sections, read from layers, every mistake reported at once.
//!
//! `default.toml` (built in) < `<dir>/default.toml` < `<dir>/<app.environment>.toml` < `<dir>/<deployment.mode>.toml` <
//! `<dir>/local.toml` < `ARCANA_SECTION__KEY`. Every key has its default in `config/default.toml`, which is therefore
//! also the list of the keys that exist.

mod checks;
mod errors;
mod layers;
mod limits;
mod memory;
mod net;
mod readers;
mod schema;
mod security;
mod server;
mod setting;
mod show;
mod storage;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

pub use errors::{ConfigError, ConfigErrors, Source};
pub use limits::{Compile, Limits};
pub use memory::MemorySize;
pub use net::Network;
pub use readers::{Allowed, Readers};
pub use security::{Algorithm, Log, LogFormat, Metrics, Observability, Passwords, Security, Tokens};
pub use server::{App, Clients, Cors, Deployment, Grpc, Mode, ReflectionAccess, Rest, Server};
pub use setting::{Reference, Setting};
pub use storage::{Cache, Database, Plugins, Probation, SqlLimits, Sqlite, Synchronous};
pub use units::{ByteSize, HumanDuration, Secret};

use layers::{KeyPath, Leaf, display_path};
use schema::Schema;
use show::Effective;

/// The built-in defaults: `config/default.toml`.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The settings in effect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[app]`
    pub app: App,
    /// `[server]`
    pub server: Server,
    /// `[deployment]`
    pub deployment: Deployment,
    /// `[database]`
    pub database: Database,
    /// `[cache]`
    pub cache: Cache,
    /// `[plugins]`
    pub plugins: Plugins,
    /// `[limits]`
    pub limits: Limits,
    /// `[security]`
    pub security: Security,
    /// `[observability]`
    pub observability: Observability,
    #[serde(skip)]
    effective: Vec<Effective>,
}

impl Config {
    /// Reads the layers of a folder, which need not exist, and of these environment variables (`std::env::vars_os()`).
    ///
    /// # Errors
    /// Every mistake of every layer: unreadable files, unknown or reserved keys, values of a wrong type or out of range,
    /// values that contradict each other. Each names its key and where it was said.
    pub fn load(dir: &Path, env: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let defaults = layers::parse(DEFAULTS, &|_| Source::Default, None, &mut errors);
        let schema = Schema::new(&defaults);
        let read = |name: &str, errors: &mut Vec<ConfigError>| {
            layers::read_file(&dir.join(format!("{name}.toml")), &schema, errors)
        };

        let base = read("default", &mut errors);
        let local = read("local", &mut errors);
        let env = layers::read_env(env, &schema, &mut errors);
        let environment = choose(&[&env, &local, &base, &defaults], "app", "environment");
        let by_environment = environment.as_deref().map_or_else(Vec::new, |name| read(name, &mut errors));
        let mode = choose(&[&env, &local, &by_environment, &base, &defaults], "deployment", "mode");
        let by_mode = mode.as_deref().map_or_else(Vec::new, |name| read(name, &mut errors));
        let late = by_environment.iter().filter(|leaf| is(leaf, "app", "environment"));
        for leaf in late.chain(by_mode.iter().filter(|l| is(l, "app", "environment") || is(l, "deployment", "mode"))) {
            let problem = "cannot be set in a file that was chosen by it".to_owned();
            errors.push(ConfigError { key: display_path(&leaf.path), problem, source: leaf.source.clone() });
        }

        let layers = [base, by_environment, by_mode, local, env];
        build(&schema, layers.into_iter().flatten().collect(), errors)
    }

    /// Reads these files, the weakest first, none of which needs to be there, over the built-in defaults and under these
    /// environment variables. No further file is chosen by the settings.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_files(
        files: &[PathBuf],
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let schema = Schema::new(&layers::parse(DEFAULTS, &|_| Source::Default, None, &mut errors));
        let mut leaves: Vec<Leaf> =
            files.iter().flat_map(|file| layers::read_file(file, &schema, &mut errors)).collect();
        leaves.extend(layers::read_env(env, &schema, &mut errors));
        build(&schema, leaves, errors)
    }

    /// What is in effect, one line `key = value  # source` for every key; texts of plugins' settings are hidden,
    /// references to them are not.
    #[must_use]
    pub fn show(&self) -> String {
        show::render(&self.effective)
    }
}

fn is(leaf: &Leaf, section: &str, key: &str) -> bool {
    leaf.path.len() == 2 && leaf.path[0] == section && leaf.path[1] == key
}

/// The first of these layers, strongest first, that sets this key decides. A value that could leave the folder names no
/// file; the check of the key reports it.
fn choose(layers: &[&[Leaf]], section: &str, key: &str) -> Option<String> {
    let leaf = layers.iter().find_map(|layer| layer.iter().rev().find(|leaf| is(leaf, section, key)))?;
    let name = leaf.value.as_str()?;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    (plain && !["", "default", "local", "trust"].contains(&name)).then(|| name.to_owned())
}

/// Puts the settings together. `overrides` go from the weakest layer to the strongest.
fn build(schema: &Schema, overrides: Vec<Leaf>, mut errors: Vec<ConfigError>) -> Result<Config, ConfigErrors> {
    let mut values: BTreeMap<KeyPath, (Value, Source)> =
        schema.defaults().iter().map(|(path, value)| (path.clone(), (value.clone(), Source::Default))).collect();
    let mut refused = Vec::new();
    for leaf in overrides {
        if schema.default(&leaf.path) == Some(&leaf.value) && !values.get(&leaf.path).is_some_and(differs(&leaf)) {
            continue;
        }
        // Alone among the defaults, so that each mistake is found whatever else is wrong.
        let alone = schema.defaults().iter().filter(|(path, _)| **path != leaf.path);
        let alone = alone.chain([(&leaf.path, &leaf.value)]);
        let mistake = schema.reserved_value(&leaf.path, &leaf.value).or_else(|| match deserialize(alone) {
            Ok(_) => None,
            Err(error) => Some(error.message().to_owned()),
        });
        if let Some(problem) = mistake {
            let key = display_path(&leaf.path);
            refused.push(key.clone());
            errors.push(ConfigError { key, problem, source: leaf.source });
        } else {
            values.insert(leaf.path, (leaf.value, leaf.source));
        }
    }

    let mut config = deserialize(values.iter().map(|(path, (value, _))| (path, value))).map_err(|error| {
        let problem = error.message().to_owned();
        ConfigErrors(vec![ConfigError { key: String::new(), problem, source: Source::Default }])
    })?;
    for broken in checks::check(&config) {
        if broken.keys.iter().any(|key| refused.iter().any(|refused| refused == key)) {
            continue;
        }
        let source = broken.keys.iter().find_map(|key| source_of(&values, key)).unwrap_or(Source::Default);
        errors.push(ConfigError { key: broken.keys[0].to_owned(), problem: broken.problem, source });
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    config.effective = values.into_iter().map(|(path, (value, source))| Effective { path, value, source }).collect();
    Ok(config)
}

/// Whether a weaker layer has changed the value, so that saying the default again has an effect.
fn differs(leaf: &Leaf) -> impl Fn(&(Value, Source)) -> bool + '_ {
    |(value, _)| *value != leaf.value
}

/// Where a key, or a key of this section, was set; none where nobody did.
fn source_of(values: &BTreeMap<KeyPath, (Value, Source)>, key: &str) -> Option<Source> {
    let set = |(path, (_, source)): (&KeyPath, &(Value, Source))| {
        (*source != Source::Default && schema::is_or_below(&display_path(path), key)).then(|| source.clone())
    };
    values.iter().find_map(set)
}

fn deserialize<'a>(leaves: impl Iterator<Item = (&'a KeyPath, &'a Value)>) -> Result<Config, toml::de::Error> {
    let mut root = Table::new();
    for (path, value) in leaves {
        insert(&mut root, path, value);
    }
    // A section of only optional keys would vanish with its last one.
    insert_section(&mut root, &["plugins", "settings"]);
    Value::Table(root).try_into()
}

fn insert(table: &mut Table, path: &[String], value: &Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value.clone());
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn insert_section(mut table: &mut Table, path: &[&str]) {
    for section in path {
        let inner = table.entry((*section).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else { return };
        table = inner;
    }
}
