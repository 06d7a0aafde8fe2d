//! Taking the threads that compute password hashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Host, PASSWORD, Setup, chaos_limits, guest_with};

async fn post(host: &Host, function: &str, body: Value) -> (u16, Value) {
    host.post(&format!("/test/chaos/{function}"), body).await
}

fn host() -> Host {
    let limits = chaos_limits("memory = \"16MiB\"\ncall_timeout = \"60s\"\nconcurrency = 64");
    let setup = Setup::identity()
        .env("ARCANA_SECURITY__PASSWORDS__MEMORY", "8MiB")
        .env("ARCANA_SECURITY__PASSWORDS__ITERATIONS", "2")
        .env("ARCANA_SECURITY__PASSWORDS__CONCURRENCY", "1")
        .env("ARCANA_SECURITY__PASSWORDS__QUEUE", "8");
    setup.plugin("chaos", &guest_with("chaos", &limits)).start()
}

#[tokio::test]
async fn a_stored_hash_that_asks_for_far_more_work_than_the_operator_set_is_not_computed() {
    let host = host();
    let tail = "ZXhhbXBsZS1zYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let (done, refused) = ("arcana_password_hashes_total", "arcana_password_hashes_too_costly_total");
    let verify = async |m: u32, t: u32| {
        let hash = format!("$argon2id$v=19$m={m},t={t},p=1${tail}");
        post(&host, "verify-password", json!({ "password": "x", "hash": hash })).await
    };
    // Four times the work is not too much.
    assert_eq!(verify(8 << 10, 8).await, (200, json!("wrong")));
    assert_eq!((host.metric(done).await, host.metric(refused).await), (1.0, 0.0));
    for (count, (m, t)) in (1_u32..).zip([(256 << 10, 16), (8 << 10, 9), (33 << 10, 1), (64, 65_536)]) {
        assert_eq!(verify(m, t).await.0, 500, "m={m} t={t}");
        assert_eq!((host.metric(done).await, host.metric(refused).await), (1.0, f64::from(count)), "m={m} t={t}");
    }
}

#[tokio::test]
async fn a_plugin_that_hashes_without_end_does_not_stop_sign_in() {
    let host = host();
    host.register("ada@example.org").await;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (client, over) = (host.client.clone(), over.clone());
            let url = format!("{}/test/chaos/hash-password", host.url);
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    client.post(&url).json(&json!({ "password": "x" })).send().await.unwrap();
                }
            })
        })
        .collect();
    crate::support::until("its backlog fills the queue", async || {
        host.metric("arcana_password_hashes_rejected_total").await > 8.0
    })
    .await;
    for attempt in 0..20 {
        let (status, answer) = host.login("ada@example.org", PASSWORD).await;
        assert_eq!(status, 200, "sign-in {attempt}: {answer}");
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}
