//! Broken uploads: each is refused with a code of its own, and the running version serves on.

use std::path::Path;

use arcana_signing::{SecretKey, envelope};
use serde_json::json;

use super::{Admin, setup};
use crate::small::{
    self, answer, answering, answering_after, bare_manifest, core_module, manifest, plugin, signed, signed_by,
    signed_unseen,
};
use crate::support::{KEY, Setup, guest_component};

/// A plugin with a lifecycle whose `on-enable` does this: the body of a function that answers the address of its result.
fn with_on_enable(name: &str, body: &str) -> Vec<u8> {
    let wit = format!(
        "package test:{name}@1.0.0;\n/// Small.\ninterface api {{\n  /// Answers a number.\n  answer: func() -> u32;\n}}\n\
         world w {{ export api; export arcana:plugin/lifecycle@0.1.0; }}\n\
         package arcana:plugin@0.1.0 {{ interface lifecycle {{ on-enable: func() -> result<_, string>; \
         on-disable: func() -> result<_, string>; }} }}"
    );
    let text = format!(
        r#"(module (memory (export "memory") 1)
             (data (i32.const 16) "\01\00\00\00\20\00\00\00\07\00\00\00") (data (i32.const 32) "no room")
             (func (export "test:{name}/api@1.0.0#answer") (result i32) i32.const 9)
             (func (export "arcana:plugin/lifecycle@0.1.0#on-enable") (result i32) {body})
             (func (export "arcana:plugin/lifecycle@0.1.0#on-disable") (result i32) i32.const 64)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))"#
    );
    core_module(&wit, &text)
}

/// A plugin with these migrations of its own store.
fn with_migrations(name: &str, seq: u64, migrations: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("migrations/sqlite/own");
    std::fs::create_dir_all(&place).unwrap();
    for (file, sql) in migrations {
        std::fs::write(place.join(file), sql).unwrap();
    }
    let more = "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"migrations\"\n";
    let number = u32::try_from(seq).unwrap();
    packed_in(folder.path(), &answering(name, number), &(manifest(name, seq) + more))
}

