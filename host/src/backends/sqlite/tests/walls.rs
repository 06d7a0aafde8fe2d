use super::*;
use crate::principal::revocation::{Revocation, RevocationKind};

/// What no plugin may do, with a word of the sentence that says so.
const HOSTILE: &[(&str, &str)] = &[
    // other files
    ("ATTACH 'other.db' AS other", "ATTACH"),
    ("ATTACH ':memory:' AS other", "ATTACH"),
    ("attach/**/database 'file:../host.db?mode=ro' as o", "ATTACH"),
    ("DETACH main", "DETACH"),
    ("VACUUM", "does neither"),
    ("VACUUM INTO 'copy.db'", "does neither"),
    // settings
    ("PRAGMA journal_mode = DELETE", "PRAGMA"),
    ("PRAGMA foreign_keys = OFF", "PRAGMA"),
    ("PRAGMA writable_schema = ON", "PRAGMA"),
    ("PRAGMA query_only = OFF", "PRAGMA"),
    ("PRAGMA table_info(users)", "PRAGMA"),
    ("SELECT * FROM pragma_table_info('users')", "pragma_table_info"),
    ("SELECT * FROM pragma_database_list", "pragma_database_list"),
    // transaction control
    ("BEGIN", "BEGIN"),
    ("begin immediate", "BEGIN"),
    ("COMMIT", "COMMIT"),
    ("END", "COMMIT"),
    ("ROLLBACK", "ROLLBACK"),
    ("SAVEPOINT s", "SAVEPOINT"),
    ("RELEASE s", "SAVEPOINT"),
    ("ROLLBACK TO s", "SAVEPOINT"),
    // native code and the file system
    ("SELECT load_extension('evil')", "load_extension"),
    ("SELECT load_extension('evil', 'entry')", "load_extension"),
    ("SELECT LOAD_EXTENSION('evil')", "load_extension"),
    ("SELECT fts3_tokenizer('simple')", "fts3_tokenizer"),
    ("SELECT sqlite_compileoption_get(1)", "sqlite_compileoption_get"),
    ("SELECT sqlite_log(1, 'x')", "sqlite_log"),
    ("SELECT count(*) FROM plain WHERE a = (SELECT load_extension('evil'))", "load_extension"),
    ("INSERT INTO plain VALUES (load_extension('evil'), 1)", "load_extension"),
    // the schema
    ("CREATE TABLE x (a)", "migrations"),
    ("CREATE TABLE x AS SELECT * FROM users", "migrations"),
    ("CREATE INDEX x ON plain (a)", "migrations"),
    ("CREATE VIEW x AS SELECT 1", "migrations"),
    ("CREATE TRIGGER x AFTER INSERT ON plain BEGIN SELECT 1; END", "migrations"),
    ("DROP TABLE plain", "migrations"),
    ("DROP INDEX users_email", "migrations"),
    ("ALTER TABLE plain RENAME TO other", "migrations"),
    ("ALTER TABLE plain ADD COLUMN c", "migrations"),
    ("REINDEX", "migrations"),
    ("ANALYZE", "migrations"),
    ("CREATE TEMP TABLE x (a)", "migrations"),
    ("CREATE TEMP VIEW x AS SELECT 1", "migrations"),
    ("CREATE VIRTUAL TABLE x USING fts5(a)", "migrations"),
    ("SELECT * FROM sqlite_master", "SQLite's own"),
    ("SELECT * FROM sqlite_schema", "SQLite's own"),
    ("SELECT * FROM sqlite_temp_master", "SQLite's own"),
    ("INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)", ""),
    ("UPDATE sqlite_master SET sql = ''", ""),
    ("DELETE FROM sqlite_master", ""),
    ("SELECT * FROM dbstat", "dbstat"),
    ("SELECT * FROM fts3tokenize", "fts3tokenize"),
    // the host's tables
    ("SELECT * FROM _arcana_revocations", "_arcana_"),
    ("SELECT * FROM main._ARCANA_REVOCATIONS", "_arcana_"),
    ("SELECT * FROM \"_arcana_revocations\" AS innocent", "_arcana_"),
    ("SELECT (SELECT count(*) FROM _arcana_migrations)", "_arcana_"),
    ("DELETE FROM _arcana_revocations", "_arcana_"),
    ("UPDATE _arcana_revocations SET expires_ms = 0", "_arcana_"),
    ("INSERT INTO _arcana_revocations VALUES ('session', 'x', 0, 0)", "_arcana_"),
    ("INSERT INTO plain SELECT value, 1 FROM _arcana_revocations", "_arcana_"),
    ("WITH t AS (SELECT * FROM _arcana_revocations) SELECT * FROM t", "_arcana_"),
    // more than one statement
    ("SELECT 1; SELECT 2", "exactly one"),
    ("DELETE FROM plain; DELETE FROM users", "exactly one"),
    ("DELETE FROM plain; ATTACH 'x' AS y", "exactly one"),
    ("SELECT 1; -- two\n; DROP TABLE plain", "exactly one"),
    ("SELECT 1; /* two */ COMMIT", "exactly one"),
    ("SELECT 1; not sql", "exactly one"),
];

