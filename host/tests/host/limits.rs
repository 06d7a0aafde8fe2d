//! Every limit that a client or a guest can meet: the setting, the answer, and that it is counted.

use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, chaos_limits, guest, guest_manifest, guest_with, until, with_method};

/// Limits under which a call naps as long as a test wants.
const PATIENT: &str = "memory = \"16MiB\"\ncall_timeout = \"60s\"";

async fn post(host: &Host, path: &str, body: Value) -> (u16, Value) {
    host.post(&format!("/test/{path}"), body).await
}

async fn rejected(host: &Host, limit: &str) -> f64 {
    host.metric(&format!(r#"arcana_limit_rejections_total{{limit="{limit}"}}"#)).await
}

async fn instances(host: &Host, plugin: &str) -> f64 {
    host.metric(&format!(r#"arcana_plugin_instances{{plugin="test/{plugin}"}}"#)).await
}

/// A call that naps until the test is over.
fn nap(host: &Host, plugin: &str) -> tokio::task::JoinHandle<reqwest::Response> {
    let request = host.client.post(format!("{}/test/{plugin}/nap", host.url)).json(&json!({ "ms": 3_600_000 }));
    tokio::spawn(async move { request.send().await.unwrap() })
}

/// What a 503 says and when it says to come back.
async fn overloaded(response: reqwest::Response) -> String {
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["code"], "SERVICE_UNAVAILABLE");
    answer["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn calls_wait_for_their_turn_so_many_and_so_long() {
    let limits = chaos_limits(&format!("{PATIENT}\nconcurrency = 1"));
    let setup = Setup::new().settings("[limits]\nqueue = 1\nqueue_wait = \"3s\"");
    let host = setup.plugin("chaos", &guest_with("chaos", &limits)).start();
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    for call in (0..5).map(|_| nap(&host, "chaos")) {
        let done = done.clone();
        tokio::spawn(async move { done.send(call.await.unwrap()).unwrap() });
    }
    // One naps, one waits; the others are turned away at once, and the one that waits when its time is over.
    for _ in 0..3 {
        assert_eq!(overloaded(finished.recv().await.unwrap()).await, "too many calls are waiting for this plugin");
    }
    assert_eq!(overloaded(finished.recv().await.unwrap()).await, "too many calls are running in this plugin");
    assert!(finished.try_recv().is_err(), "the first of them still naps");
    assert_eq!((rejected(&host, "queue").await, rejected(&host, "concurrency").await), (3.0, 1.0));
    let calls = r#"arcana_plugin_calls_total{function="chaos.nap",outcome="overloaded",plugin="test/chaos"}"#;
    assert_eq!(host.metric(calls).await, 4.0);
    assert_eq!(host.metric(r#"arcana_plugin_queue_wait_seconds_count{plugin="test/chaos"}"#).await, 1.0);
}

#[tokio::test]
async fn a_method_with_a_limit_of_its_own_starves_no_other() {
    let limits = chaos_limits(&format!("{PATIENT}\nconcurrency = 2"));
    let manifest = with_method(&limits, "chaos.nap", "concurrency = 1");
    let setup = Setup::new().settings("[limits]\nqueue = 2\nqueue_wait = \"60s\"");
    let host = setup.plugin("chaos", &guest_with("chaos", &manifest)).start();
    let calls: Vec<_> = (0..4).map(|_| nap(&host, "chaos")).collect();
    until("one naps, two wait", async || rejected(&host, "queue").await == 1.0).await;
    for served in 1..=5 {
        let (status, answer) = post(&host, "chaos/calls-served", json!({})).await;
        assert_eq!(status, 200, "call {served}: {answer}");
    }
    assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), 1);
}

#[tokio::test]
async fn instances_are_used_again_and_retire_by_the_rules() {
    let settings = "[limits]\nmemory_watermark = \"4MiB\"\ncalls_per_instance = 3";
    let limits = |more: &str| chaos_limits(&format!("memory = \"16MiB\"\n{more}"));
    let setup = Setup::new()
        .settings(settings)
        .plugin("chaos", &chaos_as("chaos", &limits("")))
        .plugin("twice", &chaos_as("twice", &limits("max_calls = 2")))
        .plugin("fresh", &chaos_as("fresh", &limits("instances = \"per-call\"")));
    let host = setup.start();
    let served = async |plugin: &str| post(&host, &format!("{plugin}/calls-served"), json!({})).await.1;
    // The first of each has been used by the start already.
    let mut counts = Vec::new();
    for plugin in ["chaos", "twice", "fresh"] {
        let mut of_plugin = Vec::new();
        for _ in 0..6 {
            of_plugin.push(served(plugin).await.as_u64().unwrap());
        }
        counts.push(of_plugin);
    }
    assert_eq!(counts[0][1..5], [1, 2, 3, 1], "{counts:?}");
    assert_eq!(counts[1][..4], [1, 2, 1, 2], "{counts:?}");
    assert_eq!(counts[2], [1; 6], "{counts:?}");
    assert_eq!(instances(&host, "fresh").await, 0.0);

    // Past the watermark it is not used again, and its memory is given back.
    let memory = async || host.metric(r#"arcana_plugin_memory_bytes{plugin="test/twice"}"#).await;
    assert_eq!((served("twice").await, instances(&host, "twice").await), (json!(1), 1.0));
    let before = memory().await;
    assert!((65_536.0..4_194_304.0).contains(&before), "{before}");
    assert_eq!(post(&host, "twice/leak", json!({ "bytes": 8 << 20 })).await, (200, json!(8 << 20)));
    assert_eq!((instances(&host, "twice").await, memory().await), (0.0, 0.0));
    assert_eq!(served("twice").await, json!(1));
}

#[tokio::test]
async fn live_instances_are_bounded_and_idle_ones_make_room() {
    let limits = chaos_limits(PATIENT);
    let settings = "[limits]\nmax_instances = 2\ninstances_reserved = 0\nmax_concurrency = 1\nconcurrency = 1";
    let setup = Setup::new().settings(settings);
    let setup = setup.plugin("chaos", &chaos_as("chaos", &limits)).plugin("havoc", &chaos_as("havoc", &limits));
    let host = setup.plugin("echo", &guest("echo")).start();
    let all =
        async || instances(&host, "chaos").await + instances(&host, "havoc").await + instances(&host, "echo").await;
    for _ in 0..3 {
        for path in ["chaos", "havoc"] {
            assert_eq!(post(&host, &format!("{path}/calls-served"), json!({})).await.0, 200);
            assert_eq!(host.get("/test/echo/hello/Ada").await.0, 200);
            assert_eq!(all().await, 2.0);
        }
    }
    let naps = [nap(&host, "chaos"), nap(&host, "havoc")];
    until("every instance is at work", async || {
        instances(&host, "chaos").await == 1.0
            && instances(&host, "havoc").await == 1.0
            && host.get("/test/echo/hello/Ada").await.0 == 503
    })
    .await;
    let response = host.client.get(format!("{}/test/echo/hello/Ada", host.url)).send().await.unwrap();
    assert_eq!(overloaded(response).await, "every instance of the host is at work");
    assert_eq!(rejected(&host, "instances").await, 2.0);
    naps[0].abort();
    until("there is room again", async || host.get("/test/echo/hello/Ada").await.0 == 200).await;
    assert_eq!(all().await, 2.0);
    assert!(!naps[1].is_finished());
}

#[tokio::test]
async fn what_a_plugin_asks_for_is_cut_to_what_the_operator_allows() {
    let greedy = chaos_limits("memory = \"1GiB\"\ncall_timeout = \"60s\"\nconcurrency = 64");
    let settings =
        "[limits]\nmax_memory = \"8MiB\"\nmemory = \"8MiB\"\ncall_timeout = \"300ms\"\nmax_call_timeout = \"300ms\"
        concurrency = 1\nmax_concurrency = 1\nqueue = 0\nwasm_stack = \"64KiB\"";
    let host = Setup::new().settings(settings).plugin("chaos", &guest_with("chaos", &greedy)).start();
    let (status, answer) = post(&host, "chaos/leak", json!({ "bytes": 12 << 20 })).await;
    assert_eq!((status, answer["code"].as_str()), (500, Some("PLUGIN_EXECUTION_ERROR")), "{answer}");
    assert_eq!(rejected(&host, "memory").await, 1.0);
    assert_eq!(post(&host, "chaos/leak", json!({ "bytes": 4 << 20 })).await, (200, json!(4 << 20)));
    let (status, answer) = post(&host, "chaos/nap", json!({ "ms": 3_600_000 })).await;
    assert_eq!((status, answer["code"].as_str()), (504, Some("TIMEOUT")), "{answer}");
    assert_eq!(post(&host, "chaos/recurse", json!({})).await.0, 500);
    assert!(host.log().contains("call stack exhausted"), "{}", host.log());
    let both = [nap(&host, "chaos"), nap(&host, "chaos")];
    let mut statuses = Vec::new();
    for call in both {
        statuses.push(call.await.unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [503, 504]);
}

#[tokio::test]
async fn queries_and_cache_entries_are_bounded() {
    let settings = "[database.sqlite]\nmax_rows = 10\nmax_result_bytes = \"200B\"\nmax_size = \"1MiB\"
        max_wal = \"512KiB\"\nwal_checkpoint = \"256KiB\"\nstatement_timeout = \"200ms\"
        [cache]\nmax_key_bytes = \"8B\"\nmax_value_bytes = \"16B\"\nmax_ttl = \"1ms\"";
    let limits = guest_with("chaos", &chaos_limits(PATIENT));
    let host = Setup::new().settings(settings).plugin("chaos", &limits).start();
    assert_eq!(post(&host, "chaos/many-rows", json!({ "count": 5 })).await, (200, json!(5)));
    assert_eq!((rejected(&host, "rows").await, rejected(&host, "result_bytes").await), (0.0, 0.0));
    let sql = |sql: &str, mode: &str| json!({ "store": "own", "sql": sql, "mode": mode });
    // Eleven rows without a value in them would fit the bytes.
    let rows = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 11) SELECT NULL FROM n";
    for (mode, count) in [("query", 1.0), ("transaction_query", 2.0)] {
        assert_eq!(post(&host, "chaos/sql", sql(rows, mode)).await, (200, json!("too-many-rows")), "{mode}");
        assert_eq!(rejected(&host, "rows").await, count);
        let wide = sql("SELECT printf('%0200d', 7)", mode);
        assert_eq!(post(&host, "chaos/sql", wide).await, (200, json!("too-large")), "{mode}");
        assert_eq!(rejected(&host, "result_bytes").await, count);
    }
    // The statement's own limit comes first here, and the guest lives to hear of it.
    let (status, answer) = post(&host, "chaos/slow-sql", json!({ "steps": u64::MAX / 2 })).await;
    assert_eq!((status, answer["message"].as_str()), (504, Some("the database took too long")), "{answer}");
    assert_eq!(post(&host, "chaos/calls-served", json!({})).await, (200, json!(7)));

    let fill = sql("INSERT INTO notes (note) VALUES (printf('%0100000d', 7))", "execute");
    let mut written = 0;
    let full = loop {
        match post(&host, "chaos/sql", fill.clone()).await.1 {
            answer if answer == "ok" && written < 20 => written += 1,
            answer => break answer,
        }
    };
    assert_eq!((full, (1..12).contains(&written)), (json!("unavailable"), true), "{written} rows of 100 kB");
    assert_eq!(post(&host, "chaos/many-rows", json!({ "count": 5 })).await, (200, json!(5)));

    let set = |key: &str, value: &str| json!({ "key": key, "value": value, "ttl_ms": 3_600_000 });
    assert_eq!(post(&host, "chaos/cache-set", set("12345678", "1234567890123456")).await.0, 204);
    for (key, value) in [("123456789", "v"), ("k", "12345678901234567")] {
        assert_eq!(post(&host, "chaos/cache-set", set(key, value)).await.0, 500, "{key} {value}");
    }
    let get = json!({ "key": "12345678" });
    until("it is gone", async || post(&host, "chaos/cache-get", get.clone()).await == (200, Value::Null)).await;
}

#[tokio::test]
async fn requests_are_limited_by_address_and_by_name() {
    let echo = with_method(
        &guest_manifest("echo"),
        "kitchen.hello",
        "rate = [{ by = [\"name\"], per_minute = 1, burst = 2 }]",
    );
    let echo = with_method(&echo, "kitchen.add", "rate = [{ by = \"address\", per_minute = 1, burst = 3 }]");
    let setup =
        Setup::new().settings("[limits]\nrate_limits = true\n[server.rest]\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let host = setup.plugin("echo", &guest_with("echo", &echo)).start();
    let get = async |path: &str, client: &str| {
        let request = host.client.get(format!("{}{path}", host.url)).header("x-forwarded-for", client);
        request.send().await.unwrap()
    };
    let hello = async |name: &str| get(&format!("/test/echo/hello/{name}"), "192.0.2.1").await.status().as_u16();
    assert_eq!([hello("ada").await, hello("Ada").await, hello("ADA").await], [200, 200, 429]);
    assert_eq!(hello("grace").await, 200);
    let add = async |client: &str| get("/test/echo/add?left=1&right=2", client).await;
    for allowed in [200, 200, 200, 429] {
        assert_eq!(add("192.0.2.1").await.status().as_u16(), allowed);
    }
    assert_eq!(add("192.0.2.2").await.status().as_u16(), 200);
    let refused = add("192.0.2.1").await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let answer: Value = refused.json().await.unwrap();
    assert_eq!(answer["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(rejected(&host, "rate").await, 3.0);
    // What is turned away costs no call.
    let calls = r#"arcana_plugin_calls_total{function="kitchen.add",outcome="ok",plugin="test/echo"}"#;
    assert_eq!(host.metric(calls).await, 4.0);
}

#[tokio::test]
async fn hashing_is_bounded_and_says_when_to_come_back() {
    let settings = "[security.passwords]\nmemory = \"64MiB\"\niterations = 4\nconcurrency = 1\nqueue = 3";
    let limits = guest_with("chaos", &chaos_limits(PATIENT));
    let host = Setup::new().settings(settings).plugin("chaos", &limits).start();
    let hash = async || {
        let request = host.client.post(format!("{}/test/chaos/hash-password", host.url));
        request.json(&json!({ "password": "correct horse" })).send().await.unwrap()
    };
    let answers = futures_util::future::join_all((0..8).map(|_| hash())).await;
    let mut refused = 0;
    for answer in answers {
        if answer.status().as_u16() != 200 {
            assert!(overloaded(answer).await.contains("too many sign-ins"));
            refused += 1;
        }
    }
    assert!((1..=5).contains(&refused), "{refused} of eight");
    assert_eq!(host.metric("arcana_password_hashes_rejected_total").await, f64::from(refused));
    assert_eq!(host.metric("arcana_password_hashes_total").await, f64::from(8 - refused));
}
