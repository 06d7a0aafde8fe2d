use super::super::connection::{Connection, Limits};
use super::super::control::Until;
use super::super::prepared::Stop;
use super::super::walls::Mode;
use super::*;

fn settings() -> SqliteSettings {
    SqliteSettings { statement_timeout: Duration::from_millis(100), ..Default::default() }
}

/// Writes without end.
const ENDLESS_WRITE: &str = "INSERT INTO plain
    WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1e9) SELECT x, x FROM n WHERE x < 0";

#[tokio::test]
async fn a_statement_past_its_time_is_stopped_and_leaves_nothing() {
    let fixture = Fixture::with(settings()).await;
    assert_eq!(fixture.query(ENDLESS, vec![]).await, Err(SqlError::Timeout));
    assert_eq!(fixture.execute(ENDLESS_WRITE, vec![]).await, Err(SqlError::Timeout));
    assert_eq!(fixture.store.query("SELECT 1", vec![], Instant::now()).await, Err(SqlError::Timeout));
    // The connections serve on, and a statement that was slow once may be quick again.
    assert_eq!(fixture.query("SELECT 1", vec![]).await.unwrap(), [[Value::Int64(1)]]);
    assert_eq!(fixture.execute("DELETE FROM plain", vec![]).await, Ok(2));
}

#[tokio::test]
async fn what_takes_longer_than_a_shared_thread_can_give_is_answered_all_the_same() {
    let fixture = Fixture::with(SqliteSettings { inline_steps: 1, ..Default::default() }).await;
    let long =
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) SELECT count(*) FROM n";
    for _ in 0..3 {
        assert_eq!(fixture.query(long, vec![]).await.unwrap(), [[Value::Int64(20_000)]]);
    }
}

/// Only between its steps can a statement be asked to make room, so whatever may take long within one runs elsewhere.
#[tokio::test]
async fn only_statements_of_short_steps_run_on_shared_threads() {
    let fixture = Fixture::new().await;
    let stays = |sql: &'static str| {
        let run = move |connection: &mut Connection, until| {
            let limits = Limits { rows: 10, bytes: 1_000 };
            connection.query(Mode::Plugin, sql, &[], limits, until).map_err(Stop::into_error)?;
            let until = Until { steps: Some(u32::MAX), ..until };
            match connection.query(Mode::Plugin, sql, &[], limits, until) {
                Ok(_) => Ok(true),
                Err(Stop::Yielded) => Ok(false),
                Err(stop) => Err(stop.into_error()),
            }
        };
        fixture.store.with_writer(soon(), Duration::from_secs(60), run)
    };
    assert_eq!(stays("SELECT lower(b), max(a) FROM plain WHERE a = 1 AND coalesce(b, '') <> ''").await, Ok(true));
    for sql in [
        "SELECT b LIKE '%a%' FROM plain",
        "SELECT * FROM plain WHERE b GLOB '*a*'",
        "SELECT count(*) FROM plain",
        "SELECT b -> 'a' FROM plain WHERE a = 9",
        "SELECT value FROM json_each('[1]')",
        "SELECT hex(b) FROM plain",
        "SELECT lower(lower(lower(lower(lower(lower(lower(lower(lower(b))))))))) FROM plain",
    ] {
        assert_eq!(stays(sql).await, Ok(false), "{sql}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_its_statement() {
    let deadline = Instant::now() + Duration::from_secs(600);
    // Its own limit is far: only the cancellation lets the next caller in before the test ends.
    let slow = Fixture::with(SqliteSettings {
        statement_timeout: Duration::from_secs(600),
        read_connections: 1,
        ..Default::default()
    })
    .await;
    let read = slow.store.query(ENDLESS, vec![], deadline);
    assert!(tokio::time::timeout(Duration::from_millis(50), read).await.is_err());
    assert_eq!(slow.query("SELECT 1", vec![]).await.unwrap(), [[Value::Int64(1)]]);
    let write = slow.store.execute(ENDLESS_WRITE, vec![], deadline);
    assert!(tokio::time::timeout(Duration::from_millis(50), write).await.is_err());
    assert_eq!(slow.execute("DELETE FROM plain", vec![]).await, Ok(2));
}

#[tokio::test]
async fn rows_and_bytes_are_bounded_while_they_are_read() {
    let fixture = Fixture::with(SqliteSettings { max_rows: 100, max_result_bytes: 10_000, ..Default::default() }).await;
    let many = |rows: u32| {
        format!("WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows}) SELECT x FROM n")
    };
    assert_eq!(fixture.query(&many(100), vec![]).await.unwrap().len(), 100);
    assert_eq!(fixture.query(&many(101), vec![]).await, Err(SqlError::TooManyRows(100)));
    assert_eq!(fixture.query(&many(4_000_000_000), vec![]).await, Err(SqlError::TooManyRows(100)));
    assert_eq!(fixture.query("SELECT zeroblob(9990)", vec![]).await, Err(SqlError::TooLarge(10_000)));
    assert!(fixture.query("SELECT zeroblob(9984)", vec![]).await.is_ok());
    assert!(matches!(fixture.query("SELECT zeroblob(1000000000)", vec![]).await, Err(SqlError::TooLarge(_))));
}

#[tokio::test]
async fn statements_are_bounded() {
    let fixture = Fixture::new().await;
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    assert_eq!(fixture.query(&long, vec![]).await, Err(SqlError::TooLarge(64 << 10)));
    let deep = format!("SELECT {}1", "1+".repeat(1_000));
    assert!(matches!(fixture.query(&deep, vec![]).await, Err(SqlError::Syntax(_))));
    let params = format!("SELECT {}?", "?,".repeat(1_000));
    assert!(matches!(fixture.query(&params, vec![Value::Null; 1_001]).await, Err(SqlError::Syntax(_))));
    let pattern = format!("SELECT 'x' LIKE '{}'", "%x".repeat(200));
    assert!(fixture.query(&pattern, vec![]).await.is_err());
    for number in 0..500 {
        fixture.query(&format!("SELECT {number}"), vec![]).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_store_refuses_and_serves_on() {
    let fixture = Fixture::with(SqliteSettings { max_database_bytes: 200 << 10, ..Default::default() }).await;
    let insert = || fixture.execute("INSERT INTO plain VALUES (1, zeroblob(50000))", vec![]);
    let mut answers = vec![];
    for _ in 0..6 {
        answers.push(insert().await);
    }
    assert!(matches!(answers.last(), Some(Err(SqlError::Unavailable(_)))), "{answers:?}");
    let kept = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(fixture.count("plain").await, 2 + i64::try_from(kept).unwrap());
}

#[tokio::test]
async fn a_store_that_is_closed_says_so_and_opens_again_whole() {
    let fixture = Fixture::new().await;
    fixture.execute("INSERT INTO plain VALUES (3, 'three')", vec![]).await.unwrap();
    fixture.stores.close(soon()).await;
    assert!(matches!(fixture.query("SELECT 1", vec![]).await, Err(SqlError::Unavailable(_))));
    let folder = fixture.folder.path().join("stores");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "the log is in the file");
    let again = stores(&folder, SqliteSettings::default()).store("test").await.unwrap();
    let rows = again.query("SELECT count(*) FROM plain", vec![], soon()).await.unwrap();
    assert_eq!(rows.rows, [[Value::Int64(3)]]);
}
