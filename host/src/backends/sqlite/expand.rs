//! Whether what was written for a schema still works on the one that a migration has made of it.
//!
//! Every kept version of a plugin may be made active again, on the store as it is then. So a migration only adds, and
//! adds nothing that refuses what an older version does. What cannot be seen in a schema (rows, meaning) is for the
//! author; docs/data.md has the rules.

use super::connection::{Connection, Limits};
use super::control::Until;
use super::ddl::Definition;
use super::schema::{ForeignKey, Schema, Table, Unique};
use super::walls::Mode;
use crate::backends::sql::Value;

/// The longest piece of SQL in a message, in bytes.
const MAX_SHOWN: usize = 120;

/// What an older version could not live with, in words; empty where the migration only expands.
pub(super) fn breaks(before: &Schema, after: &Schema, connection: &mut Connection, until: Until) -> Vec<String> {
    let mut found = Vec::new();
    for (name, old) in &before.tables {
        match after.tables.get(name) {
            None => found.push(format!("the table `{name}` is gone, or has another name")),
            Some(new) => {
                kept(name, old, new, &mut found);
                added(name, old, new, before, &mut found);
                checks(name, old, new, connection, until, &mut found);
            }
        }
    }
    for (name, new) in after.tables.iter().filter(|(name, _)| !before.tables.contains_key(*name)) {
        for key in new.foreign.iter().filter(|key| holds_rows(key, before)) {
            found.push(format!(
                "the new table `{name}` keeps older versions from deleting rows of `{}`: give its foreign key ({}) ON \
                 DELETE CASCADE or ON DELETE SET NULL",
                key.parent,
                key.columns.join(", ")
            ));
        }
    }
    views(before, after, &mut found);
    triggers(before, after, &mut found);
    found
}

/// What was there is there, and the same.
fn kept(name: &str, old: &Table, new: &Table, found: &mut Vec<String>) {
    if old.definitions.options != new.definitions.options {
        let shown = |options: &str| if options.is_empty() { "none".to_owned() } else { format!("`{options}`") };
        let (was, is) = (shown(&old.definitions.options), shown(&new.definitions.options));
        found.push(format!("the options of the table `{name}` were {was} and would be {is}"));
    }
    let same = |entry: &Definition| new.definitions.list.iter().any(|other| other.normal == entry.normal);
    for entry in old.definitions.list.iter().filter(|entry| !same(entry)) {
        let now = new.definitions.list.iter().find(|other| other.column.is_some() && other.column == entry.column);
        found.push(match (&entry.column, now) {
            (Some(column), None) => format!("the column `{name}.{column}` is gone, or has another name"),
            (Some(column), Some(now)) => {
                format!("the column `{name}.{column}` was `{}` and would be `{}`", shown(&entry.text), shown(&now.text))
            }
            (None, _) => format!("the table `{name}` loses `{}`", shown(&entry.text)),
        });
    }
    for unique in old.unique.iter().filter(|unique| !new.unique.contains(unique)) {
        // One that belongs to a column or a constraint has been told above.
        if !new_or_changed(old, new, unique) {
            found
                .push(format!("the unique index on `{}` is gone: ON CONFLICT of older versions needs it", unique.what));
        }
    }
}

/// Whether a column of this index, or a constraint of the table, is told to have changed.
fn new_or_changed(old: &Table, new: &Table, unique: &Unique) -> bool {
    let entries = |table: &Table| -> Vec<String> {
        let of_index = |entry: &&Definition| entry.column.as_ref().is_none_or(|column| unique.columns.contains(column));
        table.definitions.list.iter().filter(of_index).map(|entry| entry.normal.clone()).collect()
    };
    let now = entries(new);
    entries(old).iter().any(|entry| !now.contains(entry))
}

