//! SQLite's compiler recurses over the parsed statement. Limits refuse such SQL before it is compiled; these tests bypass
//! the limits and check that the stack holds.

use super::super::connection::{Connection, Limits};
use super::super::prepared::Stop;
use super::super::walls::Mode;
use super::*;

const ONE: Limits = Limits { rows: 1, bytes: 1024 };

/// As the host itself would: on a thread of SQLite, and with no limit on what SQL may look like.
async fn on_thread<T: Send + 'static>(
    fixture: &Fixture,
    work: impl FnOnce(&mut Connection, super::super::control::Until) -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    fixture.store.with_writer(soon() + Duration::from_secs(600), Duration::from_secs(600), work).await
}

async fn compile(fixture: &Fixture, sql: String) -> Result<(), SqlError> {
    assert!(sql.len() > 60_000 && sql.len() <= 64 << 10, "{}", sql.len());
    on_thread(fixture, move |connection, until| {
        connection.query(Mode::Host, &sql, &[], ONE, until).map(drop).map_err(Stop::into_error)
    })
    .await
}

fn nested(open: &str, inner: &str, close: &str) -> String {
    let times = ((64 << 10) - inner.len()) / (open.len() + close.len());
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[tokio::test]
async fn no_statement_overflows_the_stack_of_a_thread() {
    let fixture = Fixture::new().await;
    for sql in [
        nested("SELECT*FROM(", "SELECT 1", ")"),
        nested("SELECT(", "SELECT 1", ")"),
        nested("SELECT EXISTS(", "SELECT 1", ")"),
        nested("SELECT 1 IN(", "SELECT 1", ")"),
        nested("WITH a AS(", "SELECT 1", ")SELECT 1"),
        nested("SELECT*FROM a JOIN(", "SELECT 1", ")"),
        format!("SELECT {}", nested("(", "1", ")").split_off(14)),
        format!("SELECT {}", nested("abs(", "1", ")").split_off(15)),
        format!("SELECT {}1", "NOT ".repeat(16_000)),
        format!("SELECT {}1", "- ".repeat(32_000)),
        format!("SELECT {}1", "1+".repeat(32_000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(4_300)),
        format!("SELECT * FROM a{}", ",(SELECT 1)".repeat(5_800)),
    ] {
        // It may be refused, for its memory too; the process lives.
        let _ = compile(&fixture, sql).await;
    }
    assert_eq!(fixture.count("plain").await, 2);
}

#[tokio::test]
async fn no_schema_overflows_the_stack_of_a_thread() {
    let fixture = Fixture::new().await;
    let mut triggers = "CREATE TABLE t0 (x);".to_owned();
    for number in 0..3_000 {
        let next = number + 1;
        triggers += &format!(
            "CREATE TABLE t{next} (x); CREATE TRIGGER r{number} AFTER INSERT ON t{number} \
             BEGIN INSERT INTO t{next} VALUES (1); END;"
        );
    }
    let mut views = "CREATE TABLE v0 (x);".to_owned();
    let mut keys = "CREATE TABLE k0 (x PRIMARY KEY);".to_owned();
    for number in 1..=1_000 {
        let last = number - 1;
        views += &format!("CREATE VIEW v{number} AS SELECT * FROM v{last};");
        keys += &format!("CREATE TABLE k{number} (x PRIMARY KEY REFERENCES k{last} ON DELETE CASCADE);");
    }
    for (schema, sql) in
        [(triggers, "INSERT INTO t0 VALUES (1)"), (views, "SELECT * FROM v1000"), (keys, "DELETE FROM k0")]
    {
        on_thread(&fixture, move |connection, until| {
            // In one transaction: the disk is not what is tested.
            connection.script(Mode::Host, &format!("BEGIN; {schema} COMMIT;"), until)
        })
        .await
        .unwrap();
        let _ = on_thread(&fixture, move |connection, until| connection.script(Mode::Host, sql, until)).await;
    }
    assert_eq!(fixture.count("plain").await, 2);
}
