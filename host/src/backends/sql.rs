//! SQL values, rows and errors in the shape of `arcana:host/database`, the same for every database.

use std::sync::Arc;

use uuid::Uuid;

/// One value of a parameter or a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A signed 64-bit integer.
    Int64(i64),
    /// A 64-bit floating point number. NaN is refused as a parameter: SQL databases disagree on it.
    Float64(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A 128-bit identifier.
    Uuid(Uuid),
    /// A JSON document as text.
    Json(String),
}

/// What a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The names of the columns, shared by every answer of the same prepared statement.
    pub columns: Arc<[String]>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Value>>,
}

/// A statement with its parameters, for a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Exactly one SQL statement, with `?1`, `?2` … for its parameters.
    pub sql: String,
    /// The values of the parameters, in their order.
    pub params: Vec<Value>,
}

/// Why a statement was not carried out. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// A unique key is taken; names what the database says of it, such as `users.email`.
    #[error("a unique key is taken: {0}")]
    UniqueViolation(String),
    /// A foreign key points nowhere, or is still pointed at.
    #[error("a foreign key does not hold: {0}")]
    ForeignKeyViolation(String),
    /// Another constraint (not null, check) refused the row; names it.
    #[error("a constraint does not hold: {0}")]
    ConstraintViolation(String),
    /// The statement is not SQL that this store understands; says where.
    #[error("the statement cannot be understood: {0}")]
    Syntax(String),
    /// A parameter is missing, superfluous or of a type that cannot be used.
    #[error("a parameter cannot be used: {0}")]
    InvalidParameter(String),
    /// The statement took longer than the store's limit or the call's deadline.
    #[error("the statement took too long")]
    Timeout,
    /// More rows than the limit given here.
    #[error("more than {0} rows")]
    TooManyRows(u32),
    /// More bytes than the limit given here.
    #[error("more than {0} bytes")]
    TooLarge(u64),
    /// Compiling the statement would take more than a setting allows; a sentence names both.
    #[error("not allowed: {sentence}")]
    Limit {
        /// The setting, below `database.sqlite.limits`.
        limit: &'static str,
        /// What exceeds it.
        sentence: String,
    },
    /// The caller may not do this; a sentence says what.
    #[error("not allowed: {0}")]
    Denied(String),
    /// The write lost against another one; the transaction may be tried again.
    #[error("another write was there first")]
    Conflict,
    /// The store cannot be reached right now, or every connection is busy.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
