//! What one plugin may use, and the linker built from it alone.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::IntCounter;
use wasmtime::component::Linker;

use super::bindings::arcana::host;
use super::work::{HostWork, WorkShare};
use super::{Capabilities, View, crypto};
use crate::backends::memory_cache::CacheSpace;
use crate::backends::sqlite::SqliteStore;
use crate::contract::nearest;
use crate::principal::keys::PluginKeys;
use crate::principal::passwords::Passwords;
use crate::principal::tokens::Tokens;
use crate::telemetry::metrics::StoreMetrics;
use crate::telemetry::tail::Tail;

/// What every plugin's capabilities work on.
pub struct Services {
    /// Access tokens, and what was revoked of them.
    pub tokens: Arc<Tokens>,
    /// Argon2id.
    pub passwords: Passwords,
    /// The keys that the host keeps for plugins.
    pub keys: PluginKeys,
    /// Threads for large inputs.
    pub work: HostWork,
}

/// The parts of `crypto` that were granted. Any of them brings digests and randomness.
#[derive(Debug, Clone, Default)]
pub struct CryptoGrants {
    /// Password hashes.
    pub hash: bool,
    /// The names of the keys.
    pub keys: Vec<String>,
    /// Issuing access tokens.
    pub issue_tokens: bool,
    /// Verifying access tokens.
    pub verify_tokens: bool,
    /// Revoking access tokens.
    pub revoke_tokens: bool,
}

/// A setting of the plugin's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Decimal(f64),
    /// Text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

/// A store that a plugin may use.
pub struct GrantedStore {
    /// The name that the plugin knows it by.
    pub name: Arc<str>,
    /// The store.
    pub store: Arc<SqliteStore>,
    /// What is counted for it.
    pub metrics: StoreMetrics,
}

/// What one active plugin may use.
pub struct PluginGrants {
    /// The plugin's id.
    pub plugin: Arc<str>,
    /// Its stores by the names that it knows them by.
    pub stores: Vec<GrantedStore>,
    /// Its part of the cache.
    pub cache: Option<Arc<CacheSpace>>,
    /// Its part of `crypto`.
    pub crypto: Option<CryptoGrants>,
    /// Its settings.
    pub settings: HashMap<String, Setting>,
    /// What the capabilities work on.
    pub services: Arc<Services>,
    /// Its part of the threads for large inputs.
    pub work: WorkShare,
    /// Counts the bytes of large inputs.
    pub large_input_bytes: IntCounter,
    /// Most lines of log in one call.
    pub log_lines_per_call: u32,
    /// Longest line of log in bytes.
    pub log_line_bytes: usize,
    /// Counts lines that were not written.
    pub log_lines_dropped: IntCounter,
    /// Where administrators read its lines.
    pub tail: Arc<Tail>,
}

/// The interfaces of `arcana:host`, with how a manifest asks for each; none for what is always granted.
const INTERFACES: [(&str, Option<&str>); 11] = [
    ("context", None),
    ("log", None),
    ("config", None),
    ("database", Some("stores = [\"own\"]")),
    ("cache", Some("cache = true")),
    ("crypto", Some("crypto = true")),
    ("passwords", Some("crypto = { hash = true }")),
    ("keys", Some("crypto = { keys = [\"own\"] }")),
    ("token-issuer", Some("crypto = { issue_tokens = true }")),
    ("token-verifier", Some("crypto = { verify_tokens = true }")),
    ("token-revoker", Some("crypto = { revoke_tokens = true }")),
];

