//! The places for connections of one listener, with a few that are kept for those who look after the host.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a listener.
pub(in crate::ingress) struct Places {
    all: Arc<Semaphore>,
    /// For clients on this machine.
    loopback: Arc<Semaphore>,
    /// For connections that may only ask for health.
    health: Arc<Semaphore>,
}

/// A place, until it is dropped.
pub(in crate::ingress) struct Place {
    _permit: OwnedSemaphorePermit,
    /// Whether the connection may only ask for health.
    pub only_health: bool,
}

impl Places {
    /// So many places, and of each kind so many reserved ones beside them.
    pub(in crate::ingress) fn new(all: u32, reserved: u32) -> Self {
        let places = |n: u32| Arc::new(Semaphore::new(usize::try_from(n).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { all: places(all), loopback: places(reserved), health: places(reserved) }
    }

    /// A place for a connection from this address; none where all that it may have are taken.
    pub(in crate::ingress) fn take(&self, peer: IpAddr) -> Option<Place> {
        let place = |places: &Arc<Semaphore>, only_health| {
            let permit = places.clone().try_acquire_owned().ok()?;
            Some(Place { _permit: permit, only_health })
        };
        let reserved = || place(&self.loopback, false).filter(|_| peer.to_canonical().is_loopback());
        place(&self.all, false).or_else(reserved).or_else(|| place(&self.health, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_for_loopback_and_for_health() {
        let places = Places::new(1, 1);
        let (near, far): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "203.0.113.9".parse().unwrap());
        let first = places.take(far).unwrap();
        let probe = places.take(far).unwrap();
        assert!(!first.only_health && probe.only_health);
        assert!(places.take(far).is_none(), "the place of loopback is kept");
        let local = places.take(near).unwrap();
        assert!(!local.only_health && places.take(near).is_none());
        drop(first);
        assert!(!places.take(far).unwrap().only_health);
    }
}
