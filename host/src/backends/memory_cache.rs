//! The cache inside the process: a bounded space of entries for every plugin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use moka::Expiry;
use moka::ops::compute::{CompResult, Op};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an entry costs on top of its key and value, in bytes: about what it takes to keep it.
const ENTRY_OVERHEAD: usize = 128;

/// The limits of every plugin's space. [`Default`] gives the values named here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes that the entries of one plugin may take: 16 MiB. Past it, entries that are little used make room.
    pub max_bytes: u64,
    /// The longest key in bytes: 512.
    pub max_key_bytes: usize,
    /// The largest value in bytes: 1 MiB.
    pub max_value_bytes: usize,
    /// The longest an entry is kept: 24 hours.
    pub max_ttl: Duration,
    /// The longest a call waits for another one that computes an entry: 10 s.
    pub max_wait: Duration,
    /// Calls of one plugin that may compute entries or wait for them at once: 1,024.
    pub max_locks: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            max_key_bytes: 512,
            max_value_bytes: 1 << 20,
            max_ttl: Duration::from_secs(24 * 60 * 60),
            max_wait: Duration::from_secs(10),
            max_locks: 1_024,
        }
    }
}

/// Why the cache did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The key or the value is larger than the limit given here, in bytes.
    #[error("more than {0} bytes")]
    TooLarge(u64),
    /// `increment` met an entry that is no number.
    #[error("the entry is no number")]
    NotANumber,
    /// The cache cannot do it right now.
    #[error("the cache is not available: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The answer of [`CacheSpace::get_or_lock`].
#[derive(Debug)]
pub enum Lookup {
    /// The entry is there.
    Found(Bytes),
    /// It is not there, and this caller is the one to compute it.
    Acquired(CacheLock),
    /// Somebody else was computing it and was not done in the time given.
    Busy,
}

/// The spaces of all plugins.
#[derive(Debug)]
pub struct MemoryCache {
    settings: Arc<CacheSettings>,
    spaces: DashMap<String, Arc<CacheSpace>>,
}

impl MemoryCache {
    /// A cache without entries.
    #[must_use]
    pub fn new(settings: CacheSettings) -> Self {
        Self { settings: Arc::new(settings), spaces: DashMap::new() }
    }

    /// The space of a plugin, the same one for every caller. It stays when the plugin is replaced.
    #[must_use]
    pub fn space(&self, plugin: &str) -> Arc<CacheSpace> {
        if let Some(space) = self.spaces.get(plugin) {
            return Arc::clone(&space);
        }
        let space = self.spaces.entry(plugin.to_owned()).or_insert_with(|| CacheSpace::new(&self.settings));
        Arc::clone(&space)
    }

    /// Forgets everything of a plugin.
    pub fn remove(&self, plugin: &str) {
        self.spaces.remove(plugin);
    }
}

/// The entries of one plugin.
#[derive(Debug)]
pub struct CacheSpace {
    settings: Arc<CacheSettings>,
    entries: Cache<Arc<str>, Entry>,
    turns: Mutex<Turns>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Bytes,
    expires: Instant,
}

/// Who computes what. Every key with somebody who computes or waits has one semaphore with one permit.
#[derive(Debug, Default)]
struct Turns {
    by_key: HashMap<Arc<str>, (Arc<Semaphore>, usize)>,
    /// How many compute or wait, over all keys.
    callers: usize,
}

