//! Access tokens: JWTs (RFC 7519) that this host issues and, by RFC 8725, verifies strictly.
//!
//! The host is the only issuer, so it knows every header that a token of its own can have: `typ` `at+jwt` (RFC 9068 §2.1,
//! which keeps other kinds of JWT from passing for one), the `alg` of the key, its `kid`. A token is taken only when its
//! header is byte for byte that of a trusted key. The key decides the algorithm, never the token; `none`, `crit`, `jku`, `x5u`,
//! embedded keys and `kid`s that are paths are not parsed at all, they are simply other headers.
//!
//! Claims: `iss`, `sub`, `aud`, `iat`, `nbf`, `exp`, `jti`, `session_id`, `roles`. `jti` is a UUIDv7 whose milliseconds are the
//! exact time of issue, which revocation is measured against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::cache::TokenCache;
use super::keys::{TokenKey, TokenKeys};
use super::reserved::{is_reserved_session, is_reserved_subject};
use super::revocation::{MAX_VALUE_BYTES, RevocationTable};
use super::{Principal, Role};

/// The longest token, in bytes; a longer one is refused unread.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// The most roles of a token.
const MAX_ROLES: usize = 16;

/// How tokens are made and judged.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// The longest life; whole seconds.
    pub life: Duration,
    /// How far the clocks of hosts that share keys may differ; whole seconds.
    pub leeway: Duration,
    /// How many verified tokens are remembered.
    pub cache_entries: usize,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of this host, or its signature is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its session or its subject's tokens were revoked.
    #[error("the token was revoked")]
    Revoked,
}

/// Why a token was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A field of the request cannot be used; says which.
    #[error("{0}")]
    Invalid(&'static str),
    /// The host cannot sign right now; for the log.
    #[error("{0}")]
    Host(String),
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The id of the account: 1 to 256 bytes, and none that stands for the host ([`super::reserved`]).
    pub subject: &'a str,
    /// The session: 1 to 256 bytes, and none that stands for the host.
    pub session_id: &'a str,
    /// Names of roles; at least one.
    pub roles: &'a [String],
    /// The life in seconds; the longest where it is absent or longer.
    pub life_seconds: Option<u64>,
}

/// A token and its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The compact form.
    pub token: String,
    /// Its life in seconds.
    pub expires_in: u64,
}

/// The claims, in the order in which they are written. Others are refused: the host makes none.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
    session_id: String,
    roles: Vec<String>,
}

/// Issues and verifies access tokens.
pub struct Tokens {
    issuer: String,
    audience: String,
    life_s: i64,
    leeway_s: i64,
    /// With each key the one header of its tokens, encoded, and the dot after it.
    keys: Vec<(String, TokenKey)>,
    jwks: String,
    cache: TokenCache,
    revocations: Arc<RevocationTable>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Tokens {
    /// Tokens with these keys, judged against these revocations, whose table must be kept for the longest life and the
    /// leeway ([`Tokens::keep_ms`]).
    #[must_use]
    pub fn new(settings: TokenSettings, keys: TokenKeys, revocations: Arc<RevocationTable>) -> Self {
        let jwks = keys.jwks();
        let header = |key: &TokenKey| {
            let header = format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, key.alg(), key.kid());
            format!("{}.", URL_SAFE_NO_PAD.encode(header))
        };
        Self {
            issuer: settings.issuer,
            audience: settings.audience,
            life_s: seconds(settings.life).max(1),
            leeway_s: seconds(settings.leeway),
            keys: keys.into_all().into_iter().map(|key| (header(&key), key)).collect(),
            jwks,
            cache: TokenCache::new(settings.cache_entries),
            revocations,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// How long a revocation must be kept with these settings, in milliseconds: no token is accepted longer than this
    /// after its issue, whatever it says itself.
    #[must_use]
    pub fn keep_ms(settings: &TokenSettings) -> i64 {
        // A second for rounding: `iat` is in whole seconds.
        (seconds(settings.life) + 2 * seconds(settings.leeway) + 1) * 1000
    }

    /// Issues a token.
    ///
    /// # Errors
    /// A field that cannot be used; a host without randomness or with a clock before 1970.
    pub fn issue(&self, request: &TokenRequest<'_>) -> Result<IssuedToken, IssueError> {
        self.issue_at(request, now_ms())
    }

    pub(super) fn issue_at(&self, request: &TokenRequest<'_>, now_ms: i64) -> Result<IssuedToken, IssueError> {
        let named = |text: &str| !text.is_empty() && text.len() <= MAX_VALUE_BYTES;
        if !named(request.subject) {
            return Err(IssueError::Invalid("the subject must have 1 to 256 bytes"));
        }
        if !named(request.session_id) {
            return Err(IssueError::Invalid("the session id must have 1 to 256 bytes"));
        }
        if is_reserved_subject(request.subject) || is_reserved_session(request.session_id) {
            return Err(IssueError::Invalid("the subject or the session id is reserved for the host itself"));
        }
        if request.roles.is_empty() || request.roles.len() > MAX_ROLES {
            return Err(IssueError::Invalid("there must be 1 to 16 roles"));
        }
        if !request.roles.iter().all(|role| Role::parse(role).is_some()) {
            return Err(IssueError::Invalid("a role must be user, moderator, admin or superadmin"));
        }
        let life = request.life_seconds.and_then(|life| i64::try_from(life).ok()).unwrap_or(self.life_s);
        let life = life.min(self.life_s);
        if life == 0 {
            return Err(IssueError::Invalid("the life must be at least a second"));
        }
        let (header, key) = self.keys.first().ok_or_else(|| IssueError::Host("there is no key".to_owned()))?;

        let mut random = [0; 10];
        getrandom::fill(&mut random).map_err(|error| IssueError::Host(error.to_string()))?;
        let issued_ms = u64::try_from(self.revocations.issue_time(request.subject, now_ms))
            .map_err(|_| IssueError::Host("the clock is before 1970".to_owned()))?;
        let now_s = now_ms.div_euclid(1000);
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: request.subject.to_owned(),
            aud: self.audience.clone(),
            iat: now_s,
            nbf: now_s,
            exp: now_s + life,
            jti: uuid::Builder::from_unix_timestamp_millis(issued_ms, &random).into_uuid(),
            session_id: request.session_id.to_owned(),
            roles: request.roles.to_vec(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|error| IssueError::Host(error.to_string()))?;
        let mut token = header.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature =
            key.sign(token.as_bytes()).ok_or_else(|| IssueError::Host("there is no private key".to_owned()))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IssueError::Invalid("the subject, the session id and the roles are too long together"));
        }
        Ok(IssuedToken { token, expires_in: u64::try_from(life).unwrap_or(0) })
    }

