//! From rows to types.

use super::host::{Rows, Value};
use super::{Error, FromValue};

/// One row of an answer. Values are moved out of it, not copied.
#[derive(Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: Vec<Value>,
}

impl Row<'_> {
    /// How many columns there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no column at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Takes the value of a column out of the row.
    ///
    /// # Errors
    /// Names the column where it is missing or no `T`.
    pub fn take<T: FromValue>(&mut self, column: &str) -> Result<T, Error> {
        let wrong = || Error::Column { column: column.to_owned(), expected: T::EXPECTED };
        let index = self.columns.iter().position(|name| name == column).ok_or_else(wrong)?;
        self.take_at(index)
    }

    /// Takes the value of a column by its position, from 0.
    ///
    /// # Errors
    /// Names the column where it is missing or no `T`.
    pub fn take_at<T: FromValue>(&mut self, index: usize) -> Result<T, Error> {
        let wrong = || Error::Column {
            column: self.columns.get(index).cloned().unwrap_or_else(|| index.to_string()),
            expected: T::EXPECTED,
        };
        let value = self.values.get_mut(index).map(|value| core::mem::replace(value, Value::Null));
        value.and_then(T::from_value).ok_or_else(wrong)
    }
}

/// What a row can become. [`from_row!`](crate::from_row) writes it for a struct, by column name; tuples of up to eight
/// are filled by position.
pub trait FromRow: Sized {
    /// Makes one of a row.
    ///
    /// # Errors
    /// Names the column that does not fit.
    fn from_row(row: &mut Row<'_>) -> Result<Self, Error>;
}

pub(super) fn all<T: FromRow>(rows: Rows) -> Result<Vec<T>, Error> {
    let columns = rows.columns;
    rows.rows.into_iter().map(|values| T::from_row(&mut Row { columns: &columns, values })).collect()
}

pub(super) fn at_most_one<T: FromRow>(rows: Rows) -> Result<Option<T>, Error> {
    let columns = rows.columns;
    let mut rows = rows.rows.into_iter();
    let Some(values) = rows.next() else { return Ok(None) };
    if rows.next().is_some() {
        return Err(Error::TooManyRows);
    }
    T::from_row(&mut Row { columns: &columns, values }).map(Some)
}

/// Lets a struct be read from rows: each field from the column of its name, or of the name given after `:`.
///
/// ```
/// struct Bookmark { id: arcana_sdk::Uuid, url: String, title: Option<String> }
/// arcana_sdk::from_row!(Bookmark { id, url, title: "caption" });
/// ```
#[macro_export]
macro_rules! from_row {
    ($type:ty { $($field:ident $(: $column:literal)?),+ $(,)? }) => {
        impl $crate::database::FromRow for $type {
            fn from_row(
                row: &mut $crate::database::Row<'_>,
            ) -> ::core::result::Result<Self, $crate::database::Error> {
                ::core::result::Result::Ok(Self {
                    $($field: row.take($crate::from_row!(@column $field $($column)?))?),+
                })
            }
        }
    };
    (@column $field:ident $column:literal) => { $column };
    (@column $field:ident) => { ::core::stringify!($field) };
}

macro_rules! tuple_from_row {
    ($($type:ident $index:literal),+) => {
        impl<$($type: FromValue),+> FromRow for ($($type,)+) {
            fn from_row(row: &mut Row<'_>) -> Result<Self, Error> {
                Ok(($(row.take_at::<$type>($index)?,)+))
            }
        }
    };
}
tuple_from_row!(A 0);
tuple_from_row!(A 0, B 1);
tuple_from_row!(A 0, B 1, C 2);
tuple_from_row!(A 0, B 1, C 2, D 3);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_from_row!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Bookmark {
        url: String,
        stars: i64,
        note: Option<String>,
    }
    crate::from_row!(Bookmark { stars, note: "comment", url });

    fn rows(rows: Vec<Vec<Value>>) -> Rows {
        Rows { columns: ["url", "stars", "comment"].map(str::to_owned).to_vec(), rows }
    }

    #[test]
    fn columns_are_found_by_name() {
        let found = rows(vec![vec![Value::Text("a".into()), Value::Int64(3), Value::Null]]);
        let expected = Bookmark { url: "a".into(), stars: 3, note: None };
        assert_eq!(at_most_one::<Bookmark>(found), Ok(Some(expected)));
    }

    #[test]
    fn a_column_that_does_not_fit_is_named() {
        let found = rows(vec![vec![Value::Text("a".into()), Value::Text("many".into()), Value::Null]]);
        let error = all::<Bookmark>(found).unwrap_err();
        assert_eq!(error, Error::Column { column: "stars".into(), expected: "integer" });
    }

    #[test]
    fn one_row_is_one_row() {
        assert_eq!(at_most_one::<(String,)>(rows(vec![])), Ok(None));
        let two = rows(vec![vec![Value::Text("a".into())], vec![Value::Text("b".into())]]);
        assert_eq!(at_most_one::<(String,)>(two), Err(Error::TooManyRows));
    }
}