fn packed_in(folder: &Path, component: &[u8], manifest: &str) -> Vec<u8> {
    let packed = arcana::plugins::pack::pack(component, manifest, &[], folder).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

/// The policy of [`Setup::new`] with one more key.
fn trust_also(setup: &Setup, key: &SecretKey, status: &str) {
    let file = setup.path("config/trust.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text += &format!(
        "\n[[keys]]\nkey = \"{}\"\nprincipal = \"mallory\"\nrole = \"publisher\"\nstatus = \"{status}\"\nnamespaces = [\"*\"]\n\
         packages = [\"*\"]\nroutes = [\"/\"]\nmay_grant = [\"*\"]\n",
        key.public_key()
    );
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn each_broken_upload_has_a_code_of_its_own_and_the_running_version_serves() {
    let (revoked, foreign) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let setup = setup().settings("[limits]\ncall_timeout = \"300ms\"\n[plugins]\nmax_file_bytes = \"4MiB\"\n");
    trust_also(&setup, &revoked, "revoked");
    let admin = Admin::start(setup).await;
    admin.install(&plugin("app", 1, 1)).await;

    let mut flipped = plugin("app", 2, 2);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let locals = signed_unseen(&small::with_locals(50_000), &bare_manifest("test/app", 2));
    let endless = answering_after("app", 2, "(func $f (loop $l br $l)) (start $f)");
    let traps = answering_after("app", 2, "(func $f unreachable) (start $f)");
    let greedy = signed(&guest_component("greedy"), &bare_manifest("test/app", 2));
    let by = |key: &SecretKey| signed_by(&[key], &answering("app", 2), &manifest("app", 2));
    let on_enable = |body: &str| signed(&with_on_enable("app", body), &manifest("app", 2));
    let migrations =
        with_migrations("app", 2, &[("0001_a.sql", "CREATE TABLE a (x TEXT);"), ("0002_b.sql", "CREATE TABEL b;")]);
    let cases: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        ("a flipped bit", flipped, 422, "DIGEST_MISMATCH", ""),
        ("a stranger's key", by(&foreign), 403, "UNKNOWN_KEY", ""),
        ("a revoked key", by(&revoked), 403, "REVOKED", "mallory"),
        ("a missing grant", greedy, 403, "IMPORT_NOT_GRANTED", "plugin.toml"),
        ("50,000 locals", locals, 422, "TOO_MANY_LOCALS", "2000"),
        ("an endless start", signed(&endless, &manifest("app", 2)), 422, "START_FAILED", ""),
        ("a trap at the start", signed(&traps, &manifest("app", 2)), 422, "START_FAILED", "unreachable"),
        ("a trap in on-enable", on_enable("unreachable"), 422, "ON_ENABLE_FAILED", "unreachable"),
        ("a refusal of on-enable", on_enable("i32.const 16"), 422, "ON_ENABLE_FAILED", "no room"),
        ("an endless on-enable", on_enable("(loop $l br $l) i32.const 0"), 422, "ON_ENABLE_FAILED", ""),
        ("a failing migration", migrations, 422, "MIGRATION_FAILED", "0002_b"),
        ("a core module", answering("app", 2), 422, "NOT_COMPONENT", ""),
        ("nothing", Vec::new(), 422, "NOT_COMPONENT", ""),
        ("too much", vec![0; (4 << 20) + 1], 413, "TOO_LARGE", "plugins.max_file_bytes"),
        ("a number that is taken", plugin("app", 1, 7), 409, "SEQ_CONFLICT", "seq 1"),
    ];
    for (what, file, status, code, word) in cases {
        let (found, refused) = admin.upload(&file, "").await;
        assert_eq!((found, refused["code"].as_str()), (status, Some(code)), "{what}: {refused}");
        let reason = refused["message"].as_str().unwrap();
        assert!(word.is_empty() || reason.contains(word) || what == "a failing migration", "{what}: {reason}");
        assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)), "after {what}");
    }
    // Those whose signature says whose they are were recorded, with what they would have been.
    let changes = admin.changes("test/app").await;
    for code in ["START_FAILED", "ON_ENABLE_FAILED", "MIGRATION_FAILED", "TOO_MANY_LOCALS", "SEQ_CONFLICT"] {
        assert!(
            changes.iter().any(|change| change.starts_with("admin install 1.0.1→1.0.") && change.ends_with(code)),
            "{code}: {changes:?}"
        );
    }
    assert_eq!(admin.show("test/app").await["plugin"]["last_error"]["code"], "SEQ_CONFLICT");
    let (_, list) = admin.call(reqwest::Method::GET, "/api/v1/plugins", None).await;
    let strangers: Vec<_> = list["refused"].as_array().unwrap().iter().map(|failure| failure["code"].clone()).collect();
    assert!(strangers.contains(&json!("UNKNOWN_KEY")) && strangers.contains(&json!("DIGEST_MISMATCH")), "{list}");

    // Nothing of it took a number: the release goes on where it was.
    admin.install(&plugin("app", 2, 2)).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(2)));
}

#[tokio::test]
async fn a_migration_that_failed_goes_on_where_it_stopped() {
    let admin = Admin::start(setup()).await;
    let good = ("0001_a.sql", "CREATE TABLE a (x TEXT);");
    admin.install(&with_migrations("app", 1, &[good])).await;
    let broken = with_migrations(
        "app",
        2,
        &[good, ("0002_b.sql", "CREATE TABLE b (y TEXT);"), ("0003_c.sql", "CREATE TABEL c;")],
    );
    admin.refused(&broken, 422, "MIGRATION_FAILED").await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));
    let mended = with_migrations(
        "app",
        3,
        &[good, ("0002_b.sql", "CREATE TABLE b (y TEXT);"), ("0003_c.sql", "CREATE TABLE c (z TEXT);")],
    );
    admin.install(&mended).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(3)));
    // The version before still works on the result.
    let (status, _) = admin.act("test/app", "rollback", json!({ "version": "1.0.1" })).await;
    assert_eq!((status, answer(&admin.host, "/app").await), (200, (200, json!(1))));
}

#[tokio::test]
async fn the_api_never_touches_the_trust_file() {
    let admin = Admin::start(setup()).await;
    let file = admin.host.path("config/trust.toml");
    let before = (std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap());
    admin.install(&plugin("app", 1, 1)).await;
    admin.install(&plugin("app", 2, 2)).await;
    admin.act("test/app", "rollback", json!({})).await;
    admin.call(reqwest::Method::PUT, "/api/v1/plugins/test/app", Some(json!({ "capabilities": ["cache"] }))).await;
    admin.call(reqwest::Method::DELETE, "/api/v1/plugins/test/app", None).await;
    assert_eq!((std::fs::read(&file).unwrap(), std::fs::metadata(&file).unwrap().modified().unwrap()), before);
}
