//! SQL that is made to overflow a stack, to hold every thread, or to keep the process from ending.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, chaos_limits, guest, guest_with, until};

/// The host's hang guard: what is answered at all is answered long before.
const SOON: Duration = Duration::from_secs(20);

async fn sql(host: &Host, guest: &str, sql: &str) -> reqwest::Result<u16> {
    let body = json!({ "store": "own", "sql": sql, "mode": "query" });
    let answer = host.client.post(format!("{}/test/{guest}/sql", host.url)).json(&body).send().await?;
    Ok(answer.status().as_u16())
}

/// Each name is used twice by the next one: compiling it takes twice as long with every step.
fn doubling(steps: u32) -> String {
    let chain: String = (1..=steps).map(|n| format!(",a{n} AS(SELECT p.x FROM a{0} p,a{0} q)", n - 1)).collect();
    format!("WITH a0 AS(SELECT 1 x){chain} SELECT*FROM a{steps}")
}

#[tokio::test]
async fn subqueries_nested_thousands_deep_do_not_end_the_host() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).start();
    for deep in [100, 1_000, 3_000, 5_000] {
        for (open, close) in [("SELECT*FROM(", ")"), ("SELECT(", ")"), ("WITH a AS(", ")SELECT*FROM a")] {
            let statement = format!("{}SELECT 1{}", open.repeat(deep), close.repeat(deep));
            assert!(sql(&host, "chaos", &statement).await.is_ok(), "{open}: {deep}");
            assert_eq!(host.get("/health").await.0, 200, "{open}: {deep}");
        }
    }
}

#[tokio::test]
async fn sql_that_takes_for_ever_to_compile_or_run_holds_up_nobody_else() {
    let chaos = guest_with("chaos", &chaos_limits("memory = \"16MiB\"\ncall_timeout = \"2s\"\nconcurrency = 16"));
    let other = chaos_as("other", &chaos_limits("memory = \"16MiB\"\ncall_timeout = \"10s\"\nconcurrency = 16"));
    let host = Setup::new()
        .settings("[server.rest]\nshutdown_deadline = \"1s\"")
        .plugin("chaos", &chaos)
        .plugin("other", &other)
        .plugin("echo", &guest("echo"))
        .start();
    let host = Arc::new(host);
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n WHERE x < 0";
    let attack: Vec<_> = [doubling(14), doubling(20), endless.to_owned()]
        .into_iter()
        .cycle()
        .take(12)
        .map(|statement| {
            let host = Arc::clone(&host);
            tokio::spawn(async move { sql(&host, "chaos", &statement).await })
        })
        .collect();
    until("statements of the attack run", async || {
        host.metric("arcana_database_threads{state=\"running\"}").await >= 1.0
            || attack.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(host.get("/health").await.0, 200);
        assert_eq!(host.get("/test/echo/hello/ada").await.0, 200);
        // Other text each time: it is compiled, and written, beside the attack.
        assert_eq!(sql(&host, "other", "SELECT count(*) FROM notes").await.unwrap(), 200);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
    for call in attack {
        assert!(call.await.unwrap().is_ok(), "the host lives");
    }
    let threads = |state| format!("arcana_database_threads{{state=\"{state}\"}}");
    until("nothing runs any more, or it counts as stuck", async || host.metric(&threads("running")).await == 0.0).await;
    assert_eq!(sql(&host, "other", "SELECT 1").await.unwrap(), 200);
}

#[tokio::test]
async fn statements_that_run_do_not_keep_the_process_from_ending() {
    let chaos = guest_with("chaos", &chaos_limits("memory = \"16MiB\"\ncall_timeout = \"60s\"\nconcurrency = 16"));
    let host = Setup::new()
        .settings("[server.rest]\nshutdown_deadline = \"500ms\"\n[database.sqlite]\nstatement_timeout = \"60s\"")
        .plugin("chaos", &chaos)
        .start();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n WHERE x < 0";
    let calls: Vec<_> = [doubling(20), endless.to_owned(), endless.to_owned(), doubling(20)]
        .map(|statement| {
            let body = json!({ "store": "own", "sql": statement, "mode": "query" });
            tokio::spawn(host.client.post(format!("{}/test/chaos/sql", host.url)).json(&body).send())
        })
        .into();
    until("a statement runs", async || host.metric("arcana_database_threads{state=\"running\"}").await >= 1.0).await;
    host.terminate();
    let start = Instant::now();
    let (status, setup) = tokio::task::spawn_blocking(move || host.wait()).await.unwrap();
    // Its statements would go on for a minute.
    assert!(status.success() && start.elapsed() < SOON, "{status} after {:?}", start.elapsed());
    for call in calls {
        let _: reqwest::Result<reqwest::Response> = call.await.unwrap();
    }
    // The store is whole, and nothing holds its lock.
    let host = setup.start();
    assert_eq!(host.post("/test/chaos/count-notes", json!({ "note": "x" })).await, (200, Value::from(0)));
}
