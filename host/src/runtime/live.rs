//! The places and the memory that all instances share, and how much of them one plugin may have.
//!
//! The first half of each is granted with atomics alone. Past it, the host keeps back the unused guarantees of all active
//! plugins, and one more for a version that is being brought up: `limits.instances_reserved` places, and half of an equal part of
//! the memory. Together the guarantees are never more than the other half. When there is no room, idle instances are evicted
//! first; then the request is refused. A plugin that has more than an equal part of the memory leaves an eighth of it free,
//! so that plugins below theirs still find room.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::pool::{Pool, Warm};

/// The bounds on all instances together.
#[derive(Debug, Clone)]
pub struct LiveLimits {
    /// Most live instances.
    pub instances: usize,
    /// Places that are kept for each active plugin, at most.
    pub reserved: usize,
    /// How many of a hundred places one plugin may have.
    pub share: usize,
    /// Bytes of linear memory, tables and handles.
    pub memory: usize,
}

/// All live instances of the host: bounded in number and memory, and idle ones give way to those that are needed.
pub struct LiveInstances {
    places: Stock,
    memory: Stock,
    most_of_one: usize,
    evicted: AtomicU64,
    pools: Mutex<Vec<Weak<Pool>>>,
}

/// The places and the memory that one plugin has taken.
#[derive(Default)]
pub(super) struct Share {
    places: AtomicUsize,
    memory: AtomicUsize,
}

/// One of the two things that are shared.
struct Stock {
    max: usize,
    taken: AtomicUsize,
    /// The most that is guaranteed to one plugin.
    guaranteed: usize,
    /// The amount that a plugin with more than an equal part leaves free.
    headroom: usize,
    of: fn(&Share) -> &AtomicUsize,
}

/// The answer to a request for more.
enum Claim {
    Granted,
    /// An idle instance that has to go first: drop it and ask again.
    Evict(Box<Warm>),
    Refused,
}

impl Stock {
    /// Takes as long as no guarantee can be in question: together they are half of the stock at most.
    fn take_free(&self, amount: usize) -> bool {
        self.take(amount, self.max / 2 + self.headroom)
    }

    /// Takes unless that leaves less than `rest`.
    fn take(&self, amount: usize, rest: usize) -> bool {
        let with = |taken: usize| taken.checked_add(amount).filter(|sum| sum.saturating_add(rest) <= self.max);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, with).is_ok()
    }

    fn give_back(&self, share: &Share, amount: usize) {
        (self.of)(share).fetch_sub(amount, Ordering::AcqRel);
        self.taken.fetch_sub(amount, Ordering::AcqRel);
    }
}

impl LiveInstances {
    /// Nothing is alive yet.
    #[must_use]
    pub fn new(limits: &LiveLimits) -> Arc<Self> {
        let places = Stock {
            max: limits.instances,
            taken: AtomicUsize::new(0),
            guaranteed: limits.reserved,
            headroom: 0,
            of: |share| &share.places,
        };
        let memory = Stock {
            max: limits.memory,
            taken: AtomicUsize::new(0),
            guaranteed: usize::MAX,
            headroom: limits.memory / 8,
            of: |share| &share.memory,
        };
        let most_of_one = (limits.instances.saturating_mul(limits.share) / 100).clamp(1, limits.instances.max(1));
        Arc::new(Self { places, memory, most_of_one, evicted: AtomicU64::new(0), pools: Mutex::default() })
    }

