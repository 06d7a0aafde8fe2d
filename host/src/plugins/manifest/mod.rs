//! The manifest `plugin.toml`: what a plugin is, what it asks for, what it publishes and how much it may use.

mod check;
mod file;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::Method as Verb;
use jiff::Timestamp;
use semver::{Version, VersionReq};

use crate::principal::Role;

pub use file::with_seq;
pub use settings::{SettingKind, SettingRule};

/// A store name, or a key name, that is private to the plugin.
pub const OWN: &str = "own";

/// A manifest without mistakes.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `[plugin]`
    pub plugin: Plugin,
    /// `[capabilities]`
    pub capabilities: Capabilities,
    /// `[stores.<name>]`: the stores that this plugin owns, each also in [`Capabilities::stores`].
    pub stores: BTreeMap<String, OwnedStore>,
    /// `[settings]`: every setting that it reads; none where the manifest does not say, and any may be set.
    pub settings: Option<BTreeMap<String, SettingRule>>,
    /// `[[methods]]`
    pub methods: Vec<Method>,
    /// `[limits]`
    pub limits: Limits,
}

/// `[plugin]`
#[derive(Debug, Clone)]
pub struct Plugin {
    /// `namespace/name`.
    pub id: PluginId,
    /// The version that people see.
    pub version: Version,
    /// Goes up with every release; at most 2^63 - 1.
    pub seq: u64,
    /// One sentence; may be empty.
    pub description: String,
    /// The versions of the host that it was made for.
    pub host: VersionReq,
    /// When it stops being installable.
    pub expires: Option<Timestamp>,
}

/// `namespace/name`, each of lower-case letters, digits and `-`, at most 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(String);

impl PluginId {
    /// Reads an id.
    ///
    /// # Errors
    /// What an id looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if check::is_name(namespace) && check::is_name(name) => Ok(Self(text.to_owned())),
            _ => Err(format!("`{text}` is no id such as `acme/bookmarks`: lower-case letters, digits and `-`")),
        }
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the slash.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// What is after the slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginId({self})")
    }
}

/// `[capabilities]`: what the component may import beyond what is always there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The stores that it may use, `own` or a shared one by name; each once.
    pub stores: Vec<String>,
    /// Whether it may use the cache.
    pub cache: bool,
    /// What it may do with cryptography.
    pub crypto: Option<CryptoGrant>,
}

/// `crypto = true` (randomness and digests) or a table with more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CryptoGrant {
    /// Hash and verify passwords.
    pub hash: bool,
    /// The names of the keys that it may use, all of them its own.
    pub keys: Vec<String>,
    /// Issue access tokens of this host.
    pub issue_tokens: bool,
    /// Verify access tokens of this host.
    pub verify_tokens: bool,
    /// Revoke access tokens of this host.
    pub revoke_tokens: bool,
}

/// `[stores.<name>]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedStore {
    /// The folder of the migrations, relative to the manifest; read when the plugin is packed.
    pub migrations: String,
}

/// `[[methods]]`: an exported function that is published.
#[derive(Debug, Clone)]
pub struct Method {
    /// `interface.function` in WIT names; each function once.
    pub call: String,
    /// Its routes; none where it is not on REST.
    pub http: Vec<HttpRoute>,
    /// Who may call it: whoever any of these admits. Never empty.
    pub allow: Vec<Allow>,
    /// The status of a success, 200 to 299, where it is not the usual one.
    pub status: Option<u16>,
    /// Calls of it at once, at least 1.
    pub concurrency: Option<u32>,
    /// The longest a call may take.
    pub call_timeout: Option<Duration>,
    /// Limits of requests.
    pub rate: Vec<RateRule>,
}

/// A route such as `GET /api/v1/bookmarks/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: Verb,
    /// The path template; parameters are whole segments, as in `/bookmarks/{id}`.
    pub path: String,
}

/// One way to be admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// Everybody.
    Public,
    /// Everybody who is signed in.
    Authenticated,
    /// Those with this role or a higher one.
    Role(Role),
    /// Those whose subject is the value of this parameter.
    SelfParam(String),
}

