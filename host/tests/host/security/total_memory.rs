//! Taking the memory of the machine with instances that are each within their own limit.

use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, chaos_limits, guest, until};

const MIB: u64 = 1 << 20;

fn host() -> Host {
    let limits = chaos_limits("memory = \"32MiB\"\ncall_timeout = \"60s\"\nconcurrency = 16");
    let settings = "[limits]\nmemory = \"32MiB\"\nmax_memory = \"32MiB\"\ntotal_memory = \"64MiB\"";
    let setup = Setup::new().settings(settings).plugin("echo", &guest("echo"));
    setup.plugin("chaos", &chaos_as("chaos", &limits)).plugin("havoc", &chaos_as("havoc", &limits)).start()
}

/// A call that takes so many bytes and keeps them for so long.
fn hold(host: &Host, plugin: &str, mib: u64, ms: u64) -> tokio::task::JoinHandle<(u16, Value)> {
    let request =
        host.client.post(format!("{}/test/{plugin}/hold", host.url)).json(&json!({ "bytes": mib * MIB, "ms": ms }));
    tokio::spawn(async move {
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    })
}

async fn memory(host: &Host, plugin: &str) -> f64 {
    host.metric(&format!(r#"arcana_plugin_memory_bytes{{plugin="test/{plugin}"}}"#)).await
}

async fn is_bounded(host: &Host) {
    let limit = host.metric("arcana_instances_memory_limit_bytes").await;
    let used = host.metric("arcana_instances_memory_bytes").await;
    assert!(limit == 67_108_864.0 && used > 0.0 && used <= limit, "{used} of {limit}");
}

#[tokio::test]
async fn instances_that_grow_together_are_refused_and_others_get_their_part() {
    let host = host();
    let mut calls = Vec::new();
    for taken in [12e6, 24e6] {
        calls.push(hold(&host, "chaos", 12, 3_600_000));
        until("it has the memory", async || memory(&host, "chaos").await > taken).await;
    }
    // Beyond its equal part it leaves room for the others, and waiting does not help it.
    let burst = futures_util::future::join_all((0..8).map(|_| hold(&host, "chaos", 12, 3_600_000))).await;
    for answer in burst {
        let (status, answer) = answer.unwrap();
        assert_eq!((status, answer["code"].as_str()), (503, Some("SERVICE_UNAVAILABLE")), "{answer}");
        assert_eq!(answer["message"], "the memory for instances of the host is used up");
    }
    assert_eq!(host.metric(r#"arcana_limit_rejections_total{limit="total_memory"}"#).await, 8.0);
    for _ in 0..3 {
        assert_eq!(hold(&host, "havoc", 4, 0).await.unwrap(), (200, json!(4 * MIB)));
        assert_eq!(host.get("/test/echo/hello/Ada").await, (200, json!("Hello, Ada!")));
        is_bounded(&host).await;
    }
    // An exhausted host is no trap of a version.
    assert_eq!(host.metric(r#"arcana_plugin_traps_total{plugin="test/chaos"}"#).await, 0.0);
    assert!(calls.iter().all(|call| !call.is_finished()));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until("it is given back", async || memory(&host, "chaos").await < 12e6).await;
    assert_eq!(hold(&host, "chaos", 12, 0).await.unwrap().0, 200);
}

#[tokio::test]
async fn memory_of_idle_instances_goes_to_those_that_need_it() {
    let host = host();
    let both = async |plugin: &str| {
        // At the same time, so that there are two instances.
        let calls = [hold(&host, plugin, 13, 3_000), hold(&host, plugin, 13, 3_000)];
        until("both have it", async || memory(&host, plugin).await > 26e6).await;
        for call in calls {
            assert_eq!(call.await.unwrap(), (200, json!(13 * MIB)), "{plugin}");
        }
    };
    both("chaos").await;
    // Idle instances keep their memory until somebody needs it.
    assert!(memory(&host, "chaos").await > 26e6);
    assert_eq!(host.metric("arcana_instances_evicted_total").await, 0.0);
    both("havoc").await;
    assert!(host.metric("arcana_instances_evicted_total").await >= 1.0);
    assert!(memory(&host, "chaos").await < 26e6);
    is_bounded(&host).await;
}
