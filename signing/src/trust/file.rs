//! Reads `trust.toml`. Every mistake is found at once and named by its key; nothing is guessed.

use jiff::Timestamp;
use serde::Deserialize;

use super::{KeyStatus, Rule, SignerRole, TrustPolicy, TrustedKey, pattern};
use crate::envelope::Digest;
use crate::keys::PublicKey;
use crate::timestamp;

/// Why a trust file cannot be used: one line for every mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.join("\n"))]
pub struct TrustFileError {
    /// The mistakes, each with the key that it is at.
    pub mistakes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    serial: u64,
    #[serde(default)]
    keys: Vec<Key>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    revoked: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
    principal: String,
    role: SignerRole,
    #[serde(default = "active")]
    status: KeyStatus,
    #[serde(default, deserialize_with = "timestamp::optional")]
    not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "timestamp::optional")]
    not_after: Option<Timestamp>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    routes: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    owned_stores: Vec<String>,
    #[serde(default)]
    may_grant: Vec<String>,
    #[serde(default)]
    may_request: Vec<String>,
}

const fn active() -> KeyStatus {
    KeyStatus::Active
}

impl TrustPolicy {
    /// Reads the text of a `trust.toml`.
    ///
    /// # Errors
    /// Where it is no TOML, has unknown, missing or mistyped keys, unusable public keys, patterns or digests, the same key
    /// twice, or two rules for one plugin.
    pub fn parse(text: &str) -> Result<Self, TrustFileError> {
        let file: File = toml::from_str(text)
            .map_err(|error| TrustFileError { mistakes: vec![error.to_string().trim_end().into()] })?;
        let mut mistakes = Vec::new();
        // Hosts remember it in databases, whose integers are signed.
        if i64::try_from(file.serial).is_err() {
            mistakes.push(format!("serial: {} is more than {}", file.serial, i64::MAX));
        }
        let mut keys: Vec<TrustedKey> = Vec::with_capacity(file.keys.len());
        for (index, key) in file.keys.into_iter().enumerate() {
            let at = format!("keys[{index}]");
            check_lists(&key, &at, &mut mistakes);
            match key.key.parse::<PublicKey>() {
                Ok(public) if keys.iter().any(|other| other.key == public) => {
                    mistakes.push(format!("{at}.key: {public} is listed twice"));
                }
                Ok(public) => keys.push(key.trusted(public)),
                Err(error) => mistakes.push(format!("{at}.key: {error}")),
            }
        }
        check_rules(&file.rules, &mut mistakes);
        let mut revoked = Vec::with_capacity(file.revoked.len());
        for (index, digest) in file.revoked.iter().enumerate() {
            match digest.parse::<Digest>() {
                Ok(digest) => revoked.push(digest),
                Err(error) => mistakes.push(format!("revoked[{index}]: {error}")),
            }
        }
        if mistakes.is_empty() {
            Ok(Self { serial: file.serial, keys, rules: file.rules, revoked })
        } else {
            Err(TrustFileError { mistakes })
        }
    }
}

impl Key {
    fn trusted(self, key: PublicKey) -> TrustedKey {
        TrustedKey {
            key,
            principal: self.principal,
            role: self.role,
            status: self.status,
            not_before: self.not_before,
            not_after: self.not_after,
            namespaces: self.namespaces,
            packages: self.packages,
            routes: self.routes,
            events: self.events,
            owned_stores: self.owned_stores,
            may_grant: self.may_grant,
            may_request: self.may_request,
        }
    }
}

fn check_lists(key: &Key, at: &str, mistakes: &mut Vec<String>) {
    if key.principal.trim().is_empty() {
        mistakes.push(format!("{at}.principal: must not be empty"));
    }
    if let (Some(from), Some(to)) = (key.not_before, key.not_after)
        && from >= to
    {
        mistakes.push(format!("{at}.not_after: {to} is not after not_before, {from}"));
    }
    for (name, list) in [
        ("namespaces", &key.namespaces),
        ("packages", &key.packages),
        ("events", &key.events),
        ("owned_stores", &key.owned_stores),
        ("may_grant", &key.may_grant),
        ("may_request", &key.may_request),
    ] {
        check_patterns(list, &format!("{at}.{name}"), mistakes);
    }
    for (index, route) in key.routes.iter().enumerate() {
        if !route.starts_with('/') || route.contains('*') {
            mistakes.push(format!("{at}.routes[{index}]: `{route}` is no path prefix such as `/api/v1/bookmarks`"));
        }
    }
}

fn check_rules(rules: &[Rule], mistakes: &mut Vec<String>) {
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("rules[{index}]");
        if rule.plugins.is_empty() {
            mistakes.push(format!("{at}.plugins: must name at least one id"));
        }
        check_patterns(&rule.plugins, &format!("{at}.plugins"), mistakes);
        if rule.threshold == 0 {
            mistakes.push(format!("{at}.threshold: must be at least 1"));
        }
        for (earlier, other) in rules.iter().enumerate().take(index) {
            let pairs = other.plugins.iter().flat_map(|a| rule.plugins.iter().map(move |b| (a, b)));
            if let Some((a, b)) = pairs.into_iter().find(|(a, b)| pattern::overlap(a, b)) {
                mistakes.push(format!(
                    "{at}.plugins: `{b}` and `{a}` of rules[{earlier}] match the same plugins; exactly one rule must"
                ));
            }
        }
    }
}

fn check_patterns(list: &[String], at: &str, mistakes: &mut Vec<String>) {
    for (index, entry) in list.iter().enumerate() {
        let prefix = entry.strip_suffix('*').unwrap_or(entry);
        if entry.is_empty() || prefix.contains('*') || entry.contains(char::is_whitespace) {
            mistakes.push(format!("{at}[{index}]: `{entry}` must be a name, or a prefix with one `*` at its end"));
        }
    }
}
