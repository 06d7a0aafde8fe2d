//! The settings that a plugin is given: what the operator has set, judged by what the manifest says, with what is kept
//! elsewhere read now.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;

use super::manifest::{Manifest, SettingKind, SettingRule};
use super::refusal::Refusal;
use crate::capabilities::Setting;
use crate::config::{self, Reference};
use crate::contract::nearest;

/// The longest value that is read through a reference, in bytes.
const MAX_REFERENCED: u64 = 64 << 10;

/// The settings of this plugin. References are read anew every time, so that a swap takes a secret that has changed.
///
/// # Errors
/// `SETTING_UNKNOWN`, `SETTING_MISSING`, `SETTING_INVALID` and `SETTING_UNAVAILABLE`. The message tells everything that is
/// wrong, with its key; the code is that of the first. No value is ever part of it.
pub(super) async fn resolve(
    manifest: &Manifest,
    configured: Option<&BTreeMap<String, config::Setting>>,
    home: &Path,
) -> Result<HashMap<String, Setting>, Refusal> {
    let id = manifest.plugin.id.as_str();
    let at = |key: &str| format!("plugins.settings.\"{id}\".{key}");
    let mut wrong: Vec<(&'static str, String)> = Vec::new();
    let mut values = HashMap::new();
    for (key, value) in configured.into_iter().flatten() {
        let rule = manifest.settings.as_ref().map(|rules| rules.get(key).ok_or(rules));
        let taken = match rule {
            Some(Err(rules)) => Err(("SETTING_UNKNOWN", unknown(key, rules))),
            Some(Ok(rule)) => declared(rule, value, home, &at(key)).await,
            None => read(value, home).await.map(plain),
        };
        match taken {
            Ok(value) => values.extend(value.map(|value| (key.clone(), value))),
            Err((code, text)) => wrong.push((code, format!("{}: {text}", at(key)))),
        }
    }
    for (key, rule) in manifest.settings.iter().flatten() {
        let set = configured.is_some_and(|configured| configured.contains_key(key));
        match &rule.default {
            _ if set => {}
            Some(default) => values.extend(plain(default.clone()).map(|value| (key.clone(), value))),
            None if rule.required => wrong.push(("SETTING_MISSING", format!("{}: {}", at(key), missing(rule)))),
            None => {}
        }
    }
    let Some((code, _)) = wrong.first() else { return Ok(values) };
    let code = *code;
    Err(Refusal::new(code, 422, wrong.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("; ")))
}

type Taken = Result<Option<Setting>, (&'static str, String)>;

async fn declared(rule: &SettingRule, value: &config::Setting, home: &Path, at: &str) -> Taken {
    let invalid = || ("SETTING_INVALID", format!("must be {}", rule.kind));
    let found = match value {
        config::Setting::Reference(reference) => {
            let text = referenced(reference, home).await?;
            typed(rule.kind, text).ok_or_else(|| {
                ("SETTING_INVALID", format!("what {reference} holds must be {}{}", rule.kind, no_list(rule.kind)))
            })?
        }
        value => {
            let found = rule.kind.accept(value).ok_or_else(invalid)?;
            if rule.secret {
                tracing::warn!(
                    setting = at,
                    "a secret stands in a file of settings as it is; give it by reference: {{ env = \"NAME\" }} or {{ file = \
                     \"/run/secrets/name\" }}"
                );
            }
            found
        }
    };
    Ok(plain(found))
}

/// The value itself, read where it is kept elsewhere.
async fn read(value: &config::Setting, home: &Path) -> Result<config::Setting, (&'static str, String)> {
    match value {
        config::Setting::Reference(reference) => {
            Ok(config::Setting::Text(config::Secret::new(referenced(reference, home).await?)))
        }
        value => Ok(value.clone()),
    }
}

async fn referenced(reference: &Reference, home: &Path) -> Result<String, (&'static str, String)> {
    let unavailable = |why: String| ("SETTING_UNAVAILABLE", format!("{reference}: {why}"));
    match reference {
        Reference::Env(name) => match std::env::var(name) {
            Ok(text) => Ok(text),
            Err(std::env::VarError::NotPresent) => Err(unavailable("this variable is not set for the host".into())),
            Err(std::env::VarError::NotUnicode(_)) => Err(unavailable("this variable is not UTF-8".into())),
        },
        Reference::File(path) => {
            let path = home.join(path);
            // A folder of secrets may be on the network.
            let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
            read.unwrap_or_else(|error| Err(error.to_string())).map_err(unavailable)
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("the file cannot be read: {error}");
    // Opening a pipe would wait for somebody to write to it.
    if !path.metadata().map_err(cannot)?.is_file() {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MAX_REFERENCED + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_REFERENCED {
        return Err(format!("the file is longer than {} KiB", MAX_REFERENCED >> 10));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    // Editors and `echo` end it with a line break, which is no part of a secret.
    if text.ends_with('\n') {
        text.truncate(text.len() - if text.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(text)
}

/// What a referenced text is as a value of this kind.
fn typed(kind: SettingKind, text: String) -> Option<config::Setting> {
    match kind {
        SettingKind::Text => Some(config::Setting::Text(config::Secret::new(text))),
        SettingKind::Integer => text.trim().parse().ok().map(config::Setting::Integer),
        SettingKind::Decimal => text.trim().parse().ok().map(config::Setting::Decimal),
        SettingKind::Boolean => text.trim().parse().ok().map(config::Setting::Boolean),
        SettingKind::Texts => None,
    }
}

const fn no_list(kind: SettingKind) -> &'static str {
    match kind {
        SettingKind::Texts => ", which a reference cannot be",
        _ => "",
    }
}

fn plain(value: config::Setting) -> Option<Setting> {
    Some(match value {
        config::Setting::Boolean(value) => Setting::Boolean(value),
        config::Setting::Integer(value) => Setting::Integer(value),
        config::Setting::Decimal(value) => Setting::Decimal(value),
        config::Setting::Text(value) => Setting::Text(value.expose().clone()),
        config::Setting::Texts(value) => Setting::Texts(value.expose().clone()),
        // All of them have been read, and defaults are none.
        config::Setting::Reference(_) => return None,
    })
}

fn unknown(key: &str, rules: &BTreeMap<String, SettingRule>) -> String {
    let near = nearest(key, rules.keys().map(String::as_str));
    let known: Vec<&str> = rules.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "it reads none".to_owned() } else { format!("it reads {}", known.join(", ")) };
    match near {
        Some(name) => format!("the plugin does not read this setting; did you mean `{name}`? {known}"),
        None => format!("the plugin does not read this setting; {known}"),
    }
}

fn missing(rule: &SettingRule) -> String {
    let what = if rule.description.is_empty() { String::new() } else { format!(" ({})", rule.description) };
    let how = match rule.secret {
        true => "a reference such as { file = \"/run/secrets/name\" }".to_owned(),
        false => rule.kind.to_string(),
    };
    format!("the plugin needs this setting{what}; set it to {how}")
}
