//! The threads that stores share: turns, places, and statements that do not end.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use super::*;

/// Stores on four threads, which is two for each store, and what is counted for the threads.
fn small(folder: &TempDir, settings: SqliteSettings) -> (SqliteStores, Metrics) {
    let settings = SqliteSettings { threads: 4, ..settings };
    let metrics = Metrics::new().unwrap();
    let threads = SqliteThreads::new(&settings, metrics.sqlite());
    (SqliteStores::open(folder.path(), settings, threads).unwrap(), metrics)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Holds a reader of a store on its thread until the sender is dropped; the flag tells that it began.
fn hold(store: &Arc<SqliteStore>, began: &Arc<AtomicUsize>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (store, began) = (Arc::clone(store), Arc::clone(began));
    let task = tokio::spawn(async move {
        let lease = store.readers.acquire(soon()).await.unwrap();
        let work = move |_: &mut super::super::connection::Connection, _| {
            began.fetch_add(1, SeqCst);
            let _ = held.recv();
            Ok(())
        };
        lease.on_thread(Some(soon()), work).await.1.unwrap();
    });
    (release, task)
}

#[tokio::test]
async fn a_store_with_its_share_full_holds_up_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, metrics) = small(&folder, SqliteSettings::default());
    let greedy = stores.store("greedy").await.unwrap();
    let began = Arc::new(AtomicUsize::new(0));
    let held: Vec<_> = (0..4).map(|_| hold(&greedy, &began)).collect();
    until("a reader has a thread, the others wait", || began.load(SeqCst) == 1 && metrics.sqlite().queued.get() == 3)
        .await;
    // Its own writes have a place as well, and so do all others.
    greedy.execute("DELETE FROM _arcana_x", vec![], soon()).await.unwrap_err();
    for name in ["a", "b", "c"] {
        let store = stores.store(name).await.unwrap();
        assert_eq!(store.query("SELECT 1", vec![], soon()).await.unwrap().rows, [[Value::Int64(1)]]);
    }
    assert_eq!(began.load(SeqCst), 1);
    for (release, task) in held {
        drop(release);
        task.await.unwrap();
    }
    assert_eq!(began.load(SeqCst), 4);
    until("nothing runs", || metrics.sqlite().running.get() == 0).await;
    assert_eq!(metrics.sqlite().queued.get(), 0);
}

#[tokio::test]
async fn there_are_never_more_threads_than_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, metrics) = small(&folder, SqliteSettings::default());
    let began = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for number in 0..8 {
        open.push(stores.store(&format!("s{number}")).await.unwrap());
    }
    let held: Vec<_> = open.iter().map(|store| hold(store, &began)).collect();
    until("four have begun", || began.load(SeqCst) == 4 && metrics.sqlite().queued.get() == 4).await;
    assert_eq!((metrics.sqlite().running.get(), metrics.sqlite().idle.get()), (4, 0));
    for (release, task) in held {
        drop(release);
        task.await.unwrap();
    }
    assert_eq!(began.load(SeqCst), 8);
}

#[tokio::test]
async fn threads_without_work_end() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings::default();
    let metrics = Metrics::new().unwrap();
    let threads = SqliteThreads::with_idle(&settings, Duration::from_millis(50), metrics.sqlite());
    let stores = SqliteStores::open(folder.path(), settings, threads).unwrap();
    for _ in 0..3 {
        let store = stores.store("s").await.unwrap();
        store.query("SELECT count(*) FROM json_each('[1,2]')", vec![], soon()).await.unwrap();
        until("the last has ended", || metrics.sqlite().idle.get() == 0 && metrics.sqlite().running.get() == 0).await;
    }
}

#[tokio::test]
async fn a_statement_that_waits_for_a_thread_waits_until_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, metrics) = small(&folder, SqliteSettings::default());
    let store = stores.store("s").await.unwrap();
    let began = Arc::new(AtomicUsize::new(0));
    let (release, task) = hold(&store, &began);
    until("it holds the thread", || began.load(SeqCst) == 1).await;
    let short = Instant::now() + Duration::from_millis(50);
    let answer = store.query("SELECT 1", vec![], short).await;
    assert!(matches!(answer, Err(SqlError::Unavailable(_))), "{answer:?}");
    drop(release);
    task.await.unwrap();
    // It never began, so nothing is wrong with its connection or the store.
    assert_eq!(store.query("SELECT 1", vec![], soon()).await.unwrap().rows, [[Value::Int64(1)]]);
    assert_eq!(metrics.sqlite().overruns.get(), 0);
}

