//! Who may read `/metrics` and the documentation: the values of `observability.metrics.allow` and `server.rest.docs_allow`.

use std::net::IpAddr;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::net::Network;
use crate::principal::Role;

const HELP: &str = "\"auto\", \"public\", \"authenticated\", \"role:admin\", \"loopback\", \"private\", \"off\", an address or a network";

/// The private networks: RFC 1918, link-local addresses (RFC 3927, RFC 4291) and unique local ones (RFC 4193).
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Auto,
    Public,
    Off,
    Role(Role),
    Loopback,
    Private,
    Network(Network),
}

/// The readers as the settings name them; any of them is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readers(Vec<Reader>);

/// The readers as requests are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Everybody.
    pub public: bool,
    /// Clients with an address in one of these.
    pub networks: Vec<Network>,
    /// Callers with this role or a higher one, from any address.
    pub role: Option<Role>,
}

impl Readers {
    /// The rule in this mode; none where nobody may read. `auto` is everybody in development mode, else loopback, private
    /// networks and administrators.
    #[must_use]
    pub fn allowed(&self, development: bool) -> Option<Allowed> {
        let mut allowed = Allowed { public: false, networks: Vec::new(), role: None };
        for reader in &self.0 {
            match reader {
                Reader::Off => return None,
                Reader::Public => allowed.public = true,
                Reader::Auto if development => allowed.public = true,
                Reader::Auto => {
                    allowed.add(&LOOPBACK);
                    allowed.add(&PRIVATE);
                    allowed.lower(Role::Admin);
                }
                Reader::Role(role) => allowed.lower(*role),
                Reader::Loopback => allowed.add(&LOOPBACK),
                Reader::Private => allowed.add(&PRIVATE),
                Reader::Network(network) => allowed.networks.push(*network),
            }
        }
        Some(allowed)
    }

    /// The rule that the list breaks, if any.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        let alone = |reader: Reader| self.0.contains(&reader) && self.0.len() > 1;
        if self.0.is_empty() {
            return Some("must name somebody; \"off\" is for nobody");
        }
        if alone(Reader::Off) {
            return Some("\"off\" stands alone");
        }
        alone(Reader::Public).then_some("\"public\" stands alone: it includes everybody else")
    }
}

impl Allowed {
    /// Whether a client at this address needs no role; `None` is an address that is not known.
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.public || address.is_some_and(|address| self.networks.iter().any(|net| net.contains(address)))
    }

    fn add(&mut self, networks: &[&str]) {
        self.networks.extend(networks.iter().filter_map(|net| net.parse::<Network>().ok()));
    }

    fn lower(&mut self, role: Role) {
        self.role = Some(self.role.map_or(role, |known| known.min(role)));
    }
}

impl Reader {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "public" => Self::Public,
            "off" => Self::Off,
            "authenticated" => Self::Role(Role::User),
            "loopback" => Self::Loopback,
            "private" => Self::Private,
            _ => match text.strip_prefix("role:") {
                Some(role) => Self::Role(Role::parse(role)?),
                None => Self::Network(text.parse().ok()?),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Readers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a word or a list of words such as [\"loopback\", \"private\", \"role:admin\"]")]
        enum Words {
            One(String),
            List(Vec<String>),
        }
        let words = match Words::deserialize(deserializer)? {
            Words::One(word) => vec![word],
            Words::List(words) => words,
        };
        let readers = words
            .iter()
            .map(|word| Reader::parse(word).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(word), &HELP)));
        Ok(Self(readers.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(toml: &str) -> Result<Readers, toml::de::Error> {
        #[derive(Deserialize)]
        struct Section {
            allow: Readers,
        }
        toml::from_str::<Section>(&format!("allow = {toml}")).map(|section| section.allow)
    }

    fn admits(toml: &str, development: bool, address: &str) -> bool {
        let allowed = readers(toml).unwrap().allowed(development);
        allowed.is_some_and(|allowed| allowed.admits(address.parse().ok()))
    }

    #[test]
    fn addresses_are_judged_by_the_list() {
        for private in ["127.0.0.1", "::1", "10.2.3.4", "172.31.0.1", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(admits("[\"auto\"]", false, private), "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "unknown"] {
            assert!(!admits("[\"auto\"]", false, public), "{public}");
            assert!(admits("\"auto\"", true, public), "{public}");
            assert!(admits("[\"public\"]", false, public), "{public}");
            assert!(!admits("\"off\"", true, public), "{public}");
        }
        assert!(!admits("[\"loopback\"]", true, "10.0.0.1"));
        assert!(!admits("[\"private\"]", false, "127.0.0.1"));
        assert!(admits("[\"loopback\", \"203.0.113.0/24\"]", false, "203.0.113.9"));
    }

    #[test]
    fn of_several_roles_the_lowest_counts() {
        let role = |toml| readers(toml).unwrap().allowed(false).unwrap().role;
        assert_eq!(role("[\"auto\"]"), Some(Role::Admin));
        assert_eq!(role("[\"auto\", \"role:moderator\"]"), Some(Role::Moderator));
        assert_eq!(role("[\"role:superadmin\", \"authenticated\"]"), Some(Role::User));
        assert_eq!(role("[\"loopback\"]"), None);
    }

    #[test]
    fn lists_that_mean_nothing_are_mistakes() {
        for wrong in ["[]", "[\"off\", \"loopback\"]", "[\"public\", \"authenticated\"]"] {
            assert!(readers(wrong).unwrap().mistake().is_some(), "{wrong}");
        }
        for unknown in ["\"admins\"", "[\"role:king\"]", "[\"10.0.0.0/40\"]", "[1]", "true"] {
            assert!(readers(unknown).is_err(), "{unknown}");
        }
    }
}
