//! Clients of what keeps data: SQL stores and the cache. They know nothing of plugins' grants and nothing of wasmtime.

pub mod memory_cache;
pub mod sql;
pub mod sqlite;