impl CacheSpace {
    fn new(settings: &Arc<CacheSettings>) -> Arc<Self> {
        let weigh = |key: &Arc<str>, entry: &Entry| {
            u32::try_from(key.len() + entry.value.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(settings.max_bytes).weigher(weigh).expire_after(ByEntry).build();
        Arc::new(Self { settings: Arc::clone(settings), entries, turns: Mutex::default() })
    }

    /// The entry, where there is one.
    ///
    /// # Errors
    /// `TooLarge` for the key.
    pub fn get(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        self.check_key(key)?;
        Ok(self.entries.get(key).map(|entry| entry.value))
    }

    /// Keeps a value for this long, at most and by default for the longest time.
    ///
    /// # Errors
    /// `TooLarge` for the key or the value.
    pub fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), CacheError> {
        self.check_key(key)?;
        within(value.len(), self.settings.max_value_bytes)?;
        self.entries.insert(key.into(), Entry { value, expires: self.expires(ttl) });
        Ok(())
    }

    /// Forgets an entry; true where there was one.
    ///
    /// # Errors
    /// `TooLarge` for the key.
    pub fn delete(&self, key: &str) -> Result<bool, CacheError> {
        self.check_key(key)?;
        Ok(self.entries.remove(key).is_some())
    }

    /// Adds to a number that is kept as decimal text, from 0 where there is none, and answers the sum. The time to live
    /// counts from the first increment.
    ///
    /// # Errors
    /// `NotANumber` for an entry that is none, `Other` where the sum leaves 64 bits, `TooLarge` for the key.
    pub fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, CacheError> {
        self.check_key(key)?;
        let mut sum = 0;
        let result = self.entries.entry(key.into()).and_try_compute_with(|found| {
            let (number, expires) = match found {
                None => (0, self.expires(ttl)),
                Some(found) => {
                    let entry = found.into_value();
                    let text = std::str::from_utf8(&entry.value).map_err(|_| CacheError::NotANumber)?;
                    (text.parse::<i64>().map_err(|_| CacheError::NotANumber)?, entry.expires)
                }
            };
            sum = number.checked_add(by).ok_or_else(|| CacheError::Other("the sum leaves 64 bits".to_owned()))?;
            Ok(Op::Put(Entry { value: Bytes::from(sum.to_string()), expires }))
        });
        result.map(|_: CompResult<_, _>| sum)
    }

    /// The entry, or the sole right to compute it, so that many callers do not compute the same thing at once. Waits up
    /// to `wait` for another caller that has the right.
    ///
    /// # Errors
    /// `TooLarge` for the key, `Unavailable` where too many callers compute or wait.
    pub async fn get_or_lock(self: &Arc<Self>, key: &str, wait: Duration) -> Result<Lookup, CacheError> {
        if let Some(value) = self.get(key)? {
            return Ok(Lookup::Found(value));
        }
        let (turn, semaphore) = self.take_turn(key)?;
        let permit = match Arc::clone(&semaphore).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match tokio::time::timeout(wait.min(self.settings.max_wait), semaphore.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Ok(Lookup::Busy),
            },
        };
        // Whoever had the right before may have filled it; the permit then goes on to the next at once.
        if let Some(value) = self.get(key)? {
            return Ok(Lookup::Found(value));
        }
        Ok(Lookup::Acquired(CacheLock { _permit: permit, turn }))
    }

    fn take_turn(self: &Arc<Self>, key: &str) -> Result<(Turn, Arc<Semaphore>), CacheError> {
        let mut turns = self.turns.lock();
        if turns.callers >= self.settings.max_locks {
            return Err(CacheError::Unavailable("too many calls compute entries or wait for them".to_owned()));
        }
        turns.callers += 1;
        let key: Arc<str> = key.into();
        let (semaphore, callers) =
            turns.by_key.entry(Arc::clone(&key)).or_insert_with(|| (Arc::new(Semaphore::new(1)), 0));
        *callers += 1;
        Ok((Turn { key, space: Arc::clone(self) }, Arc::clone(semaphore)))
    }

    fn check_key(&self, key: &str) -> Result<(), CacheError> {
        within(key.len(), self.settings.max_key_bytes)
    }

    fn expires(&self, ttl: Option<Duration>) -> Instant {
        Instant::now() + ttl.map_or(self.settings.max_ttl, |ttl| ttl.min(self.settings.max_ttl))
    }
}

fn within(size: usize, limit: usize) -> Result<(), CacheError> {
    if size <= limit { Ok(()) } else { Err(CacheError::TooLarge(u64::try_from(limit).unwrap_or(u64::MAX))) }
}

/// The right to compute an entry. Dropping it gives the right to the next caller.
#[derive(Debug)]
pub struct CacheLock {
    // Before the turn: the next caller must have it before the key may be forgotten.
    _permit: OwnedSemaphorePermit,
    turn: Turn,
}

impl CacheLock {
    /// Keeps the computed value and gives the right back.
    ///
    /// # Errors
    /// `TooLarge` for the value; the right is given back then too.
    pub fn fill(self, value: Bytes, ttl: Option<Duration>) -> Result<(), CacheError> {
        self.turn.space.set(&self.turn.key, value, ttl)
    }
}

/// A caller that computes an entry or waits for it.
#[derive(Debug)]
struct Turn {
    key: Arc<str>,
    space: Arc<CacheSpace>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.space.turns.lock();
        turns.callers -= 1;
        if let Some((_, callers)) = turns.by_key.get_mut(&self.key) {
            *callers -= 1;
            if *callers == 0 {
                turns.by_key.remove(&self.key);
            }
        }
    }
}

