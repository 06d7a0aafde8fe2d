//! Changes that somebody else makes: other hosts on the same registry, and the operator in the trust file.

use std::fs;

use arcana_signing::SecretKey;
use serde_json::{Value, json};

use super::{Admin, setup};
use crate::small::{answer, answering, manifest, plugin, signed_by};
use crate::support::{Host, Setup, until};

async fn answers(host: &Host, path: &str, expected: (u16, Value)) {
    until(&format!("{path} answers {expected:?}"), async || answer(host, path).await == expected).await;
}

#[tokio::test]
async fn hosts_on_one_registry_run_the_same() {
    let shared = tempfile::tempdir().unwrap();
    let registry = shared.path().join("host.db");
    let settings = format!("[plugins]\nregistry = \"{}\"\npoll = \"50ms\"\n", registry.display());
    let first = Admin::start(setup().settings(&settings)).await;
    // The second has no file of any plugin: all comes from the database.
    let setup = Setup::new().env("ARCANA_OBSERVABILITY__LOG__FORMAT", "json").settings(&settings);
    fs::copy(first.host.path("config/trust.toml"), setup.path("config/trust.toml")).unwrap();
    let second = setup.start();
    assert_eq!(crate::small::health(&second).await, (2, 0));

    first.install(&plugin("app", 1, 1)).await;
    answers(&second, "/app", (200, json!(1))).await;
    first.install(&plugin("app", 2, 2)).await;
    answers(&second, "/app", (200, json!(2))).await;
    first.act("test/app", "rollback", json!({})).await;
    answers(&second, "/app", (200, json!(1))).await;
    first.act("test/app", "disable", Value::Null).await;
    answers(&second, "/app", (404, Value::Null)).await;
    first.act("test/app", "enable", Value::Null).await;
    answers(&second, "/app", (200, json!(1))).await;
    first.call(reqwest::Method::DELETE, "/api/v1/plugins/test/app", None).await;
    answers(&second, "/app", (404, Value::Null)).await;

    // And the other way round: what the second finds in its folder is active on the first.
    let setup = second.kill().plugin("found", &plugin("found", 1, 7));
    let second = setup.start();
    answers(&second, "/found", (200, json!(7))).await;
    answers(&first.host, "/found", (200, json!(7))).await;
}

#[tokio::test]
async fn a_key_that_is_revoked_takes_what_it_signed_with_it_at_once() {
    let other = SecretKey::generate().unwrap();
    let setup = setup().settings("[plugins]\npoll = \"50ms\"\n");
    let base = fs::read_to_string(setup.path("config/trust.toml")).unwrap();
    let policy = |serial: u32, status: &str| {
        base.replace("serial = 1", &format!("serial = {serial}"))
            + &format!(
                "\n[[keys]]\nkey = \"{}\"\nprincipal = \"other\"\nrole = \"publisher\"\nstatus = \"{status}\"\nnamespaces = [\"*\"]\n\
                 packages = [\"*\"]\nroutes = [\"/\"]\n",
                other.public_key()
            )
    };
    let write = |host: &Host, text: &str| {
        let (new, file) = (host.path("config/trust.new"), host.path("config/trust.toml"));
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
    };
    fs::write(setup.path("config/trust.toml"), policy(2, "active")).unwrap();
    let admin = Admin::start(setup).await;
    admin.install(&signed_by(&[&other], &answering("theirs", 1), &manifest("theirs", 1))).await;
    admin.install(&plugin("ours", 1, 7)).await;

    // A broken file, and one that goes back, leave what is in force.
    write(&admin.host, "serial = ");
    until("it is told", async || admin.host.log().contains("the trust file cannot be used")).await;
    write(&admin.host, &policy(1, "revoked"));
    until("it is told", async || admin.host.log().contains("serial 1")).await;
    assert_eq!(answer(&admin.host, "/theirs").await, (200, json!(1)));

    write(&admin.host, &policy(3, "revoked"));
    answers(&admin.host, "/theirs", (404, Value::Null)).await;
    assert_eq!(answer(&admin.host, "/ours").await, (200, json!(7)));
    until("it is recorded", async || admin.changes("test/theirs").await[0] == "host revoke 1.0.1→- REVOKED").await;
    let details = admin.show("test/theirs").await;
    assert_eq!(
        (&details["plugin"]["state"], &details["plugin"]["last_error"]["code"]),
        (&json!("failed"), &json!("REVOKED")),
        "{details}"
    );
    let (status, refused) = admin.act("test/theirs", "enable", Value::Null).await;
    assert_eq!((status, &refused["code"]), (403, &json!("REVOKED")), "{refused}");

    // The operator takes it back: an administrator may let it run again.
    write(&admin.host, &policy(4, "active"));
    until("it runs", async || admin.act("test/theirs", "enable", Value::Null).await.0 == 200).await;
    assert_eq!(answer(&admin.host, "/theirs").await, (200, json!(1)));
}
