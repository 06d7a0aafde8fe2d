//! The plugin `{{id}}`: short notes, each of one person.
//!
//! The contract is `wit/plugin.wit`, and [`Guest`] is the trait that is made from it. `plugin.toml` says where the functions
//! are served and what the plugin may do.

use core::time::Duration;

use arcana_sdk::config::{self, SettingError};
use arcana_sdk::database::{Store, Transaction};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, Validation, cache, context, from_row, log, params};
use bindings::exports::arcana::plugin::lifecycle;
use bindings::exports::{{module}}::notes::{Guest, Note};

arcana_sdk::bindings!({
    path: ["wit"],
    world: "plugin",
    with: { "arcana:types/types@1.0.0": arcana_sdk::types },
});

struct Plugin;
bindings::export!(Plugin with_types_in bindings);

/// The database that is the plugin's own.
const STORE: Store = Store::OWN;
/// The longest note, in characters.
const LONGEST: usize = 280;
/// How old the number of all notes may be.
const COUNT_AGE: Duration = Duration::from_secs(10);

/// A row of `notes`; `from_row!` finds the columns by name.
struct Row {
    id: Uuid,
    text: String,
    created_at: Timestamp,
}
from_row!(Row { id, text, created_at });

impl From<Row> for Note {
    fn from(row: Row) -> Self {
        Self { id: row.id.to_string(), text: row.text, created_at: row.created_at.to_string() }
    }
}

/// What the host calls when the plugin starts and stops.
impl lifecycle::Guest for Plugin {
    /// A setting that cannot be used keeps the plugin from starting, instead of failing the first request.
    fn on_enable() -> Result<(), String> {
        max_notes().map(drop).map_err(|error| error.to_string())
    }

    fn on_disable() -> Result<(), String> {
        Ok(())
    }
}

impl Guest for Plugin {
    fn list() -> Result<Vec<Note>> {
        let owner = context::require_principal()?.subject;
        let sql = "SELECT id, text, created_at FROM notes WHERE owner = ?1 ORDER BY id DESC LIMIT 10000";
        Ok(STORE.query_all::<Row>(sql, params![owner])?.into_iter().map(Note::from).collect())
    }

    fn get(id: String) -> Result<Note> {
        let owner = context::require_principal()?.subject;
        let id: Uuid = id.parse().map_err(|_| unknown())?;
        let sql = "SELECT id, text, created_at FROM notes WHERE id = ?1 AND owner = ?2";
        Ok(STORE.query_opt::<Row>(sql, params![id, owner])?.ok_or_else(unknown)?.into())
    }

    fn add(text: String) -> Result<Note> {
        let owner = context::require_principal()?.subject;
        let row = Row { text: checked(&text)?, id: Uuid::v7(), created_at: Timestamp::now() };
        let most = max_notes()?;
        // A transaction that is dropped, here by `?` or `return`, has written nothing.
        let tx = STORE.begin()?;
        let (count,): (u64,) = tx.query_one("SELECT COUNT(*) FROM notes WHERE owner = ?1", params![owner])?;
        if count >= most {
            return Err(Problem::conflict(format!("{most} notes are enough")));
        }
        insert(&tx, &owner, &row)?;
        tx.commit()?;
        log::info!("note kept"; id = row.id, owner = owner);
        Ok(row.into())
    }

    fn remove(id: String) -> Result<()> {
        let owner = context::require_principal()?.subject;
        let id: Uuid = id.parse().map_err(|_| unknown())?;
        match STORE.execute("DELETE FROM notes WHERE id = ?1 AND owner = ?2", params![id, owner])? {
            0 => Err(unknown()),
            _ => Ok(()),
        }
    }

    fn count() -> Result<u64> {
        // Of many callers at once only one asks the database.
        let bytes = cache::get_or_compute("count", Some(COUNT_AGE), Duration::from_secs(1), || {
            let (count,): (u64,) = STORE.query_one("SELECT COUNT(*) FROM notes", params![])?;
            Ok::<_, Problem>(count.to_string().into_bytes())
        })?;
        String::from_utf8_lossy(&bytes).parse().map_err(|_| Problem::internal("the cached number is none"))
    }
}

/// The text of a note, or everything that is wrong with it.
fn checked(text: &str) -> Result<String> {
    let text = text.trim();
    let mut errors = Validation::new();
    errors.check(!text.is_empty(), "text", "REQUIRED", "a note says something");
    errors.check(text.chars().count() <= LONGEST, "text", "TOO_LONG", "at most 280 characters");
    errors.finish()?;
    Ok(text.to_owned())
}

/// The setting `max_notes` of `[plugins.settings."{{id}}"]`; its default is in the manifest.
fn max_notes() -> Result<u64, SettingError> {
    match config::get("max_notes")? {
        Some(most @ 1..=10_000) => Ok(most),
        _ => Err(SettingError::new("max_notes", "an integer from 1 to 10000")),
    }
}

fn insert(tx: &Transaction, owner: &str, row: &Row) -> Result<()> {
    let sql = "INSERT INTO notes (id, owner, text, created_at) VALUES (?1, ?2, ?3, ?4)";
    let written = tx.execute(sql, params![row.id, owner, row.text, row.created_at]);
    written.map(drop).map_err(|error| match error.unique_violation() {
        Some(_) => Problem::conflict("you have this note already").with_detail("text", "TAKEN", "noted already"),
        None => error.into(),
    })
}

fn unknown() -> Problem {
    Problem::not_found("there is no such note")
}

/// `cargo test` runs these on the machine itself: they call nothing of the host. What does is tested by `calls.toml`.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_trimmed() {
        assert_eq!(checked("  buy milk\n").unwrap(), "buy milk");
    }

    #[test]
    fn a_text_that_cannot_be_kept_is_told_by_its_field() {
        for (text, code) in [(" ".to_owned(), "REQUIRED"), ("x".repeat(LONGEST + 1), "TOO_LONG")] {
            let problem = checked(&text).unwrap_err();
            assert_eq!((problem.details[0].field.as_str(), problem.details[0].code.as_str()), ("text", code));
        }
        assert!(checked(&"ä".repeat(LONGEST)).is_ok());
    }
}