fn said(error: &SqlError, word: &str) -> bool {
    matches!(error, SqlError::Denied(sentence) if sentence.contains(word))
}

#[tokio::test]
async fn hostile_statements_are_denied_everywhere_and_change_nothing() {
    let fixture = Fixture::new().await;
    for (sql, word) in HOSTILE {
        let query = fixture.query(sql, vec![]).await.unwrap_err();
        let execute = fixture.execute(sql, vec![]).await.unwrap_err();
        let mut transaction = fixture.store.begin(soon()).await.unwrap();
        let query_within = transaction.query(sql, vec![]).await.unwrap_err();
        let within = transaction.execute(sql, vec![]).await.unwrap_err();
        drop(transaction);
        for (place, error) in [("query", query), ("execute", execute), ("tx query", query_within), ("tx", within)] {
            // SQLite refuses a direct write to its schema before the authorizer is asked.
            let refused = word.is_empty() && matches!(error, SqlError::Syntax(_));
            assert!(refused || said(&error, word), "{place}: {sql}: {error:?}");
        }
    }
    assert_eq!(fixture.count("plain").await, 2);
    let files: Vec<_> = std::fs::read_dir(fixture.folder.path().join("stores")).unwrap().collect();
    assert_eq!(files.len(), 3, "{files:?}");
}

