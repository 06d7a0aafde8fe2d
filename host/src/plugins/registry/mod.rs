//! What is installed, in the host's own database: which version of each plugin is to run, which are kept, what was done.
//!
//! Every change is one transaction that also moves the revision on, under the condition that it is still the one that the
//! decision was made on: several hosts on one database never overwrite each other, and each sees that something changed.

mod files;
mod rows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arcana_signing::Digest;
use jiff::Timestamp;

pub use self::rows::{Desired, Facts, Plugin, Snapshot, Standing, Version};
use super::live::view::Change;
use crate::backends::sql::{SqlError, Statement, Value};
use crate::backends::sqlite::SqliteStore;

/// Longest time for one statement of the registry.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rows of versions whose files are gone that are remembered for each plugin.
const REMEMBERED: i64 = 200;

/// The tables of `migrations/sqlite/host`.
pub struct Registry {
    database: Arc<SqliteStore>,
    /// Changes that are remembered.
    keep_changes: u32,
}

/// Why a change was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another host changed something in between; nothing was written.
    #[error("another host changed the plugins at the same time")]
    Stale,
    /// The database failed; nothing was written.
    #[error(transparent)]
    Database(#[from] SqlError),
}

/// Who did what to which plugin, and what came of it.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// Who.
    pub who: &'a str,
    /// What.
    pub action: &'static str,
    /// The plugin.
    pub id: &'a str,
    /// Version and digest before.
    pub from: Option<(&'a str, Digest)>,
    /// Version and digest after, or that were to be.
    pub to: Option<(&'a str, Digest)>,
    /// `ok`, or the code of the refusal.
    pub outcome: &'a str,
    /// A sentence about it.
    pub message: &'a str,
}

/// A version that is brought in.
#[derive(Debug, Clone)]
pub struct NewVersion<'a> {
    /// h.
    pub digest: Digest,
    /// The sequence number.
    pub seq: u64,
    /// The version.
    pub version: String,
    /// Whether something stands against it.
    pub standing: Standing,
    /// What is told of it.
    pub facts: &'a Facts,
    /// The signed file.
    pub bytes: &'a [u8],
}

/// What is written together.
#[derive(Default)]
pub struct Writes(Vec<Statement>);

impl Registry {
    /// The registry in this database, whose migrations have run, with the last `keep_changes` changes.
    #[must_use]
    pub fn new(database: Arc<SqliteStore>, keep_changes: u32) -> Self {
        Self { database, keep_changes }
    }

    /// Everything as it is now.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what is none of ours.
    pub async fn snapshot(&self) -> Result<Snapshot, SqlError> {
        rows::snapshot(&self.database, until()).await
    }

    /// The number that goes up with every change of what is to run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision(&self) -> Result<u64, SqlError> {
        rows::revision(&self.database, until()).await
    }

    /// Writes all of it with its record, on the condition that the revision is still `seen`, and answers the new one.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, writes: Writes, deed: &Deed<'_>, seen: u64) -> Result<u64, CommitError> {
        let mut transaction = self.database.begin(until()).await?;
        let moved = "UPDATE registry_state SET revision = revision + 1 WHERE one = 1 AND revision = ?1";
        if transaction.execute(moved, vec![integer(seen)]).await? == 0 {
            return Err(CommitError::Stale);
        }
        for Statement { sql, params } in writes.0 {
            transaction.execute(&sql, params).await?;
        }
        for Statement { sql, params } in self.record(deed) {
            transaction.execute(&sql, params).await?;
        }
        transaction.commit().await?;
        Ok(seen + 1)
    }

    /// Records something that changed nothing of what is to run, such as a refusal.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note(&self, deed: &Deed<'_>) -> Result<(), SqlError> {
        self.database.batch(self.record(deed).into(), until()).await.map(drop)
    }

    /// The last changes, newest first, of one plugin or of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes(&self, id: Option<&str>, size: u32) -> Result<Vec<Change>, SqlError> {
        rows::changes(&self.database, id, size, until()).await
    }

    /// The serial of the newest trust file that was accepted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn trust_serial(&self) -> Result<Option<u64>, SqlError> {
        let sql = "SELECT serial FROM trust_state WHERE one = 1";
        let rows = self.database.query(sql, Vec::new(), until()).await?;
        match rows.rows.first().map(Vec::as_slice) {
            None => Ok(None),
            Some([Value::Int64(serial)]) => Ok(u64::try_from(*serial).ok()),
            Some(_) => Err(rows::damaged("trust_state")),
        }
    }

    /// Remembers the serial of a trust file that was accepted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn set_trust_serial(&self, serial: u64) -> Result<(), SqlError> {
        let serial = i64::try_from(serial).map_err(|_| SqlError::InvalidParameter("serial is beyond 2^63".into()))?;
        let sql = "INSERT INTO trust_state (one, serial) VALUES (1, ?1) \
                   ON CONFLICT (one) DO UPDATE SET serial = max(serial, excluded.serial)";
        self.database.execute(sql, vec![Value::Int64(serial)], until()).await.map(drop)
    }
}

