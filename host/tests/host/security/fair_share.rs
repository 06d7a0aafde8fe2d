//! Taking every instance of the host.

use serde_json::json;

use crate::support::{Host, PASSWORD, Setup, chaos_as, chaos_limits, until};

const LIMITS: &str = "memory = \"16MiB\"\ncall_timeout = \"60s\"\nconcurrency = 256";

async fn instances(host: &Host, plugin: &str) -> f64 {
    host.metric(&format!(r#"arcana_plugin_instances{{plugin="{plugin}"}}"#)).await
}

/// So many calls that sleep until the test is over.
fn sleep(host: &Host, plugin: &str, calls: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let request = || host.client.post(format!("{}/test/{plugin}/nap", host.url)).json(&json!({ "ms": 3_600_000 }));
    let call = |request: reqwest::RequestBuilder| async move { drop(request.send().await) };
    (0..calls).map(|_| tokio::spawn(call(request()))).collect()
}

#[tokio::test]
async fn two_plugins_that_sleep_in_every_call_leave_sign_in_its_instances() {
    let settings =
        "[limits]\nmax_instances = 32\nmax_concurrency = 31\nconcurrency = 16\nmax_plugins = 8\nqueue_wait = \"60s\"";
    let limits = chaos_limits(LIMITS);
    let setup = Setup::identity().settings(settings);
    let setup = setup.plugin("chaos", &chaos_as("chaos", &limits)).plugin("havoc", &chaos_as("havoc", &limits));
    let host = setup.start();
    let ada = host.register("ada@example.org").await;

    let mut calls = sleep(&host, "chaos", 64);
    until("one of them has half of the instances", async || instances(&host, "test/chaos").await == 16.0).await;
    calls.extend(sleep(&host, "havoc", 64));
    // The other one is refused what is kept for those who need little: 16 of the first, 3 for each of the others less what
    // they have, and 3 for one that may come.
    let refused = r#"arcana_limit_rejections_total{limit="instances"}"#;
    until("the rest is for others", async || host.metric(refused).await > 0.0).await;
    let all = async || {
        let mut sum = 0.0;
        for plugin in ["test/chaos", "test/havoc", "arcana/auth", "arcana/users"] {
            sum += instances(&host, plugin).await;
        }
        sum
    };
    assert!(all().await < 32.0, "{}", all().await);
    for attempt in 0..38 {
        let (status, answer) = host.login("ada@example.org", PASSWORD).await;
        assert_eq!(status, 200, "sign-in {attempt}: {answer}");
        let (status, _) = host.post("/api/v1/auth/validate-token", json!({ "token": ada.access })).await;
        assert_eq!(status, 200, "validation {attempt}");
    }
    assert_eq!(instances(&host, "test/chaos").await, 16.0);
    // An exhausted host is no trap of a version.
    for plugin in ["chaos", "havoc"] {
        assert_eq!(host.metric(&format!(r#"arcana_plugin_traps_total{{plugin="test/{plugin}"}}"#)).await, 0.0);
    }
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}