    /// How many instances are alive.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.taken.load(Ordering::Relaxed)
    }

    /// The most instances of one plugin.
    #[must_use]
    pub const fn most_of_one(&self) -> usize {
        self.most_of_one
    }

    /// Bytes that the live instances have, and the most that they may have.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        (self.memory.taken.load(Ordering::Relaxed), self.memory.max)
    }

    /// Idle instances that were given up since the start because their place or their memory was needed.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Makes a pool one of those that share.
    pub(super) fn add(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock();
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// A place for one more instance of a plugin.
    pub(super) fn place(self: &Arc<Self>, share: &Arc<Share>) -> Option<Place> {
        loop {
            match self.claim(&self.places, share, 1, self.most_of_one) {
                Claim::Granted => return Some(Place { live: self.clone(), share: share.clone() }),
                // Dropped outside of the lock: freeing an instance unmaps memory.
                Claim::Evict(idle) => drop(idle),
                Claim::Refused => return None,
            }
        }
    }

    /// Takes, or says what has to happen first. Of one plugin's part at most `most`.
    fn claim(&self, stock: &Stock, share: &Share, amount: usize, most: usize) -> Claim {
        let own = (stock.of)(share);
        let with = |had: usize| had.checked_add(amount).filter(|has| *has <= most);
        let take_own = || own.fetch_update(Ordering::AcqRel, Ordering::Acquire, with);
        if amount == 0 {
            return Claim::Granted;
        }
        if take_own().is_err() {
            return Claim::Refused;
        }
        if stock.take_free(amount) {
            return Claim::Granted;
        }
        own.fetch_sub(amount, Ordering::AcqRel);
        // Those who look at the parts of others see none that is only asked for.
        let pools = self.pools.lock();
        let Ok(had) = take_own() else { return Claim::Refused };
        let claim = self.claim_scarce(&pools, stock, share, amount, had);
        if !matches!(claim, Claim::Granted) {
            own.fetch_sub(amount, Ordering::AcqRel);
        }
        claim
    }

    fn claim_scarce(&self, pools: &[Weak<Pool>], stock: &Stock, share: &Share, amount: usize, had: usize) -> Claim {
        let active = || pools.iter().filter_map(Weak::upgrade).filter(|pool| !pool.is_closed());
        let count = active().count().max(1);
        let guaranteed = stock.guaranteed.min(stock.max / 2 / (count + 1));
        let used = |pool: &Pool| (stock.of)(pool.share()).load(Ordering::Acquire);
        let others = active().filter(|pool| !std::ptr::eq(&**pool.share(), share));
        // Once more than there are others: for a version that is brought up.
        let owed = others.map(|pool| guaranteed.saturating_sub(used(&pool))).sum::<usize>() + guaranteed;
        let has = had.saturating_add(amount);
        let rest = match has {
            has if has <= guaranteed => 0,
            has if has <= stock.max / count => owed,
            _ => owed + stock.headroom,
        };
        if stock.take(amount, rest) {
            return Claim::Granted;
        }
        // Evicting within a guarantee gains nothing, as the guarantee is kept back then; unless the one that asks is within its own.
        let spare = |pool: &Arc<Pool>| used(pool) > guaranteed || has <= guaranteed;
        let mut idle: Vec<Arc<Pool>> = active().filter(|pool| spare(pool) && pool.idle() > 0).collect();
        idle.sort_by_key(|pool| std::cmp::Reverse((used(pool), pool.idle())));
        match idle.iter().find_map(|pool| pool.take_idle()) {
            Some(warm) => {
                self.evicted.fetch_add(1, Ordering::Relaxed);
                Claim::Evict(Box::new(warm))
            }
            None => Claim::Refused,
        }
    }
}

/// One of the places of [`LiveInstances`], given back when it is dropped.
pub(super) struct Place {
    live: Arc<LiveInstances>,
    share: Arc<Share>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.places.give_back(&self.share, 1);
    }
}

/// The memory that one instance has, given back when it is dropped.
pub(super) struct HeldMemory {
    live: Arc<LiveInstances>,
    share: Arc<Share>,
    bytes: usize,
}

impl HeldMemory {
    /// Nothing yet.
    pub(super) fn new(live: Arc<LiveInstances>, share: Arc<Share>) -> Self {
        Self { live, share, bytes: 0 }
    }

    /// Takes more; false where there is no room for it.
    pub(super) async fn take(&mut self, bytes: usize) -> bool {
        loop {
            match self.live.claim(&self.live.memory, &self.share, bytes, usize::MAX) {
                Claim::Granted => {
                    self.bytes += bytes;
                    return true;
                }
                // A guest that grows is on a stack of its own, which is no place to end another one.
                Claim::Evict(idle) => {
                    let _ = tokio::spawn(async move { drop(idle) }).await;
                }
                Claim::Refused => return false,
            }
        }
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.live.memory.give_back(&self.share, self.bytes);
    }
}