impl Writes {
    fn add(&mut self, sql: &str, params: Vec<Value>) {
        self.0.push(Statement { sql: sql.into(), params });
    }

    /// Keeps a version with its file. One that was known before, and whose file is gone, is there again.
    pub fn keep(&mut self, id: &str, new: &NewVersion<'_>) {
        let digest = hex::encode(new.digest.0);
        self.add(
            "INSERT INTO plugin_versions (id, digest, seq, version, installed_at, state, kept, facts, size) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, TRUE, ?7, ?8) ON CONFLICT (id, digest) DO UPDATE SET kept = TRUE, \
             state = excluded.state, facts = excluded.facts, size = excluded.size, installed_at = excluded.installed_at, \
             error_code = NULL, error_message = NULL, error_at = NULL",
            vec![
                Value::Text(id.into()),
                Value::Text(digest.clone()),
                integer(new.seq),
                Value::Text(new.version.clone()),
                now(),
                Value::Text(new.standing.as_str().into()),
                Value::Text(new.facts.to_json()),
                Value::Int64(i64::try_from(new.bytes.len()).unwrap_or(i64::MAX)),
            ],
        );
        for Statement { sql, params } in files::insert(&digest, new.bytes) {
            self.add(&sql, params);
        }
    }

    /// Makes a version the one that is to run.
    pub fn run(&mut self, id: &str, digest: Digest, seq: u64, source: &str) {
        let digest = hex::encode(digest.0);
        self.add(
            "INSERT INTO plugins (id, highest_seq, digest, state, installed_at, updated_at, source) \
             VALUES (?1, ?2, ?3, 'enabled', ?4, ?4, ?5) ON CONFLICT (id) DO UPDATE SET \
             highest_seq = max(highest_seq, excluded.highest_seq), \
             previous = CASE WHEN digest = excluded.digest THEN previous ELSE digest END, \
             digest = excluded.digest, state = 'enabled', disabled_by = NULL, \
             updated_at = excluded.updated_at, source = excluded.source",
            vec![Value::Text(id.into()), integer(seq), Value::Text(digest.clone()), now(), Value::Text(source.into())],
        );
        self.add(
            "UPDATE plugin_versions SET ran_at = ?3, state = 'verified', error_code = NULL, error_message = NULL, \
             error_at = NULL WHERE id = ?1 AND digest = ?2",
            vec![Value::Text(id.into()), Value::Text(digest), now()],
        );
    }

    /// A plugin is no longer to run.
    pub fn disable(&mut self, id: &str, by: &str) {
        self.add(
            "UPDATE plugins SET state = 'disabled', disabled_by = ?2, updated_at = ?3 WHERE id = ?1",
            vec![Value::Text(id.into()), Value::Text(by.into()), now()],
        );
    }

    /// A plugin is gone with its files; what it was is remembered.
    pub fn remove(&mut self, plugin: &str) {
        let id = || vec![Value::Text(plugin.into())];
        let mut params = id();
        params.push(now());
        self.add("UPDATE plugins SET state = 'removed', previous = NULL, updated_at = ?2 WHERE id = ?1", params);
        self.add("DELETE FROM plugin_files WHERE digest IN (SELECT digest FROM plugin_versions WHERE id = ?1)", id());
        self.add("UPDATE plugin_versions SET kept = FALSE WHERE id = ?1", id());
        self.forget_oldest(plugin);
        self.add("DELETE FROM plugin_approvals WHERE id = ?1", id());
    }

