//! The trust policy: which keys may sign which plugins, and what those may be and ask for.

mod evaluate;
mod file;
mod pattern;
mod verify;

pub use evaluate::{Purpose, Request, Verdict};
pub use file::TrustFileError;
pub use verify::{Signer, Verified};

use jiff::Timestamp;
use serde::Deserialize;

use crate::envelope::Digest;
use crate::error::{Code, Error};
use crate::keys::PublicKey;

/// A trust policy, as `trust.toml` has it. It is the operator's, and nothing but the file changes it.
#[derive(Debug, Clone)]
pub struct TrustPolicy {
    /// Goes up with every change of the file; an older file than the last one seen is refused.
    pub serial: u64,
    /// The keys, each there once.
    pub keys: Vec<TrustedKey>,
    /// The rules, no two of which match the same plugin.
    pub rules: Vec<Rule>,
    /// Digests of files that are refused, whoever signed them.
    pub revoked: Vec<Digest>,
}

/// A key with what the plugins that it signs may be.
///
/// The lists hold exact entries, or prefixes where the entry ends with `*`; an empty list allows nothing.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// The person or organisation that holds it. Thresholds count principals, however many keys each has.
    pub principal: String,
    /// What its signature means.
    pub role: SignerRole,
    /// Whether it still counts.
    pub status: KeyStatus,
    /// Counts from this time on.
    pub not_before: Option<Timestamp>,
    /// Counts up to this time.
    pub not_after: Option<Timestamp>,
    /// Ids of plugins, such as `acme/*`.
    pub namespaces: Vec<String>,
    /// WIT packages of the exported interfaces, such as `acme:*`.
    pub packages: Vec<String>,
    /// Routes: `/api/v1/bookmarks` stands for itself and for all below it, `/` for every route.
    pub routes: Vec<String>,
    /// Event names, such as `bookmark.*`.
    pub events: Vec<String>,
    /// Shared stores that they may own, that is create and migrate. Using a store is the capability `database:<store>`.
    pub owned_stores: Vec<String>,
    /// Capabilities that are granted by this signature alone.
    pub may_grant: Vec<String>,
    /// Capabilities that wait for an administrator's approval.
    pub may_request: Vec<String>,
}

/// What a signature means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignerRole {
    /// This is ours, and what it asks for is what we ask for.
    Publisher,
    /// We have looked at it. Grants nothing by itself.
    Reviewer,
}

/// Whether a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    /// It does.
    Active,
    /// It brings nothing new in; what runs keeps running with a warning.
    Retired,
    /// It never did: what runs by it is unloaded.
    Revoked,
}

/// What is asked of the plugins that it matches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The ids that it is for, such as `acme/bookmarks`, `acme/*` or `*`.
    pub plugins: Vec<String>,
    /// How many distinct principals must have signed as publishers. Each thing that the plugin is or asks for needs the
    /// consent of as many.
    #[serde(default = "one")]
    pub threshold: u32,
    /// How many further distinct principals must have signed as reviewers.
    #[serde(default)]
    pub reviewers: u32,
    /// The lowest sequence number that is let in.
    #[serde(default)]
    pub min_seq: u64,
}

const fn one() -> u32 {
    1
}

impl TrustPolicy {
    /// Refuses a policy that is older than the one seen last.
    ///
    /// # Errors
    /// `TRUST_ROLLBACK`.
    pub fn check_serial(&self, last_seen: Option<u64>) -> Result<(), Error> {
        match last_seen {
            Some(last) if self.serial < last => Err(Error::new(
                Code::TrustRollback,
                format!("the trust policy has serial {}, but serial {last} was in force before", self.serial),
            )),
            _ => Ok(()),
        }
    }

    /// The rule that a plugin falls under.
    #[must_use]
    pub fn rule_for(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.plugins.iter().any(|entry| pattern::matches(entry, id)))
    }
}

/// A trust policy in which one local key may sign everything: the text of a `trust.toml` for development.
#[must_use]
pub fn development(key: &PublicKey) -> String {
    format!(
        "# For development: this one key may sign every plugin, and grants whatever it asks for.\n\
         serial = 1\n\n\
         [[keys]]\n\
         key = \"{key}\"\n\
         principal = \"development\"\n\
         role = \"publisher\"\n\
         namespaces = [\"*\"]\n\
         packages = [\"*\"]\n\
         routes = [\"/\"]\n\
         events = [\"*\"]\n\
         owned_stores = [\"*\"]\n\
         may_grant = [\"*\"]\n\n\
         [[rules]]\n\
         plugins = [\"*\"]\n\
         threshold = 1\n"
    )
}
