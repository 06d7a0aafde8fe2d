//! A plugin makes its store take memory and disk without end.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, chaos_limits, guest_with, until};

const MIB: u64 = 1 << 20;

/// Stores that are small, so that what is tried is soon there.
const SMALL: &str = "[database.sqlite]\nmax_size = \"48MiB\"\nmax_wal = \"8MiB\"\nwal_checkpoint = \"1MiB\"
    max_memory = \"16MiB\"\nstatement_timeout = \"20s\"";

/// A host with the chaos guest, and the same once more as the plugin that must not notice.
fn host() -> Host {
    let limits = chaos_limits("memory = \"16MiB\"\ncall_timeout = \"30s\"\nconcurrency = 16");
    Setup::new()
        .settings(SMALL)
        .plugin("chaos", &guest_with("chaos", &limits))
        .plugin("quiet", &chaos_as("quiet", &limits))
        .start()
}

async fn sql(host: &Host, sql: &str, mode: &str) -> Value {
    let body = json!({ "store": "own", "sql": sql, "mode": mode });
    let (status, answer) = host.post("/test/chaos/sql", body).await;
    assert_eq!(status, 200, "{sql}: {answer}");
    answer
}

/// Reads and writes of the other plugin.
async fn others_are_well(host: &Host) {
    for (statement, mode) in [
        ("INSERT INTO notes (note) VALUES ('here')", "execute"),
        ("SELECT count(*) FROM (SELECT note FROM notes ORDER BY note)", "query"),
    ] {
        let body = json!({ "store": "own", "sql": statement, "mode": mode });
        assert_eq!(host.post("/test/quiet/sql", body).await, (200, json!("ok")));
    }
}

/// The bytes of a file of the attacker's store.
fn size(host: &Host, end: &str) -> u64 {
    fs::metadata(host.path(&format!("data/stores/own.test.chaos.db{end}"))).map_or(0, |file| file.len())
}

async fn metric(host: &Host, name: &str, more: &str) -> f64 {
    host.metric(&format!(r#"arcana_store_{name}{{{more}store="own.test.chaos"}}"#)).await
}

/// The metrics say that this limit has refused something so often at least. They may be a second old.
async fn refused(host: &Host, limit: &str, times: f64) {
    let labels = format!(r#"limit="{limit}","#);
    until("refusals are counted", async || metric(host, "refusals_total", &labels).await >= times).await;
}

/// So many rows of 1,000 characters in one transaction.
fn fill(rows: u32) -> String {
    format!(
        "INSERT INTO notes (note) WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows})
         SELECT hex(randomblob(500)) FROM n"
    )
}

const SORT: &str = "SELECT count(*) FROM (SELECT note FROM notes ORDER BY note || note LIMIT -1)";

#[tokio::test]
async fn reads_that_overlap_while_much_is_written_do_not_grow_the_write_ahead_log() {
    let host = Arc::new(host());
    assert_eq!(sql(&host, &fill(10), "execute").await, "ok");
    let (over, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (host, over, reads) = (host.clone(), over.clone(), reads.clone());
        tasks.spawn(async move {
            let slow = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000)
                        SELECT count(*) FROM n WHERE x > (SELECT min(length(note)) FROM notes)";
            while !over.load(Ordering::Relaxed) {
                assert_eq!(sql(&host, slow, "query").await, "ok");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // Two writers put 60 MB of one row through a log of 8 MiB.
    let writers: Vec<_> = (1..=2)
        .map(|id| {
            let host = host.clone();
            tokio::spawn(async move {
                let write = format!("UPDATE notes SET note = hex(randomblob(500000)) WHERE id = {id}");
                let mut most = 0;
                for _ in 0..30 {
                    assert_eq!(sql(&host, &write, "execute").await, "ok");
                    most = most.max(size(&host, "-wal"));
                }
                most
            })
        })
        .collect();
    for writer in writers {
        while !writer.is_finished() {
            others_are_well(&host).await;
        }
        let most = writer.await.unwrap();
        assert!(most <= 8 * MIB, "{most}");
    }
    let before = reads.load(Ordering::Relaxed);
    until("reads go on", async || reads.load(Ordering::Relaxed) > before + 3).await;
    over.store(true, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    until("checkpoints are counted", async || metric(&host, "checkpoints_total", r#"outcome="done","#).await > 0.0)
        .await;
    assert!(metric(&host, "wal_bytes", "").await <= 8.0 * 1_048_576.0);
}

#[tokio::test]
async fn what_one_transaction_writes_a_sort_spills_or_a_row_holds_has_an_end() {
    let host = host();
    // One transaction.
    assert_eq!(sql(&host, &fill(30_000), "execute").await, "unavailable");
    assert!(size(&host, "-wal") <= 8 * MIB);
    refused(&host, "wal", 1.0).await;
    others_are_well(&host).await;

    // Sorts that fit into files, and then one that does not: 60 MB of keys.
    for _ in 0..3 {
        assert_eq!(sql(&host, &fill(5_000), "execute").await, "ok");
    }
    let few = "SELECT count(*) FROM (SELECT note FROM notes WHERE id < 4000 ORDER BY note || note LIMIT -1)";
    assert_eq!(sql(&host, few, "query").await, "ok");
    assert_eq!(sql(&host, SORT, "query").await, "unavailable");
    refused(&host, "temporary", 1.0).await;
    until("no temporary file is left", async || metric(&host, "temporary_bytes", "").await == 0.0).await;
    others_are_well(&host).await;

    // One row of 1 GB.
    let wide = format!("SELECT {}", ["hex(randomblob(1000000))"; 500].join(", "));
    for _ in 0..3 {
        assert_eq!(sql(&host, &wide, "query").await, "unavailable");
        assert!(metric(&host, "memory_bytes", "").await < 16.0 * 1_048_576.0);
    }
    refused(&host, "memory", 3.0).await;
    others_are_well(&host).await;

    // Until the store is full; then it can be emptied.
    let mut written = 0;
    while sql(&host, &fill(5_000), "execute").await == "ok" {
        assert!(size(&host, "") + size(&host, "-wal") <= 48 * MIB);
        written += 1;
        assert!(written < 48);
    }
    for _ in 0..40 {
        assert_eq!(
            sql(&host, "DELETE FROM notes WHERE id IN (SELECT id FROM notes LIMIT 2000)", "execute").await,
            "ok"
        );
    }
    assert_eq!(sql(&host, &fill(5_000), "execute").await, "ok");
    others_are_well(&host).await;
    let names = fs::read_dir(host.path("data/stores")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| name.to_string_lossy().contains(".db")), "no temporary file has a name");
}
