//! What grows in a store has its bound: memory, temporary files, the write-ahead log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::super::connection::Limits;
use super::super::prepared::Stop;
use super::super::walls::Mode;
use super::*;

const MIB: u64 = 1 << 20;

/// `rows` rows of 1,000 random digits each.
fn fill(rows: u32) -> String {
    format!(
        "INSERT INTO plain WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows})
         SELECT x, hex(randomblob(500)) FROM n"
    )
}

/// Sorts all that is in the table, and answers how many rows came.
const SORT: &str = "SELECT count(*) FROM (SELECT b FROM plain ORDER BY b || b LIMIT -1)";

/// One row of 500 values, each of two million characters.
fn wide() -> String {
    format!("SELECT {}", ["hex(randomblob(1000000))"; 500].join(", "))
}

fn unavailable(setting: &str) -> impl Fn(&Result<Vec<Vec<Value>>, SqlError>) -> bool {
    move |answer| matches!(answer, Err(SqlError::Unavailable(sentence)) if sentence.contains(setting))
}

fn refusals(fixture: &Fixture, limit: &str) -> u64 {
    fixture.store.usage().refused.into_iter().find_map(|(name, count)| (name == limit).then_some(count)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_past_the_memory_of_its_store_fails_and_others_go_on() {
    let settings = SqliteSettings { max_memory_bytes: 16 * MIB, ..Default::default() };
    let (greedy, other) = (Fixture::with(settings).await, Fixture::new().await);
    for _ in 0..3 {
        let answer = greedy.query(&wide(), vec![]).await;
        assert!(unavailable("database.sqlite.max_memory")(&answer), "{answer:?}");
        assert!(greedy.store.usage().memory < 16 * MIB, "{:?}", greedy.store.usage());
        assert_eq!(greedy.query("SELECT b FROM plain WHERE a = 1", vec![]).await.unwrap(), [[text("one")]]);
        assert_eq!(greedy.execute("UPDATE plain SET b = b", vec![]).await, Ok(2));
        assert_eq!(other.query("SELECT b FROM plain WHERE a = 1", vec![]).await.unwrap(), [[text("one")]]);
    }
    assert!(refusals(&greedy, "memory") >= 3);
    assert_eq!(refusals(&other, "memory"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_kept_give_way_to_those_that_run() {
    let settings = SqliteSettings { max_memory_bytes: 8 * MIB, read_connections: 2, ..Default::default() };
    let fixture = Fixture::with(settings).await;
    // Each takes some hundred kilobytes once it is compiled, and 128 are kept for each connection.
    for number in 0..200 {
        let sql = format!("SELECT {}", ["coalesce(?1, a)"; 500].join(", ")) + &format!(", {number} FROM plain");
        let answer = fixture.query(&sql, vec![Value::Int64(1)]).await;
        assert!(answer.is_ok(), "{number}: {answer:?} {:?}", fixture.store.usage());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_a_store_without_memory_is_rolled_back_and_the_next_one_works() {
    let settings = SqliteSettings { max_memory_bytes: 16 * MIB, ..Default::default() };
    let fixture = Fixture::with(settings).await;
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    transaction.execute("INSERT INTO plain VALUES (3, 'three')", vec![]).await.unwrap();
    let answer = transaction.query(&wide(), vec![]).await;
    assert!(matches!(answer, Err(SqlError::Unavailable(_))), "{answer:?}");
    drop(transaction);
    assert_eq!(fixture.count("plain").await, 2);
    assert_eq!(fixture.execute("INSERT INTO plain VALUES (3, 'three')", vec![]).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_larger_than_the_memory_of_a_store_use_files_beside_it_that_count() {
    let settings = SqliteSettings {
        max_memory_bytes: 16 * MIB,
        max_database_bytes: 1024 * MIB,
        statement_timeout: Duration::from_secs(60),
        ..Default::default()
    };
    let fixture = Fixture::with(settings).await;
    for _ in 0..5 {
        fixture.execute(&fill(8_000), vec![]).await.unwrap();
    }
    let folder = fixture.folder.path().join("stores").canonicalize().unwrap();
    let store = Arc::clone(&fixture.store);
    let sort = tokio::spawn(async move { store.query(SORT, vec![], soon()).await });
    let mut seen = Vec::new();
    let mut most = 0;
    while !sort.is_finished() {
        most = most.max(fixture.store.usage().temporary);
        seen.extend(temporary_files(&folder));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sort.await.unwrap().unwrap().rows, [[Value::Int64(40_002)]]);
    // 40 MB of rows and 80 MB of what they are sorted by do not fit into 16 MiB.
    assert!(most > 32 * MIB, "{most}");
    assert!(!seen.is_empty() && seen.iter().all(|mode| mode & 0o777 == 0o600), "{seen:?}");
    // Nothing is left of them, neither bytes nor names.
    assert_eq!((fixture.store.usage().temporary, temporary_files(&folder)), (0, vec![]));
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| name.starts_with("test.db")), "only the store is there");
}

/// The modes of the temporary files of SQLite in this folder that this process has open. They have no names any more.
fn temporary_files(folder: &std::path::Path) -> Vec<u32> {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let ours = open.filter(|entry| {
        fs::read_link(entry.path())
            .is_ok_and(|target| target.parent() == Some(folder) && target.to_string_lossy().contains("/.sqlite-"))
    });
    ours.filter_map(|entry| fs::metadata(entry.path()).ok()).map(|file| file.permissions().mode()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_count_into_the_size_of_a_store() {
    let settings = SqliteSettings {
        max_database_bytes: 64 * MIB,
        max_wal_bytes: 8 * MIB,
        wal_checkpoint_bytes: MIB,
        statement_timeout: Duration::from_secs(60),
        ..Default::default()
    };
    let fixture = Fixture::with(settings).await;
    for _ in 0..4 {
        fixture.execute(&fill(5_000), vec![]).await.unwrap();
    }
    let answer = fixture.query(SORT, vec![]).await;
    assert!(unavailable("database.sqlite.max_size")(&answer), "{answer:?}");
    assert!(refusals(&fixture, "temporary") > 0);
    assert_eq!(fixture.store.usage().temporary, 0);
    // A smaller one works, and so do writes.
    let few = "SELECT count(*) FROM (SELECT b FROM plain WHERE a < 1000 ORDER BY b || b LIMIT -1)";
    assert_eq!(fixture.query(few, vec![]).await.unwrap(), [[Value::Int64(3_998)]]);
    let delete = "DELETE FROM plain WHERE rowid IN (SELECT rowid FROM plain LIMIT 1000)";
    assert_eq!(fixture.execute(delete, vec![]).await, Ok(1_000));
}

/// A statement that reads the table for as long as it takes to count so far.
fn slow(steps: u32) -> String {
    format!(
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {steps})
         SELECT count(*) FROM n WHERE x > (SELECT min(a) FROM plain)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_overlap_do_not_make_the_log_grow() {
    let settings = SqliteSettings {
        max_database_bytes: 256 * MIB,
        max_wal_bytes: 8 * MIB,
        wal_checkpoint_bytes: MIB,
        statement_timeout: Duration::from_secs(60),
        ..Default::default()
    };
    let fixture = Fixture::with(settings).await;
    let log = fixture.folder.path().join("stores/test.db-wal");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let store = Arc::clone(&fixture.store);
        readers.spawn(async move { while store.query(&slow(200_000), vec![], soon()).await.is_ok() {} });
    }
    // 40 MB through a log of 8.
    let big = "UPDATE plain SET b = hex(randomblob(500000)) WHERE a = 1";
    let mut most = 0;
    for _ in 0..40 {
        assert_eq!(fixture.execute(big, vec![]).await, Ok(1));
        most = most.max(fs::metadata(&log).map_or(0, |file| file.len()));
    }
    assert!(most <= 8 * MIB, "{most}");
    assert!(readers.try_join_next().is_none(), "reads go on");
    readers.shutdown().await;
    let [(_, done), _] = fixture.store.usage().checkpoints[..] else { panic!() };
    assert!(done > 0);
    assert_eq!(refusals(&fixture, "wal"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_larger_than_the_log_may_be_is_refused_and_leaves_nothing() {
    let settings = SqliteSettings {
        max_database_bytes: 256 * MIB,
        max_wal_bytes: 8 * MIB,
        wal_checkpoint_bytes: MIB,
        ..Default::default()
    };
    let fixture = Fixture::with(settings).await;
    let log = fixture.folder.path().join("stores/test.db-wal");
    for _ in 0..2 {
        let answer = fixture.execute(&fill(20_000), vec![]).await;
        assert!(
            matches!(&answer, Err(SqlError::Unavailable(s)) if s.contains("database.sqlite.max_wal")),
            "{answer:?}"
        );
        assert!(fs::metadata(&log).unwrap().len() <= 8 * MIB);
        assert_eq!(fixture.count("plain").await, 2);
        assert_eq!(fixture.execute("UPDATE plain SET b = b", vec![]).await, Ok(2));
    }
    // So is one of many statements, which has to begin anew.
    let mut transaction = fixture.store.begin(soon()).await.unwrap();
    let mut written = 0;
    let refused = loop {
        match transaction.execute(&fill(1_000), vec![]).await {
            Ok(_) if written < 20 => written += 1,
            answer => break answer,
        }
    };
    assert!(matches!(&refused, Err(SqlError::Unavailable(_) | SqlError::Other(_))), "{refused:?}");
    drop(transaction);
    assert_eq!(fixture.count("plain").await, 2);
    // A migration may write more.
    let more = migration(2, &format!("{};", fill(20_000)));
    fixture.store.migrate(&[migration(1, USERS), more], Policy::Any).await.unwrap();
    assert_eq!(fixture.count("plain").await, 20_002);
    assert_eq!(fixture.execute("UPDATE plain SET b = b WHERE a < 10", vec![]).await, Ok(11));
    assert!(fixture.store.usage().wal <= 8 * MIB, "{:?}", fixture.store.usage());
}

#[tokio::test(flavor = "multi_thread")]
async fn file_log_and_temporary_files_together_stay_below_the_size_of_a_store() {
    let settings = SqliteSettings {
        max_database_bytes: 32 * MIB,
        max_wal_bytes: 8 * MIB,
        wal_checkpoint_bytes: MIB,
        statement_timeout: Duration::from_secs(60),
        ..Default::default()
    };
    let fixture = Fixture::with(settings).await;
    let file = fixture.folder.path().join("stores/test.db");
    let size = |end: &str| fs::metadata(file.with_extension(format!("db{end}"))).map_or(0, |file| file.len());
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(fixture.execute(&fill(2_000), vec![]).await);
        let _ = fixture.query(SORT, vec![]).await;
        let usage = fixture.store.usage();
        assert!(size("") + size("-wal") + usage.temporary <= 32 * MIB, "{usage:?}");
    }
    let full = answers.last().unwrap();
    assert!(matches!(full, Err(SqlError::Unavailable(s)) if s.contains("database.sqlite.max_size")), "{full:?}");
    // What is full can be emptied.
    let mut gone = 0;
    while fixture.count("plain").await > 0 {
        gone += fixture
            .execute("DELETE FROM plain WHERE rowid IN (SELECT rowid FROM plain LIMIT 1000)", vec![])
            .await
            .unwrap();
    }
    assert!(gone > 2_000);
    assert_eq!(fixture.execute(&fill(1_000), vec![]).await, Ok(1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_account_of_a_store_that_was_closed() {
    let fixture = Fixture::new().await;
    fixture.execute(&fill(1_000), vec![]).await.unwrap();
    for _ in 0..10 {
        fixture.query(SORT, vec![]).await.unwrap();
    }
    assert!(fixture.store.usage().memory > 0);
    fixture.stores.close(soon()).await;
    let usage = fixture.store.usage();
    assert_eq!((usage.memory, usage.temporary), (0, 0), "{usage:?}");
}

/// The pages of all stores would be one pool otherwise, in which the pages of one store are charged to another.
#[tokio::test]
async fn sqlite_is_built_with_a_cache_of_pages_for_each_connection() {
    let fixture = Fixture::new().await;
    let options = fixture.store.with_writer(soon(), Duration::from_secs(60), |connection, until| {
        let limits = Limits { rows: 1_000, bytes: 1 << 20 };
        connection.query(Mode::Host, "PRAGMA compile_options", &[], limits, until).map_err(Stop::into_error)
    });
    let options = options.await.unwrap().rows;
    assert!(options.contains(&vec![text("THREADSAFE=1")]), "{options:?}");
    assert!(!options.contains(&vec![text("ENABLE_MEMORY_MANAGEMENT")]), ".cargo/config.toml says how SQLite is built");
}
