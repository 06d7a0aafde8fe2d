//! A version that traps in its first calls is taken back by the host itself.

use serde_json::json;

use super::{Admin, setup};
use crate::small::{answer, core_module, manifest, plugin, signed, wit};
use crate::support::until;

/// A plugin that starts well and traps at every call.
fn trapping(name: &str, seq: u64) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1) (func (export "test:{name}/api@1.0.0#answer") (result i32) unreachable))"#
    );
    signed(&core_module(&wit(name), &text), &manifest(name, seq))
}

#[tokio::test]
async fn a_version_that_traps_is_taken_back_and_says_why() {
    let admin =
        Admin::start(setup().settings("[plugins.probation]\nwindow = \"10m\"\ntraps = 3\npercent = 50\n")).await;
    let host = &admin.host;
    admin.install(&plugin("app", 1, 1)).await;
    admin.install(&trapping("app", 2)).await;
    for _ in 0..3 {
        assert_eq!(answer(host, "/app").await.0, 500);
    }
    until("the version before is back", async || answer(host, "/app").await == (200, json!(1))).await;
    let details = admin.show("test/app").await;
    assert_eq!(
        (&details["plugin"]["state"], &details["plugin"]["version"]),
        (&json!("active"), &json!("1.0.1")),
        "{details}"
    );
    let error = &details["plugin"]["last_error"];
    assert_eq!((&error["code"], &error["version"]), (&json!("TOO_MANY_TRAPS"), &json!("1.0.2")), "{details}");
    assert!(error["message"].as_str().unwrap().contains("unreachable"), "{error}");
    assert_eq!(details["versions"][0]["state"], "failed");
    assert_eq!(admin.changes("test/app").await[0], "host rollback 1.0.2→1.0.1 ok");

    // Not even the folder, which has the file, brings it in again; nor does a restart.
    let setup = admin.host.kill().plugin("app", &trapping("app", 2));
    let admin = Admin::again(setup).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));
    // Where there is no earlier version it runs on, and that is told.
    admin.install(&trapping("new", 1)).await;
    for _ in 0..3 {
        assert_eq!(answer(&admin.host, "/new").await.0, 500);
    }
    until("it is told", async || admin.show("test/new").await["plugin"]["last_error"]["code"] == "TOO_MANY_TRAPS")
        .await;
    assert_eq!(admin.show("test/new").await["plugin"]["state"], "active");
}

#[tokio::test]
async fn a_few_traps_among_many_calls_are_not_too_many() {
    let admin =
        Admin::start(setup().settings("[plugins.probation]\nwindow = \"10m\"\ntraps = 2\npercent = 50\n")).await;
    let host = &admin.host;
    admin.install(&plugin("app", 1, 1)).await;
    // Traps at every fourth call, counted in a store of the module's own: warm instances are reused until they trap.
    let text = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func (export "test:app/api@1.0.0#answer") (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (if (i32.eq (global.get $n) (i32.const 4)) (then unreachable)) i32.const 2))"#;
    admin.install(&signed(&core_module(&wit("app"), text), &manifest("app", 2))).await;
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(answer(host, "/app").await.0 == 500);
    }
    assert!(failed >= 5, "{failed}");
    assert_eq!(admin.show("test/app").await["plugin"]["version"], "1.0.2");
}