    /// A version is no longer kept; its digest is remembered.
    pub fn forget(&mut self, id: &str, digest: Digest) {
        let digest = Value::Text(hex::encode(digest.0));
        self.add("DELETE FROM plugin_files WHERE digest = ?1", vec![digest.clone()]);
        self.add(
            "UPDATE plugin_versions SET kept = FALSE WHERE id = ?1 AND digest = ?2",
            vec![Value::Text(id.into()), digest],
        );
        self.forget_oldest(id);
    }

    /// Of the versions that are not kept the newest are remembered, so that the folder does not bring them back.
    fn forget_oldest(&mut self, id: &str) {
        self.add(
            "DELETE FROM plugin_versions WHERE id = ?1 AND NOT kept AND seq < (SELECT seq FROM plugin_versions \
             WHERE id = ?1 AND NOT kept ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            vec![Value::Text(id.into()), Value::Int64(REMEMBERED)],
        );
    }

    /// A version failed after it had run, and says why.
    pub fn failed(&mut self, id: &str, digest: Digest, code: &str, message: &str) {
        self.add(
            "UPDATE plugin_versions SET state = 'failed', error_code = ?3, error_message = ?4, error_at = ?5 \
             WHERE id = ?1 AND digest = ?2",
            vec![
                Value::Text(id.into()),
                Value::Text(hex::encode(digest.0)),
                Value::Text(code.into()),
                Value::Text(message.into()),
                now(),
            ],
        );
    }

    /// Whether something stands against a version that is kept.
    pub fn standing(&mut self, id: &str, digest: Digest, standing: Standing) {
        self.add(
            "UPDATE plugin_versions SET state = ?3 WHERE id = ?1 AND digest = ?2",
            vec![Value::Text(id.into()), Value::Text(hex::encode(digest.0)), Value::Text(standing.as_str().into())],
        );
    }

    /// An administrator approves these capabilities.
    pub fn approve(&mut self, id: &str, capabilities: &[String], who: &str) {
        for capability in capabilities {
            self.add(
                "INSERT INTO plugin_approvals (id, capability, who, at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (id, capability) DO UPDATE SET who = excluded.who, at = excluded.at",
                vec![Value::Text(id.into()), Value::Text(capability.clone()), Value::Text(who.into()), now()],
            );
        }
    }

    /// Takes every approval of a plugin back.
    pub fn withdraw(&mut self, id: &str) {
        self.add("DELETE FROM plugin_approvals WHERE id = ?1", vec![Value::Text(id.into())]);
    }
}

impl Registry {
    /// Remembers a deed, and forgets the oldest beyond `keep_changes`.
    fn record(&self, deed: &Deed<'_>) -> [Statement; 2] {
        let forget = "DELETE FROM plugin_changes WHERE n <= (SELECT max(n) FROM plugin_changes) - ?1";
        let params = vec![Value::Int64(self.keep_changes.into())];
        [record(deed), Statement { sql: forget.into(), params }]
    }
}

fn record(deed: &Deed<'_>) -> Statement {
    let text = |text: &str| Value::Text(text.into());
    let version = |side: Option<(&str, Digest)>| side.map_or(Value::Null, |(version, _)| text(version));
    let digest = |side: Option<(&str, Digest)>| side.map_or(Value::Null, |(_, digest)| text(&hex::encode(digest.0)));
    Statement {
        sql: "INSERT INTO plugin_changes (at, who, action, id, from_version, from_digest, to_version, to_digest, outcome, \
              message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            .into(),
        params: vec![
            now(),
            text(deed.who),
            text(deed.action),
            text(deed.id),
            version(deed.from),
            digest(deed.from),
            version(deed.to),
            digest(deed.to),
            text(deed.outcome),
            text(deed.message),
        ],
    }
}

fn until() -> Instant {
    Instant::now() + PATIENCE
}

fn now() -> Value {
    Value::Timestamp(Timestamp::now().as_microsecond())
}

/// Sequence numbers come from manifests, which are refused with one beyond 2^63 - 1.
fn integer(number: u64) -> Value {
    Value::Int64(i64::try_from(number).unwrap_or(i64::MAX))
}