    /// Whom a token speaks for. A token that was seen before costs one hash; its time and its revocation are judged anew
    /// every time.
    ///
    /// # Errors
    /// The token is not accepted.
    pub fn verify(&self, token: &str) -> Result<Arc<Principal>, TokenError> {
        self.verify_at(token, now_ms())
    }

    pub(super) fn verify_at(&self, token: &str, now_ms: i64) -> Result<Arc<Principal>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let now_s = now_ms.div_euclid(1000);
        let digest = Sha256::digest(token.as_bytes()).into();
        if let Some(principal) = self.cache.get(&digest) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            self.judge(&principal, now_s)?;
            return Ok(principal);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let principal = Arc::new(self.read(token, now_s)?);
        // Kept even when it is revoked: whoever sends it again must not make the host check its signature again.
        self.cache.insert(digest, Arc::clone(&principal), now_s);
        self.judge(&principal, now_s)?;
        Ok(principal)
    }

    /// Whether the token of a caller who was verified before is accepted still.
    ///
    /// # Errors
    /// It has expired or was revoked meanwhile.
    pub fn accepts(&self, principal: &Principal) -> Result<(), TokenError> {
        self.judge(principal, now_ms().div_euclid(1000))
    }

    /// What can change while a token stays the same.
    fn judge(&self, principal: &Principal, now_s: i64) -> Result<(), TokenError> {
        if now_s >= principal.expires_at.saturating_add(self.leeway_s) {
            return Err(TokenError::Expired);
        }
        if self.revocations.is_revoked(principal) { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// Everything that a token says for good. The claims are not looked at before the signature is known to be right.
    fn read(&self, token: &str, now_s: i64) -> Result<Principal, TokenError> {
        let trusted = |(header, key)| token.strip_prefix(header).map(|rest| (rest, key));
        let (rest, key) = self
            .keys
            .iter()
            .map(|(header, key)| (header.as_str(), key))
            .find_map(trusted)
            .ok_or(TokenError::Invalid)?;
        let (claims, signature) = rest.split_once('.').ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Invalid)?;
        let signed = &token[..token.len() - rest.len() + claims.len()];
        if !key.verify(signed.as_bytes(), &signature) {
            return Err(TokenError::Invalid);
        }

        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Invalid)?;
        let latest = now_s.saturating_add(self.leeway_s);
        let times = claims.iat <= latest && claims.nbf <= latest && claims.iat <= claims.exp;
        if claims.iss != self.issuer || claims.aud != self.audience || claims.sub.is_empty() || !times {
            return Err(TokenError::Invalid);
        }
        // A right signature does not help: another host with these keys, or one from before, may have issued it.
        if is_reserved_subject(&claims.sub) || is_reserved_session(&claims.session_id) {
            return Err(TokenError::Invalid);
        }
        Ok(Principal {
            issued_at_ms: uuid_v7_ms(claims.jti).ok_or(TokenError::Invalid)?,
            // A token from before the longest life was made shorter must not outlive the revocations that mean it.
            expires_at: claims.exp.min(claims.iat.saturating_add(self.life_s)),
            role: Role::highest(&claims.roles),
            subject: claims.sub.into(),
            session_id: claims.session_id.into(),
            roles: claims.roles,
        })
    }

    /// The public keys as a JWK set, for `/.well-known/jwks.json`.
    #[must_use]
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The revocations that tokens are judged against.
    #[must_use]
    pub const fn revocations(&self) -> &Arc<RevocationTable> {
        &self.revocations
    }

    /// How many verifications found the token in the cache, and how many did not, since the start.
    #[must_use]
    pub fn cache_stats(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z; 0 on a host whose clock is before that.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4000)
}

fn uuid_v7_ms(id: Uuid) -> Option<i64> {
    if id.get_version() != Some(uuid::Version::SortRand) {
        return None;
    }
    // The first 48 bits (RFC 9562 §5.7).
    i64::try_from(id.as_u128() >> 80).ok()
}
