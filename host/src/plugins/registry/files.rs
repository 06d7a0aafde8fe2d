//! The signed files, in parts: no row grows beyond what databases take in one piece.

use arcana_signing::Digest;

use super::{Registry, until};
use crate::backends::sql::{SqlError, Statement, Value};

/// The longest part in bytes.
const PART: usize = 1 << 20;

/// Puts a file in the place of what was there under its digest.
pub(super) fn insert(digest: &str, bytes: &[u8]) -> Vec<Statement> {
    let delete = Statement {
        sql: "DELETE FROM plugin_files WHERE digest = ?1".into(),
        params: vec![Value::Text(digest.into())],
    };
    let parts = bytes.chunks(PART).zip(0..).map(|(part, number)| Statement {
        sql: "INSERT INTO plugin_files (digest, part, bytes) VALUES (?1, ?2, ?3)".into(),
        params: vec![Value::Text(digest.into()), Value::Int64(number), Value::Bytes(part.to_vec())],
    });
    std::iter::once(delete).chain(parts).collect()
}

impl Registry {
    /// The file with this digest, as far as the database has it; none where it is not there. Whoever uses it verifies it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn file(&self, digest: &Digest) -> Result<Option<Vec<u8>>, SqlError> {
        let sql = "SELECT bytes FROM plugin_files WHERE digest = ?1 AND part = ?2";
        let digest = hex::encode(digest.0);
        let mut file = Vec::new();
        for part in 0.. {
            let params = vec![Value::Text(digest.clone()), Value::Int64(part)];
            let rows = self.database.query(sql, params, until()).await?;
            match rows.rows.into_iter().next().as_deref() {
                Some([Value::Bytes(bytes)]) => file.extend_from_slice(bytes),
                _ => break,
            }
        }
        Ok((!file.is_empty()).then_some(file))
    }

    /// Whether the database has the file with this digest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_file(&self, digest: &Digest) -> Result<bool, SqlError> {
        let sql = "SELECT part FROM plugin_files WHERE digest = ?1 AND part = 0";
        let rows = self.database.query(sql, vec![Value::Text(hex::encode(digest.0))], until()).await?;
        Ok(!rows.rows.is_empty())
    }

    /// Puts a file back that the database has lost.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn restore(&self, digest: &Digest, bytes: &[u8]) -> Result<(), SqlError> {
        self.database.batch(insert(&hex::encode(digest.0), bytes), until()).await.map(drop)
    }
}