/// What is new lets older versions write as before.
fn added(name: &str, old: &Table, new: &Table, before: &Schema, found: &mut Vec<String>) {
    let is_new = |column: &String| !old.columns.contains_key(column);
    for (column, is) in new.columns.iter().filter(|(column, _)| is_new(column)) {
        if is.primary_key {
            found.push(format!("the new column `{name}.{column}` would be part of the primary key"));
        } else if is.not_null && (is.default.is_none() || is.generated) {
            found.push(format!(
                "the new column `{name}.{column}` is NOT NULL and has no default, which older versions do not write: give \
                 it a DEFAULT, or let it be NULL"
            ));
        }
    }
    let was = |entry: &Definition| old.definitions.list.iter().any(|other| other.normal == entry.normal);
    for entry in new.definitions.list.iter().filter(|entry| entry.column.is_none() && !was(entry)) {
        found.push(format!("the table `{name}` would have the new constraint `{}`", shown(&entry.text)));
    }
    // NULL is never a duplicate, and points nowhere.
    let left_null = |column: &String| {
        is_new(column) && new.columns.get(column).is_some_and(|is| is.default.is_none() && !is.generated)
    };
    for unique in new.unique.iter().filter(|unique| !old.unique.contains(unique)) {
        if !unique.columns.iter().any(left_null) {
            found.push(format!("a new unique index on `{}` refuses rows that older versions may write", unique.what));
        }
    }
    for key in new.foreign.iter().filter(|key| !old.foreign.contains(key)) {
        let columns = key.columns.join(", ");
        if !key.columns.iter().all(left_null) {
            found.push(format!("the new foreign key `{name}` ({columns}) refuses rows that older versions may write"));
        } else if holds_rows(key, before) {
            found.push(format!(
                "the new foreign key `{name}` ({columns}) keeps older versions from deleting rows of `{}`: give it ON \
                 DELETE CASCADE or ON DELETE SET NULL",
                key.parent
            ));
        }
    }
}

/// Whether the key keeps rows, which older versions know of, from being deleted.
fn holds_rows(key: &ForeignKey, before: &Schema) -> bool {
    before.tables.contains_key(&key.parent) && !matches!(key.on_delete.as_str(), "CASCADE" | "SET NULL")
}

/// A check of a new column is fine where it looks at new columns only and holds for what older versions leave there.
fn checks(name: &str, old: &Table, new: &Table, connection: &mut Connection, until: Until, found: &mut Vec<String>) {
    let is_new = |entry: &&Definition| entry.column.as_ref().is_some_and(|column| !old.columns.contains_key(column));
    let left: Vec<String> = new
        .columns
        .iter()
        .filter(|(column, is)| !old.columns.contains_key(*column) && !is.generated)
        .map(|(_, is)| {
            let default = is.default.as_deref().unwrap_or("NULL");
            format!("({default}\n) AS \"{}\"", is.name.replace('"', "\"\""))
        })
        .collect();
    for entry in new.definitions.list.iter().filter(is_new) {
        for check in &entry.checks {
            let sql = format!("SELECT count(*) FROM (SELECT {}) WHERE NOT ({check}\n)", left.join(", "));
            let limits = Limits { rows: 1, bytes: 1024 };
            // It is the author's SQL, so it runs behind the walls of a migration.
            let holds = connection
                .query(Mode::Migration, &sql, &[], limits, until)
                .is_ok_and(|rows| rows.rows == [[Value::Int64(0)]]);
            if !holds {
                found.push(format!(
                    "the check `{}` on the new column `{name}.{}` refuses rows that older versions may write: it may look \
                     at new columns only, and must hold for their defaults",
                    shown(check),
                    entry.column.as_deref().unwrap_or_default()
                ));
            }
        }
    }
}

fn views(before: &Schema, after: &Schema, found: &mut Vec<String>) {
    for (name, old) in &before.views {
        let Some(old) = &old.columns else { continue };
        match after.views.get(name).map(|view| &view.columns) {
            None => found.push(format!("the view `{name}` is gone, or has another name")),
            Some(None) => found.push(format!("the view `{name}` cannot be read any more")),
            Some(Some(new)) => {
                found.extend(
                    old.difference(new).map(|column| format!("the column `{name}.{column}` of a view is gone")),
                );
            }
        }
    }
}

fn triggers(before: &Schema, after: &Schema, found: &mut Vec<String>) {
    let known = |on: &String| before.tables.contains_key(on) || before.views.contains_key(on);
    let there = |on: &String| after.tables.contains_key(on) || after.views.contains_key(on);
    for (name, old) in before.triggers.iter().filter(|(_, old)| there(&old.on)) {
        if after.triggers.get(name) != Some(old) {
            found.push(format!("the trigger `{name}` on `{}` is gone or changed", old.on));
        }
    }
    for (name, new) in &after.triggers {
        if known(&new.on) && !before.triggers.contains_key(name) {
            found.push(format!("the new trigger `{name}` on `{}` changes what writes of older versions do", new.on));
        }
    }
}

fn shown(sql: &str) -> String {
    let mut text = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() > MAX_SHOWN {
        text.truncate(text.floor_char_boundary(MAX_SHOWN));
        text.push('…');
    }
    text
}
