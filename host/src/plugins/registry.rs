//! What is installed, in the host's own database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arcana_signing::Digest;
use jiff::Timestamp;

use crate::backends::sql::{SqlError, Statement, Value};
use crate::backends::sqlite::SqliteStore;

/// Longest time for one statement of the registry.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tables of `migrations/sqlite/host`.
pub struct Registry {
    database: Arc<SqliteStore>,
}

/// A plugin that was installed and is to run.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its id.
    pub id: String,
    /// The highest sequence number that was ever installed of it.
    pub highest_seq: u64,
    /// The version that is to run.
    pub digest: Digest,
}

impl Registry {
    /// The registry in this database, whose migrations have run.
    #[must_use]
    pub fn new(database: Arc<SqliteStore>) -> Self {
        Self { database }
    }

    /// Every plugin that is enabled.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what is none of ours.
    pub async fn installed(&self) -> Result<Vec<Installed>, SqlError> {
        let sql = "SELECT id, highest_seq, digest FROM plugins WHERE state = 'enabled' ORDER BY id";
        let rows = self.database.query(sql, Vec::new(), Instant::now() + PATIENCE).await?;
        rows.rows.into_iter().map(|row| read(row).ok_or_else(|| damaged("plugins"))).collect()
    }

    /// Records an install in one transaction: it is there whole or not at all.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record(&self, id: &str, seq: u64, digest: &Digest, version: &str) -> Result<(), SqlError> {
        let seq = i64::try_from(seq).map_err(|_| SqlError::InvalidParameter("seq is beyond 2^63".into()))?;
        let digest = hex::encode(digest.0);
        let now = Value::Timestamp(Timestamp::now().as_microsecond());
        let plugin = Statement {
            sql: "INSERT INTO plugins (id, highest_seq, digest, state, installed_at, updated_at) \
                  VALUES (?1, ?2, ?3, 'enabled', ?4, ?4) \
                  ON CONFLICT (id) DO UPDATE SET highest_seq = max(highest_seq, excluded.highest_seq), \
                  digest = excluded.digest, state = 'enabled', updated_at = excluded.updated_at"
                .into(),
            params: vec![Value::Text(id.into()), Value::Int64(seq), Value::Text(digest.clone()), now.clone()],
        };
        let kept = Statement {
            sql: "INSERT INTO plugin_versions (id, digest, seq, version, installed_at) VALUES (?1, ?2, ?3, ?4, ?5)"
                .into(),
            params: vec![
                Value::Text(id.into()),
                Value::Text(digest),
                Value::Int64(seq),
                Value::Text(version.into()),
                now,
            ],
        };
        self.database.batch(vec![plugin, kept], Instant::now() + PATIENCE).await.map(|_| ())
    }

    /// The serial of the newest trust file that was accepted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trust_serial(&self) -> Result<Option<u64>, SqlError> {
        let rows = self.database.query("SELECT serial FROM trust_state", Vec::new(), Instant::now() + PATIENCE).await?;
        match rows.rows.first().map(Vec::as_slice) {
            None => Ok(None),
            Some([Value::Int64(serial)]) => u64::try_from(*serial).map(Some).map_err(|_| damaged("trust_state")),
            Some(_) => Err(damaged("trust_state")),
        }
    }

    /// Records that a trust file with this serial was accepted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn set_trust_serial(&self, serial: u64) -> Result<(), SqlError> {
        let serial = i64::try_from(serial).map_err(|_| SqlError::InvalidParameter("serial is beyond 2^63".into()))?;
        let sql = "INSERT INTO trust_state (one, serial) VALUES (1, ?1) \
                   ON CONFLICT (one) DO UPDATE SET serial = max(serial, excluded.serial)";
        self.database.execute(sql, vec![Value::Int64(serial)], Instant::now() + PATIENCE).await.map(|_| ())
    }
}

fn damaged(table: &str) -> SqlError {
    SqlError::Other(format!("the host's table {table} holds a row that this host did not write"))
}

fn read(row: Vec<Value>) -> Option<Installed> {
    let [Value::Text(id), Value::Int64(seq), Value::Text(digest)] = <[Value; 3]>::try_from(row).ok()? else {
        return None;
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    Some(Installed { id, highest_seq: u64::try_from(seq).ok()?, digest: Digest(bytes) })
}
