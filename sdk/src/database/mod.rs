//! SQL stores. Statements carry `?1`, `?2` … and [`params!`](crate::params); rows become types by [`FromRow`].
//!
//! ```ignore
//! const STORE: Store = Store::OWN;
//! let bookmark: Option<Bookmark> = STORE.query_opt("SELECT id, url FROM bookmarks WHERE id = ?1", params![id])?;
//! let tx = STORE.begin()?;
//! tx.execute("DELETE FROM bookmarks WHERE id = ?1", params![id])?;
//! tx.commit()?; // without this the transaction is rolled back
//! ```

mod error;
mod row;
mod value;

use crate::generated::arcana::host::database as host;

pub use error::{Error, StoreError};
pub use host::{Statement, Value};
pub use row::{FromRow, Row};
pub use value::{FromValue, Json, ToValue};

/// A store by its name. Costs nothing to make: connections are the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store<'a>(&'a str);

impl<'a> Store<'a> {
    /// The store that is private to the plugin.
    pub const OWN: Store<'static> = Store("own");

    /// A shared store, which the manifest has to list.
    #[must_use]
    pub const fn named(name: &'a str) -> Self {
        Self(name)
    }

    /// The only row of a query.
    ///
    /// # Errors
    /// [`Error::NoRow`] where there is none, [`Error::TooManyRows`] where there are several.
    pub fn query_one<T: FromRow>(self, sql: &str, params: &[Value]) -> Result<T, Error> {
        self.query_opt(sql, params)?.ok_or(Error::NoRow)
    }

    /// The only row of a query, where there is one.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] where there are several.
    pub fn query_opt<T: FromRow>(self, sql: &str, params: &[Value]) -> Result<Option<T>, Error> {
        row::at_most_one(host::query(self.0, sql, params)?)
    }

    /// Every row of a query. The host limits their number: ask for pages with LIMIT.
    ///
    /// # Errors
    /// Where the statement fails or a row is no `T`.
    pub fn query_all<T: FromRow>(self, sql: &str, params: &[Value]) -> Result<Vec<T>, Error> {
        row::all(host::query(self.0, sql, params)?)
    }

    /// Writes, in a transaction of its own; answers how many rows were changed.
    ///
    /// # Errors
    /// Where the statement fails; nothing of it is kept then.
    pub fn execute(self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        Ok(host::execute(self.0, sql, params)?)
    }

    /// Writes all of these or none; answers how many rows each changed. Cheaper than a transaction.
    ///
    /// # Errors
    /// Where a statement fails; nothing is kept then.
    pub fn batch(self, statements: &[Statement]) -> Result<Vec<u64>, Error> {
        Ok(host::batch(self.0, statements)?)
    }

    /// Opens a transaction that may write. A call may have one open transaction a store.
    ///
    /// # Errors
    /// Where the store cannot be reached or another writer does not finish in time.
    pub fn begin(self) -> Result<Transaction, Error> {
        Ok(Transaction(host::begin(self.0)?))
    }
}

/// An open transaction. Dropping it rolls it back, so that `?` in the middle leaves nothing half-written.
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction(host::Transaction);

impl Transaction {
    /// The only row of a query.
    ///
    /// # Errors
    /// [`Error::NoRow`] where there is none, [`Error::TooManyRows`] where there are several.
    pub fn query_one<T: FromRow>(&self, sql: &str, params: &[Value]) -> Result<T, Error> {
        self.query_opt(sql, params)?.ok_or(Error::NoRow)
    }

    /// The only row of a query, where there is one.
    ///
    /// # Errors
    /// [`Error::TooManyRows`] where there are several.
    pub fn query_opt<T: FromRow>(&self, sql: &str, params: &[Value]) -> Result<Option<T>, Error> {
        row::at_most_one(self.0.query(sql, params)?)
    }

    /// Every row of a query.
    ///
    /// # Errors
    /// Where the statement fails or a row is no `T`.
    pub fn query_all<T: FromRow>(&self, sql: &str, params: &[Value]) -> Result<Vec<T>, Error> {
        row::all(self.0.query(sql, params)?)
    }

    /// Writes; answers how many rows were changed.
    ///
    /// # Errors
    /// Where the statement fails.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<u64, Error> {
        Ok(self.0.execute(sql, params)?)
    }

    /// Makes every write last. When this has answered, a crash does not lose them.
    ///
    /// # Errors
    /// Where the writes could not be kept; none of them is then.
    pub fn commit(self) -> Result<(), Error> {
        Ok(host::Transaction::commit(self.0)?)
    }

    pub(crate) const fn raw(&self) -> &host::Transaction {
        &self.0
    }
}

/// The parameters of a statement, in the order of `?1`, `?2` …
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::database::ToValue::to_value(&$value)),*] as &[$crate::database::Value]
    };
}
