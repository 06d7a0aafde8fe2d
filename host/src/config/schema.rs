//! Which keys there are: those of the built-in `default.toml`, and the names that are kept for later.

use std::collections::BTreeMap;

use toml::Value;

use super::layers::{KeyPath, Leaf, display_path};

/// Names of features that this version does not have. Setting one is an error, so that nobody relies on it in vain.
const RESERVED: [&str; 11] = [
    "jobs",
    "ssr",
    "resilience",
    "events",
    "cache.redis",
    "database.url",
    "database.postgres",
    "database.mysql",
    "observability.tracing",
    "observability.otlp",
    "observability.metrics.exporter",
];

/// Values of known keys that this version does not have.
const RESERVED_VALUES: [(&str, &[&str]); 1] =
    [("deployment.mode", &["layeredhttp", "layeredgrpc", "kuberneteshttp", "kubernetesgrpc"])];

/// The table whose keys are the plugins' own: `plugins.settings.<id>.<key>`.
const FREE_FORM: [&str; 2] = ["plugins", "settings"];

/// Every known key with its default.
pub(super) struct Schema {
    defaults: BTreeMap<KeyPath, Value>,
}

impl Schema {
    pub(super) fn new(leaves: &[Leaf]) -> Self {
        Self { defaults: leaves.iter().map(|leaf| (leaf.path.clone(), leaf.value.clone())).collect() }
    }

    pub(super) fn defaults(&self) -> &BTreeMap<KeyPath, Value> {
        &self.defaults
    }

    pub(super) fn default(&self, path: &[String]) -> Option<&Value> {
        self.defaults.get(path)
    }

    /// Whether the key is a setting of a plugin.
    pub(super) fn is_free_form(&self, path: &[String]) -> bool {
        path.len() >= FREE_FORM.len() && path.iter().zip(FREE_FORM).all(|(part, name)| part == name)
    }

    /// Whether a value belongs here, as opposed to a section.
    pub(super) fn is_value(&self, path: &[String]) -> bool {
        self.defaults.contains_key(path) || (self.is_free_form(path) && path.len() == FREE_FORM.len() + 2)
    }

    /// The key whose parts, joined by single underscores, are this text.
    pub(super) fn with_flat_name(&self, flat: &str) -> Option<&KeyPath> {
        self.defaults.keys().find(|path| path.join("_") == flat)
    }

    /// Why a key may not be set, or that it may.
    pub(super) fn accepts(&self, path: &[String], is_section: bool) -> Result<(), String> {
        let key = display_path(path);
        if let Some(name) = RESERVED.iter().find(|name| is_or_below(&key, name)) {
            return Err(format!("`{name}` is not available in this version"));
        }
        if self.is_free_form(path) {
            return match path.len() - FREE_FORM.len() {
                0 if !is_section => Err("is a section with a table for each plugin".to_owned()),
                1 if !is_section => Err("is a table with the settings of one plugin".to_owned()),
                _ => Ok(()),
            };
        }
        if self.defaults.contains_key(path) {
            return if is_section { Err("is a value, not a section".to_owned()) } else { Ok(()) };
        }
        let section = self.defaults.keys().any(|known| known.starts_with(path)) || FREE_FORM.starts_with(&as_str(path));
        match (section, is_section) {
            (true, true) => Ok(()),
            (true, false) => Err("is a section, not a value".to_owned()),
            (false, _) => Err(match self.nearest(path, is_section) {
                Some(near) => format!("there is no such {}; did you mean `{near}`?", kind(is_section)),
                None => format!("there is no such {}", kind(is_section)),
            }),
        }
    }

    /// Says so where a known key has a value that is kept for later.
    pub(super) fn reserved_value(&self, path: &[String], value: &Value) -> Option<String> {
        let key = display_path(path);
        let (_, values) = RESERVED_VALUES.iter().find(|(name, _)| *name == key)?;
        let value = value.as_str().filter(|value| values.contains(value))?;
        Some(format!("`{value}` is not available in this version"))
    }

    fn nearest(&self, path: &[String], section: bool) -> Option<String> {
        let wrong = display_path(path);
        let mut known: Vec<String> = if section {
            let sections = self.defaults.keys().flat_map(|key| (1..key.len()).map(|n| display_path(&key[..n])));
            sections.collect()
        } else {
            self.defaults.keys().map(|key| display_path(key)).collect()
        };
        known.sort();
        known.dedup();
        let close = known.iter().map(|key| (strsim::levenshtein(&wrong, key), key)).min();
        if let Some((distance, key)) = close
            && distance <= 2.max(wrong.len() / 5)
        {
            return Some(key.clone());
        }
        // The right name in the wrong section.
        let last = path.last()?;
        let mut same = known.iter().filter(|key| key.rsplit('.').next() == Some(last.as_str()));
        same.next().filter(|_| same.next().is_none()).cloned()
    }
}

/// Whether a key is this one or in the section of this name.
pub(super) fn is_or_below(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

const fn kind(section: bool) -> &'static str {
    if section { "section" } else { "key" }
}

fn as_str(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}
