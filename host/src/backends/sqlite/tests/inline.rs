//! Only short, compiled statements run on a thread that serves others.

use super::super::connection::{Connection, Limits};
use super::super::control::Until;
use super::super::prepared::Stop;
use super::super::walls::Mode;
use super::*;

const MANY: Limits = Limits { rows: 100, bytes: 10 << 20 };

/// Reads on the thread that asks; none where it is not for that thread.
fn here(connection: &mut Connection, sql: &str) -> Option<Vec<Vec<Value>>> {
    let until = Until { deadline: soon(), steps: Some(u32::MAX), job: 0 };
    match connection.query(Mode::Plugin, sql, &[], MANY, until) {
        Ok(rows) => Some(rows.rows),
        Err(Stop::Yielded) => None,
        Err(stop) => panic!("{stop:?}"),
    }
}

async fn reader<T: Send + 'static>(fixture: &Fixture, work: impl FnOnce(&mut Connection) -> T + Send + 'static) -> T {
    let lease = fixture.store.readers.acquire(soon()).await.unwrap();
    lease.on_thread(Some(soon()), move |connection, _| Ok(work(connection))).await.1.unwrap()
}

#[tokio::test]
async fn a_statement_that_is_not_compiled_is_not_compiled_here() {
    let fixture = Fixture::with(SqliteSettings { read_connections: 1, ..Default::default() }).await;
    let sql = "SELECT a FROM plain WHERE b = 'one'";
    assert_eq!(reader(&fixture, move |connection| here(connection, sql)).await, None);
    assert_eq!(fixture.query(sql, vec![]).await.unwrap(), [[Value::Int64(1)]]);
    assert_eq!(reader(&fixture, move |connection| here(connection, sql)).await, Some(vec![vec![Value::Int64(1)]]));
    // Nor is what is no SQL, nor what the walls refuse, looked at here.
    for sql in ["SELECT", "SELECT load_extension('x')", "PRAGMA table_list", "VACUUM"] {
        assert_eq!(reader(&fixture, move |connection| here(connection, sql)).await, None, "{sql}");
    }
}

#[tokio::test]
async fn a_statement_whose_tables_have_changed_is_not_compiled_again_here() {
    let fixture = Fixture::with(SqliteSettings { read_connections: 1, ..Default::default() }).await;
    let sql = "SELECT * FROM plain WHERE a = 1";
    for (version, columns) in (2..).zip(3..7) {
        assert_eq!(fixture.query(sql, vec![]).await.unwrap()[0].len(), columns - 1);
        assert_eq!(reader(&fixture, move |connection| here(connection, sql)).await.unwrap()[0].len(), columns - 1);
        let mut list = vec![migration(1, USERS)];
        list.extend(
            (2..=version)
                .map(|version| migration(version, &format!("ALTER TABLE plain ADD COLUMN c{version} DEFAULT 7"))),
        );
        fixture.store.migrate(&list, Policy::Any).await.unwrap();
        assert_eq!(reader(&fixture, move |connection| here(connection, sql)).await, None);
        assert_eq!(fixture.query(sql, vec![]).await.unwrap()[0].len(), columns);
    }
}

/// Another process may change the tables of `host.db` at any moment: nothing here takes part in a lock of ours.
#[tokio::test]
async fn tables_that_change_behind_the_store_are_seen() {
    let fixture = Fixture::with(SqliteSettings { read_connections: 1, ..Default::default() }).await;
    let other = rusqlite::Connection::open(fixture.store.path()).unwrap();
    let read = "SELECT * FROM plain WHERE a = 1";
    for count in 3..40 {
        assert_eq!(fixture.query(read, vec![]).await.unwrap()[0].len(), count - 1);
        other.execute_batch(&format!("ALTER TABLE plain ADD COLUMN c{count}")).unwrap();
        assert_eq!(reader(&fixture, move |connection| here(connection, read)).await, None);
        assert_eq!(fixture.query(read, vec![]).await.unwrap()[0].len(), count);
        fixture.execute("UPDATE plain SET b = b", vec![]).await.unwrap();
    }
}

#[tokio::test]
async fn long_values_are_not_touched_here() {
    let fixture = Fixture::with(SqliteSettings { read_connections: 1, ..Default::default() }).await;
    fixture.execute("INSERT INTO plain VALUES (3, zeroblob(100000)), (4, 'x')", vec![]).await.unwrap();
    let long = "SELECT b FROM plain WHERE a = 3";
    for _ in 0..3 {
        assert_eq!(fixture.query(long, vec![]).await.unwrap(), [[Value::Bytes(vec![0; 100_000])]]);
        assert_eq!(reader(&fixture, move |connection| here(connection, long)).await, None);
    }
    let short = "SELECT b FROM plain WHERE a = 4";
    assert_eq!(fixture.query(short, vec![]).await.unwrap(), [[text("x")]]);
    assert_eq!(reader(&fixture, move |connection| here(connection, short)).await, Some(vec![vec![text("x")]]));
    // A long parameter is as good elsewhere as a short one.
    let length = "SELECT length(?1)";
    for size in [10, 100_000, 10] {
        let answer = fixture.query(length, vec![Value::Text("x".repeat(size))]).await.unwrap();
        assert_eq!(answer, [[Value::Int64(i64::try_from(size).unwrap())]]);
    }
}
