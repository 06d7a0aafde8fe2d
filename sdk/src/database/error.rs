//! Why a statement failed, and what a client is told of it.

use core::fmt;
use core::time::Duration;

use super::host;
use crate::Problem;

/// Why the host did not carry a statement out.
pub use super::host::Error as StoreError;

/// Why there is no answer from a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The host did not carry the statement out.
    Store(StoreError),
    /// A query that needs a row found none.
    NoRow,
    /// A query for one row found more.
    TooManyRows,
    /// A column is missing or holds something that the type cannot be made of.
    Column {
        /// The name of the column.
        column: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Error {
    /// What the database says of the unique key that is taken, such as `users.email`, where that is the error.
    #[must_use]
    pub fn unique_violation(&self) -> Option<&str> {
        if let Self::Store(StoreError::UniqueViolation(key)) = self { Some(key) } else { None }
    }
}

impl From<host::Error> for Error {
    fn from(error: host::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "{error}"),
            Self::NoRow => f.write_str("no row where one is needed"),
            Self::TooManyRows => f.write_str("several rows where one is expected"),
            Self::Column { column, expected } => write!(f, "the column `{column}` is no {expected}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<Error> for Problem {
    /// What a client may know. The cause of a fault is logged here.
    fn from(error: Error) -> Self {
        match error {
            Error::Store(StoreError::Timeout) => Self::timeout("the database took too long"),
            Error::Store(StoreError::Unavailable(cause)) => {
                crate::warn!("the database cannot be reached"; cause = cause);
                Self::unavailable("the database cannot be reached right now").retry_after(Duration::from_secs(1))
            }
            Error::Store(StoreError::Conflict) => {
                Self::unavailable("another change came in between; try again").retry_after(Duration::ZERO)
            }
            Error::Store(StoreError::UniqueViolation(_)) => Self::conflict("there is one already"),
            Error::Store(StoreError::ForeignKeyViolation(_)) => {
                Self::conflict("it refers to something that is not there, or is still referred to")
            }
            Error::NoRow => Self::not_found("there is no such thing"),
            Error::Store(_) | Error::TooManyRows | Error::Column { .. } => {
                crate::error!("a statement failed"; cause = error);
                Self::internal(error.to_string())
            }
        }
    }
}
