//! Tokens whose signature has been checked, by the SHA-256 of the whole token.
//!
//! A fixed table of small sets rather than a general cache: what it keeps is bounded from the start, a lookup is one short
//! lock and at most four comparisons, and nothing has to be kept in order behind the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::Principal;

/// The SHA-256 of a token.
pub(super) type Digest = [u8; 32];

const WAYS: usize = 4;

type Set = [Option<(Digest, Arc<Principal>)>; WAYS];

pub(super) struct TokenCache {
    sets: Box<[RwLock<Set>]>,
    victim: AtomicUsize,
}

impl TokenCache {
    /// Room for at least so many tokens.
    pub(super) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).next_power_of_two();
        Self { sets: (0..sets).map(|_| RwLock::new(Set::default())).collect(), victim: AtomicUsize::new(0) }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Principal>> {
        let set = self.set(digest).read();
        set.iter().flatten().find(|(key, _)| key == digest).map(|(_, principal)| Arc::clone(principal))
    }

    /// Keeps a token in the place of one that has ended, or else of one of its set in turn.
    pub(super) fn insert(&self, digest: Digest, principal: Arc<Principal>, now_s: i64) {
        let mut set = self.set(&digest).write();
        let same = set.iter().position(|slot| slot.as_ref().is_some_and(|(key, _)| *key == digest));
        let spent = || set.iter().position(|slot| slot.as_ref().is_none_or(|(_, old)| old.expires_at < now_s));
        let place =
            same.or_else(spent).unwrap_or_else(|| self.victim.fetch_add(1, Ordering::Relaxed).wrapping_rem(WAYS));
        set[place] = Some((digest, principal));
    }

    fn set(&self, digest: &Digest) -> &RwLock<Set> {
        let [a, b, c, d, ..] = *digest;
        // Their number is a power of two; the digest is uniform.
        let index = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        &self.sets[index & (self.sets.len() - 1)]
    }
}
