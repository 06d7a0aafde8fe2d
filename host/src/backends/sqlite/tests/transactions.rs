use super::*;
use crate::backends::sql::Statement;

fn insert(number: i64) -> (&'static str, Vec<Value>) {
    ("INSERT INTO plain VALUES (?1, 'x')", vec![Value::Int64(number)])
}

#[tokio::test]
async fn a_transaction_is_seen_by_others_once_it_is_committed() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    let (sql, params) = insert(3);
    assert_eq!(transaction.execute(sql, params).await, Ok(1));
    let own = transaction.query("SELECT count(*) FROM plain", vec![]).await.unwrap();
    assert_eq!((own.rows, fixture.count("plain").await), (vec![vec![Value::Int64(3)]], 2));
    transaction.commit().await.unwrap();
    assert_eq!(fixture.count("plain").await, 3);
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing_and_the_writer_free() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        let mut transaction = fixture.store.begin(soon()).await.unwrap();
        let (sql, params) = insert(3);
        transaction.execute(sql, params).await.unwrap();
        drop(transaction);
        assert_eq!(fixture.count("plain").await, 2);
    }
    let (sql, params) = insert(3);
    assert_eq!(fixture.execute(sql, params).await, Ok(1));
}

#[tokio::test]
async fn a_call_cancelled_in_the_middle_rolls_its_transaction_back() {
    let fixture =
        Fixture::with(SqliteSettings { statement_timeout: Duration::from_secs(600), ..Default::default() }).await;
    let far = Instant::now() + Duration::from_secs(600);
    let write = format!("INSERT INTO plain SELECT x, x FROM ({})", ENDLESS.replace("count(*)", "x"));
    for reading in [true, false] {
        let mut transaction = fixture.store.begin(far).await.unwrap();
        let (sql, params) = insert(3);
        transaction.execute(sql, params).await.unwrap();
        let short = Duration::from_millis(50);
        if reading {
            assert!(tokio::time::timeout(short, transaction.query(ENDLESS, vec![])).await.is_err());
        } else {
            assert!(tokio::time::timeout(short, transaction.execute(&write, vec![])).await.is_err());
        }
        let (sql, params) = insert(4);
        assert!(matches!(transaction.execute(sql, params).await, Err(SqlError::Other(_))));
        assert!(transaction.commit().await.is_err());
        // The next one gets a clean writer.
        let transaction = fixture.store.begin(far).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(fixture.count("plain").await, 2);
    }
}

#[tokio::test]
async fn a_transaction_that_sql_has_ended_keeps_nothing_that_follows() {
    let fixture = Fixture::new().await;
    let unique = "INSERT OR ROLLBACK INTO users (id, email) VALUES (?1, 'same')";
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.execute(unique, vec![text("a")]).await.unwrap();
    assert!(transaction.execute(unique, vec![text("b")]).await.is_err());
    let (sql, params) = insert(3);
    assert!(matches!(transaction.execute(sql, params).await, Err(SqlError::Other(_))));
    assert!(matches!(transaction.query("SELECT 1", vec![]).await, Err(SqlError::Other(_))));
    assert!(transaction.commit().await.is_err());
    let batch = ["a", "b", "c"].map(|id| Statement { sql: unique.to_owned(), params: vec![text(id)] });
    assert!(fixture.store.batch(batch.to_vec(), soon()).await.is_err());
    assert_eq!((fixture.count("users").await, fixture.count("plain").await), (0, 2));
}

#[tokio::test]
async fn a_failed_statement_leaves_the_rest_of_the_transaction() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    let (sql, params) = insert(3);
    transaction.execute(sql, params).await.unwrap();
    assert!(transaction.execute("INSERT INTO users (id) VALUES ('x')", vec![]).await.is_err());
    transaction.commit().await.unwrap();
    assert_eq!(fixture.count("plain").await, 3);
}

#[tokio::test]
async fn a_deferred_rule_fails_the_commit() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.execute("INSERT INTO notes (email) VALUES ('nobody')", vec![]).await.unwrap();
    assert!(matches!(transaction.commit().await, Err(SqlError::ForeignKeyViolation(_))));
    assert_eq!(fixture.count("notes").await, 0);
}

