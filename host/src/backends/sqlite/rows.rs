//! Rows as values: SQLite's storage class, refined by the type a column was declared with.

use uuid::Uuid;

use super::raw::{Cell, Statement};
use crate::backends::sql::{SqlError, Value};

/// What a value counts on top of its bytes, so that many small ones add up too.
const VALUE_OVERHEAD: u64 = 16;

/// The declared types that mean more than a storage class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Plain,
    Boolean,
    Timestamp,
    Uuid,
    Json,
}

impl Declared {
    /// Reads a declared type: its first word, without regard to case and without a length in brackets.
    pub(super) fn parse(text: &str) -> Self {
        let word = text.trim_start().split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
        if is(&["BOOLEAN", "BOOL"]) {
            Self::Boolean
        } else if is(&["TIMESTAMP", "DATETIME"]) {
            Self::Timestamp
        } else if is(&["UUID"]) {
            Self::Uuid
        } else if is(&["JSON"]) {
            Self::Json
        } else {
            Self::Plain
        }
    }
}

/// The row that the statement has reached. `left` is what the answer may still grow by, `limit` what it may be in all.
pub(super) fn read(
    statement: &Statement,
    declared: &[Declared],
    left: &mut u64,
    limit: u64,
) -> Result<Vec<Value>, SqlError> {
    let mut row = Vec::with_capacity(declared.len());
    for (column, declared) in (0..).zip(declared) {
        let cell = statement.cell(column);
        let size = match cell {
            Cell::Text(bytes) | Cell::Blob(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Cell::Null | Cell::Integer(_) | Cell::Real(_) => 0,
        };
        *left = left.checked_sub(size.saturating_add(VALUE_OVERHEAD)).ok_or(SqlError::TooLarge(limit))?;
        row.push(value(cell, *declared).ok_or_else(|| not_utf8(&statement.name(column)))?);
    }
    Ok(row)
}

/// A value that does not have the form its column was declared with is answered as what it is.
fn value(cell: Cell<'_>, declared: Declared) -> Option<Value> {
    Some(match (cell, declared) {
        (Cell::Null, _) => Value::Null,
        (Cell::Integer(0), Declared::Boolean) => Value::Boolean(false),
        (Cell::Integer(1), Declared::Boolean) => Value::Boolean(true),
        (Cell::Integer(micros), Declared::Timestamp) => Value::Timestamp(micros),
        // JSON columns have numeric affinity: a document that is a bare number is kept as one.
        (Cell::Integer(number), Declared::Json) => Value::Json(number.to_string()),
        (Cell::Real(number), Declared::Json) => Value::Json(number.to_string()),
        (Cell::Integer(number), _) => Value::Int64(number),
        (Cell::Real(number), _) => Value::Float64(number),
        (Cell::Blob(bytes), _) => Value::Bytes(bytes.to_vec()),
        (Cell::Text(bytes), declared) => {
            let text = std::str::from_utf8(bytes).ok()?;
            match declared {
                Declared::Uuid => Uuid::try_parse(text).map_or_else(|_| Value::Text(text.to_owned()), Value::Uuid),
                Declared::Json => Value::Json(text.to_owned()),
                Declared::Plain | Declared::Boolean | Declared::Timestamp => Value::Text(text.to_owned()),
            }
        }
    })
}

fn not_utf8(column: &str) -> SqlError {
    SqlError::Other(format!("the text in column {column} is not UTF-8"))
}
