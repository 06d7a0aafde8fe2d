//! `cache`: the plugin's namespace of the in-process cache.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use super::bindings::arcana::host::cache::{Error, Host, HostLock, Lookup};
use super::{HostFault, View};
use crate::backends::memory_cache::{self, CacheError, CacheLock, CacheSpace};

/// Most locks that one call holds: each costs the host the key and a place in the table of those that wait.
const MAX_LOCKS: u32 = 100;

/// What a guest's `lock` handle stands for: the right to compute an entry.
pub struct HeldLock(CacheLock);

impl View<'_> {
    fn namespace(&self) -> wasmtime::Result<&Arc<CacheSpace>> {
        // Linked only where it was granted.
        self.state.grants.cache.as_ref().ok_or_else(|| HostFault("the cache was linked and not granted".into()).into())
    }
}

fn ttl(ms: Option<u64>) -> Option<Duration> {
    ms.map(Duration::from_millis)
}

impl Host for View<'_> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        Ok(self.namespace()?.get(&key).map(|found| found.map(|value| value.to_vec())).map_err(Into::into))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.namespace()?.set(&key, value.into(), ttl(ttl_ms)).map_err(Into::into))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<bool, Error>> {
        Ok(self.namespace()?.delete(&key).map_err(Into::into))
    }

    async fn increment(&mut self, key: String, by: i64, ttl_ms: Option<u64>) -> wasmtime::Result<Result<i64, Error>> {
        Ok(self.namespace()?.increment(&key, by, ttl(ttl_ms)).map_err(Into::into))
    }

    async fn get_or_lock(&mut self, key: String, wait_ms: u32) -> wasmtime::Result<Result<Lookup, Error>> {
        if self.state.locks >= MAX_LOCKS {
            return Ok(Err(Error::Unavailable(format!("the call holds {MAX_LOCKS} locks already"))));
        }
        let wait = Duration::from_millis(u64::from(wait_ms));
        let found = self.namespace()?.get_or_lock(&key, wait).await;
        Ok(match found {
            Ok(memory_cache::Lookup::Found(value)) => Ok(Lookup::Found(value.to_vec())),
            Ok(memory_cache::Lookup::Busy) => Ok(Lookup::Busy),
            Ok(memory_cache::Lookup::Acquired(lock)) => {
                let handle = self.table.push(HeldLock(lock))?;
                self.state.locks += 1;
                Ok(Lookup::Acquired(handle))
            }
            Err(error) => Err(error.into()),
        })
    }
}

impl HostLock for View<'_> {
    async fn fill(
        &mut self,
        this: Resource<HeldLock>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let lock = self.table.delete(this)?;
        self.state.locks -= 1;
        Ok(lock.0.fill(value.into(), ttl(ttl_ms)).map_err(Into::into))
    }

    async fn drop(&mut self, this: Resource<HeldLock>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.state.locks -= 1;
        Ok(())
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::TooLarge(limit) => Self::TooLarge(limit),
            CacheError::NotANumber => Self::NotANumber,
            CacheError::Unavailable(what) => Self::Unavailable(what),
            CacheError::Other(what) => Self::Other(what),
        }
    }
}
