//! Rate limits of published methods (GCRA, by the crate `governor`).

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// One limit: so many a minute for each key, so many of them at once.
///
/// A key is kept as a 64-bit keyed hash: the table holds no addresses or names, and each key costs the same.
pub struct Rate {
    /// Sustained requests a minute.
    pub per_minute: u32,
    /// Requests at once.
    pub burst: u32,
    limiter: RateLimiter<u64, DashMapStateStore<u64>, DefaultClock>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Rate {
    /// `per_minute` sustained and `burst` at once, each at least 1.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let positive = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(positive(per_minute)).allow_burst(positive(burst));
        let limiter = RateLimiter::dashmap(quota);
        Self { per_minute, burst, limiter, hasher: RandomState::new(), clock: DefaultClock::default() }
    }

    /// Counts one request of this client. An IPv6 client is its /64, which is what one subscriber gets.
    ///
    /// # Errors
    /// The time until the next one is allowed.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Duration> {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.check(v4.octets()),
            IpAddr::V6(v6) => self.check(&v6.octets()[..8]),
        }
    }

    /// Counts one request for this name. Case and surrounding space make no other name.
    ///
    /// # Errors
    /// The time until the next one is allowed.
    pub fn check_name(&self, name: &str) -> Result<(), Duration> {
        self.check(name.trim().to_lowercase())
    }

    fn check(&self, key: impl Hash) -> Result<(), Duration> {
        let key = self.hasher.hash_one(key);
        self.limiter.check_key(&key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets the keys whose allowance is whole again, so that the table holds recent ones only.
    pub fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate::new(per_minute, burst)
    }

    #[test]
    fn a_burst_passes_and_the_next_is_told_when_to_come_back() {
        let rate = rate(6, 2);
        let address = "192.0.2.1".parse().unwrap();
        assert!(rate.check_address(address).is_ok());
        assert!(rate.check_address(address).is_ok());
        let wait = rate.check_address(address).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(10), "{wait:?}");
        assert!(rate.check_address("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn one_subscriber_is_one_client_whatever_address_it_picks() {
        let rate = rate(6, 1);
        assert!(rate.check_address("2001:db8:1:1::1".parse().unwrap()).is_ok());
        assert!(rate.check_address("2001:db8:1:1::2".parse().unwrap()).is_err());
        assert!(rate.check_address("2001:db8:1:2::1".parse().unwrap()).is_ok());
        assert!(rate.check_address("192.0.2.9".parse().unwrap()).is_ok());
        assert!(rate.check_address("::ffff:192.0.2.9".parse().unwrap()).is_err());
    }

    #[test]
    fn a_name_is_the_same_in_any_case() {
        let rate = rate(6, 1);
        assert!(rate.check_name("Ada@Example.org").is_ok());
        assert!(rate.check_name(" ada@example.org ").is_err());
    }
}
