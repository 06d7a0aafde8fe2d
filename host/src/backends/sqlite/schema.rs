//! What a store's tables, views, indexes and triggers are at one moment, without those of the host.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::{Connection, Limits};
use super::control::Until;
use super::ddl::{self, Definitions};
use super::prepared::Stop;
use super::walls::{HOST_PREFIX, Mode};
use crate::backends::sql::{SqlError, Value};

/// A schema; everything by its name in lower case, as SQLite compares names.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) views: BTreeMap<String, View>,
    pub(super) triggers: BTreeMap<String, Trigger>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) definitions: Definitions,
    pub(super) columns: BTreeMap<String, Column>,
    pub(super) unique: BTreeSet<Unique>,
    pub(super) foreign: BTreeSet<ForeignKey>,
}

#[derive(Debug)]
pub(super) struct Column {
    /// The name as it is written.
    pub(super) name: String,
    pub(super) not_null: bool,
    /// The default as SQL; none where it is NULL.
    pub(super) default: Option<String>,
    pub(super) generated: bool,
    pub(super) primary_key: bool,
}

/// What may not be there twice.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unique {
    /// What is compared and shown: columns, and the condition where there is one.
    pub(super) what: String,
    /// The columns; those of an expression are not among them.
    pub(super) columns: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ForeignKey {
    pub(super) columns: Vec<String>,
    /// The table that is pointed at.
    pub(super) parent: String,
    pub(super) on_delete: String,
}

#[derive(Debug)]
pub(super) struct View {
    /// The columns; none where the view cannot be read any more.
    pub(super) columns: Option<BTreeSet<String>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    /// The table or view.
    pub(super) on: String,
    pub(super) normal: String,
}

impl Schema {
    /// Reads it as the open transaction sees it.
    pub(super) fn read(connection: &mut Connection, until: Until) -> Result<Self, SqlError> {
        let mut schema = Self::default();
        let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
        for row in rows(connection, sql, &[], until)? {
            let [Value::Text(kind), Value::Text(name), Value::Text(of), Value::Text(sql)] = &row[..] else {
                return Err(unreadable());
            };
            let key = name.to_ascii_lowercase();
            if key.starts_with(HOST_PREFIX) || key.starts_with("sqlite_") {
                continue;
            }
            match kind.as_str() {
                "table" => {
                    schema.tables.insert(key, table(connection, name, sql, until)?);
                }
                "view" => {
                    // One whose table is gone cannot be read, which is for the comparison to tell.
                    let columns = columns(connection, name, until).ok();
                    schema.views.insert(key, View { columns: columns.map(|found| found.into_keys().collect()) });
                }
                "trigger" => {
                    let trigger = Trigger { on: of.to_ascii_lowercase(), normal: ddl::normalized(sql) };
                    schema.triggers.insert(key, trigger);
                }
                // Indexes are read with their tables.
                _ => {}
            }
        }
        Ok(schema)
    }
}

fn table(connection: &mut Connection, name: &str, sql: &str, until: Until) -> Result<Table, SqlError> {
    Ok(Table {
        definitions: ddl::definitions(sql),
        columns: columns(connection, name, until)?,
        unique: unique(connection, name, until)?,
        foreign: foreign(connection, name, until)?,
    })
}

fn columns(connection: &mut Connection, table: &str, until: Until) -> Result<BTreeMap<String, Column>, SqlError> {
    let sql = "SELECT name, \"notnull\", dflt_value, hidden, pk FROM pragma_table_xinfo(?1)";
    let rows = rows(connection, sql, &[table], until)?;
    let read = |row: Vec<Value>| {
        let [Value::Text(name), Value::Int64(not_null), default, Value::Int64(hidden), Value::Int64(pk)] = &row[..]
        else {
            return Err(unreadable());
        };
        let default = match default {
            Value::Text(text) if !text.eq_ignore_ascii_case("null") => Some(text.clone()),
            _ => None,
        };
        let column = Column {
            name: name.clone(),
            not_null: *not_null != 0,
            default,
            // 2 and 3 are the two kinds of generated columns.
            generated: *hidden >= 2,
            primary_key: *pk > 0,
        };
        Ok((name.to_ascii_lowercase(), column))
    };
    rows.into_iter().map(read).collect()
}

fn unique(connection: &mut Connection, table: &str, until: Until) -> Result<BTreeSet<Unique>, SqlError> {
    let sql = "SELECT i.name, i.origin, s.sql FROM pragma_index_list(?1) i \
               LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = i.name WHERE i.\"unique\" = 1";
    let mut found = BTreeSet::new();
    for row in rows(connection, sql, &[table], until)? {
        let [Value::Text(name), Value::Text(origin), sql] = &row[..] else { return Err(unreadable()) };
        let keys = rows(connection, "SELECT name FROM pragma_index_xinfo(?1) WHERE key = 1", &[name], until)?;
        let columns: Vec<String> = keys
            .into_iter()
            .filter_map(|row| match row.into_iter().next() {
                Some(Value::Text(name)) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let what = match sql {
            // Under whatever name: what it is on counts.
            Value::Text(sql) => {
                let normal = ddl::normalized(sql);
                normal.split_once(" on ").map_or(normal.clone(), |(_, on)| on.to_owned())
            }
            _ if origin == "pk" => format!("{} primary key ( {} )", table.to_ascii_lowercase(), columns.join(" , ")),
            _ => format!("{} ( {} )", table.to_ascii_lowercase(), columns.join(" , ")),
        };
        found.insert(Unique { what, columns });
    }
    Ok(found)
}

fn foreign(connection: &mut Connection, table: &str, until: Until) -> Result<BTreeSet<ForeignKey>, SqlError> {
    let sql = "SELECT id, \"table\", \"from\", on_delete FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
    let mut found: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    for row in rows(connection, sql, &[table], until)? {
        let [Value::Int64(id), Value::Text(parent), Value::Text(from), Value::Text(on_delete)] = &row[..] else {
            return Err(unreadable());
        };
        let key = found.entry(*id).or_insert_with(|| ForeignKey {
            columns: Vec::new(),
            parent: parent.to_ascii_lowercase(),
            on_delete: on_delete.clone(),
        });
        key.columns.push(from.to_ascii_lowercase());
    }
    Ok(found.into_values().collect())
}

fn rows(connection: &mut Connection, sql: &str, params: &[&str], until: Until) -> Result<Vec<Vec<Value>>, SqlError> {
    let limits = Limits { rows: 1_000_000, bytes: u64::MAX };
    let params: Vec<Value> = params.iter().map(|text| Value::Text((*text).to_owned())).collect();
    connection.query(Mode::Host, sql, &params, limits, until).map(|rows| rows.rows).map_err(Stop::into_error)
}

fn unreadable() -> SqlError {
    SqlError::Other("the store's schema cannot be read".to_owned())
}
