//! Migrations of a store that is in use only add to it.

use super::*;
use crate::backends::sqlite::{Migrated, MigrationError, Trust};

/// What older versions use: a table with constraints of every kind, one that points to it, a view and triggers.
const OLD: &str = "
    CREATE TABLE users (
        id UUID PRIMARY KEY, email TEXT NOT NULL COLLATE NOCASE, age INTEGER CHECK (age > 0), active BOOLEAN DEFAULT 1,
        UNIQUE (email, age)
    );
    CREATE UNIQUE INDEX users_email ON users (email) WHERE active;
    CREATE INDEX users_age ON users (age);
    CREATE TABLE notes (id INTEGER PRIMARY KEY, email TEXT REFERENCES users (id), text TEXT) STRICT;
    CREATE VIEW adults AS SELECT id, email FROM users WHERE age >= 18;
    CREATE TRIGGER touch AFTER INSERT ON notes BEGIN UPDATE users SET active = 1 WHERE id = NEW.email; END;";

/// What a second migration is answered with on a store that is in use.
async fn second(sql: &str, policy: Policy) -> Result<Migrated, MigrationError> {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path(), SqliteSettings::default());
    let store = stores.store("test").await.unwrap();
    let one = migration(1, OLD);
    store.migrate(std::slice::from_ref(&one), Policy::ExpandOnly).await.unwrap();
    let schema = || async {
        // The columns of the host's own statement are the plugin's schema as it is.
        let sql = "SELECT type, name, sql FROM sqlite_schema ORDER BY name";
        let open = SqliteStore::open("look", store.path(), Trust::Host, &Arc::default(), &threads()).await.unwrap();
        open.query(sql, Vec::new(), soon()).await.unwrap().rows
    };
    let before = schema().await;
    let done = store.migrate(&[one, migration(2, sql)], policy).await;
    if done.is_err() {
        assert_eq!(schema().await, before, "{sql} was refused and left something");
    }
    done
}

