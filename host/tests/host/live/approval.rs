//! What signers may request and not grant: it waits until an administrator approves exactly that.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Admin, setup};
use crate::small::{answer, answering, manifest, plugin, signed};
use crate::support::{KEY, Setup};

/// A host whose key may grant nothing but what accounts need, and request a store and keys of their own.
fn careful() -> Setup {
    let setup = setup();
    let text = arcana_signing::trust::development(&KEY.public_key());
    let lists = "may_grant = [\"cache\", \"database:identity\", \"crypto\", \"crypto.hash\", \"crypto.issue_tokens\", \
                 \"crypto.verify_tokens\", \"crypto.revoke_tokens\"]\n\
                 may_request = [\"database:own\", \"crypto.keys:*\"]";
    let text = text.replace("may_grant = [\"*\"]", lists);
    std::fs::write(setup.path("config/trust.toml"), text).unwrap();
    setup
}

fn asking(seq: u64, number: u32, what: &str) -> Vec<u8> {
    signed(&answering("app", number), &(manifest("app", seq) + &format!("[capabilities]\n{what}\n")))
}

#[tokio::test]
async fn what_is_beyond_the_signers_waits_for_exactly_that_approval() {
    let admin = Admin::start(careful()).await;
    let own = asking(1, 1, "stores = [\"own\"]");
    let (status, tried) = admin.upload(&own, "?dry_run=true").await;
    assert_eq!(
        (status, &tried["state"], &tried["pending"]),
        (200, &json!("pending_approval"), &json!(["database:own"])),
        "{tried}"
    );
    let (status, waits) = admin.upload(&own, "").await;
    assert_eq!(
        (status, &waits["state"], &waits["pending"]),
        (202, &json!("pending_approval"), &json!(["database:own"])),
        "{waits}"
    );
    assert_eq!(answer(&admin.host, "/app").await.0, 404);
    let details = admin.show("test/app").await;
    assert_eq!(
        (&details["plugin"]["state"], &details["pending"], &details["granted"]),
        (&json!("pending_approval"), &json!(["database:own"]), &json!([]))
    );
    let (status, refused) = admin.act("test/app", "enable", Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("APPROVAL_NEEDED")), "{refused}");

    // It waits on over a restart, and nobody is told that it failed.
    let admin = Admin::again(admin.host.kill()).await;
    assert_eq!(crate::small::health(&admin.host).await, (2, 0));

    for wrong in [json!([]), json!(["crypto.keys:own", "database:own"]), json!(["crypto.keys:own"])] {
        let (status, refused) =
            admin.call(Method::PUT, "/api/v1/plugins/test/app", Some(json!({ "capabilities": wrong }))).await;
        assert_eq!((status, &refused["code"]), (422, &json!("GRANTS_MISMATCH")), "{wrong}: {refused}");
        assert_eq!(answer(&admin.host, "/app").await.0, 404);
    }
    let approve =
        |list: Value| admin.call(Method::PUT, "/api/v1/plugins/test/app", Some(json!({ "capabilities": list })));
    let (status, details) = approve(json!(["database:own"])).await;
    assert_eq!(
        (status, &details["plugin"]["state"], &details["granted"]),
        (200, &json!("active"), &json!(["database:own"])),
        "{details}"
    );
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));

    // What was approved is approved for the next version too; more than that waits, and the running one serves on.
    admin.install(&asking(2, 2, "stores = [\"own\"]")).await;
    let (status, waits) = admin.upload(&asking(3, 3, "stores = [\"own\"]\ncrypto = { keys = [\"own\"] }"), "").await;
    assert_eq!((status, &waits["pending"]), (202, &json!(["crypto.keys:own"])), "{waits}");
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(2)));
    let (status, details) = approve(json!(["crypto.keys:own"])).await;
    assert_eq!((status, &details["plugin"]["version"]), (200, &json!("1.0.3")), "{details}");
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(3)));

    // Taken back: it waits again, now and after a restart.
    let (status, details) = approve(json!([])).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("pending_approval")), "{details}");
    assert_eq!(answer(&admin.host, "/app").await.0, 404);
    let admin = Admin::again(admin.host.kill()).await;
    assert_eq!(answer(&admin.host, "/app").await.0, 404);
    let list = json!({ "capabilities": ["crypto.keys:own", "database:own"] });
    let (status, _) = admin.call(Method::PUT, "/api/v1/plugins/test/app", Some(list)).await;
    assert_eq!((status, answer(&admin.host, "/app").await), (200, (200, json!(3))));
}

#[tokio::test]
async fn what_may_not_even_be_requested_cannot_be_approved() {
    let admin = Admin::start(careful()).await;
    admin.install(&plugin("app", 1, 1)).await;
    let reason = admin.refused(&asking(2, 2, "stores = [\"own\", \"identity\", \"other\"]"), 403, "CAPABILITY").await;
    assert!(reason.contains("database:other"), "{reason}");
    let (status, refused) =
        admin.call(Method::PUT, "/api/v1/plugins/test/app", Some(json!({ "capabilities": ["database:other"] }))).await;
    assert_eq!((status, &refused["code"]), (422, &json!("GRANTS_MISMATCH")), "{refused}");
    let (status, refused) =
        admin.call(Method::PUT, "/api/v1/plugins/test/app", Some(json!({ "capabilities": [] }))).await;
    assert_eq!((status, &refused["code"]), (409, &json!("NOTHING_PENDING")), "{refused}");
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));
}
