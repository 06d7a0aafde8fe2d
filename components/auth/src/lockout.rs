//! Growing delays after failed sign-ins. They are counted by name, whether there is such an account or not, so that a
//! delay tells nothing about who has an account.

use core::time::Duration;

use arcana_identity::STORE;
use arcana_sdk::database::{Error, Transaction};
use arcana_sdk::{Problem, Result, Timestamp, crypto, params};

/// How the delay grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// How many failures are free.
    pub(crate) threshold: u64,
    /// The first delay; each further failure doubles it.
    pub(crate) base: Duration,
    /// The longest delay.
    pub(crate) max: Duration,
    /// Failures are forgotten this long after the last one.
    pub(crate) window: Duration,
}

impl Policy {
    fn delay(&self, failures: u64) -> Duration {
        let Some(doublings) = failures.checked_sub(self.threshold) else { return Duration::ZERO };
        let factor = u32::try_from(doublings).ok().and_then(|n| 1_u32.checked_shl(n)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// How long nobody may sign in by this name, where they may not now.
    fn wait(&self, attempts: Attempts, now: Timestamp) -> Option<Duration> {
        let until = attempts.last_failure_at + self.delay(attempts.failures);
        (until > now).then(|| until.since(now))
    }
}

/// The failures of a name.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    failures: u64,
    last_failure_at: Timestamp,
}
arcana_sdk::from_row!(Attempts { failures, last_failure_at });

const SELECT: &str = "SELECT failures, last_failure_at FROM login_attempts WHERE name_hash = ?1";

/// A name that somebody signs in by.
pub(crate) struct Name {
    hash: Vec<u8>,
    policy: Policy,
}

impl Name {
    /// `key` is the name without regard to case.
    pub(crate) fn new(key: &str, policy: Policy) -> Self {
        Self { hash: crypto::sha256(key.as_bytes()), policy }
    }

    /// Refuses where too many have failed by this name.
    pub(crate) fn check(&self, now: Timestamp) -> Result<()> {
        self.decide(STORE.query_opt(SELECT, params![self.hash])?, now)
    }

    /// Refuses where too many have failed since [`Name::check`], which many guesses at once would pass; forgets the
    /// failures otherwise.
    pub(crate) fn succeeded(&self, tx: &Transaction, now: Timestamp) -> Result<()> {
        let attempts = tx.query_opt(SELECT, params![self.hash])?;
        if attempts.is_some() {
            self.decide(attempts, now)?;
            tx.execute("DELETE FROM login_attempts WHERE name_hash = ?1", params![self.hash])?;
        }
        Ok(())
    }

    fn decide(&self, attempts: Option<Attempts>, now: Timestamp) -> Result<()> {
        match attempts.and_then(|attempts| self.policy.wait(attempts, now)) {
            Some(wait) => {
                Err(Problem::too_many_requests("too many failed sign-ins by this name; wait before the next", wait))
            }
            None => Ok(()),
        }
    }

    /// Counts a failure, and forgets a few of the names whose failures are long ago.
    pub(crate) fn failed(&self, now: Timestamp) -> Result<()> {
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
            // Somebody else failed by the same name for the first time at the same moment.
            Err(error) if error.unique_violation().is_some() => {
                count()?;
            }
            Err(error) => return Err(error.into()),
        }
        forget(forgotten)?;
        Ok(())
    }
}

/// Called for every new name, so that the table does not outgrow the names of the window.
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
