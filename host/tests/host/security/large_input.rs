//! Keeping the threads that serve busy with functions of the host over large input.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{Host, Setup, chaos_limits, guest, guest_with};

/// Two lists of this size are within what a guest passes to the host at once, `limits.max_transfer`.
const BYTES: u64 = 15 << 20;

async fn work(host: &Host, how: &str, bytes: u64) -> String {
    let (status, answer) = host.post("/test/chaos/work-on", json!({ "how": how, "bytes": bytes })).await;
    assert_eq!(status, 200, "{how}: {answer}");
    answer.as_str().unwrap().to_owned()
}

async fn counted(host: &Host) -> f64 {
    host.metric(r#"arcana_plugin_large_input_bytes_total{plugin="test/chaos"}"#).await
}

#[tokio::test]
async fn functions_of_the_host_over_large_input_let_others_through() {
    let limits = chaos_limits("memory = \"64MiB\"\ncall_timeout = \"60s\"\nconcurrency = 64");
    let setup = Setup::new().settings("[limits]\nmemory_watermark = \"64MiB\"").plugin("echo", &guest("echo"));
    let host = setup.plugin("chaos", &guest_with("chaos", &limits)).start();
    // The same answers as for small input, whatever the size of a piece is.
    for bytes in [0, 1, 63, 64, 65, 65_535, 65_536, 65_537, 200_000] {
        let data = vec![b'x'; usize::try_from(bytes).unwrap()];
        assert_eq!(work(&host, "sha256", bytes).await, hex::encode(Sha256::digest(&data)), "{bytes}");
        for how in ["equal", "verify"] {
            assert_eq!(work(&host, how, bytes).await, "01", "{how} {bytes}");
        }
        let mut mac = <hmac::Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&data).unwrap();
        hmac::Mac::update(&mut mac, &data);
        assert_eq!(work(&host, "hmac", bytes).await, hex::encode(hmac::Mac::finalize(mac).into_bytes()), "{bytes}");
    }
    let signatures = [work(&host, "sign", 200_000).await, work(&host, "sign", 200_000).await];
    assert_eq!(signatures[0], signatures[1]);

    let before = counted(&host).await;
    let ways = ["sha256", "hmac", "equal", "verify"];
    let attack = futures_util::future::join_all((0..24).map(|n| work(&host, ways[n % 4], BYTES)));
    tokio::pin!(attack);
    let mut served = 0;
    loop {
        tokio::select! {
            _ = &mut attack => break,
            answer = host.get("/test/echo/hello/Ada") => {
                assert_eq!(answer, (200, json!("Hello, Ada!")));
                assert_eq!(host.get("/health").await.0, 200);
                served += 1;
            }
        }
    }
    assert!(served > 3, "{served} calls of others");
    // One list each for digests, two for MACs of which one is the key, one pair, and one message signed and checked.
    let bytes = counted(&host).await - before;
    assert_eq!(bytes, 6.0 * 6.0 * 15_728_640.0);
}
