//! Guests that do what plugins should not do: who is stopped, what the caller gets, and that nobody else notices.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, chaos_limits, guest, guest_manifest, guest_with, until, with_method};

/// A host with the chaos guest, and the echo guest beside it.
fn chaos(setup: Setup) -> Host {
    setup.plugin("chaos", &guest("chaos")).plugin("echo", &guest("echo")).start()
}

async fn post(host: &Host, function: &str, body: Value) -> (u16, Value) {
    host.post(&format!("/test/chaos/{function}"), body).await
}

/// How many calls of a function ended so.
async fn ended(host: &Host, function: &str, outcome: &str) -> f64 {
    let labels = format!(r#"{{function="chaos.{function}",outcome="{outcome}",plugin="test/chaos"}}"#);
    host.metric(&format!("arcana_plugin_calls_total{labels}")).await
}

async fn rejected(host: &Host, limit: &str) -> f64 {
    host.metric(&format!(r#"arcana_limit_rejections_total{{limit="{limit}"}}"#)).await
}

/// The answer, the code in it, and the one line that the host logged of it.
async fn failing(host: &Host, function: &str, body: Value) -> (u16, Value, String) {
    let id = format!("{function}-{}", next_id());
    let request = host.client.post(format!("{}/test/chaos/{function}", host.url)).header("x-request-id", &id);
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], id.as_str());
    let (status, answer) = (response.status().as_u16(), response.json::<Value>().await.unwrap());
    assert_eq!(answer["request_id"], id.as_str(), "{answer}");
    let lines = host.logged(&id);
    assert_eq!(lines.len(), 1, "{function} is in the log once: {lines:#?}");
    (status, answer, lines.into_iter().next().unwrap())
}

fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The next call is served as if nothing had been, by an instance that has served none before.
async fn is_fresh(host: &Host) {
    assert_eq!(post(host, "calls-served", json!({})).await, (200, json!(1)));
}

async fn others_are_well(host: &Host) {
    assert_eq!(host.get("/test/echo/hello/Ada").await, (200, json!("Hello, Ada!")));
    let (status, health) = host.get("/health").await;
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")));
}

#[tokio::test]
async fn a_guest_that_does_not_return_is_stopped_at_its_deadline() {
    let host = chaos(Setup::new());
    is_fresh(&host).await;
    for (function, body) in [
        ("spin", json!({})),
        ("nap", json!({ "ms": 3_600_000 })),
        ("cache-compute", json!({ "key": "k", "wait_ms": 0, "compute_ms": 3_600_000 })),
    ] {
        let (status, answer, line) = failing(&host, function, body).await;
        assert_eq!((status, answer["code"].as_str()), (504, Some("TIMEOUT")), "{function}: {answer}");
        assert!(line.contains("WARN") && line.contains("call timed out"), "{line}");
        assert_eq!(ended(&host, function, "timeout").await, 1.0, "{function}");
        is_fresh(&host).await;
        others_are_well(&host).await;
    }
    // The database has a way of its own to stop what runs in it: the guest is told, or the call is over.
    let (status, answer) = post(&host, "slow-sql", json!({ "steps": u64::MAX / 2 })).await;
    assert_eq!((status, answer["code"].as_str()), (504, Some("TIMEOUT")), "{answer}");
    assert_eq!(post(&host, "many-rows", json!({ "count": 3 })).await, (200, json!(3)));
    assert_eq!(host.metric(r#"arcana_plugin_traps_total{plugin="test/chaos"}"#).await, 0.0);
}

#[tokio::test]
async fn a_guest_that_fails_is_ended_alone_and_the_cause_is_in_the_log_only() {
    let host = chaos(Setup::new());
    let traps = r#"arcana_plugin_traps_total{plugin="test/chaos"}"#;
    assert_eq!(host.metric(traps).await, 0.0);
    is_fresh(&host).await;
    let cases = [
        ("allocate", json!({}), "out of memory (limits.memory)"),
        ("recurse", json!({}), "out of bounds memory access"),
        ("stop", json!({ "how": "panic" }), "unreachable"),
        ("stop", json!({ "how": "unreachable" }), "unreachable"),
        ("stop", json!({ "how": "out_of_bounds" }), "unreachable"),
        ("stop", json!({ "how": "exit" }), "exit"),
    ];
    for (done, (function, body, cause)) in (1_u32..).zip(cases) {
        let (status, answer, line) = failing(&host, function, body).await;
        assert_eq!((status, answer["code"].as_str()), (500, Some("PLUGIN_EXECUTION_ERROR")), "{function}: {answer}");
        assert!(line.contains("ERROR") && line.contains("plugin trapped") && line.contains(cause), "{line}");
        assert!(!answer.to_string().contains(cause), "{answer}");
        assert_eq!(host.metric(traps).await, f64::from(done));
        is_fresh(&host).await;
        others_are_well(&host).await;
    }
    assert_eq!(ended(&host, "stop", "trap").await, 4.0);
    assert_eq!(rejected(&host, "memory").await, 1.0);
    // What the guest says when it panics is a line of the plugin, with the same id.
    let said = host.log().lines().filter(|line| line.contains(" plugin: ") && line.contains("as you wished")).count();
    assert_eq!(said, 1);
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_counted() {
    // Ten megabytes take their time on a busy machine.
    let patient = ["chaos.flood-log", "chaos.flood-stdout"]
        .iter()
        .fold(guest_manifest("chaos"), |manifest, call| with_method(&manifest, call, "call_timeout = \"60s\""));
    let setup = Setup::new().settings("[limits]\nlog_lines_per_call = 5\nlog_line_bytes = \"64B\"");
    let host = setup.plugin("chaos", &guest_with("chaos", &patient)).start();
    let dropped = r#"arcana_plugin_log_lines_dropped_total{plugin="test/chaos"}"#;
    for (function, before) in [("flood-log", 0.0), ("flood-stdout", 995.0)] {
        assert_eq!(host.metric(dropped).await, before);
        let answer = post(&host, function, json!({ "lines": 1_000, "bytes": 10_000 })).await;
        assert_eq!(answer, (200, json!(1_000)), "{function}");
        assert_eq!(host.metric(dropped).await, before + 995.0, "{function}");
    }
    let log = host.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" plugin: ")).collect();
    let flooded = lines.iter().filter(|line| line.contains("xxxx"));
    let longest = flooded.clone().map(|line| line.matches('x').count()).max().unwrap();
    assert_eq!(flooded.count(), 10, "five of each call: {lines:#?}");
    assert!(longest <= 64 + 2, "{longest} bytes in a line");
    assert_eq!(lines.iter().filter(|line| line.contains("limits.log_lines_per_call")).count(), 2);
    // As many as are allowed are no flood.
    assert_eq!(post(&host, "flood-log", json!({ "lines": 5, "bytes": 4 })).await, (200, json!(5)));
    assert_eq!(host.metric(dropped).await, 1990.0);
    // It did nothing that would cost it its instance.
    assert_eq!(post(&host, "calls-served", json!({})).await, (200, json!(4)));
}

#[tokio::test]
async fn a_large_answer_arrives_and_one_larger_than_its_memory_does_not() {
    let host = chaos(Setup::new());
    let (status, answer) = post(&host, "large-answer", json!({ "bytes": 4_000_000 })).await;
    assert_eq!((status, answer.as_str().map(str::len)), (200, Some(4_000_000)));
    let (status, answer, line) = failing(&host, "large-answer", json!({ "bytes": u32::MAX })).await;
    assert_eq!((status, answer["code"].as_str()), (500, Some("PLUGIN_EXECUTION_ERROR")));
    assert!(line.contains("plugin trapped"), "{line}");
    is_fresh(&host).await;
    others_are_well(&host).await;
}

#[tokio::test]
async fn an_answer_larger_than_the_host_takes_at_once_stops_the_guest() {
    let host = chaos(Setup::new().settings("[limits]\nmax_transfer = \"1MiB\""));
    let (status, answer) = post(&host, "large-answer", json!({ "bytes": 500_000 })).await;
    assert_eq!((status, answer.as_str().map(str::len)), (200, Some(500_000)));
    let (status, answer, line) = failing(&host, "large-answer", json!({ "bytes": 2_000_000 })).await;
    assert_eq!((status, answer["code"].as_str()), (500, Some("PLUGIN_EXECUTION_ERROR")));
    assert!(line.contains("fuel"), "{line}");
    is_fresh(&host).await;
}

#[tokio::test]
async fn two_plugins_that_loop_on_every_core_slow_nobody_to_a_halt() {
    let limits = chaos_limits("memory = \"16MiB\"\ncall_timeout = \"4s\"\nconcurrency = 16");
    let setup = Setup::new().plugin("chaos", &chaos_as("chaos", &limits)).plugin("havoc", &chaos_as("havoc", &limits));
    let host = setup.plugin("echo", &guest("echo")).start();
    let mut loops: Vec<_> = ["chaos", "havoc"]
        .into_iter()
        .cycle()
        .take(8)
        .map(|plugin| {
            let request = host.client.post(format!("{}/test/{plugin}/spin", host.url)).json(&json!({}));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    let instances = async |plugin: &str| host.metric(&format!(r#"arcana_plugin_instances{{plugin="{plugin}"}}"#)).await;
    until("all eight loop", async || instances("test/chaos").await == 4.0 && instances("test/havoc").await == 4.0)
        .await;

    let mut served = 0;
    while loops.iter().all(|looping| !looping.is_finished()) {
        others_are_well(&host).await;
        served += 1;
    }
    // Threads that only looped would have let one through at most.
    assert!(served >= 3, "{served} calls of others while all looped");
    for looping in &mut loops {
        assert_eq!(looping.await.unwrap(), 504);
    }
    for plugin in ["chaos", "havoc"] {
        let labels = format!(r#"{{function="chaos.spin",outcome="timeout",plugin="test/{plugin}"}}"#);
        assert_eq!(host.metric(&format!("arcana_plugin_calls_total{labels}")).await, 4.0);
        assert_eq!(host.post(&format!("/test/{plugin}/calls-served"), json!({})).await, (200, json!(1)));
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_stops_the_guest_and_frees_its_place() {
    let limits = chaos_limits("memory = \"16MiB\"\ncall_timeout = \"60s\"\nconcurrency = 1");
    let host = Setup::new().plugin("chaos", &guest_with("chaos", &limits)).start();
    for (function, body) in [("nap", json!({ "ms": 3_600_000 })), ("spin", json!({}))] {
        let request = host.client.post(format!("{}/test/chaos/{function}", host.url)).json(&body);
        let call = tokio::spawn(request.send());
        // With one place everybody else is turned away after the wait for a turn.
        until("the place is taken", async || post(&host, "calls-served", json!({})).await.0 == 503).await;
        call.abort();
        until("the place is free", async || post(&host, "calls-served", json!({})).await.0 == 200).await;
        assert_eq!(ended(&host, function, "cancelled").await, 1.0, "{function}");
        assert_eq!(ended(&host, function, "timeout").await, 0.0, "{function}");
        assert_eq!(host.metric(r#"arcana_plugin_instances{plugin="test/chaos"}"#).await, 1.0);
    }
    // Whoever hangs up has done nothing wrong.
    assert!(!host.log().contains("ERROR"), "{}", host.log());
}

#[tokio::test]
async fn what_a_call_leaves_open_is_closed_behind_it() {
    let manifest = crate::support::with_method(
        &guest_manifest("chaos"),
        "chaos.hold-transaction-napping",
        "call_timeout = \"30s\"",
    );
    let host = Setup::new().plugin("chaos", &guest_with("chaos", &manifest)).start();
    let note = async |function: &str, note: &str| {
        let body = match function {
            "hold-transaction-napping" => json!({ "note": note, "ms": 0 }),
            _ => json!({ "note": note }),
        };
        post(&host, function, body).await
    };
    let count = async |text: &str| post(&host, "count-notes", json!({ "note": text })).await;

    assert_eq!(note("leave-transaction-open", "left").await.0, 204);
    is_fresh(&host).await;
    // The writer is free at once: a call that writes does not wait.
    assert_eq!(note("hold-transaction-napping", "kept").await.0, 204);
    assert_eq!(note("panic-in-transaction", "panicked").await.0, 500);
    assert_eq!(note("hold-transaction-napping", "kept").await.0, 204);

    let holder = host.client.post(format!("{}/test/chaos/hold-transaction-spinning", host.url));
    let holder = tokio::spawn(holder.json(&json!({ "note": "spun" })).send());
    let written = note("hold-transaction-napping", "kept").await;
    assert_eq!(written.0, 204, "{}", written.1);
    assert_eq!(holder.await.unwrap().unwrap().status().as_u16(), 504);
    assert_eq!(note("hold-transaction-napping", "kept").await.0, 204);
    for (text, rows) in [("left", 0), ("panicked", 0), ("spun", 0), ("kept", 4)] {
        assert_eq!(count(text).await, (200, json!(rows)), "{text}");
    }
    assert_eq!(post(&host, "begin-twice", json!({})).await, (200, json!("denied")));

    assert_eq!(post(&host, "cache-leak-lock", json!({ "key": "k" })).await.0, 204);
    is_fresh(&host).await;
    let compute = json!({ "key": "k", "wait_ms": 0, "compute_ms": 0 });
    assert_eq!(post(&host, "cache-compute", compute.clone()).await, (200, json!("computed")));
    assert_eq!(post(&host, "cache-compute", compute).await, (200, json!("found")));
}

#[tokio::test]
async fn a_guest_without_grants_sees_nothing_of_the_outside() {
    let host = chaos(Setup::new().env("SECRET", "of the host"));
    assert_eq!(post(&host, "look-around", json!({})).await, (200, json!([])));
    let request = host.client.post(format!("{}/test/chaos/whoami", host.url)).header("x-request-id", "mine");
    let seen: Value = request.header("traceparent", TRACE).json(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["subject"], Value::Null);
    assert_eq!((&seen["roles"], &seen["request_id"]), (&json!([]), &json!("mine")));
    assert_eq!((&seen["client_address"], &seen["traceparent"]), (&json!("127.0.0.1"), &json!(TRACE)));
    let remaining = seen["remaining_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&remaining), "{remaining}");
    // A warm instance knows nothing of the call before.
    let (_, next) = host.call(Method::POST, "/test/chaos/whoami", None, Some(json!({}))).await;
    assert_ne!(next["request_id"], "mine");
    assert_eq!(next["traceparent"], Value::Null);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
