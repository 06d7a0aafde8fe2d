//! The host's own database: which plugins are installed, how far their sequence has come, which trust file was seen.

use std::path::Path;
use std::sync::Arc;

use super::migrate::{Migration, MigrationError, Policy};
use super::settings::SqliteSettings;
use super::store::{SqliteStore, Trust};
use super::threads::SqliteThreads;

/// The scripts of `migrations/sqlite/host`, oldest first.
const MIGRATIONS: [(u64, &str, &str); 2] = [
    (1, "plugins", include_str!("../../../../migrations/sqlite/host/0001_plugins.sql")),
    (2, "live", include_str!("../../../../migrations/sqlite/host/0002_live.sql")),
];

/// Opens the host's own database, `host.db` in the data folder unless the settings say another, and brings its schema up to
/// date. What it answers is bounded by what the host wrote, not by the limits of plugins.
///
/// # Errors
/// [`MigrationError`], which covers that the file cannot be opened.
pub async fn open_host_database(
    path: &Path,
    settings: SqliteSettings,
    threads: &SqliteThreads,
) -> Result<Arc<SqliteStore>, MigrationError> {
    let usual = SqliteSettings::default();
    let settings = SqliteSettings {
        max_rows: u32::MAX,
        max_result_bytes: u64::MAX,
        // What it keeps has limits of its own, of versions and changes, and an upload is one transaction.
        max_database_bytes: settings.max_database_bytes.max(usual.max_database_bytes),
        max_wal_bytes: settings.max_wal_bytes.max(usual.max_wal_bytes),
        ..settings
    };
    let store = SqliteStore::open("host", path, Trust::Host, &Arc::new(settings), threads).await?;
    let migrations = MIGRATIONS.map(|(version, name, sql)| Migration { version, name: name.into(), sql: sql.into() });
    // The host knows its own tables; what it does to them is reviewed with it.
    store.migrate(&migrations, Policy::Any).await?;
    Ok(Arc::new(store))
}
