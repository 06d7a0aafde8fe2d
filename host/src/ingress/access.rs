//! Who calls, from which address, and whether they may.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use wasmtime::component::Val;

use crate::config::Network;
use crate::contract::Locator;
use crate::principal::Principal;
use crate::principal::tokens::{TokenError, Tokens};
use crate::problem::{Kind, Problem};
use crate::runtime::catalog::{Access, Route};

/// The caller as far as the token tells: nobody, somebody, or somebody with a token that is not accepted.
pub type Caller = Result<Option<Arc<Principal>>, TokenError>;

/// Reads and verifies the bearer token (RFC 6750).
pub fn caller(headers: &HeaderMap, tokens: &Tokens) -> Caller {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(bearer).ok_or(TokenError::Invalid)?;
    tokens.verify(token).map(Some)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// Applies the access rule as far as it does not depend on the input.
///
/// A public route takes a caller with a bad token for nobody: a client whose token has run out must be able to sign in again.
///
/// # Errors
/// 401 where nobody is signed in, 403 where the role is missing and no `self` rule could admit the caller.
pub fn admit(route: &Route, caller: Caller) -> Result<Option<Arc<Principal>>, Problem> {
    let access = &route.access;
    if access.public {
        return Ok(caller.unwrap_or(None));
    }
    let principal = match caller {
        Ok(Some(principal)) => principal,
        Ok(None) => return Err(Problem::new(Kind::Unauthenticated, "sign in to do this")),
        Err(TokenError::Expired) => {
            return Err(Problem::new(Kind::Unauthenticated, "the token has expired").with_code("TOKEN_EXPIRED"));
        }
        Err(TokenError::Revoked) => {
            return Err(Problem::new(Kind::Unauthenticated, "the token was revoked").with_code("INVALID_TOKEN"));
        }
        Err(TokenError::Invalid) => {
            return Err(Problem::new(Kind::Unauthenticated, "the token is not valid").with_code("INVALID_TOKEN"));
        }
    };
    if by_role(access, &principal) || !route.self_params.is_empty() {
        return Ok(Some(principal));
    }
    Err(forbidden())
}

/// Applies the `self` rule to the values that the function will receive.
///
/// # Errors
/// 403 where neither the role nor the input admits the caller.
pub fn admit_self(route: &Route, principal: Option<&Principal>, params: &[Val]) -> Result<(), Problem> {
    if route.access.public || route.self_params.is_empty() {
        return Ok(());
    }
    let Some(principal) = principal else { return Err(forbidden()) };
    let own = |locator: &Locator| locator.text(params).is_some_and(|text: Cow<'_, str>| *text == *principal.subject);
    if by_role(&route.access, principal) || route.self_params.iter().any(own) {
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

/// The client's address: the peer's, or where the peer is a trusted proxy the last address in `X-Forwarded-For` that is
/// none. What a client wrote there itself stands further left and is never believed.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(*address));
    if trusted.is_empty() || !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    let forwarded = headers.get_all("x-forwarded-for");
    for entry in forwarded.iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(',')) {
        let Ok(address) = entry.trim().parse::<IpAddr>() else { break };
        client = address;
        if !is_trusted(&address) {
            break;
        }
    }
    client
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
    fn the_scheme_is_read_without_regard_to_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
