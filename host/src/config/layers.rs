//! Reads one layer (a file, the environment) into keys with values and the place of each.

use std::ffi::OsString;
use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::errors::{ConfigError, Source};
use super::schema::Schema;

/// A key as its parts.
pub(super) type KeyPath = Vec<String>;

/// A value that a layer sets.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub path: KeyPath,
    pub value: Value,
    pub source: Source,
}

/// Writes a key as people do: parts joined by dots, quoted where TOML needs it.
pub(super) fn display_path(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let parts = path.iter().map(|part| {
        if !part.is_empty() && part.chars().all(bare) { part.clone() } else { Value::String(part.clone()).to_string() }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// The values of a file that may be absent. Mistakes in its form and unknown keys are added to `errors`.
pub(super) fn read_file(path: &Path, schema: &Schema, errors: &mut Vec<ConfigError>) -> Vec<Leaf> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &|line| Source::File { path: path.to_owned(), line }, Some(schema), errors),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let source = Source::File { path: path.to_owned(), line: None };
            errors.push(ConfigError { key: String::new(), problem: format!("cannot be read: {error}"), source });
            Vec::new()
        }
    }
}

/// The values of a TOML text. Without a schema every key is accepted.
pub(super) fn parse(
    text: &str,
    source: &dyn Fn(Option<usize>) -> Source,
    schema: Option<&Schema>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Leaf> {
    let (table, mistakes) = DeTable::parse_recoverable(text);
    for mistake in mistakes {
        let line = mistake.span().map(|span| line_of(text, span.start));
        errors.push(ConfigError { key: String::new(), problem: mistake.message().to_owned(), source: source(line) });
    }
    let mut leaves = Vec::new();
    let mut walk = Walk { text, source, schema, errors, leaves: &mut leaves };
    walk.table(&mut Vec::new(), table.get_ref());
    leaves
}

struct Walk<'a> {
    text: &'a str,
    source: &'a dyn Fn(Option<usize>) -> Source,
    schema: Option<&'a Schema>,
    errors: &'a mut Vec<ConfigError>,
    leaves: &'a mut Vec<Leaf>,
}

impl Walk<'_> {
    fn table(&mut self, path: &mut KeyPath, table: &DeTable<'_>) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            let source = (self.source)(Some(line_of(self.text, key.span().start)));
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            match self.schema.map_or(Ok(()), |schema| schema.accepts(path, is_table)) {
                Err(problem) => self.errors.push(ConfigError { key: display_path(path), problem, source }),
                Ok(()) => match value.get_ref() {
                    DeValue::Table(inner) if self.schema.is_none_or(|schema| !schema.is_value(path)) => {
                        self.table(path, inner);
                    }
                    other => match to_value(other) {
                        Ok(value) => self.leaves.push(Leaf { path: path.clone(), value, source }),
                        Err(problem) => self.errors.push(ConfigError { key: display_path(path), problem, source }),
                    },
                },
            }
            path.pop();
        }
    }
}

fn to_value(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(value) => Value::Datetime(*value),
        DeValue::Integer(value) => Value::Integer(
            i64::from_str_radix(value.as_str(), value.radix()).map_err(|_| "the number is too large".to_owned())?,
        ),
        DeValue::Float(value) => {
            Value::Float(value.as_str().parse().map_err(|_| "is not a number that can be used".to_owned())?)
        }
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| to_value(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), to_value(value.get_ref())?)));
            Value::Table(entries.collect::<Result<_, String>>()?)
        }
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The values of the variables `ARCANA_SECTION__KEY`. Other variables are none of ours, unless they are a key with a
/// single underscore where two belong.
pub(super) fn read_env(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    schema: &Schema,
    errors: &mut Vec<ConfigError>,
) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let Some(key) = name.strip_prefix("ARCANA_") else { continue };
        let source = Source::Env(name.to_owned());
        let mut fail = |key: String, problem: String| {
            errors.push(ConfigError { key, problem, source: source.clone() });
        };
        if !key.contains("__") {
            if let Some(meant) = schema.with_flat_name(&key.to_ascii_lowercase()) {
                let right = format!("ARCANA_{}", meant.join("__").to_ascii_uppercase());
                fail(display_path(meant), format!("sections and keys are parted by two underscores: {right}"));
            }
            continue;
        }
        let path: KeyPath = key.to_ascii_lowercase().split("__").map(str::to_owned).collect();
        if schema.is_free_form(&path) {
            fail(display_path(&path), "settings of plugins are set in files".to_owned());
        } else if let Err(problem) = schema.accepts(&path, false) {
            fail(display_path(&path), problem);
        } else if let Some(text) = value.to_str() {
            let value = typed(text, schema.default(&path));
            leaves.push(Leaf { path, value, source });
        } else {
            fail(display_path(&path), "is not UTF-8".to_owned());
        }
    }
    leaves.sort_by(|a, b| a.path.cmp(&b.path));
    leaves
}

/// Reads a variable as the type that the key's default has. What does not fit stays text, and its type is refused later.
fn typed(text: &str, default: Option<&Value>) -> Value {
    let plain = || Value::String(text.to_owned());
    match default {
        Some(Value::Integer(_)) => text.trim().parse().map_or_else(|_| plain(), Value::Integer),
        Some(Value::Boolean(_)) => text.trim().parse().map_or_else(|_| plain(), Value::Boolean),
        Some(Value::Float(_)) => text.trim().parse().map_or_else(|_| plain(), Value::Float),
        Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
            DeValue::parse(text.trim()).ok().and_then(|value| to_value(value.get_ref()).ok()).unwrap_or_else(plain)
        }
        Some(Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => plain(),
    }
}