/// A limit of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRule {
    /// What is counted apart.
    pub by: RateBy,
    /// Sustained requests a minute, at least 1.
    pub per_minute: u32,
    /// Requests at once, at least 1.
    pub burst: u32,
}

/// What a limit counts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateBy {
    /// The client's address.
    Address,
    /// The first of these fields of the input that is there.
    Fields(Vec<String>),
}

/// `[limits]`; what is absent is the host's own default, and what is above the operator's maximum is cut to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The memory of one instance in bytes.
    pub memory: Option<u64>,
    /// The longest a call may take.
    pub call_timeout: Option<Duration>,
    /// Calls at once, at least 1.
    pub concurrency: Option<u32>,
    /// Whether an instance serves one call or many.
    pub instances: Instances,
    /// How many calls an instance serves, at least 1.
    pub max_calls: Option<u32>,
}

/// `instances`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instances {
    /// Warm instances serve one call after the other.
    #[default]
    Reuse,
    /// Every call gets a fresh instance.
    PerCall,
}

/// Why a manifest cannot be used: one text for every mistake, each beginning with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.join("\n"))]
pub struct ManifestError {
    /// The mistakes.
    pub mistakes: Vec<String>,
}

impl Manifest {
    /// Reads the text of a `plugin.toml`.
    ///
    /// # Errors
    /// Where it is no TOML or has unknown, missing or mistyped keys: the first of those. Otherwise every value that cannot
    /// be used.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        file::parse(text)
    }

    /// What the manifest asks for, as the trust policy names it: `database:<store>`, `cache`, `crypto`, `crypto.hash`,
    /// `crypto.keys:<name>`, `crypto.issue_tokens`, `crypto.verify_tokens`, `crypto.revoke_tokens`.
    #[must_use]
    pub fn capability_names(&self) -> Vec<String> {
        let Capabilities { stores, cache, crypto } = &self.capabilities;
        let mut names: Vec<String> = stores.iter().map(|store| format!("database:{store}")).collect();
        if *cache {
            names.push("cache".into());
        }
        if let Some(CryptoGrant { hash, keys, issue_tokens, verify_tokens, revoke_tokens }) = crypto {
            names.push("crypto".into());
            names.extend(keys.iter().map(|key| format!("crypto.keys:{key}")));
            let parts = [
                (hash, "hash"),
                (issue_tokens, "issue_tokens"),
                (verify_tokens, "verify_tokens"),
                (revoke_tokens, "revoke_tokens"),
            ];
            names.extend(parts.iter().filter(|(asked, _)| **asked).map(|(_, part)| format!("crypto.{part}")));
        }
        names
    }

    /// Whether the manifest asks for an interface of `arcana:host`, by its short name.
    #[must_use]
    pub fn asks_for(&self, interface: &str) -> bool {
        let Capabilities { stores, cache, crypto } = &self.capabilities;
        let crypto = |part: fn(&CryptoGrant) -> bool| crypto.as_ref().is_some_and(part);
        match interface {
            "context" | "log" | "config" => true,
            "database" => !stores.is_empty(),
            "cache" => *cache,
            "crypto" => crypto(|_| true),
            "passwords" => crypto(|grant| grant.hash),
            "keys" => crypto(|grant| !grant.keys.is_empty()),
            "token-issuer" => crypto(|grant| grant.issue_tokens),
            "token-verifier" => crypto(|grant| grant.verify_tokens),
            "token-revoker" => crypto(|grant| grant.revoke_tokens),
            _ => false,
        }
    }

    /// The path templates of all routes.
    #[must_use]
    pub fn route_templates(&self) -> Vec<String> {
        self.methods.iter().flat_map(|method| &method.http).map(|route| route.path.clone()).collect()
    }

    /// The shared stores that the plugin owns.
    #[must_use]
    pub fn owned_stores(&self) -> Vec<String> {
        self.stores.keys().filter(|name| *name != OWN).cloned().collect()
    }
}

impl HttpRoute {
    /// The names of the parameters in the path, in order.
    #[must_use]
    pub fn param_names(&self) -> Vec<&str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Role(role) => write!(f, "role:{role}"),
            Self::SelfParam(param) => write!(f, "self:{param}"),
        }
    }
}

impl fmt::Display for HttpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}
