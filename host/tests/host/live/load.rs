//! Swaps under load: no request fails, every answer is one version's whole answer, nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Admin, setup};
use crate::small::{core_module, manifest, plugin, signed};
use crate::support::{Host, until};

/// Requests a second that are sent at least, spread over the clients.
const RATE: u64 = 1_000;
const CLIENTS: u64 = 16;

/// Two versions that each answer two numbers which belong together, so that an answer of half a version would show.
fn version(seq: u64) -> Vec<u8> {
    let wit = "package test:pair@1.0.0;\n/// Small.\ninterface api {\n  /// Two numbers.\n  answer: func() -> tuple<u32, u32>;\n}\n\
               world w { export api; }";
    let number = u32::try_from(seq).unwrap();
    let text = format!(
        r#"(module (memory (export "memory") 1)
             (func (export "test:pair/api@1.0.0#answer") (result i32)
               (i32.store (i32.const 16) (i32.const {number})) (i32.store (i32.const 20) (i32.const {})) (i32.const 16)))"#,
        number + 1_000_000
    );
    signed(&core_module(wit, &text), &manifest("pair", seq))
}

#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    failed: AtomicU64,
    torn: AtomicU64,
}

/// One client: a request whenever its turn in the rate comes, for as long as it is wanted.
async fn client(
    url: String,
    client: reqwest::Client,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) -> Vec<(Instant, Duration)> {
    let mut times = Vec::new();
    let mut turn = tokio::time::interval(Duration::from_micros(1_000_000 * CLIENTS / RATE));
    // What was late is made up for: the rate is kept.
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    while !stop.load(Ordering::Relaxed) {
        turn.tick().await;
        let start = Instant::now();
        let answer = async {
            let response = client.get(&url).send().await.ok()?;
            (response.status() == 200).then_some(())?;
            response.json::<(u64, u64)>().await.ok()
        };
        match answer.await {
            Some((first, second)) if second == first + 1_000_000 => counts.answers.fetch_add(1, Ordering::Relaxed),
            Some(_) => counts.torn.fetch_add(1, Ordering::Relaxed),
            None => counts.failed.fetch_add(1, Ordering::Relaxed),
        };
        times.push((start, start.elapsed()));
    }
    times
}

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

fn resident(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_under_load_fail_no_request() {
    let admin = Admin::start(setup()).await;
    admin.install(&version(1)).await;
    admin.install(&version(2)).await;
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let url = format!("{}/pair", admin.host.url);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(url.clone(), admin.host.client.clone(), counts.clone(), stop.clone())))
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let swaps = Instant::now();
    for swap in 0..100 {
        let to = if swap % 2 == 0 { "1.0.1" } else { "1.0.2" };
        let (status, details) = admin.act("test/pair", "rollback", json!({ "version": to })).await;
        let log = || admin.host.log().lines().rev().take(5).collect::<Vec<_>>().join("\n");
        assert_eq!((status, &details["plugin"]["version"]), (200, &json!(to)), "{details}\n{}", log());
    }
    let swapped = swaps.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut steady, mut during) = (Vec::new(), Vec::new());
    for client in clients {
        for (at, time) in client.await.unwrap() {
            if at < swaps { steady.push(time) } else { during.push(time) }
        }
    }
    let answers = counts.answers.load(Ordering::Relaxed);
    println!(
        "100 swaps in {swapped:?} under load: {answers} answers, p99 {:?} before and {:?} during",
        p99(&mut steady),
        p99(&mut during)
    );
    assert_eq!((counts.failed.load(Ordering::Relaxed), counts.torn.load(Ordering::Relaxed)), (0, 0), "of {answers}");
    assert!(answers > 1_000, "{answers} answers are no load");
    let swaps = admin.host.metric(r#"arcana_plugin_swaps_total{plugin="test/pair"}"#).await;
    assert!(swaps >= 102.0, "{swaps}");
}

#[tokio::test]
async fn swaps_leave_nothing_behind() {
    // A replaced version ends as soon as nobody can come to it any more.
    let admin = Admin::start(setup()).await;
    let host = &admin.host;
    admin.install(&plugin("app", 1, 1)).await;
    admin.install(&plugin("app", 2, 2)).await;
    let swap = async |times: u32| {
        for at in 0..times {
            let to = if at % 2 == 0 { "1.0.1" } else { "1.0.2" };
            let (status, details) = admin.act("test/app", "rollback", json!({ "version": to })).await;
            assert_eq!(status, 200, "{details}");
            assert_eq!(host.get("/app").await, (200, json!(if at % 2 == 0 { 1 } else { 2 })));
        }
    };
    swap(100).await;
    let before = resident(host);
    swap(900).await;
    let after = resident(host);
    println!("resident: {before} kB after 100 swaps, {after} kB after 1,000");
    // One version that stayed would be more than 100 kB with its code and its instance; the allocator may keep a little.
    assert!(after < before + 900 * 15, "{before} kB grew to {after} kB");
    // The last versions are still being told to end.
    let instances = async || host.metric(r#"arcana_plugin_instances{plugin="test/app"}"#).await;
    until("the instances of old versions are gone", async || instances().await <= 1.0).await;
}