/// The reasons against it, in one text.
async fn refused(sql: &str) -> String {
    match second(sql, Policy::ExpandOnly).await {
        Err(MigrationError::NotExpanding { version: 2, breaks, .. }) => breaks.join("; "),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn what_only_adds_is_let_through() {
    let fine = Ok(Migrated { applied: vec![2], ahead: vec![] });
    for sql in [
        "CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE CHECK (name <> ''))",
        "ALTER TABLE users ADD COLUMN nick TEXT",
        "ALTER TABLE users ADD COLUMN level INTEGER NOT NULL DEFAULT 1 CHECK (level BETWEEN 0 AND 9)",
        "ALTER TABLE users ADD COLUMN flag BOOLEAN CHECK (flag IN (0, 1))",
        "ALTER TABLE users ADD COLUMN upper_email TEXT AS (upper(email)) VIRTUAL",
        // Older versions leave it NULL, and NULL is never a duplicate.
        "ALTER TABLE users ADD COLUMN slug TEXT; CREATE UNIQUE INDEX users_slug ON users (slug)",
        "CREATE TABLE teams (id INTEGER PRIMARY KEY); ALTER TABLE users ADD COLUMN team INTEGER REFERENCES teams (id)",
        "ALTER TABLE notes ADD COLUMN author TEXT REFERENCES users (id) ON DELETE SET NULL",
        "CREATE TABLE logins (id UUID REFERENCES users (id) ON DELETE CASCADE, at TIMESTAMP)",
        "CREATE INDEX notes_text ON notes (lower(text)); DROP INDEX users_age",
        "CREATE VIEW minors AS SELECT id FROM users WHERE age < 18",
        "DROP VIEW adults; CREATE VIEW adults AS SELECT email, id, age FROM users WHERE age >= 18",
        "CREATE TABLE log (t TEXT); CREATE TRIGGER log_it AFTER INSERT ON log BEGIN DELETE FROM log WHERE t = ''; END",
        "INSERT INTO users (id, email, age) VALUES ('1', 'a@b', 7); UPDATE users SET age = age + 1",
        // Made anew, and the same in all that matters.
        "DROP INDEX users_email; CREATE UNIQUE INDEX users_mail ON Users (\"email\") where active /* the same */",
        "ANALYZE",
    ] {
        assert_eq!(second(sql, Policy::ExpandOnly).await, fine, "{sql}");
    }
}

#[tokio::test]
async fn what_takes_away_or_narrows_is_refused_by_its_name() {
    for (sql, words) in [
        ("DROP TABLE notes", &["table `notes` is gone"][..]),
        ("ALTER TABLE notes RENAME TO memos", &["table `notes` is gone"]),
        ("ALTER TABLE notes DROP COLUMN text", &["column `notes.text` is gone"]),
        ("ALTER TABLE users RENAME COLUMN active TO enabled", &["column `users.active` is gone"]),
        (
            "ALTER TABLE users ADD COLUMN level INTEGER NOT NULL DEFAULT 1 CHECK (level > age)",
            &["check `level > age`", "users.level"],
        ),
        ("ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 1 CHECK (level > 1)", &["check `level > 1`"]),
        ("ALTER TABLE users ADD COLUMN level INTEGER CHECK (level IS NOT NULL)", &["users.level"]),
        ("CREATE UNIQUE INDEX one_age ON users (age)", &["unique index on `users ( age )`"]),
        ("CREATE UNIQUE INDEX lower_text ON notes (lower(text))", &["unique index on `notes ( lower ( text ) )`"]),
        ("DROP INDEX users_email", &["unique index on `users ( email ) where active` is gone"]),
        ("DROP VIEW adults", &["view `adults` is gone"]),
        ("DROP VIEW adults; CREATE VIEW adults AS SELECT id FROM users", &["`adults.email`"]),
        ("DROP TRIGGER touch", &["trigger `touch` on `notes`"]),
        (
            "CREATE TRIGGER guard BEFORE INSERT ON notes BEGIN SELECT RAISE(ABORT, 'no') WHERE NEW.text = ''; END",
            &["new trigger `guard` on `notes`"],
        ),
        ("CREATE TABLE logins (id UUID REFERENCES users (id))", &["`logins`", "deleting rows of `users`", "ON DELETE"]),
        (
            "ALTER TABLE notes ADD COLUMN author TEXT REFERENCES users (id)",
            &["foreign key `notes` (author)", "ON DELETE SET NULL"],
        ),
    ] {
        let reasons = refused(sql).await;
        assert!(words.iter().all(|word| reasons.contains(word)), "{sql}: {reasons}");
        // There is a way where no older version will run again.
        assert!(second(sql, Policy::Any).await.is_ok(), "{sql}");
    }
}

/// SQLite's usual way to change what ALTER TABLE cannot: the table is made anew under its old name.
#[tokio::test]
async fn a_table_that_is_made_anew_is_compared_with_what_it_was() {
    let anew = |columns: &str, options: &str| {
        format!(
            "CREATE TABLE fresh ({columns}){options}; INSERT INTO fresh (id, email, text) SELECT id, email, text FROM notes; \
             DROP TABLE notes; ALTER TABLE fresh RENAME TO notes; \
             CREATE TRIGGER touch AFTER INSERT ON notes BEGIN UPDATE users SET active = 1 WHERE id = NEW.email; END;"
        )
    };
    let same = "id INTEGER PRIMARY KEY, email TEXT REFERENCES users (id), text TEXT";
    let fine = Ok(Migrated { applied: vec![2], ahead: vec![] });
    assert_eq!(second(&anew(same, " STRICT"), Policy::ExpandOnly).await, fine);
    let more = format!("{same}, more TEXT DEFAULT 'x', many INTEGER NOT NULL DEFAULT 0");
    assert_eq!(second(&anew(&more, "STRICT"), Policy::ExpandOnly).await, fine);
    for (columns, options, words) in [
        (
            same.replace("text TEXT", "text BLOB"),
            " STRICT",
            &["`notes.text` was `text TEXT` and would be `text BLOB`"][..],
        ),
        (same.replace("text TEXT", "text TEXT NOT NULL"), " STRICT", &["`notes.text`", "text TEXT NOT NULL"]),
        (
            same.replace("text TEXT", "text TEXT UNIQUE"),
            " STRICT",
            &["`notes.text`", "unique index on `notes ( text )`"],
        ),
        (same.replace("text TEXT", "text TEXT CHECK (text <> '')"), " STRICT", &["`notes.text`"]),
        (same.replace(" REFERENCES users (id)", ""), " STRICT", &["`notes.email`"]),
        (same.to_owned(), "", &["options of the table `notes` were `strict` and would be none"]),
        (
            format!("{same}, must TEXT NOT NULL DEFAULT NULL"),
            " STRICT",
            &["`notes.must` is NOT NULL and has no default"],
        ),
        (format!("{same}, CHECK (text <> '')"), " STRICT", &["new constraint `CHECK (text <> '')`"]),
        (format!("{same}, UNIQUE (text)"), " STRICT", &["new constraint `UNIQUE (text)`", "unique index"]),
        (
            format!("{same}, FOREIGN KEY (text) REFERENCES users (id) ON DELETE CASCADE"),
            " STRICT",
            &["new constraint", "foreign key `notes` (text)"],
        ),
        (
            "id INTEGER, email TEXT REFERENCES users (id), text TEXT, own INTEGER PRIMARY KEY".to_owned(),
            " STRICT",
            &["`notes.id`", "`notes.own` would be part of the primary key"],
        ),
    ] {
        let reasons = refused(&anew(&columns, options)).await;
        assert!(words.iter().all(|word| reasons.contains(word)), "{columns}: {reasons}");
    }
    // A constraint of the table that is not there any more.
    let lost = "CREATE TABLE fresh (id UUID PRIMARY KEY, email TEXT NOT NULL COLLATE NOCASE, age INTEGER CHECK (age > 0), \
                active BOOLEAN DEFAULT 1); DROP VIEW adults; DROP TRIGGER touch; DROP TABLE users; ALTER TABLE fresh RENAME TO users; \
                CREATE UNIQUE INDEX users_email ON users (email) WHERE active; \
                CREATE VIEW adults AS SELECT id, email FROM users WHERE age >= 18; \
                CREATE TRIGGER touch AFTER INSERT ON notes BEGIN UPDATE users SET active = 1 WHERE id = NEW.email; END;";
    assert_eq!(refused(lost).await, "the table `users` loses `UNIQUE (email, age)`");
}

#[tokio::test]
async fn every_reason_is_told_at_once_with_what_to_do() {
    let error = second("DROP VIEW adults; DROP TABLE notes", Policy::ExpandOnly).await.unwrap_err().to_string();
    for words in ["migration 2 (m2)", "table `notes`", "view `adults`", "only adds", "docs/data.md", "breaking"] {
        assert!(error.contains(words), "{error}");
    }
}

/// Nothing was written for an empty store yet, so a first run may take back what an earlier step of it has made.
#[tokio::test]
async fn the_first_run_on_an_empty_store_is_free_and_the_next_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(folder.path(), SqliteSettings::default());
    let store = stores.store("test").await.unwrap();
    let mut list = vec![migration(1, OLD), migration(2, "DROP TABLE notes"), migration(3, "DROP VIEW adults")];
    let done = store.migrate(&list, Policy::ExpandOnly).await;
    assert_eq!(done, Ok(Migrated { applied: vec![1, 2, 3], ahead: vec![] }));
    list.push(migration(4, "CREATE TABLE more (a)"));
    list.push(migration(5, "DROP TABLE more"));
    let error = store.migrate(&list, Policy::ExpandOnly).await.unwrap_err();
    assert!(matches!(error, MigrationError::NotExpanding { version: 5, .. }), "{error:?}");
    // The one before it has run, and is recorded.
    let done = store.migrate(&list, Policy::Any).await;
    assert_eq!(done, Ok(Migrated { applied: vec![5], ahead: vec![] }));
}

#[tokio::test]
async fn a_run_that_fails_goes_on_where_it_stopped() {
    let fixture = Fixture::new().await;
    let step = |version: u64| migration(version, &format!("INSERT INTO plain VALUES ({version}, 'step')"));
    let broken = migration(4, "INSERT INTO plain VALUES (4, 'step'); INSERT INTO nowhere VALUES (1);");
    let list = [migration(1, USERS), step(2), step(3), broken, step(5)];
    let error = fixture.store.migrate(&list, Policy::ExpandOnly).await.unwrap_err();
    assert!(matches!(error, MigrationError::Failed { version: 4, .. }), "{error:?}");
    let steps = || fixture.query("SELECT a FROM plain WHERE b = 'step' ORDER BY a", vec![]);
    assert_eq!(steps().await.unwrap(), [[Value::Int64(2)], [Value::Int64(3)]]);
    // Corrected, it goes on with the one that failed; what has run does not run again.
    let list = [migration(1, USERS), step(2), step(3), step(4), step(5)];
    let done = fixture.store.migrate(&list, Policy::ExpandOnly).await;
    assert_eq!(done, Ok(Migrated { applied: vec![4, 5], ahead: vec![] }));
    assert_eq!(steps().await.unwrap().len(), 4);
}
