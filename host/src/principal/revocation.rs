//! Which access tokens are refused before their time: a flag for each revoked session, a not-before for each revoked
//! subject. Entries are dropped when the longest token that they could refuse has ended.
//!
//! The order of issuing and revoking is exact. A token carries its issue time in milliseconds; it is refused when that
//! is not after its subject's not-before. A revocation takes as its not-before the latest time that any token was given,
//! and a token issued after it is stamped at least one millisecond later.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::Principal;

/// The longest session id or subject, in bytes.
pub const MAX_VALUE_BYTES: usize = 256;

/// What a revocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationKind {
    /// Every token of a session.
    Session,
    /// Every token of a subject that was issued up to a time.
    Subject,
}

impl RevocationKind {
    /// The name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Subject => "subject",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Session, Self::Subject].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A revocation, as it is kept in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What `value` names.
    pub kind: RevocationKind,
    /// The id of the session or of the subject.
    pub value: String,
    /// Tokens of a subject issued up to here, inclusive, are refused; milliseconds since 1970-01-01T00:00:00Z.
    pub not_before_ms: i64,
    /// From here on no token is left that it could refuse, and it may be forgotten; milliseconds as above.
    pub expires_ms: i64,
}

#[derive(Clone, Copy)]
struct Entry {
    not_before_ms: i64,
    expires_ms: i64,
}

/// The revocations in force. Looking up takes one or two hash lookups, and nothing while there are none.
pub struct RevocationTable {
    sessions: DashMap<Arc<str>, Entry>,
    subjects: DashMap<Arc<str>, Entry>,
    // Counted beside the maps, whose own length locks every shard.
    session_count: AtomicUsize,
    subject_count: AtomicUsize,
    /// Revocations of subjects whose transaction is under way: an id, the subject, its not-before.
    pending: Mutex<Vec<(u64, String, i64)>>,
    pending_count: AtomicUsize,
    /// The latest time that was given to a token or a revocation.
    latest_ms: AtomicI64,
    keep_ms: i64,
    purge_at: AtomicUsize,
    next_id: AtomicU64,
}

impl RevocationTable {
    /// An empty table. `keep_ms`: how long a revocation matters, which is the longest life of a token and the leeway.
    #[must_use]
    pub fn new(keep_ms: i64) -> Self {
        Self {
            sessions: DashMap::new(),
            subjects: DashMap::new(),
            session_count: AtomicUsize::new(0),
            subject_count: AtomicUsize::new(0),
            pending: Mutex::new(Vec::new()),
            pending_count: AtomicUsize::new(0),
            latest_ms: AtomicI64::new(0),
            keep_ms,
            purge_at: AtomicUsize::new(1024),
            next_id: AtomicU64::new(0),
        }
    }

    /// Whether the tokens of this caller are refused.
    #[must_use]
    pub fn is_revoked(&self, principal: &Principal) -> bool {
        (self.session_count.load(Ordering::Acquire) != 0 && self.sessions.contains_key(&*principal.session_id))
            || (self.subject_count.load(Ordering::Acquire) != 0
                && self.subjects.get(&*principal.subject).is_some_and(|e| principal.issued_at_ms <= e.not_before_ms))
    }

    /// Begins a revocation at `now_ms`: write [`Pending::revocation`] in the transaction, and when that is committed call
    /// [`Pending::apply`]. Dropping it instead leaves everything as it was. Tokens issued to the subject in between
    /// count as issued before it. The caller bounds the length of the value by [`MAX_VALUE_BYTES`].
    pub fn begin(self: &Arc<Self>, kind: RevocationKind, value: &str, now_ms: i64) -> Pending {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // Under the lock that issuing takes while anything is pending, so that no token falls between the two times.
        let mut pending = self.pending.lock();
        self.pending_count.fetch_add(1, Ordering::SeqCst);
        let not_before_ms = self.latest_ms.fetch_max(now_ms, Ordering::SeqCst).max(now_ms);
        if kind == RevocationKind::Subject {
            pending.push((id, value.to_owned(), not_before_ms));
        }
        drop(pending);
        let expires_ms = not_before_ms.saturating_add(self.keep_ms);
        let revocation = Revocation { kind, value: value.to_owned(), not_before_ms, expires_ms };
        Pending { table: Arc::clone(self), id, revocation }
    }