#[tokio::test]
async fn a_statement_that_ignores_its_deadline_retires_its_store_and_not_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, metrics) = small(&folder, SqliteSettings { max_stuck_threads: 1, ..Default::default() });
    let (store, other) = (stores.store("bad").await.unwrap(), stores.store("good").await.unwrap());
    store.migrate(&[migration(1, "CREATE TABLE t (a)")], Policy::Any).await.unwrap();
    let (release, held) = mpsc::channel::<()>();
    let limit = Duration::from_millis(500);
    let stuck = store.with_writer(soon(), limit, move |connection, until| {
        connection.begin(until).map_err(super::super::prepared::Stop::into_error)?;
        let insert = "INSERT INTO t VALUES (1)";
        let far = super::super::control::Until { deadline: soon(), ..until };
        connection
            .execute(super::super::walls::Mode::Host, insert, &[], far)
            .map_err(super::super::prepared::Stop::into_error)?;
        let _ = held.recv();
        connection.commit()
    });
    assert_eq!(stuck.await, Err(SqlError::Timeout), "the caller does not wait for it");
    until("it counts as stuck", || metrics.sqlite().stuck.get() == 1).await;
    let counted = metrics.sqlite();
    assert_eq!((counted.overruns.get(), counted.retired.get()), (1, 1));
    for answer in [
        store.query("SELECT 1", vec![], soon()).await.map(drop),
        store.execute("DELETE FROM t", vec![], soon()).await.map(drop),
        store.begin(soon()).await.map(drop),
    ] {
        assert!(matches!(answer, Err(SqlError::Unavailable(_))), "{answer:?}");
    }
    // The set has as many threads as before for the others.
    let began = Arc::new(AtomicUsize::new(0));
    let mut busy = vec![hold(&other, &began)];
    for name in ["a", "b", "c"] {
        busy.push(hold(&stores.store(name).await.unwrap(), &began));
    }
    until("four work", || began.load(SeqCst) == 4).await;
    for (release, task) in busy {
        drop(release);
        task.await.unwrap();
    }
    drop(release);
    until("it has ended", || metrics.sqlite().stuck.get() == 0).await;
    let count = async || store.query("SELECT count(*) FROM t", vec![], soon()).await.unwrap().rows;
    assert_eq!(count().await, [[Value::Int64(0)]], "nobody was told of a commit, so there is none");
    assert_eq!(store.execute("INSERT INTO t VALUES (2)", vec![], soon()).await, Ok(1));
    let total = store
        .with_writer(soon(), Duration::from_secs(60), |connection, until| {
            let limits = super::super::connection::Limits { rows: 1, bytes: 100 };
            let mode = super::super::walls::Mode::Host;
            let rows = connection.query(mode, "SELECT total_changes()", &[], limits, until);
            Ok(rows.map_err(super::super::prepared::Stop::into_error)?.rows)
        })
        .await;
    assert_eq!(total, Ok(vec![vec![Value::Int64(1)]]), "it has a new connection");
}

#[tokio::test]
async fn a_caller_that_leaves_a_stuck_statement_does_not_hide_it() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, metrics) = small(&folder, SqliteSettings::default());
    let store = stores.store("s").await.unwrap();
    let began = Arc::new(AtomicUsize::new(0));
    let (release, task) = hold(&store, &began);
    until("it runs", || began.load(SeqCst) == 1).await;
    task.abort();
    until("it counts as stuck", || metrics.sqlite().stuck.get() == 1).await;
    // One is below the limit: the store serves on, with another thread and another connection.
    assert_eq!(metrics.sqlite().retired.get(), 0);
    let count = "SELECT count(*) FROM json_each('[1,2]')";
    assert_eq!(store.query(count, vec![], soon()).await.unwrap().rows, [[Value::Int64(2)]]);
    drop(release);
    until("it has ended", || metrics.sqlite().stuck.get() == 0).await;
}

#[tokio::test]
async fn closing_does_not_wait_for_a_stuck_statement() {
    let folder = tempfile::tempdir().unwrap();
    let (stores, _) = small(&folder, SqliteSettings::default());
    let store = stores.store("s").await.unwrap();
    let began = Arc::new(AtomicUsize::new(0));
    let (release, task) = hold(&store, &began);
    until("it runs", || began.load(SeqCst) == 1).await;
    stores.close(Instant::now() + Duration::from_millis(50)).await;
    assert!(matches!(store.query("SELECT 1", vec![], soon()).await, Err(SqlError::Unavailable(_))));
    drop(release);
    task.await.unwrap();
}