/// The packages of WASI that are always linked and give nothing.
const WASI_BASE_SET: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Why an imported interface cannot be linked, with what to do; none where it was granted, or is no business of this host's
/// capabilities (the WASI base set).
///
/// `import` is the full name, such as `arcana:host/cache@0.1.0`; `granted` says by short name what was granted.
#[must_use]
pub fn missing_grant(import: &str, granted: impl Fn(&str) -> bool) -> Option<String> {
    let Some(rest) = import.strip_prefix("arcana:host/") else {
        let base = WASI_BASE_SET.iter().any(|package| import.starts_with(package));
        return (!base).then(|| format!("it imports {import}, which this host does not offer"));
    };
    let name = rest.split('@').next().unwrap_or(rest);
    match INTERFACES.iter().find(|(known, _)| *known == name) {
        None => {
            let offered: Vec<&str> = INTERFACES.iter().map(|(known, _)| *known).collect();
            let near = nearest(name, offered.iter().copied()).map(|near| format!("did you mean arcana:host/{near}? "));
            Some(format!(
                "it imports {import}, which this host does not offer; {}arcana:host@0.1.0 has {}",
                near.unwrap_or_default(),
                offered.join(", ")
            ))
        }
        Some((_, Some(how))) if !granted(name) => Some(format!(
            "it imports {import}, which its manifest does not ask for; write `{how}` under [capabilities] in plugin.toml, and \
             have it signed by somebody whose trust entry may grant it"
        )),
        Some(_) => None,
    }
}

impl PluginGrants {
    /// Whether an interface of `arcana:host` was granted.
    #[must_use]
    pub fn grants(&self, interface: &str) -> bool {
        let crypto = |part: fn(&CryptoGrants) -> bool| self.crypto.as_ref().is_some_and(part);
        match interface {
            "context" | "log" | "config" => true,
            "database" => !self.stores.is_empty(),
            "cache" => self.cache.is_some(),
            "crypto" => crypto(|_| true),
            "passwords" => crypto(|grants| grants.hash),
            "keys" => crypto(|grants| !grants.keys.is_empty()),
            "token-issuer" => crypto(|grants| grants.issue_tokens),
            "token-verifier" => crypto(|grants| grants.verify_tokens),
            "token-revoker" => crypto(|grants| grants.revoke_tokens),
            _ => false,
        }
    }
}

/// Links exactly what was granted. What is not linked cannot be called, whatever a component imports.
///
/// # Errors
/// Only when an interface is defined twice, which a fresh linker rules out.
pub fn link<T: Send + 'static>(
    linker: &mut Linker<T>,
    grants: &PluginGrants,
    view: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    host::context::add_to_linker::<T, Capabilities>(linker, view)?;
    host::log::add_to_linker::<T, Capabilities>(linker, view)?;
    host::config::add_to_linker::<T, Capabilities>(linker, view)?;
    if grants.grants("database") {
        host::database::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    if grants.grants("cache") {
        host::cache::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    if grants.grants("crypto") {
        crypto::link_crypto(linker, view)?;
    }
    if grants.grants("passwords") {
        host::passwords::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    if grants.grants("keys") {
        crypto::link_keys(linker, view)?;
    }
    if grants.grants("token-issuer") {
        host::token_issuer::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    if grants.grants("token-verifier") {
        host::token_verifier::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    if grants.grants("token-revoker") {
        host::token_revoker::add_to_linker::<T, Capabilities>(linker, view)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_grant_says_what_to_write() {
        let refused = missing_grant("arcana:host/cache@0.1.0", |_| false).unwrap();
        assert!(refused.contains("arcana:host/cache@0.1.0") && refused.contains("cache = true"), "{refused}");
        assert!(missing_grant("arcana:host/cache@0.1.0", |name| name == "cache").is_none());
        assert!(missing_grant("arcana:host/log@0.1.0", |_| false).is_none());
        assert!(missing_grant("wasi:io/poll@0.2.6", |_| false).is_none());
        assert!(missing_grant("wasi:http/outgoing-handler@0.2.6", |_| true).unwrap().contains("does not offer"));
        assert!(missing_grant("arcana:host/telepathy@0.1.0", |_| true).unwrap().contains("does not offer"));
        let slip = missing_grant("arcana:host/cahce@0.1.0", |_| true).unwrap();
        assert!(slip.contains("did you mean arcana:host/cache?"), "{slip}");
        assert!(missing_grant("acme:other/thing@1.0.0", |_| true).unwrap().contains("does not offer"));
    }
}
