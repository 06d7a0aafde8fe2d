//! `database`: SQL in the stores that were granted.

use std::sync::Arc;

use uuid::Uuid;
use wasmtime::component::Resource;

use super::bindings::arcana::host::database::{Error, Host, HostTransaction, Rows, Statement, Uuid as WitUuid, Value};
use super::{GrantedStore, HostFault, View};
use crate::backends::sql;
use crate::backends::sqlite::SqliteTransaction;
use crate::principal::revocation::Pending;
use crate::telemetry::metrics::StoreMetrics;

/// What a guest's `transaction` handle stands for.
pub struct OpenTransaction {
    pub(super) transaction: SqliteTransaction,
    /// What is revoked when this commits.
    pub(super) revocations: Vec<Pending>,
    store: Arc<str>,
    metrics: StoreMetrics,
}

impl View<'_> {
    fn store(&self, name: &str) -> Result<&GrantedStore, Error> {
        self.state.grants.stores.iter().find(|granted| *granted.name == *name).ok_or_else(|| {
            Error::Denied(format!(
                "the store {name:?} was not granted; list it under [capabilities] stores in plugin.toml"
            ))
        })
    }

    fn closed(&mut self, open: &OpenTransaction) {
        self.state.transactions.retain(|store| !Arc::ptr_eq(store, &open.store));
    }
}

/// Counts a statement, or an answer, that was larger than the settings allow.
fn refused(error: &sql::SqlError, metrics: &StoreMetrics) {
    match error {
        sql::SqlError::TooManyRows(_) => metrics.rows_full.inc(),
        sql::SqlError::TooLarge(_) => metrics.result_full.inc(),
        sql::SqlError::Limit { limit, .. } => metrics.refused(limit),
        _ => {}
    }
}

impl Host for View<'_> {
    async fn query(&mut self, store: String, sql: String, params: Vec<Value>) -> wasmtime::Result<Result<Rows, Error>> {
        let granted = match self.store(&store) {
            Ok(granted) => granted,
            Err(error) => return Ok(Err(error)),
        };
        let _timer = granted.metrics.statements.start_timer();
        let rows =
            granted.store.query(&sql, params.into_iter().map(Into::into).collect(), self.state.call.deadline).await;
        Ok(rows.inspect_err(|error| refused(error, &granted.metrics)).map(Into::into).map_err(Into::into))
    }

    async fn execute(
        &mut self,
        store: String,
        sql: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let granted = match self.store(&store) {
            Ok(granted) => granted,
            Err(error) => return Ok(Err(error)),
        };
        let _timer = granted.metrics.statements.start_timer();
        let changed =
            granted.store.execute(&sql, params.into_iter().map(Into::into).collect(), self.state.call.deadline).await;
        Ok(changed.inspect_err(|error| refused(error, &granted.metrics)).map_err(Into::into))
    }

    async fn batch(&mut self, store: String, statements: Vec<Statement>) -> wasmtime::Result<Result<Vec<u64>, Error>> {
        let granted = match self.store(&store) {
            Ok(granted) => granted,
            Err(error) => return Ok(Err(error)),
        };
        let statements = statements
            .into_iter()
            .map(|statement| sql::Statement {
                sql: statement.sql,
                params: statement.params.into_iter().map(Into::into).collect(),
            })
            .collect();
        let _timer = granted.metrics.statements.start_timer();
        let changed = granted.store.batch(statements, self.state.call.deadline).await;
        Ok(changed.inspect_err(|error| refused(error, &granted.metrics)).map_err(Into::into))
    }

    async fn begin(&mut self, store: String) -> wasmtime::Result<Result<Resource<OpenTransaction>, Error>> {
        let granted = match self.store(&store) {
            Ok(granted) => granted,
            Err(error) => return Ok(Err(error)),
        };
        // The second would wait for the first until the deadline.
        if self.state.transactions.iter().any(|open| Arc::ptr_eq(open, &granted.name)) {
            return Ok(Err(Error::Denied("this call has an open transaction on this store already".into())));
        }
        let transaction = match granted.store.begin(self.state.call.deadline).await {
            Ok(transaction) => transaction,
            Err(error) => return Ok(Err(error.into())),
        };
        let (store, metrics) = (granted.name.clone(), granted.metrics.clone());
        let open = OpenTransaction { transaction, revocations: Vec::new(), store: store.clone(), metrics };
        let handle = self.table.push(open)?;
        self.state.transactions.push(store);
        Ok(Ok(handle))
    }
}

