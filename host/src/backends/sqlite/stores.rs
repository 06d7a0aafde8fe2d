//! The stores of a data folder, by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::settings::SqliteSettings;
use super::store::{SqliteStore, Trust};
use super::threads::SqliteThreads;
use crate::backends::sql::SqlError;
use crate::telemetry::metrics::StoreUsage;

/// The longest name of a store in bytes.
const MAX_NAME: usize = 128;

/// Every store of a folder, opened when it is first asked for.
pub struct SqliteStores {
    folder: PathBuf,
    settings: Arc<SqliteSettings>,
    threads: SqliteThreads,
    open: Mutex<HashMap<String, Arc<OnceCell<Arc<SqliteStore>>>>>,
}

impl SqliteStores {
    /// The stores of this folder, which is made where it is not there.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be made; the cause is logged.
    pub fn open(folder: &Path, settings: SqliteSettings, threads: SqliteThreads) -> Result<Self, SqlError> {
        std::fs::create_dir_all(folder).map_err(|error| {
            tracing::error!(folder = %folder.display(), %error, "the folder of the stores cannot be made");
            SqlError::Unavailable("the folder of the stores cannot be made".to_owned())
        })?;
        Ok(Self { folder: folder.to_owned(), settings: Arc::new(settings), threads, open: Mutex::default() })
    }

    /// The store with this name: up to 128 of `a`–`z`, `0`–`9`, `-`, `_`, `.` and single `/` between them, such as
    /// `identity` or `acme/bookmarks`. Its file is made where it is not there. Callers that ask at once get one store.
    ///
    /// # Errors
    /// `InvalidParameter` for a name that cannot be used, `Unavailable` where the file cannot be opened.
    pub async fn store(&self, name: &str) -> Result<Arc<SqliteStore>, SqlError> {
        let file = file_name(name)?;
        let cell = Arc::clone(self.open.lock().entry(name.to_owned()).or_default());
        cell.get_or_try_init(|| async {
            let path = self.folder.join(file);
            SqliteStore::open(name, &path, Trust::Plugin, &self.settings, &self.threads).await.map(Arc::new)
        })
        .await
        .cloned()
    }

    /// What each store that is open uses.
    #[must_use]
    pub fn usage(&self) -> Vec<StoreUsage> {
        self.open.lock().values().filter_map(|cell| cell.get()).map(|store| store.usage()).collect()
    }

    /// Closes every store, all at once and until the deadline at most; none can be used afterwards.
    pub async fn close(&self, deadline: Instant) {
        let stores: Vec<_> = self.open.lock().values().filter_map(|cell| cell.get().cloned()).collect();
        futures_util::future::join_all(stores.iter().map(|store| store.close(deadline))).await;
    }
}

/// The file of a store. `~` is not in names, so no two names share a file, and none leaves the folder.
fn file_name(name: &str) -> Result<String, SqlError> {
    let part_is_good = |part: &str| {
        let starts_well = part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        starts_well && part.chars().all(good)
    };
    if name.len() > MAX_NAME || !name.split('/').all(part_is_good) {
        return Err(SqlError::InvalidParameter(format!("`{}` is no name for a store", name.escape_debug())));
    }
    Ok(format!("{}.db", name.replace('/', "~")))
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_stay_in_the_folder() {
        assert_eq!(file_name("acme/bookmarks").as_deref(), Ok("acme~bookmarks.db"));
        for name in ["", "/", "../host", "a//b", "a/../b", ".hidden", "A", "a~b", "a\0", "a/", "/a", "a b"] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
        assert!(file_name(&"a".repeat(129)).is_err());
    }
}