    /// Puts a revocation in force. Of two for the same subject the later one stays.
    pub fn apply(&self, revocation: &Revocation) {
        self.latest_ms.fetch_max(revocation.not_before_ms, Ordering::SeqCst);
        let (map, count) = match revocation.kind {
            RevocationKind::Session => (&self.sessions, &self.session_count),
            RevocationKind::Subject => (&self.subjects, &self.subject_count),
        };
        let new = Entry { not_before_ms: revocation.not_before_ms, expires_ms: revocation.expires_ms };
        map.entry(Arc::from(revocation.value.as_str()))
            .and_modify(|entry| {
                entry.not_before_ms = entry.not_before_ms.max(new.not_before_ms);
                entry.expires_ms = entry.expires_ms.max(new.expires_ms);
            })
            .or_insert_with(|| {
                count.fetch_add(1, Ordering::Release);
                new
            });
        // Doubling keeps the cost of purging constant for each revocation, and the table within twice of what it needs.
        if self.len() >= self.purge_at.load(Ordering::Relaxed) {
            self.purge(revocation.not_before_ms);
            self.purge_at.store((self.len() * 2).max(1024), Ordering::Relaxed);
        }
    }

    /// Puts the revocations of the store in force, at start, before any token is issued or verified.
    pub fn load(&self, revocations: impl IntoIterator<Item = Revocation>) {
        revocations.into_iter().for_each(|revocation| self.apply(&revocation));
    }

    /// Every revocation in force.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Revocation> {
        let of = |map: &DashMap<Arc<str>, Entry>, kind| {
            let each = map.iter().map(|item| Revocation {
                kind,
                value: item.key().to_string(),
                not_before_ms: item.not_before_ms,
                expires_ms: item.expires_ms,
            });
            each.collect::<Vec<_>>()
        };
        let mut all = of(&self.sessions, RevocationKind::Session);
        all.extend(of(&self.subjects, RevocationKind::Subject));
        all
    }

    /// Forgets what can refuse no token any more; `now_ms` in milliseconds since 1970-01-01T00:00:00Z.
    pub fn purge(&self, now_ms: i64) {
        for (map, count) in [(&self.sessions, &self.session_count), (&self.subjects, &self.subject_count)] {
            map.retain(|_, entry| {
                let keep = entry.expires_ms > now_ms;
                if !keep {
                    count.fetch_sub(1, Ordering::Release);
                }
                keep
            });
        }
    }

    /// How many revocations are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.session_count.load(Ordering::Acquire) + self.subject_count.load(Ordering::Acquire)
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The issue time for a token of this subject: now, or later where that is needed to be after its last revocation.
    pub(super) fn issue_time(&self, subject: &str, now_ms: i64) -> i64 {
        let after = self.subjects.get(subject).map_or(now_ms, |entry| now_ms.max(entry.not_before_ms + 1));
        self.latest_ms.fetch_max(after, Ordering::SeqCst);
        // Seen as zero, this token's time is in `latest_ms` before any later revocation reads that.
        if self.pending_count.load(Ordering::SeqCst) == 0 {
            return after;
        }
        let pending = self.pending.lock();
        let limits = pending.iter().filter(|(_, value, _)| value == subject).map(|(_, _, not_before)| *not_before);
        limits.min().map_or(after, |not_before| not_before.min(after))
    }
}

/// A revocation whose transaction is under way.
pub struct Pending {
    table: Arc<RevocationTable>,
    id: u64,
    revocation: Revocation,
}

impl Pending {
    /// What to write in the transaction.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// The transaction is committed: the revocation is in force from here on.
    pub fn apply(self) {
        self.table.apply(&self.revocation);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.table.pending.lock().retain(|(id, _, _)| *id != self.id);
        self.table.pending_count.fetch_sub(1, Ordering::SeqCst);
    }
}