#[tokio::test]
async fn what_a_plugin_needs_is_allowed() {
    let fixture = Fixture::new().await;
    for sql in [
        "SELECT lower(b), coalesce(a, 0), a ->> '$' FROM plain ORDER BY a LIMIT 1 -- the end",
        "SELECT 1;  /* nothing */ ; -- more\n",
        "  -- first\n SELECT 1",
        "SELECT json_extract('{\"a\":1}', '$.a'), strftime('%Y', 'now'), max(1, 2), count(*) FROM plain",
        "SELECT value FROM json_each('[1,2]')",
        "SELECT row_number() OVER (ORDER BY a), lag(a) OVER (ORDER BY a) FROM plain",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT * FROM n",
        "EXPLAIN QUERY PLAN SELECT * FROM users",
        "SELECT * FROM plain WHERE b LIKE 'o%' OR b GLOB 't*' OR b IN ('x', 'y')",
    ] {
        fixture.query(sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    for sql in [
        "INSERT INTO plain VALUES (3, 'x') ON CONFLICT DO NOTHING RETURNING a",
        "UPDATE plain SET a = a + 1 WHERE a = 3",
        "REPLACE INTO plain VALUES (9, 'nine')",
        "DELETE FROM plain WHERE a = 4",
    ] {
        assert_eq!(fixture.execute(sql, vec![]).await, Ok(1), "{sql}");
    }
}

#[tokio::test]
async fn reading_and_writing_are_told_apart() {
    let fixture = Fixture::new().await;
    let write = "DELETE FROM plain RETURNING a";
    assert!(matches!(fixture.query(write, vec![]).await, Err(SqlError::Denied(_))));
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    assert!(matches!(transaction.query(write, vec![]).await, Err(SqlError::Denied(_))));
    drop(transaction);
    assert!(matches!(fixture.execute("SELECT 1", vec![]).await, Err(SqlError::Denied(_))));
    assert_eq!(fixture.count("plain").await, 2);
}

#[tokio::test]
async fn what_is_no_statement_is_a_syntax_error_that_says_where() {
    let fixture = Fixture::new().await;
    for sql in
        ["", " \n", "-- nothing", ";;", "SELEC 1", "SELECT", "SELECT * FROM nowhere", "SELECT \"x\"", "SELECT 1\0; x"]
    {
        assert!(matches!(fixture.query(sql, vec![]).await, Err(SqlError::Syntax(_))), "{sql:?}");
    }
    let Err(SqlError::Syntax(message)) = fixture.query("SELECT * FRO users", vec![]).await else { panic!() };
    assert!(message.contains("at byte 9") || message.contains("at byte 13"), "{message}");
}

#[tokio::test]
async fn parameters_must_fit_the_statement() {
    let fixture = Fixture::new().await;
    for (sql, params) in [
        ("SELECT ?1", vec![]),
        ("SELECT ?1, ?2", vec![Value::Null]),
        ("SELECT 1", vec![Value::Null]),
        ("SELECT :name", vec![Value::Null]),
        ("SELECT @name", vec![Value::Null]),
        ("SELECT $1", vec![Value::Null]),
        ("SELECT ?1", vec![Value::Float64(f64::NAN)]),
    ] {
        assert!(matches!(fixture.query(sql, params).await, Err(SqlError::InvalidParameter(_))), "{sql}");
    }
    assert_eq!(
        fixture.query("SELECT ?2, ?1", vec![Value::Int64(1), Value::Int64(2)]).await.unwrap()[0],
        [Value::Int64(2), Value::Int64(1)]
    );
    let much = vec![Value::Bytes(vec![0; 3 << 20])];
    assert!(matches!(fixture.query("SELECT ?1", much).await, Err(SqlError::TooLarge(_))));
}

#[tokio::test]
async fn what_the_host_has_prepared_is_not_for_plugins() {
    let fixture = Fixture::new().await;
    const SQL: &str = "SELECT count(*) FROM _arcana_revocations";
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.host_query(SQL, vec![]).await.unwrap();
    assert!(matches!(transaction.query(SQL, vec![]).await, Err(SqlError::Denied(_))));
    assert_eq!(transaction.host_query(SQL, vec![]).await.unwrap().rows[0], [Value::Int64(0)]);
}

#[tokio::test]
async fn triggers_and_views_of_a_plugin_do_not_reach_the_hosts_tables() {
    let fixture = Fixture::new().await;
    let refused = [
        "CREATE TRIGGER t AFTER INSERT ON _arcana_revocations BEGIN DELETE FROM plain; END",
        "CREATE INDEX i ON _arcana_revocations (value)",
        "CREATE TABLE _arcana_mine (a)",
        "DROP TABLE _arcana_revocations",
        "ALTER TABLE _arcana_revocations RENAME TO mine",
        "ALTER TABLE plain RENAME TO _arcana_revocations",
    ];
    for sql in refused {
        let error = fixture.store.migrate(&[migration(1, USERS), migration(2, sql)], Policy::Any).await.unwrap_err();
        assert!(error.to_string().contains("_arcana_"), "{sql}: {error}");
    }
    // A body is looked at when it runs.
    let sneaky = "CREATE TRIGGER sneaky AFTER INSERT ON plain BEGIN DELETE FROM _arcana_revocations; END;
                  CREATE VIEW spy AS SELECT * FROM _arcana_revocations;";
    if fixture.store.migrate(&[migration(1, USERS), migration(2, sneaky)], Policy::Any).await.is_ok() {
        assert!(matches!(fixture.execute("INSERT INTO plain VALUES (1, 1)", vec![]).await, Err(SqlError::Denied(_))));
        assert!(matches!(fixture.query("SELECT * FROM spy", vec![]).await, Err(SqlError::Denied(_))));
    }
}

#[tokio::test]
async fn revocations_last_exactly_when_the_transaction_does() {
    let fixture = Fixture::new().await;
    let revocation = |value: &str, not_before_ms, expires_ms| Revocation {
        kind: RevocationKind::Subject,
        value: value.to_owned(),
        not_before_ms,
        expires_ms,
    };
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.revoke(&revocation("lost", 1, 100)).await.unwrap();
    drop(transaction);
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.revoke(&revocation("kept", 5, 100)).await.unwrap();
    transaction.revoke(&revocation("kept", 3, 200)).await.unwrap();
    transaction.revoke(&revocation("old", 1, 10)).await.unwrap();
    transaction.commit().await.unwrap();
    let kept = [revocation("kept", 5, 200)];
    assert_eq!(fixture.store.load_revocations(50, soon()).await.unwrap(), kept);
    assert_eq!(fixture.store.purge_revocations(50, soon()).await, Ok(1));
    assert_eq!(fixture.store.load_revocations(0, soon()).await.unwrap(), kept);
}
