//! SQLite: one file a store, one writer and some readers for each, and walls that no SQL text gets past.
//!
//! A store's file is reached through `Connection`s, each used by one thread at a time. Statements are compiled and run on
//! threads that all stores share (`threads.rs`); only a short read that is compiled already runs on the thread that asks.

mod account;
mod allowed_functions;
mod bounds;
mod checkpoint;
mod connection;
mod control;
mod ddl;
mod errors;
mod expand;
mod files;
mod functions;
mod host;
mod json;
mod memory;
mod migrate;
mod pool;
mod prepared;
mod raw;
mod revocations;
mod rows;
mod schema;
mod settings;
mod store;
mod stores;
mod threads;
mod transaction;
mod walls;

#[cfg(test)]
mod tests;

pub use host::open_host_database;
pub use migrate::{Migrated, Migration, MigrationError, Policy};
pub use settings::{SqlLimits, SqliteSettings, Synchronous};
pub use store::{SqliteStore, Trust};
pub use stores::SqliteStores;
pub use threads::SqliteThreads;
pub use transaction::SqliteTransaction;
