//! What a verified file may be and do.

use std::collections::BTreeSet;

use jiff::Timestamp;
use semver::{Version, VersionReq};

use super::{KeyStatus, Rule, SignerRole, TrustPolicy, TrustedKey, Verified, pattern};
use crate::error::{Code, Error};

/// Why the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To bring something new in.
    Install,
    /// To start or keep what was installed: retired and expired keys still count, with a warning.
    Keep,
}

/// What the manifest and the component of a verified file say of it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Why this is asked.
    pub purpose: Purpose,
    /// The time.
    pub now: Timestamp,
    /// The running version of the host.
    pub host_version: &'a Version,
    /// The versions of the host that the plugin was made for.
    pub host: &'a VersionReq,
    /// The plugin's id.
    pub id: &'a str,
    /// Its sequence number.
    pub seq: u64,
    /// When the plugin's own time is over.
    pub expires: Option<Timestamp>,
    /// The WIT packages of the interfaces that it exports, without versions, such as `acme:bookmarks`.
    pub packages: &'a [String],
    /// The path templates of its routes.
    pub routes: &'a [String],
    /// The events that it publishes or listens to.
    pub events: &'a [String],
    /// The shared stores that it owns.
    pub owned_stores: &'a [String],
    /// The capabilities that it asks for.
    pub capabilities: &'a [String],
}

/// Who vouches for a plugin, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The principals whose signatures count, publishers first, each once.
    pub signers: Vec<String>,
    /// The capabilities that are granted.
    pub granted: Vec<String>,
    /// The capabilities that wait for an administrator's approval.
    pub pending: Vec<String>,
    /// What an operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// The keys that signed, sorted by what they count for.
#[derive(Default)]
struct Signers<'p> {
    publishers: Vec<&'p TrustedKey>,
    reviewers: Vec<&'p TrustedKey>,
    /// The first key that would have counted but for this.
    discounted: Option<(Code, String)>,
    warnings: Vec<String>,
}

impl TrustPolicy {
    /// Decides whether a verified file may be what its manifest says, and what it is granted.
    ///
    /// # Errors
    /// `NO_RULE`, `REVOKED`, `KEY_RETIRED`, `KEY_EXPIRED`, `NAMESPACE`, `THRESHOLD`, `PACKAGE`, `ROUTE`, `EVENT`, `STORE`,
    /// `CAPABILITY`, `EXPIRED` (403), `SEQ_BELOW_MINIMUM` (409), `HOST_VERSION` (422).
    pub fn evaluate(&self, file: &Verified<'_>, request: &Request<'_>) -> Result<Verdict, Error> {
        if self.revoked.contains(&file.digest()) {
            return Err(Error::new(Code::Revoked, format!("this file was revoked: {}", file.digest())));
        }
        let id = request.id;
        let rule = self.rule_for(id).ok_or_else(|| {
            Error::new(Code::NoRule, format!("no rule of the trust policy is for plugins with the id `{id}`"))
        })?;
        let mut signers = self.sort_signers(file, request)?;
        check_thresholds(rule, &signers, id)?;
        check_identity(rule, &signers.publishers, request)?;

        let (mut granted, mut pending, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for capability in request.capabilities {
            let allows = |list: &[String]| list.iter().any(|entry| pattern::matches(entry, capability));
            let list = if consent(rule, &signers.publishers, |key| allows(&key.may_grant)) {
                &mut granted
            } else if consent(rule, &signers.publishers, |key| allows(&key.may_grant) || allows(&key.may_request)) {
                &mut pending
            } else {
                &mut refused
            };
            list.push(capability.clone());
        }
        if !refused.is_empty() {
            return Err(not_allowed(Code::Capability, "ask for the capability", &refused, "may_grant or may_request"));
        }
        check_times(rule, request, &mut signers.warnings)?;

        let mut principals: Vec<String> = Vec::new();
        for key in signers.publishers.iter().chain(&signers.reviewers) {
            if !principals.contains(&key.principal) {
                principals.push(key.principal.clone());
            }
        }
        Ok(Verdict { signers: principals, granted, pending, warnings: signers.warnings })
    }

    fn sort_signers(&self, file: &Verified<'_>, request: &Request<'_>) -> Result<Signers<'_>, Error> {
        let mut sorted = Signers::default();
        for signer in file.signers() {
            // Another policy may have verified the file; then its key may be gone from this one.
            let Some(key) = self.key(signer.key_id).filter(|trusted| trusted.key == signer.key) else {
                sorted.discount(Code::UnknownKey, format!("the key {} is no longer trusted", signer.key_id));
                continue;
            };
            let name = format!("the key {} of {}", signer.key_id, key.principal);
            if key.status == KeyStatus::Revoked {
                sorted.warnings.push(format!("{name} was revoked; its signature does not count"));
                sorted.discount(Code::Revoked, format!("{name} was revoked"));
                continue;
            }
            if let Some((code, why)) = stale(key, request.now) {
                if request.purpose == Purpose::Install {
                    sorted.discount(code, format!("{name} {why}, so it can bring nothing new in"));
                    continue;
                }
                sorted.warnings.push(format!("{name} {why}"));
            }
            if !key.namespaces.iter().any(|entry| pattern::matches(entry, request.id)) {
                let message = format!("{name} is not for plugins with the id `{}`", request.id);
                sorted.discount(Code::Namespace, message);
                continue;
            }
            match key.role {
                SignerRole::Publisher => sorted.publishers.push(key),
                SignerRole::Reviewer => sorted.reviewers.push(key),
            }
        }
        Ok(sorted)
    }
}