/// Each entry says itself when it ends.
struct ByEntry;

impl Expiry<Arc<str>, Entry> for ByEntry {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(entry.expires.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &Arc<str>, entry: &Entry, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.expires.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(settings: CacheSettings) -> Arc<CacheSpace> {
        MemoryCache::new(settings).space("acme/bookmarks")
    }

    #[test]
    fn spaces_do_not_see_each_other() {
        let cache = MemoryCache::new(CacheSettings::default());
        cache.space("a").set("key", "1".into(), None).unwrap();
        assert_eq!(cache.space("b").get("key"), Ok(None));
        assert_eq!(cache.space("a").get("key"), Ok(Some("1".into())));
        assert_eq!(cache.space("a").delete("key"), Ok(true));
        assert_eq!(cache.space("a").delete("key"), Ok(false));
    }

    #[test]
    fn sizes_are_limited_and_a_space_does_not_grow_past_its_bytes() {
        let space =
            space(CacheSettings { max_bytes: 64 << 10, max_key_bytes: 8, max_value_bytes: 4096, ..Default::default() });
        assert_eq!(space.get("ninechars"), Err(CacheError::TooLarge(8)));
        assert_eq!(space.set("k", vec![0; 4097].into(), None), Err(CacheError::TooLarge(4096)));
        for number in 0..1_000 {
            space.set(&format!("k{number}"), vec![0; 4096].into(), None).unwrap();
        }
        space.entries.run_pending_tasks();
        assert!(space.entries.weighted_size() <= 64 << 10);
    }

    #[test]
    fn an_entry_ends_with_its_time_and_an_increment_does_not_prolong_it() {
        let space = space(CacheSettings::default());
        let ttl = Some(Duration::from_millis(50));
        assert_eq!(space.increment("n", 5, ttl), Ok(5));
        assert_eq!(space.increment("n", -7, Some(Duration::from_secs(60))), Ok(-2));
        space.set("gone", "x".into(), Some(Duration::ZERO)).unwrap();
        assert_eq!(space.get("gone"), Ok(None));
        std::thread::sleep(Duration::from_millis(80));
        assert_eq!(space.increment("n", 1, None), Ok(1));
    }

    #[test]
    fn increments_refuse_what_is_no_number_and_lose_none() {
        let space = space(CacheSettings::default());
        space.set("text", "x".into(), None).unwrap();
        assert_eq!(space.increment("text", 1, None), Err(CacheError::NotANumber));
        space.set("most", i64::MAX.to_string().into(), None).unwrap();
        assert!(matches!(space.increment("most", 1, None), Err(CacheError::Other(_))));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| drop(space.increment("n", 1, None))));
            }
        });
        assert_eq!(space.increment("n", 0, None), Ok(2_000));
    }

    #[tokio::test]
    async fn one_computes_and_all_get_it() {
        let space = space(CacheSettings::default());
        let Lookup::Acquired(lock) = space.get_or_lock("k", Duration::ZERO).await.unwrap() else { panic!() };
        assert!(matches!(space.get_or_lock("k", Duration::from_millis(5)).await, Ok(Lookup::Busy)));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let space = Arc::clone(&space);
                tokio::spawn(async move { space.get_or_lock("k", Duration::from_secs(10)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        lock.fill("v".into(), None).unwrap();
        for waiter in waiting {
            assert!(matches!(waiter.await.unwrap(), Ok(Lookup::Found(value)) if value == "v"));
        }
        assert!(space.turns.lock().by_key.is_empty());
    }

    #[tokio::test]
    async fn a_dropped_lock_goes_to_the_next_and_waiters_are_bounded() {
        let space = space(CacheSettings { max_locks: 2, ..Default::default() });
        let Lookup::Acquired(lock) = space.get_or_lock("k", Duration::ZERO).await.unwrap() else { panic!() };
        let next = Arc::clone(&space);
        let next = tokio::spawn(async move { next.get_or_lock("k", Duration::from_secs(10)).await });
        tokio::task::yield_now().await;
        assert!(matches!(space.get_or_lock("other", Duration::ZERO).await, Err(CacheError::Unavailable(_))));
        drop(lock);
        assert!(matches!(next.await.unwrap(), Ok(Lookup::Acquired(_))));
        assert_eq!(space.turns.lock().callers, 0);
    }
}
