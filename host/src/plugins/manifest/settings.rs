//! `[settings]`: what a plugin reads of its own settings.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::check::{self, Mistakes};
use crate::config::Setting;

/// What the value of a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingKind {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// A floating point number; an integer is one too.
    Decimal,
    /// A truth value.
    Boolean,
    /// A list of texts.
    Texts,
}

impl SettingKind {
    /// The value as this kind has it; none where it is of another one. References are of no kind before they are read.
    #[must_use]
    pub fn accept(self, value: &Setting) -> Option<Setting> {
        match (self, value) {
            (Self::Text, Setting::Text(_))
            | (Self::Integer, Setting::Integer(_))
            | (Self::Decimal, Setting::Decimal(_))
            | (Self::Boolean, Setting::Boolean(_))
            | (Self::Texts, Setting::Texts(_)) => Some(value.clone()),
            #[expect(clippy::cast_precision_loss, reason = "TOML has no other way to write a whole decimal")]
            (Self::Decimal, Setting::Integer(value)) => Some(Setting::Decimal(*value as f64)),
            _ => None,
        }
    }
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Decimal => "a number",
            Self::Boolean => "true or false",
            Self::Texts => "a list of texts",
        })
    }
}

/// One setting that the plugin reads.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingRule {
    /// What its value is.
    pub kind: SettingKind,
    /// The value where nobody sets it; of the right kind.
    pub default: Option<Setting>,
    /// Whether the plugin is refused without it. Never together with a default.
    pub required: bool,
    /// Whether the value is nobody's business: the host warns where it stands in a file of settings as it is.
    pub secret: bool,
    /// What it is for; may be empty.
    pub description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingTable {
    r#type: SettingKind,
    #[serde(default)]
    default: Option<Setting>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    description: String,
}

pub(super) fn convert(
    tables: BTreeMap<String, SettingTable>,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, SettingRule> {
    check::at_most("settings", tables.len(), check::MAX_SETTINGS, mistakes);
    let mut rules = BTreeMap::new();
    for (name, table) in tables {
        let at = format!("settings.{name}");
        if !check::is_param(&name) {
            mistakes.add(&at, "is no name of a setting: lower-case letters, digits, `_` and `-`, a letter first");
        }
        if table.default.is_some() && (table.required || table.secret) {
            let which = if table.required { "required" } else { "secret" };
            mistakes.add(&at, format!("is {which}, so it cannot have a default"));
        }
        mistakes.keep(&format!("{at}.description"), check::length(&table.description, check::MAX_DESCRIPTION));
        let kind = table.r#type;
        let default = table.default.and_then(|value| {
            mistakes.keep(&format!("{at}.default"), kind.accept(&value).ok_or_else(|| format!("must be {kind}")))
        });
        let SettingTable { required, secret, description, .. } = table;
        rules.insert(name, SettingRule { kind, default, required, secret, description });
    }
    rules
}
