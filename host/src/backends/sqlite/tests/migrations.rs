use super::*;
use crate::backends::sqlite::{Migrated, MigrationError, open_host_database};

#[tokio::test]
async fn migrations_run_once_in_order_and_are_remembered() {
    let fixture = Fixture::new().await;
    let list = [migration(3, "INSERT INTO plain VALUES (4, 'x')"), migration(1, USERS), migration(2, "-- none")];
    assert_eq!(fixture.store.migrate(&list, Policy::Any).await, Ok(Migrated { applied: vec![2, 3], ahead: vec![] }));
    assert_eq!(fixture.store.migrate(&list, Policy::Any).await, Ok(Migrated::default()));
    assert_eq!(fixture.count("plain").await, 3);
    // An older release starts on the newer schema.
    assert_eq!(
        fixture.store.migrate(&list[1..2], Policy::Any).await,
        Ok(Migrated { applied: vec![], ahead: vec![2, 3] })
    );
}

#[tokio::test]
async fn a_list_that_does_not_fit_what_has_run_is_refused() {
    let fixture = Fixture::new().await;
    let five = migration(5, "CREATE TABLE five (a)");
    fixture.store.migrate(&[migration(1, USERS), five.clone()], Policy::Any).await.unwrap();
    let refused = |list: Vec<Migration>| {
        let store = Arc::clone(&fixture.store);
        async move { store.migrate(&list, Policy::Any).await.unwrap_err() }
    };
    let name = |version: u64| format!("m{version}");
    let changed = refused(vec![migration(1, "CREATE TABLE other (a)"), five.clone()]).await;
    assert_eq!(changed, MigrationError::Changed { version: 1, name: name(1) });
    let late = refused(vec![migration(1, USERS), migration(3, "SELECT 1"), five.clone()]).await;
    assert_eq!(late, MigrationError::OutOfOrder { version: 3, name: name(3), newest: 5 });
    assert_eq!(refused(vec![five.clone()]).await, MigrationError::Missing { version: 1, name: name(1) });
    assert_eq!(refused(vec![five.clone(), five]).await, MigrationError::Duplicate(5));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_of_itself() {
    let fixture = Fixture::new().await;
    let broken = migration(2, "CREATE TABLE half (a); INSERT INTO half VALUES (1); INSERT INTO nowhere VALUES (1);");
    let after = migration(3, "CREATE TABLE never (a)");
    let error = fixture.store.migrate(&[migration(1, USERS), broken, after], Policy::Any).await.unwrap_err();
    assert!(matches!(error, MigrationError::Failed { version: 2, error: SqlError::Syntax(_), .. }), "{error:?}");
    assert!(matches!(fixture.query("SELECT * FROM half", vec![]).await, Err(SqlError::Syntax(_))));
    let mended = [migration(1, USERS), migration(2, "CREATE TABLE half (a)")];
    assert_eq!(fixture.store.migrate(&mended, Policy::Any).await, Ok(Migrated { applied: vec![2], ahead: vec![] }));
}

#[tokio::test]
async fn migrations_may_change_the_schema_and_nothing_else() {
    let fixture = Fixture::new().await;
    let good = "
        CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT DEFAULT 'x', at TIMESTAMP);
        CREATE TRIGGER touch AFTER INSERT ON a BEGIN UPDATE a SET at = 7 WHERE id = NEW.id; END;
        CREATE VIEW names AS SELECT name FROM a;
        INSERT INTO a (name) VALUES ('one');
        ALTER TABLE a ADD COLUMN more JSON;
        ALTER TABLE a RENAME COLUMN more TO extra;
        ALTER TABLE a DROP COLUMN extra;
        ALTER TABLE plain RENAME TO plainer;
        DROP TABLE notes;
        CREATE INDEX a_name ON a (lower(name));
        ANALYZE;
        REINDEX;
        DROP INDEX a_name;";
    fixture.store.migrate(&[migration(1, USERS), migration(2, good)], Policy::Any).await.unwrap();
    assert_eq!(fixture.query("SELECT name FROM names", vec![]).await.unwrap(), [[text("one")]]);
    let hostile = [
        "ATTACH 'x.db' AS x",
        "PRAGMA writable_schema = ON",
        "COMMIT",
        "SAVEPOINT s",
        "VACUUM",
        "SELECT load_extension('x')",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE TABLE temp.t (a)",
        "DELETE FROM _arcana_migrations",
        "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
        "UPDATE sqlite_master SET sql = 'x'",
        "SELECT ?1",
        "INSERT OR ROLLBACK INTO users (id, email) VALUES ('1', 'a'), ('2', 'a')",
    ];
    for sql in hostile {
        let error =
            fixture.store.migrate(&[migration(1, USERS), migration(2, good), migration(3, sql)], Policy::Any).await;
        assert!(matches!(error, Err(MigrationError::Failed { version: 3, .. })), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn two_openers_migrate_the_same_file_once() {
    let fixture = Fixture::new().await;
    let folder = fixture.folder.path().join("stores");
    let other = stores(&folder, SqliteSettings::default()).store("test").await.unwrap();
    let list = [migration(1, USERS), migration(2, "INSERT INTO plain VALUES (3, 'x')"), migration(3, "-- last")];
    let (first, second) = tokio::join!(fixture.store.migrate(&list, Policy::Any), other.migrate(&list, Policy::Any));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.applied.len() + second.applied.len(), 2, "{first:?} {second:?}");
    assert_eq!(fixture.count("plain").await, 3);
}

#[tokio::test]
async fn the_hosts_own_database_opens_twice() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let store =
            open_host_database(&folder.path().join("host.db"), SqliteSettings::default(), &threads()).await.unwrap();
        let upsert = "INSERT INTO trust_state (one, serial) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET serial = ?1";
        assert_eq!(store.execute(upsert, vec![Value::Int64(4)], soon()).await, Ok(1));
        let orphan =
            "INSERT INTO plugin_versions (id, digest, seq, version, installed_at) VALUES ('a/b', 'd', 1, '1.0.0', 0)";
        assert!(matches!(store.execute(orphan, vec![], soon()).await, Err(SqlError::ForeignKeyViolation(_))));
        store.close(soon()).await;
    }
}