#[tokio::test]
async fn a_second_writer_waits_until_its_deadline() {
    let fixture = Fixture::with(SqliteSettings { max_waiting: 1, ..Default::default() }).await;
    let first = fixture.store.begin(soon()).await.unwrap();
    let short = Instant::now() + Duration::from_millis(30);
    assert!(matches!(fixture.store.begin(short).await, Err(SqlError::Unavailable(_))));
    let (sql, params) = insert(3);
    let short = Instant::now() + Duration::from_millis(30);
    assert!(matches!(fixture.store.execute(sql, params, short).await, Err(SqlError::Unavailable(_))));
    // One place in the queue: whoever comes third is refused at once.
    let store = Arc::clone(&fixture.store);
    let second = tokio::spawn(async move { store.begin(soon()).await.map(drop) });
    tokio::task::yield_now().await;
    assert!(matches!(fixture.store.begin(soon()).await, Err(SqlError::Unavailable(_))));
    drop(first);
    assert_eq!(second.await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_lose_no_update() {
    let fixture = Arc::new(Fixture::new().await);
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut transaction = fixture.store.begin(soon()).await.unwrap();
                    let rows = transaction.query("SELECT a FROM plain WHERE b = 'two'", vec![]).await.unwrap();
                    let [Value::Int64(number)] = rows.rows[0][..] else { panic!() };
                    let params = vec![Value::Int64(number + 1)];
                    transaction.execute("UPDATE plain SET a = ?1 WHERE b = 'two'", params).await.unwrap();
                    transaction.commit().await.unwrap();
                    fixture.execute("UPDATE plain SET a = a + 1 WHERE b = 'one'", vec![]).await.unwrap();
                    fixture.query("SELECT * FROM plain", vec![]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = fixture.query("SELECT a FROM plain ORDER BY b", vec![]).await.unwrap();
    assert_eq!(rows, [[Value::Int64(81)], [Value::Int64(82)]]);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let fixture = Fixture::new().await;
    let statement = |number| {
        let (sql, params) = insert(number);
        Statement { sql: sql.to_owned(), params }
    };
    let delete = Statement { sql: "DELETE FROM plain".to_owned(), params: vec![] };
    assert_eq!(fixture.store.batch(vec![statement(3), delete.clone(), statement(4)], soon()).await, Ok(vec![1, 3, 1]));
    let broken = Statement { sql: "INSERT INTO users (id) VALUES (1)".to_owned(), params: vec![] };
    assert!(fixture.store.batch(vec![delete.clone(), broken], soon()).await.is_err());
    let commit = Statement { sql: "COMMIT".to_owned(), params: vec![] };
    assert!(matches!(fixture.store.batch(vec![delete, commit], soon()).await, Err(SqlError::Denied(_))));
    assert_eq!(fixture.count("plain").await, 1);
}

#[tokio::test]
async fn another_process_that_writes_is_waited_for_until_the_deadline() {
    let fixture = Fixture::new().await;
    let folder = fixture.folder.path().join("stores");
    // A second opener of the same file stands for another process: they share nothing but the file's locks.
    let other = stores(&folder, SqliteSettings::default()).store("test").await.unwrap();
    let transaction = other.begin(soon()).await.unwrap();
    let short = Instant::now() + Duration::from_millis(50);
    let (sql, params) = insert(3);
    assert!(fixture.store.begin(short).await.is_err());
    let waiting = fixture.execute(sql, params);
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        transaction.commit().await
    };
    let (written, released) = tokio::join!(waiting, release);
    assert_eq!((written, released), (Ok(1), Ok(())));
}

/// SQLite counts the steps of a statement over all its runs, and now and then asks after BEGIN too whether to go on: where
/// that interrupts it, the transaction is open.
#[tokio::test]
async fn a_transaction_that_is_interrupted_as_it_begins_begins_once() {
    let fixture = Fixture::with(SqliteSettings { inline_steps: 1, ..Default::default() }).await;
    for round in 0..3_000 {
        let transaction = fixture.store.begin(soon()).await;
        assert!(transaction.is_ok(), "{:?} in round {round}", transaction.err());
    }
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.execute("INSERT INTO plain VALUES (3, 'x')", vec![]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.count("plain").await, 3);
}
