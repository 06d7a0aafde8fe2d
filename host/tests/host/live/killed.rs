//! A host that is killed at any moment of an installation runs the old version or the new one afterwards, never a part.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Admin, setup};
use crate::plugin_api::uploading;
use crate::small::{answer, plugin};

#[tokio::test]
async fn killed_at_any_step_it_is_the_old_one_or_the_new_one() {
    let mut admin = Admin::start(setup()).await;
    admin.install(&plugin("app", 1, 1)).await;
    let (mut old, mut new) = (0, 0);
    let mut running = 1_u64;
    // From before the file has arrived to after the answer; the moments are spread over what an installation takes here.
    let started = std::time::Instant::now();
    admin.install(&plugin("app", 2, 2)).await;
    let whole = started.elapsed();
    running += 1;
    for step in 0..10_u32 {
        let seq = running + 1;
        let file = plugin("app", seq, u32::try_from(seq).unwrap());
        let request = uploading(&admin.host, &admin.token, "", file);
        let answered =
            tokio::spawn(async move { request.send().await.is_ok_and(|response| response.status().is_success()) });
        tokio::time::sleep(whole * step / 8 + Duration::from_millis(1)).await;
        let setup = admin.host.kill();
        let accepted = answered.await.unwrap();
        admin = Admin::again(setup).await;
        let (status, number) = answer(&admin.host, "/app").await;
        assert_eq!(status, 200, "after a kill at step {step}");
        let number = number.as_u64().unwrap();
        assert!(number == running || number == seq, "{number} is neither {running} nor {seq}");
        // What was answered is there.
        assert!(!accepted || number == seq, "the answer to {seq} was lost");
        if number == seq {
            new += 1
        } else {
            old += 1
        }
        // Registry, catalog and file are of one mind: the version can be gone back to and be replaced.
        let (status, details) = admin.call(Method::GET, "/api/v1/plugins/test/app", None).await;
        assert_eq!(
            (status, &details["plugin"]["seq"], &details["plugin"]["state"]),
            (200, &json!(number), &json!("active")),
            "{details}"
        );
        running = number;
        if number != seq {
            admin.install(&plugin("app", seq, u32::try_from(seq).unwrap())).await;
            running = seq;
        }
    }
    println!("killed 10 times: {old} times the old version, {new} times the new one");
}