impl Signers<'_> {
    fn discount(&mut self, code: Code, message: String) {
        self.discounted.get_or_insert((code, message));
    }
}

fn stale(key: &TrustedKey, now: Timestamp) -> Option<(Code, String)> {
    if key.status == KeyStatus::Retired {
        return Some((Code::KeyRetired, "was retired".into()));
    }
    match (key.not_before, key.not_after) {
        (Some(from), _) if now < from => Some((Code::KeyExpired, format!("is not valid before {from}"))),
        (_, Some(to)) if now > to => Some((Code::KeyExpired, format!("was valid up to {to}"))),
        _ => None,
    }
}

fn check_thresholds(rule: &Rule, signers: &Signers<'_>, id: &str) -> Result<(), Error> {
    let publishers: BTreeSet<&str> = signers.publishers.iter().map(|key| key.principal.as_str()).collect();
    let reviewers: BTreeSet<&str> = signers
        .reviewers
        .iter()
        .map(|key| key.principal.as_str())
        // Nobody reviews their own work.
        .filter(|principal| !publishers.contains(principal))
        .collect();
    let reached = |count: usize, needed: u32| u32::try_from(count).is_ok_and(|count| count >= needed);
    if reached(publishers.len(), rule.threshold) && reached(reviewers.len(), rule.reviewers) {
        return Ok(());
    }
    if let Some((code, message)) = &signers.discounted {
        return Err(Error::new(*code, message.clone()));
    }
    let mut needed = format!("{} publisher(s)", rule.threshold);
    if rule.reviewers > 0 {
        needed.push_str(&format!(" and {} other principal(s) as reviewer(s)", rule.reviewers));
    }
    let message = format!(
        "`{id}` needs the signatures of {needed}, each of another principal; {} and {} signed",
        publishers.len(),
        reviewers.len()
    );
    Err(Error::new(Code::Threshold, message))
}

fn check_identity(rule: &Rule, publishers: &[&TrustedKey], request: &Request<'_>) -> Result<(), Error> {
    type Check<'a> = (Code, &'a str, &'a str, &'a [String], fn(&TrustedKey) -> &[String], fn(&str, &str) -> bool);
    let checks: [Check<'_>; 4] = [
        (Code::Package, "export the WIT package", "packages", request.packages, |key| &key.packages, pattern::matches),
        (Code::Route, "serve the route", "routes", request.routes, |key| &key.routes, pattern::route_within),
        (Code::Event, "use the event", "events", request.events, |key| &key.events, pattern::matches),
        (Code::Store, "own the store", "owned_stores", request.owned_stores, |key| &key.owned_stores, pattern::matches),
    ];
    for (code, what, list_name, names, list, allows) in checks {
        let refused: Vec<String> = names
            .iter()
            .filter(|name| !consent(rule, publishers, |key| list(key).iter().any(|entry| allows(entry, name))))
            .cloned()
            .collect();
        if !refused.is_empty() {
            return Err(not_allowed(code, what, &refused, list_name));
        }
    }
    Ok(())
}

fn check_times(rule: &Rule, request: &Request<'_>, warnings: &mut Vec<String>) -> Result<(), Error> {
    if request.seq < rule.min_seq {
        let message = format!("seq {} is below {}, the rule's min_seq", request.seq, rule.min_seq);
        return Err(Error::new(Code::SeqBelowMinimum, message));
    }
    if !request.host.matches(request.host_version) {
        let message = format!("it was made for host versions {}, and this is {}", request.host, request.host_version);
        return Err(Error::new(Code::HostVersion, message));
    }
    if let Some(expires) = request.expires
        && request.now > expires
    {
        match request.purpose {
            Purpose::Install => return Err(Error::new(Code::Expired, format!("the plugin expired at {expires}"))),
            Purpose::Keep => warnings.push(format!("the plugin expired at {expires}")),
        }
    }
    Ok(())
}

/// Whether as many principals as the threshold asks for have a key that allows it.
fn consent(rule: &Rule, publishers: &[&TrustedKey], allows: impl Fn(&TrustedKey) -> bool) -> bool {
    let principals: BTreeSet<&str> =
        publishers.iter().filter(|key| allows(key)).map(|key| key.principal.as_str()).collect();
    u32::try_from(principals.len()).is_ok_and(|count| count >= rule.threshold)
}

fn not_allowed(code: Code, what: &str, names: &[String], list: &str) -> Error {
    let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Error::new(
        code,
        format!(
            "the signers may not {what} {names}; it would have to be in `{list}` of their keys in the trust policy"
        ),
    )
}
