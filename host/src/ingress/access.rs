//! Who calls, from which address, whether they may, and how often: the same for every protocol.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use wasmtime::component::Val;

use crate::config::{Allowed, Config, Network};
use crate::principal::Principal;
use crate::principal::tokens::{TokenError, Tokens};
use crate::problem::{Kind, Problem};
use crate::runtime::method::{Access, Method, Own, RateKey};
use crate::telemetry::metrics::Metrics;

/// The caller as far as the token tells: nobody, somebody, or somebody with a token that is not accepted.
type Caller = Result<Option<Arc<Principal>>, TokenError>;

/// Reads and verifies the bearer token (RFC 6750).
fn caller(headers: &HeaderMap, tokens: &Tokens) -> Caller {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(bearer).ok_or(TokenError::Invalid)?;
    tokens.verify(token).map(Some)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// What every request passes before it reaches a function, whatever protocol it came by: the access rule and the limits.
pub struct Gate {
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    trusted_proxies: Vec<Network>,
    rate_limits: bool,
}

/// How often the right of a caller is looked at while nothing happens on their stream.
const LOOK: Duration = Duration::from_secs(1);

/// The right of a caller to stay on a stream. It ends when the token expires and when it is revoked: by signing out, by a
/// change of the account's role, status or password, and by its deletion.
pub struct Right {
    tokens: Arc<Tokens>,
    metrics: Arc<Metrics>,
    principal: Option<Arc<Principal>>,
}

impl Right {
    /// Whether the caller may stay. Those who need no token may.
    ///
    /// # Errors
    /// 401.
    pub fn holds(&self) -> Result<(), Problem> {
        let Some(principal) = &self.principal else { return Ok(()) };
        self.tokens.accepts(principal).map_err(unaccepted)
    }

    /// Waits until the right has ended, and answers why. It is looked at once at least.
    pub async fn lost(&self) -> Problem {
        let Some(principal) = &self.principal else { return std::future::pending().await };
        loop {
            if let Err(error) = self.tokens.accepts(principal) {
                let reason = if error == TokenError::Expired { "expired" } else { "revoked" };
                self.metrics.connections.stream_ended(reason).inc();
                return unaccepted(error);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The account of the caller.
    #[must_use]
    pub fn account(&self) -> Option<&Arc<str>> {
        self.principal.as_ref().map(|principal| &principal.subject)
    }
}

/// Who got through as far as the head of a request tells.
pub struct Admitted {
    /// The caller, where somebody is signed in.
    pub principal: Option<Arc<Principal>>,
    /// The address of the client.
    pub client: IpAddr,
}

impl Gate {
    /// A gate with the rules of these settings.
    #[must_use]
    pub fn new(tokens: Arc<Tokens>, metrics: Arc<Metrics>, config: &Config) -> Self {
        Self {
            tokens,
            metrics,
            trusted_proxies: config.server.rest.trusted_proxies.clone(),
            rate_limits: config.limits.rate_limits,
        }
    }

    /// Before the input is read: the token, the role rule, and the limit of the address.
    ///
    /// # Errors
    /// 401 where nobody is signed in, 403 where the role is missing and no `self` rule could admit the caller, 429.
    pub fn enter(&self, method: &Method, headers: &HeaderMap, peer: IpAddr) -> Result<Admitted, Problem> {
        let principal = admit(&method.access, caller(headers, &self.tokens))?;
        let client = client_address(peer, headers, &self.trusted_proxies);
        if self.rate_limits {
            for (key, rate) in &method.rates {
                if matches!(key, RateKey::Address) {
                    rate.check_address(client).map_err(|wait| self.too_many(wait))?;
                }
            }
        }
        Ok(Admitted { principal, client })
    }

    /// On the values that the function will receive: the `self` rule, and the limits of names.
    ///
    /// # Errors
    /// 403 where neither the role nor the input admits the caller, 429.
    pub fn pass(&self, method: &Method, admitted: &Admitted, params: &[Val]) -> Result<(), Problem> {
        admit_self(&method.access, admitted.principal.as_deref(), params)?;
        if !self.rate_limits {
            return Ok(());
        }
        for (key, rate) in &method.rates {
            let RateKey::Fields(fields) = key else { continue };
            if let Some(name) = fields.iter().find_map(|field| field.text(params)) {
                rate.check_name(&name).map_err(|wait| self.too_many(wait))?;
            }
        }
        Ok(())
    }

    /// Whether somebody is signed in, for what is no method; and their right to stay.
    ///
    /// # Errors
    /// 401.
    pub fn signed_in(&self, headers: &HeaderMap) -> Result<Right, Problem> {
        let access = Access { authenticated: true, ..Access::default() };
        admit(&access, caller(headers, &self.tokens)).map(|principal| self.right(principal))
    }

    /// The right of this caller to stay on a stream.
    #[must_use]
    pub fn right(&self, principal: Option<Arc<Principal>>) -> Right {
        Right { tokens: self.tokens.clone(), metrics: self.metrics.clone(), principal }
    }

    /// Whether the request may read what the settings keep for some: `/metrics`, the documentation.
    ///
    /// # Errors
    /// 401 where nobody is signed in and that would help, else 403.
    pub fn may_read(&self, allowed: &Allowed, headers: &HeaderMap, peer: IpAddr) -> Result<(), Problem> {
        if allowed.admits(origin(peer, headers, &self.trusted_proxies)) {
            return Ok(());
        }
        let Some(role) = allowed.role else { return Err(forbidden()) };
        let access = Access { role: Some(role), ..Access::default() };
        admit(&access, caller(headers, &self.tokens)).map(drop)
    }

    fn too_many(&self, wait: Duration) -> Problem {
        self.metrics.limit_rejected("rate");
        let mut problem = Problem::new(Kind::TooManyRequests, "too many requests; try again later");
        problem.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        problem
    }
}

/// The access rule for a caller that is known otherwise than by a token, on the values that the function will receive.
///
/// # Errors
/// 401 where nobody is signed in, 403 where neither the role nor the input admits the caller.
pub fn admits(access: &Access, principal: Option<&Arc<Principal>>, params: &[Val]) -> Result<(), Problem> {
    let principal = admit(access, Ok(principal.cloned()))?;
    admit_self(access, principal.as_deref(), params)
}

/// Applies the access rule as far as it does not depend on the input.
///
/// A public method takes a caller with a bad token for nobody: a client whose token has run out must be able to sign in again.
fn admit(access: &Access, caller: Caller) -> Result<Option<Arc<Principal>>, Problem> {
    if access.public {
        return Ok(caller.unwrap_or(None));
    }
    let principal = match caller {
        Ok(Some(principal)) => principal,
        Ok(None) => return Err(Problem::new(Kind::Unauthenticated, "sign in to do this")),
        Err(error) => return Err(unaccepted(error)),
    };
    if by_role(access, &principal) || !access.own.is_empty() {
        return Ok(Some(principal));
    }
    Err(forbidden())
}

fn unaccepted(error: TokenError) -> Problem {
    let (message, code) = match error {
        TokenError::Expired => ("the token has expired", "TOKEN_EXPIRED"),
        TokenError::Revoked => ("the token was revoked", "INVALID_TOKEN"),
        TokenError::Invalid => ("the token is not valid", "INVALID_TOKEN"),
    };
    Problem::new(Kind::Unauthenticated, message).with_code(code)
}

fn admit_self(access: &Access, principal: Option<&Principal>, params: &[Val]) -> Result<(), Problem> {
    if access.public || access.own.is_empty() {
        return Ok(());
    }
    let Some(principal) = principal else { return Err(forbidden()) };
    let own = |own: &Own| own.at.text(params).is_some_and(|text: Cow<'_, str>| *text == *principal.subject);
    if by_role(access, principal) || access.own.iter().any(own) {
        return Ok(());
    }
    Err(forbidden())
}

fn by_role(access: &Access, principal: &Principal) -> bool {
    access.authenticated || access.role.is_some_and(|role| principal.role >= role)
}

fn forbidden() -> Problem {
    Problem::new(Kind::Forbidden, "you may not do this")
}

/// W3C Trace Context of the caller, where it is there and of a sane length.
#[must_use]
pub fn trace_context(headers: &HeaderMap) -> Option<Arc<(String, Option<String>)>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let parent = text("traceparent").filter(|parent| parent.len() <= 256)?;
    Some(Arc::new((parent, text("tracestate").filter(|state| state.len() <= 512))))
}

/// The client's address: the peer's, or where the peer is a trusted proxy the last address in `X-Forwarded-For` that is
/// none. What a client wrote there itself stands further left and is never believed.
#[must_use]
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    forwarded_for(peer, headers, trusted).0
}

/// The client's address for rights that depend on it, or none where it is not certain: a proxy that is not trusted, or that
/// says nothing readable, must not lend its own address to those behind it.
fn origin(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    const PROXIED: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];
    if PROXIED.iter().all(|name| !headers.contains_key(*name)) {
        return Some(peer);
    }
    if !is_trusted(peer, trusted) {
        return None;
    }
    let (client, certain) = forwarded_for(peer, headers, trusted);
    (certain && headers.contains_key("x-forwarded-for")).then_some(client)
}

fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|net| net.contains(address))
}