impl HostTransaction for View<'_> {
    async fn query(
        &mut self,
        this: Resource<OpenTransaction>,
        sql: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let open = self.table.get_mut(&this)?;
        let _timer = open.metrics.statements.start_timer();
        let rows = open.transaction.query(&sql, params.into_iter().map(Into::into).collect()).await;
        Ok(rows.inspect_err(|error| refused(error, &open.metrics)).map(Into::into).map_err(Into::into))
    }

    async fn execute(
        &mut self,
        this: Resource<OpenTransaction>,
        sql: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let open = self.table.get_mut(&this)?;
        let _timer = open.metrics.statements.start_timer();
        let changed = open.transaction.execute(&sql, params.into_iter().map(Into::into).collect()).await;
        Ok(changed.inspect_err(|error| refused(error, &open.metrics)).map_err(Into::into))
    }

    async fn commit(&mut self, this: Resource<OpenTransaction>) -> wasmtime::Result<Result<(), Error>> {
        let open = self.table.delete(this)?;
        self.closed(&open);
        if open.revocations.is_empty() {
            return Ok(open.transaction.commit().await.map_err(Into::into));
        }
        // On a task of its own: a client that breaks off between the commit and the table in memory must not leave a
        // session alive that the database calls revoked.
        let commit = tokio::spawn(async move {
            open.transaction.commit().await?;
            for revocation in open.revocations {
                revocation.apply();
            }
            Ok::<_, sql::SqlError>(())
        });
        let done = commit.await.map_err(|error| HostFault(format!("the commit did not end: {error}")))?;
        Ok(done.map_err(Into::into))
    }

    async fn drop(&mut self, this: Resource<OpenTransaction>) -> wasmtime::Result<()> {
        let open = self.table.delete(this)?;
        self.closed(&open);
        Ok(())
    }
}

impl From<Value> for sql::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Int64(value) => Self::Int64(value),
            Value::Float64(value) => Self::Float64(value),
            Value::Text(value) => Self::Text(value),
            Value::Bytes(value) => Self::Bytes(value),
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Uuid(value) => Self::Uuid(Uuid::from_u64_pair(value.high, value.low)),
            Value::Json(value) => Self::Json(value),
        }
    }
}

impl From<sql::Value> for Value {
    fn from(value: sql::Value) -> Self {
        match value {
            sql::Value::Null => Self::Null,
            sql::Value::Boolean(value) => Self::Boolean(value),
            sql::Value::Int64(value) => Self::Int64(value),
            sql::Value::Float64(value) => Self::Float64(value),
            sql::Value::Text(value) => Self::Text(value),
            sql::Value::Bytes(value) => Self::Bytes(value),
            sql::Value::Timestamp(value) => Self::Timestamp(value),
            sql::Value::Uuid(value) => {
                let (high, low) = value.as_u64_pair();
                Self::Uuid(WitUuid { high, low })
            }
            sql::Value::Json(value) => Self::Json(value),
        }
    }
}

impl From<sql::Rows> for Rows {
    fn from(rows: sql::Rows) -> Self {
        Self {
            columns: rows.columns.to_vec(),
            rows: rows.rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect(),
        }
    }
}

impl From<sql::SqlError> for Error {
    fn from(error: sql::SqlError) -> Self {
        use sql::SqlError as E;
        match error {
            E::UniqueViolation(what) => Self::UniqueViolation(what),
            E::ForeignKeyViolation(what) => Self::ForeignKeyViolation(what),
            E::ConstraintViolation(what) => Self::ConstraintViolation(what),
            E::Syntax(what) => Self::Syntax(what),
            E::InvalidParameter(what) => Self::InvalidParameter(what),
            E::Timeout => Self::Timeout,
            E::TooManyRows(limit) => Self::TooManyRows(limit),
            E::TooLarge(limit) => Self::TooLarge(limit),
            E::Denied(what) | E::Limit { sentence: what, .. } => Self::Denied(what),
            E::Conflict => Self::Conflict,
            E::Unavailable(what) => Self::Unavailable(what),
            // The backend's own text is for the log.
            E::Other(cause) => {
                tracing::error!(cause, "a statement failed");
                Self::Other("the statement failed; the cause is in the host's log".into())
            }
        }
    }
}
