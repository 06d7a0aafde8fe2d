//! Growing delays after failures: of sign-ins, and of guesses at who has an account. Each budget of failures belongs to
//! one account, name or address; the table holds its digest.

use core::time::Duration;

use arcana_sdk::database::{Error, Transaction};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, crypto, params};

use crate::STORE;

/// How the delay grows.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How many failures are free.
    pub threshold: u64,
    /// The first delay; each further failure doubles it.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
    /// Failures are forgotten this long after the last one.
    pub window: Duration,
}

impl Policy {
    fn delay(&self, failures: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(self.threshold) else { return Duration::ZERO };
        let factor = u32::try_from(doublings).ok().and_then(|n| 1_u32.checked_shl(n)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// How long the budget gives nothing, where it gives nothing now.
    fn wait(&self, attempts: Attempts, now: Timestamp) -> Option<Duration> {
        let until = attempts.last_failure_at + self.delay(attempts.failures);
        (until > now).then(|| until.since(now))
    }
}

/// The failures that were counted.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    failures: u64,
    last_failure_at: Timestamp,
}
arcana_sdk::from_row!(Attempts { failures, last_failure_at });

const SELECT: &str = "SELECT failures, last_failure_at FROM login_attempts WHERE name_hash = ?1";

/// Guesses at e-mail addresses and usernames of others: each answers that one is taken. Twenty are free, which is more than
/// anybody needs to find a name; then they become slow.
pub const CONFLICTS: Policy = Policy {
    threshold: 20,
    base: Duration::from_secs(60),
    max: Duration::from_secs(3600),
    window: Duration::from_secs(3600),
};

/// The failures that one account, name or address has.
pub struct Budget {
    hash: Vec<u8>,
    policy: Policy,
    message: &'static str,
    /// How old the failures of any budget are that a new one forgets; none where it forgets nothing.
    kept: Option<Duration>,
}

const SIGN_INS: &str = "too many failed sign-ins; wait before the next";
const TAKEN: &str = "too many names that are taken; wait before the next";

impl Budget {
    fn new(kind: &str, key: &[u8], policy: Policy, message: &'static str) -> Self {
        let mut text = Vec::with_capacity(kind.len() + 1 + key.len());
        text.extend_from_slice(kind.as_bytes());
        text.push(b':');
        text.extend_from_slice(key);
        let kept = Some(policy.window.max(CONFLICTS.window));
        Self { hash: crypto::sha256(&text), policy, message, kept }
    }

    /// Sign-ins to an account, by whichever of its names.
    #[must_use]
    pub fn account(id: Uuid, policy: Policy) -> Self {
        Self::new("account", id.to_string().as_bytes(), policy, SIGN_INS)
    }

    /// Sign-ins by a name that no account has. `kind` is the field in which accounts were looked for: a name that one account
    /// has is unknown in the other field, and must be counted there as any unknown name is.
    #[must_use]
    pub fn name(kind: &str, key: &str, policy: Policy) -> Self {
        Self::new(kind, key.as_bytes(), policy, SIGN_INS)
    }

    /// Sign-ins to an account from an address that it knows, by the digest of both.
    #[must_use]
    pub fn known_address(hash: &[u8], policy: Policy) -> Self {
        Self::new("known-address", hash, policy, SIGN_INS)
    }

    /// Registrations from an address with names that are taken. Failed sign-ins are kept for `kept`.
    #[must_use]
    pub fn registrations(address: &[u8], policy: Policy, kept: Duration) -> Self {
        let kept = Some(policy.window.max(kept));
        Self { kept, ..Self::new("registrations", address, policy, TAKEN) }
    }

    /// Changes of an account to names that are taken.
    #[must_use]
    pub fn profile(id: Uuid) -> Self {
        Self { kept: None, ..Self::new("profile", id.to_string().as_bytes(), CONFLICTS, TAKEN) }
    }

    /// Refuses where too many have failed.
    ///
    /// # Errors
    /// 429 with the time to wait, or those of the store.
    pub fn check(&self, now: Timestamp) -> Result<()> {
        self.decide(STORE.query_opt(SELECT, params![self.hash])?, now)
    }

    /// Refuses where too many have failed since [`Budget::check`], which many guesses at once would pass; forgets the
    /// failures otherwise.
    ///
    /// # Errors
    /// 429 with the time to wait, or those of the store.
    pub fn succeeded(&self, tx: &Transaction, now: Timestamp) -> Result<()> {
        let attempts = tx.query_opt(SELECT, params![self.hash])?;
        if attempts.is_some() {
            self.decide(attempts, now)?;
            tx.execute("DELETE FROM login_attempts WHERE name_hash = ?1", params![self.hash])?;
        }
        Ok(())
    }

    fn decide(&self, attempts: Option<Attempts>, now: Timestamp) -> Result<()> {
        match attempts.and_then(|attempts| self.policy.wait(attempts, now)) {
            Some(wait) => Err(Problem::too_many_requests(self.message, wait)),
            None => Ok(()),
        }
    }

    /// Counts a failure, and forgets a few of those that are long ago.
    ///
    /// # Errors
    /// Those of the store.
    pub fn failed(&self, now: Timestamp) -> Result<()> {
        let forgotten = now - self.policy.window;
        let count = || {
            STORE.execute(
                "UPDATE login_attempts SET failures = CASE WHEN last_failure_at < ?3 THEN 1 ELSE failures + 1 END, \
                 last_failure_at = ?2 WHERE name_hash = ?1",
                params![self.hash, now, forgotten],
            )
        };
        if count()? > 0 {
            return Ok(());
        }
        let insert = "INSERT INTO login_attempts (name_hash, failures, last_failure_at) VALUES (?1, 1, ?2)";
        match STORE.execute(insert, params![self.hash, now]) {
            Ok(_) => {}
            // Somebody else failed for the first time at the same moment.
            Err(error) if error.unique_violation().is_some() => {
                count()?;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(kept) = self.kept {
            forget(now - kept)?;
        }
        Ok(())
    }
}

/// Called for every new row, so that the table does not outgrow the failures of the longest window.
fn forget(before: Timestamp) -> Result<(), Error> {
    let oldest: Vec<(Timestamp,)> = STORE.query_all(
        "SELECT last_failure_at FROM login_attempts WHERE last_failure_at < ?1 ORDER BY last_failure_at LIMIT 8",
        params![before],
    )?;
    if let Some((until,)) = oldest.last() {
        STORE.execute("DELETE FROM login_attempts WHERE last_failure_at <= ?1", params![until])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        threshold: 5,
        base: Duration::from_secs(30),
        max: Duration::from_secs(900),
        window: Duration::from_secs(86_400),
    };

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let seconds = |failures| POLICY.delay(failures).as_secs();
        let grown: Vec<_> = (4..=11).map(seconds).collect();
        assert_eq!(grown, [0, 30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(seconds(u64::MAX), 900);
    }

    #[test]
    fn a_wait_counts_from_the_last_failure() {
        let last_failure_at = Timestamp::from_unix_micros(1_000_000_000);
        let attempts = Attempts { failures: 5, last_failure_at };
        let after = |seconds| POLICY.wait(attempts, last_failure_at + Duration::from_secs(seconds));
        assert_eq!(after(10), Some(Duration::from_secs(20)));
        assert_eq!(after(30), None);
        assert_eq!(POLICY.wait(Attempts { failures: 4, ..attempts }, last_failure_at), None);
    }
}
