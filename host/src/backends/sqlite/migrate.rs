//! Migrations: scripts that make and change a store's tables, each run once, in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::connection::{Connection, Limits};
use super::control::Until;
use super::expand;
use super::prepared::Stop;
use super::schema::Schema;
use super::store::SqliteStore;
use super::walls::Mode;
use crate::backends::sql::{SqlError, Value};

/// One step of a store's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order; unique.
    pub version: u64,
    /// What it is called in messages.
    pub name: String,
    /// SQL, as many statements as it takes. Never changes once it has run anywhere.
    pub sql: String,
}

/// What migrations may do to a schema that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Only add to it, so that what was written for the old schema works on the new one. The first run on an empty store
    /// is free: nothing was written for it yet.
    #[default]
    ExpandOnly,
    /// Anything: no older version will run on this store again.
    Any,
}

/// What a run of migrations did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The versions that ran now.
    pub applied: Vec<u64>,
    /// Versions newer than the list that the store already has: an older release runs on a newer schema.
    pub ahead: Vec<u64>,
}

/// Why migrations did not run. Those before the failing one have been applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MigrationError {
    /// The list has the version twice.
    #[error("migration {0} is there twice")]
    Duplicate(u64),
    /// The text of a migration is not the one that has run.
    #[error("migration {version} ({name}) has run with another text; add a new migration instead of changing it")]
    Changed {
        /// Its version.
        version: u64,
        /// Its name.
        name: String,
    },
    /// The store lacks a migration that is older than one it has.
    #[error("migration {version} ({name}) has not run, but the newer {newest} has; give it a higher version")]
    OutOfOrder {
        /// The version that is missing in the store.
        version: u64,
        /// Its name.
        name: String,
        /// The newest version that has run.
        newest: u64,
    },
    /// The list lacks a migration that has run.
    #[error("migration {version} ({name}) has run and is missing from the list")]
    Missing {
        /// Its version.
        version: u64,
        /// Its name when it ran.
        name: String,
    },
    /// A migration failed and left nothing.
    #[error("migration {version} ({name}): {error}")]
    Failed {
        /// Its version.
        version: u64,
        /// Its name.
        name: String,
        /// What the store said.
        error: SqlError,
    },
    /// A migration takes away or narrows what older versions use, and left nothing.
    #[error(
        "migration {version} ({name}) does not only add, so the versions that are kept could not work on its result: {}. \
         Change it so that it only adds (docs/data.md), or allow breaking changes once no older version will run again",
        .breaks.join("; ")
    )]
    NotExpanding {
        /// Its version.
        version: u64,
        /// Its name.
        name: String,
        /// What it breaks, each in words.
        breaks: Vec<String>,
    },
    /// The store failed outside any migration.
    #[error(transparent)]
    Store(#[from] SqlError),
}

const HOST_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS _arcana_migrations (
        version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at TIMESTAMP NOT NULL
    );
    CREATE TABLE IF NOT EXISTS _arcana_revocations (
        kind TEXT NOT NULL, value TEXT NOT NULL, not_before_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
        PRIMARY KEY (kind, value)
    ) WITHOUT ROWID;";

impl SqliteStore {
    /// Brings the store's schema up to this list. Every migration is one transaction with its record; the write lock
    /// that it holds keeps other processes out. A run that was cut off goes on with the first that has no record.
    ///
    /// # Errors
    /// Any [`MigrationError`]; the first stops the run.
    pub async fn migrate(&self, list: &[Migration], policy: Policy) -> Result<Migrated, MigrationError> {
        let mut list = list.to_vec();
        list.sort_by_key(|migration| migration.version);
        if let Some([first, _]) = list.array_windows().find(|[first, second]| first.version == second.version) {
            return Err(MigrationError::Duplicate(first.version));
        }
        let limit = self.settings.migration_timeout;
        let mode = if self.mode == Mode::Host { Mode::Host } else { Mode::Migration };
        self.with_writer(Instant::now() + limit, limit, move |connection, until| {
            // A migration is one transaction however large the tables are.
            let _lifted = connection.account().lift_wal_limit();
            // Failures of migrations are an answer here, not an error of the store.
            Ok(run(connection, mode, &list, policy, until))
        })
        .await?
    }

    /// Makes the tables that the host keeps in every store.
    pub(super) async fn make_host_tables(&self) -> Result<(), SqlError> {
        let limit = Duration::from_secs(30);
        self.with_writer(Instant::now() + limit, limit, |connection, until| {
            connection.script(Mode::Host, HOST_TABLES, until)
        })
        .await
    }
}