/// The last address in `X-Forwarded-For` that is no trusted proxy, or the first one; `false` where the list ended at
/// something that is no address.
fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> (IpAddr, bool) {
    let mut client = peer;
    let values = headers.get_all("x-forwarded-for").iter().rev();
    for entry in values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')) {
        let Ok(address) = entry.trim().parse::<IpAddr>() else { return (client, false) };
        client = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    (client, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (http::HeaderName::from_static("x-forwarded-for"), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_what_a_trusted_proxy_added_is_believed() {
        let trusted: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let stranger: IpAddr = "203.0.113.9".parse().unwrap();
        let of = |peer, values: &[&str], nets: &[Network]| client_address(peer, &headers(values), nets).to_string();
        assert_eq!(of(stranger, &["198.51.100.1"], &trusted), "203.0.113.9");
        assert_eq!(of(proxy, &["198.51.100.1"], &[]), "10.0.0.1");
        assert_eq!(of(proxy, &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(of(proxy, &["6.6.6.6, 198.51.100.1, 10.0.0.2"], &trusted), "198.51.100.1");
        assert_eq!(of(proxy, &["6.6.6.6", "198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(of(proxy, &["nonsense"], &trusted), "10.0.0.1");
    }

    #[test]
    fn an_address_that_a_proxy_hides_lends_no_rights() {
        let trusted: Vec<Network> = vec!["127.0.0.0/8".parse().unwrap()];
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let of = |name: &'static str, value: &str, nets: &[Network]| {
            let headers = [(http::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect();
            origin(local, &headers, nets).map(|address| address.to_string())
        };
        assert_eq!(origin(local, &HeaderMap::new(), &trusted), Some(local));
        assert_eq!(origin(local, &HeaderMap::new(), &[]), Some(local));
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
            assert_eq!(of(name, "127.0.0.1", &[]), None, "{name}: the proxy is not trusted");
        }
        assert_eq!(of("via", "1.1 proxy", &trusted), None, "the proxy does not say for whom");
        for unreadable in ["203.0.113.9:4711", "unknown", "127.0.0.1, 203.0.113.9:4711", ""] {
            assert_eq!(of("x-forwarded-for", unreadable, &trusted), None, "{unreadable}");
        }
        assert_eq!(of("x-forwarded-for", "127.0.0.1, 203.0.113.9", &trusted).as_deref(), Some("203.0.113.9"));
        assert_eq!(of("x-forwarded-for", "127.0.0.1", &trusted).as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn the_scheme_is_read_without_regard_to_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
