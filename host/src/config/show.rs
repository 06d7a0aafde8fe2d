//! What is in effect, as TOML that could be read back, with the source of every value.

use std::fmt::Write as _;

use serde::Deserialize as _;
use toml::Value;

use super::errors::Source;
use super::layers::{KeyPath, display_path};
use super::setting::Setting;

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// A value in effect.
#[derive(Clone)]
pub(super) struct Effective {
    pub path: KeyPath,
    pub value: Value,
    pub source: Source,
}

// The values include the plugins' own, which may be secrets.
impl std::fmt::Debug for Effective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", display_path(&self.path), self.source)
    }
}

/// One line `key = value  # source` for every value.
pub(super) fn render(values: &[Effective]) -> String {
    let lines: Vec<(String, &Source)> = values
        .iter()
        .map(|item| (format!("{} = {}", display_path(&item.path), shown(&item.path, &item.value)), &item.source))
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|n| *n <= 60).max().unwrap_or(0);
    let mut text = String::new();
    for (line, source) in lines {
        let _ = writeln!(text, "{line:width$}  # {source}");
    }
    text
}

/// Texts among the plugins' settings are hidden whatever their name: nobody here knows which of them is a password. A
/// reference says where one is kept, and no more.
fn shown(path: &[String], value: &Value) -> String {
    let of_plugin = path.first().is_some_and(|part| part == "plugins") && path.get(1).is_some_and(|p| p == "settings");
    if !of_plugin {
        return value.to_string();
    }
    match Setting::deserialize(value.clone()) {
        Ok(Setting::Reference(reference)) => reference.to_string(),
        Ok(Setting::Boolean(_) | Setting::Integer(_) | Setting::Decimal(_)) => value.to_string(),
        _ => Value::String(REDACTED.to_owned()).to_string(),
    }
}
