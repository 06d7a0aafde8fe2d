//! Against real files in folders of their own.

mod accounts;
mod every_function;
mod expanding;
mod functions;
mod growth;
mod inline;
mod limits;
mod measure;
mod migrations;
mod sql_limits;
mod stacks;
mod threads;
mod transactions;
mod values;
mod walls;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Migration, Policy, SqliteSettings, SqliteStore, SqliteStores, SqliteThreads};
use crate::backends::sql::{SqlError, Value};
use crate::telemetry::metrics::Metrics;

/// A store with a table `users`, and the folder that it lives in.
struct Fixture {
    folder: TempDir,
    stores: SqliteStores,
    store: Arc<SqliteStore>,
}

const USERS: &str = "
    CREATE TABLE users (
        id UUID PRIMARY KEY, email TEXT NOT NULL, age INTEGER CHECK (age > 0), active BOOLEAN,
        created TIMESTAMP, extra JSON, photo BLOB, score REAL
    );
    CREATE UNIQUE INDEX users_email ON users (email);
    CREATE TABLE notes (id INTEGER PRIMARY KEY, email TEXT REFERENCES users (email) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE plain (a, b);
    INSERT INTO plain VALUES (1, 'one'), (2, 'two');";

impl Fixture {
    async fn new() -> Self {
        Self::with(SqliteSettings::default()).await
    }

    async fn with(settings: SqliteSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = stores(&folder.path().join("stores"), settings);
        let store = stores.store("test").await.unwrap();
        store.migrate(&[migration(1, USERS)], Policy::Any).await.unwrap();
        Self { folder, stores, store }
    }

    async fn query(&self, sql: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, SqlError> {
        self.store.query(sql, params, soon()).await.map(|rows| rows.rows)
    }

    async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<u64, SqlError> {
        self.store.execute(sql, params, soon()).await
    }

    async fn count(&self, table: &'static str) -> i64 {
        let rows = self.query(&format!("SELECT count(*) FROM {table}"), vec![]).await.unwrap();
        let [Value::Int64(count)] = rows[0][..] else { panic!("{rows:?}") };
        count
    }
}

/// The stores of a folder on threads of their own.
fn stores(folder: &Path, settings: SqliteSettings) -> SqliteStores {
    SqliteStores::open(folder, settings, threads()).unwrap()
}

fn threads() -> SqliteThreads {
    SqliteThreads::new(&SqliteSettings::default(), Metrics::new().unwrap().sqlite())
}

fn migration(version: u64, sql: &str) -> Migration {
    Migration { version, name: format!("m{version}"), sql: sql.to_owned() }
}

/// Far enough that no test meets it.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Counts up without end, or nearly so.
const ENDLESS: &str =
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n WHERE x < 0";
