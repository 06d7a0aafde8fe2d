//! A shared cache of bytes; keys are private to the plugin, entries may vanish at any time. `cache = true` grants it.

use core::time::Duration;

use crate::Problem;
use crate::generated::arcana::host::cache as host;

pub use host::{Error, Lock, Lookup, delete, get, get_or_lock};

/// Keeps a value for `ttl`, or for the cache's own longest time.
///
/// # Errors
/// Where the value is too large or the cache cannot be reached.
pub fn set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    host::set(key, value, ttl.map(millis))
}

/// Adds to a number, from 0 where there is none, and answers the sum. `ttl` counts from the first increment.
///
/// # Errors
/// Where the entry is no number or the cache cannot be reached.
pub fn increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    host::increment(key, by, ttl.map(millis))
}

/// The entry, or else what `compute` answers, which is kept for `ttl`. Of many callers one computes; the others wait up
/// to `wait` for it and compute by themselves after that.
///
/// # Errors
/// Those of `compute`. A cache that cannot be reached only costs time.
pub fn get_or_compute<E>(
    key: &str,
    ttl: Option<Duration>,
    wait: Duration,
    compute: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    match host::get_or_lock(key, u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)) {
        Ok(Lookup::Found(value)) => Ok(value),
        Ok(Lookup::Acquired(lock)) => {
            let value = compute()?;
            if let Err(error) = Lock::fill(lock, &value, ttl.map(millis)) {
                crate::warn!("a computed value was not kept in the cache"; key = key, cause = error);
            }
            Ok(value)
        }
        Ok(Lookup::Busy) | Err(_) => compute(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(cause) => {
                crate::warn!("the cache cannot be reached"; cause = cause);
                Self::unavailable("a part of the service cannot be reached right now")
            }
            Error::TooLarge(_) | Error::NotANumber | Error::Other(_) => Self::internal(error.to_string()),
        }
    }
}
