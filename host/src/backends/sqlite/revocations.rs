//! Revoked tokens, kept in the store whose transaction revoked them, so that both last or neither.

use std::time::Instant;

use super::connection::Limits;
use super::prepared::Stop;
use super::store::SqliteStore;
use super::transaction::SqliteTransaction;
use super::walls::Mode;
use crate::backends::sql::{SqlError, Value};
use crate::principal::revocation::{Revocation, RevocationKind};

impl SqliteTransaction {
    /// Keeps a revocation as part of this transaction. Of two for the same value the later moments hold.
    ///
    /// # Errors
    /// As [`SqliteTransaction::execute`].
    pub async fn revoke(&mut self, revocation: &Revocation) -> Result<(), SqlError> {
        let sql = "INSERT INTO _arcana_revocations (kind, value, not_before_ms, expires_ms) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (kind, value) DO UPDATE SET
                       not_before_ms = max(not_before_ms, excluded.not_before_ms),
                       expires_ms = max(expires_ms, excluded.expires_ms)";
        let params = vec![
            Value::Text(revocation.kind.as_str().to_owned()),
            Value::Text(revocation.value.clone()),
            Value::Int64(revocation.not_before_ms),
            Value::Int64(revocation.expires_ms),
        ];
        self.host_execute(sql, params).await.map(drop)
    }
}

impl SqliteStore {
    /// Every revocation that is still needed at `now_ms` (milliseconds since 1970-01-01T00:00:00Z), for the start.
    ///
    /// # Errors
    /// Any [`SqlError`]; `Other` where the table cannot be read.
    pub async fn load_revocations(&self, now_ms: i64, deadline: Instant) -> Result<Vec<Revocation>, SqlError> {
        let limit = self.settings.migration_timeout;
        self.with_writer(deadline, limit, move |connection, until| {
            let sql = "SELECT kind, value, not_before_ms, expires_ms FROM _arcana_revocations WHERE expires_ms > ?1";
            let limits = Limits { rows: u32::MAX, bytes: u64::MAX };
            let found = connection.query(Mode::Host, sql, &[Value::Int64(now_ms)], limits, until);
            found.map_err(Stop::into_error)?.rows.into_iter().map(revocation).collect()
        })
        .await
    }

    /// Forgets the revocations that are no longer needed at `now_ms`; answers how many.
    ///
    /// # Errors
    /// Any [`SqlError`].
    pub async fn purge_revocations(&self, now_ms: i64, deadline: Instant) -> Result<u64, SqlError> {
        let limit = self.settings.statement_timeout;
        self.with_writer(deadline, limit, move |connection, until| {
            let sql = "DELETE FROM _arcana_revocations WHERE expires_ms <= ?1";
            connection.execute(Mode::Host, sql, &[Value::Int64(now_ms)], until).map_err(Stop::into_error)
        })
        .await
    }
}

fn revocation(row: Vec<Value>) -> Result<Revocation, SqlError> {
    let unreadable = || SqlError::Other("the store's revocations cannot be read".to_owned());
    let Ok([Value::Text(kind), Value::Text(value), Value::Int64(not_before_ms), Value::Int64(expires_ms)]) =
        <[Value; 4]>::try_from(row)
    else {
        return Err(unreadable());
    };
    let kind = RevocationKind::parse(&kind).ok_or_else(unreadable)?;
    Ok(Revocation { kind, value, not_before_ms, expires_ms })
}
