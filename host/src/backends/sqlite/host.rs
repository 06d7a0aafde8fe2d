//! The host's own database: which plugins are installed, how far their sequence has come, which trust file was seen.

use std::path::Path;
use std::sync::Arc;

use super::migrate::{Migration, MigrationError};
use super::settings::SqliteSettings;
use super::store::{SqliteStore, Trust};

/// The scripts of `migrations/sqlite/host`, oldest first.
const MIGRATIONS: [(u64, &str, &str); 1] =
    [(1, "plugins", include_str!("../../../../migrations/sqlite/host/0001_plugins.sql"))];

/// Opens `host.db` in the data folder and brings its schema up to date.
///
/// # Errors
/// [`MigrationError`], which covers that the file cannot be opened.
pub async fn open_host_database(data: &Path, settings: SqliteSettings) -> Result<Arc<SqliteStore>, MigrationError> {
    let store = SqliteStore::open("host", &data.join("host.db"), Trust::Host, &Arc::new(settings)).await?;
    let migrations = MIGRATIONS.map(|(version, name, sql)| Migration { version, name: name.into(), sql: sql.into() });
    store.migrate(&migrations).await?;
    Ok(Arc::new(store))
}
