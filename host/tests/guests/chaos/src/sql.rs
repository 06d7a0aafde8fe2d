//! What a plugin can do to its store, and tries to do to others.

use arcana_sdk::database::{Error, FromRow, Row, Statement, Store, StoreError, Transaction, Value};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, params};

use crate::bindings::exports::test::chaos::chaos::{Ending, SqlMode};
use crate::limits;

const OWN: Store = Store::OWN;

pub(crate) fn count_notes(note: String) -> Result<u64> {
    let (count,) = OWN.query_one("SELECT COUNT(*) FROM notes WHERE note = ?1", params![note])?;
    Ok(count)
}

fn begin_with(note: &str) -> Result<Transaction> {
    let tx = OWN.begin()?;
    tx.execute("INSERT INTO notes (note) VALUES (?1)", params![note])?;
    Ok(tx)
}

#[expect(clippy::mem_forget, reason = "the point of it")]
pub(crate) fn leave_transaction_open(note: String) -> Result<()> {
    core::mem::forget(begin_with(&note)?);
    Ok(())
}

pub(crate) fn hold_transaction_spinning(note: String) -> Result<()> {
    let tx = begin_with(&note)?;
    limits::spin();
    Ok(tx.commit()?)
}

pub(crate) fn hold_transaction_napping(note: String, ms: u64) -> Result<()> {
    let tx = begin_with(&note)?;
    limits::nap(ms);
    Ok(tx.commit()?)
}

pub(crate) fn panic_in_transaction(note: String) -> Result<()> {
    let _tx = begin_with(&note)?;
    limits::stop(Ending::Panic)
}

pub(crate) fn begin_twice() -> Result<String> {
    let _first = OWN.begin()?;
    Ok(case(OWN.begin().map(drop)))
}

pub(crate) fn sql(store: String, sql: String, mode: Option<SqlMode>) -> String {
    let store = Store::named(&store);
    case(match mode.unwrap_or(SqlMode::Query) {
        SqlMode::Query => store.query_all::<Texts>(&sql, params![]).map(drop),
        SqlMode::Execute => store.execute(&sql, params![]).map(drop),
        SqlMode::Batch => store.batch(&[Statement { sql, params: Vec::new() }]).map(drop),
        SqlMode::TransactionQuery => within(store, |tx| tx.query_all::<Texts>(&sql, params![]).map(drop)),
        SqlMode::TransactionExecute => within(store, |tx| tx.execute(&sql, params![]).map(drop)),
    })
}

fn within(store: Store<'_>, act: impl FnOnce(&Transaction) -> Result<(), Error>) -> Result<(), Error> {
    let tx = store.begin()?;
    act(&tx)?;
    tx.commit()
}

/// The name of the error's case, as WIT has it.
fn case(outcome: Result<(), Error>) -> String {
    let Err(error) = outcome else { return "ok".to_owned() };
    let name = match error {
        Error::Store(error) => match error {
            StoreError::UniqueViolation(_) => "unique-violation",
            StoreError::ForeignKeyViolation(_) => "foreign-key-violation",
            StoreError::ConstraintViolation(_) => "constraint-violation",
            StoreError::Syntax(_) => "syntax",
            StoreError::InvalidParameter(_) => "invalid-parameter",
            StoreError::Timeout => "timeout",
            StoreError::TooManyRows(_) => "too-many-rows",
            StoreError::TooLarge(_) => "too-large",
            StoreError::Denied(_) => "denied",
            StoreError::Conflict => "conflict",
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Other(_) => "other",
        },
        Error::NoRow | Error::TooManyRows | Error::Column { .. } => "unreadable",
    };
    name.to_owned()
}

/// A row with every value as text.
struct Texts(Vec<String>);

impl FromRow for Texts {
    fn from_row(row: &mut Row<'_>) -> Result<Self, Error> {
        (0..row.len())
            .map(|index| row.take_at::<Value>(index).map(|value| show(&value)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => format!("boolean {value}"),
        Value::Int64(value) => format!("int64 {value}"),
        Value::Float64(value) => format!("float64 {value}"),
        Value::Text(value) => format!("text {value}"),
        Value::Bytes(value) => format!("bytes {value:?}"),
        Value::Timestamp(micros) => format!("timestamp {}", Timestamp::from_unix_micros(*micros)),
        Value::Uuid(uuid) => format!("uuid {}", Uuid::from(*uuid)),
        Value::Json(value) => format!("json {value}"),
    }
}

pub(crate) fn rows(store: String, sql: String) -> Result<Vec<Vec<String>>> {
    let rows = Store::named(&store).query_all::<Texts>(&sql, params![])?;
    Ok(rows.into_iter().map(|Texts(texts)| texts).collect())
}

pub(crate) fn many_rows(count: u32) -> Result<u32> {
    let sql = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1) \
               SELECT n FROM numbers";
    match OWN.query_all::<(i64,)>(sql, params![count]) {
        Ok(rows) => Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX)),
        Err(Error::Store(StoreError::TooManyRows(limit))) => {
            Err(Problem::conflict(format!("no more than {limit} rows")).with_code("TOO_MANY_ROWS"))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn slow_sql(steps: u64) -> Result<u64> {
    let steps = i64::try_from(steps).unwrap_or(i64::MAX);
    let sql = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1) \
               SELECT COUNT(*) FROM numbers";
    let (count,) = OWN.query_one(sql, params![steps])?;
    Ok(count)
}