fn run(
    connection: &mut Connection,
    mode: Mode,
    list: &[Migration],
    policy: Policy,
    until: Until,
) -> Result<Migrated, MigrationError> {
    let mut done = Migrated::default();
    let mut free = policy == Policy::Any;
    loop {
        connection.begin(until).map_err(Stop::into_error)?;
        // Read again under every lock: another process may have migrated in between.
        let applied = applied(connection, until)?;
        let Some(next) = next(list, &applied)? else {
            done.ahead = ahead(list, &applied);
            connection.clean();
            return Ok(done);
        };
        free |= applied.is_empty();
        let before = if free { None } else { Some(Schema::read(connection, until)?) };
        apply(connection, mode, next, before.as_ref(), until)?;
        done.applied.push(next.version);
    }
}

/// What has run: version → name and checksum.
fn applied(connection: &mut Connection, until: Until) -> Result<BTreeMap<u64, (String, String)>, SqlError> {
    let limits = Limits { rows: 1_000_000, bytes: u64::MAX };
    let sql = "SELECT version, name, checksum FROM _arcana_migrations";
    let rows = connection.query(Mode::Host, sql, &[], limits, until).map_err(Stop::into_error)?;
    rows.rows
        .into_iter()
        .map(|row| match <[Value; 3]>::try_from(row) {
            Ok([Value::Int64(version), Value::Text(name), Value::Text(checksum)]) => {
                Ok((version.cast_unsigned(), (name, checksum)))
            }
            _ => Err(SqlError::Other("the store's record of migrations cannot be read".to_owned())),
        })
        .collect()
}

/// The first migration that has not run, after the list has been compared with what has.
fn next<'a>(
    list: &'a [Migration],
    applied: &BTreeMap<u64, (String, String)>,
) -> Result<Option<&'a Migration>, MigrationError> {
    let newest = applied.keys().next_back().copied();
    let newest_listed = list.last().map_or(0, |migration| migration.version);
    for (version, (name, _)) in applied.range(..newest_listed) {
        if list.binary_search_by_key(version, |migration| migration.version).is_err() {
            return Err(MigrationError::Missing { version: *version, name: name.clone() });
        }
    }
    for migration in list {
        let (version, name) = (migration.version, migration.name.clone());
        match (applied.get(&version), newest) {
            (Some((_, known)), _) if *known != checksum(migration) => {
                return Err(MigrationError::Changed { version, name });
            }
            (Some(_), _) => {}
            (None, Some(newest)) if newest > version => {
                return Err(MigrationError::OutOfOrder { version, name, newest });
            }
            (None, _) => return Ok(Some(migration)),
        }
    }
    Ok(None)
}

fn ahead(list: &[Migration], applied: &BTreeMap<u64, (String, String)>) -> Vec<u64> {
    let newest_listed = list.last().map(|migration| migration.version);
    applied.keys().copied().filter(|version| newest_listed.is_none_or(|newest| *version > newest)).collect()
}

fn apply(
    connection: &mut Connection,
    mode: Mode,
    migration: &Migration,
    before: Option<&Schema>,
    until: Until,
) -> Result<(), MigrationError> {
    let (version, name) = (migration.version, &migration.name);
    let failed = |error| MigrationError::Failed { version, name: name.clone(), error };
    connection.script(mode, &migration.sql, until).map_err(failed)?;
    // A script may have ended the transaction, such as by INSERT OR ROLLBACK.
    if !connection.in_transaction() {
        return Err(failed(super::store::rolled_back()));
    }
    if let Some(before) = before {
        let after = Schema::read(connection, until).map_err(failed)?;
        let breaks = expand::breaks(before, &after, connection, until);
        if !breaks.is_empty() {
            return Err(MigrationError::NotExpanding { version, name: name.clone(), breaks });
        }
    }
    record(connection, migration, until).map_err(failed)
}

fn record(connection: &mut Connection, migration: &Migration, until: Until) -> Result<(), SqlError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let record = [
        Value::Int64(migration.version.cast_signed()),
        Value::Text(migration.name.clone()),
        Value::Text(checksum(migration)),
        Value::Timestamp(i64::try_from(now.as_micros()).unwrap_or(i64::MAX)),
    ];
    let sql = "INSERT INTO _arcana_migrations (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(Mode::Host, sql, &record, until).map_err(Stop::into_error)?;
    connection.commit()
}

fn checksum(migration: &Migration) -> String {
    hex::encode(Sha256::digest(migration.sql.as_bytes()))
}
