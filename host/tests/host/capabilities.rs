//! The host's capabilities as a guest meets them: the walls of its store, and its part of the cache and the keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Host, Setup, chaos_as, guest, guest_manifest, guest_with, shipped};

async fn post(host: &Host, function: &str, body: Value) -> (u16, Value) {
    host.post(&format!("/test/chaos/{function}"), body).await
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

#[tokio::test]
async fn no_sql_leaves_the_store_that_was_granted() {
    let host = Setup::identity().plugin("chaos", &guest("chaos")).start();
    host.register("ada@example.org").await;
    let hostile = [
        "SELECT 1; SELECT 2",
        "DELETE FROM notes; DELETE FROM notes",
        "ATTACH 'data/stores/identity.db' AS identity",
        "VACUUM INTO 'copy.db'",
        "PRAGMA journal_mode = DELETE",
        "SELECT * FROM pragma_database_list",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "CREATE TABLE mine (a)",
        "DROP TABLE notes",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM _arcana_migrations",
        "SELECT load_extension('evil')",
    ];
    for sql in hostile {
        for mode in ["query", "execute", "batch", "transaction_query", "transaction_execute"] {
            let answer = post(&host, "sql", json!({ "store": "own", "sql": sql, "mode": mode })).await;
            assert_eq!(answer, (200, json!("denied")), "{mode}: {sql}");
        }
    }
    // The store of the shipped plugins is there, and it is not this plugin's.
    for store in ["identity", "host", "../host", "own/../identity", ""] {
        let answer = post(&host, "sql", json!({ "store": store, "sql": "SELECT 1" })).await;
        assert_eq!(answer, (200, json!("denied")), "{store}");
    }
    assert!(!host.path("copy.db").exists() && !host.path("data/copy.db").exists());
    for (sql, mode, outcome) in [
        ("SELECT * FROM nowhere", "query", "syntax"),
        ("SELEC 1", "query", "syntax"),
        ("SELECT ?1", "query", "invalid-parameter"),
        ("INSERT INTO notes (note) VALUES (NULL)", "execute", "constraint-violation"),
        ("INSERT INTO notes (id, note) VALUES (1, 'a')", "execute", "ok"),
        ("INSERT INTO notes (id, note) VALUES (1, 'b')", "execute", "unique-violation"),
        ("INSERT INTO notes (id, note) VALUES (2, 'c')", "batch", "ok"),
        ("INSERT INTO notes (id, note) VALUES (3, 'd')", "transaction_execute", "ok"),
        ("INSERT INTO notes (id, note) VALUES (4, 'e')", "query", "denied"),
        ("SELECT note FROM notes", "execute", "denied"),
    ] {
        let answer = post(&host, "sql", json!({ "store": "own", "sql": sql, "mode": mode })).await;
        assert_eq!(answer, (200, json!(outcome)), "{mode}: {sql}");
    }
    let rows = json!({ "store": "own", "sql": "SELECT id, note, NULL, 1.5, x'00ff' FROM notes ORDER BY id" });
    let row = |id: u8, note: &str| {
        json!([format!("int64 {id}"), format!("text {note}"), "null", "float64 1.5", "bytes [0, 255]"])
    };
    let expected = json!([row(1, "a"), row(2, "c"), row(3, "d")]);
    assert_eq!(post(&host, "rows", rows).await, (200, expected));
}

#[tokio::test]
async fn a_store_of_its_own_is_nobody_elses_and_outlives_the_host() {
    let setup = Setup::new().plugin("chaos", &chaos_as("chaos", &guest_manifest("chaos")));
    let host = setup.plugin("havoc", &chaos_as("havoc", &guest_manifest("chaos"))).start();
    let keep = json!({ "note": "mine", "ms": 0 });
    assert_eq!(post(&host, "hold-transaction-napping", keep).await.0, 204);
    assert_eq!(post(&host, "cache-set", json!({ "key": "k", "value": "mine" })).await.0, 204);
    let (_, signature) = post(&host, "sign", json!({ "key": "own", "message": "aGk=" })).await;
    assert_eq!(post(&host, "count-notes", json!({ "note": "mine" })).await, (200, json!(1)));
    let havoc = async |function: &str, body: Value| host.post(&format!("/test/havoc/{function}"), body).await;
    assert_eq!(havoc("count-notes", json!({ "note": "mine" })).await, (200, json!(0)));
    assert_eq!(havoc("cache-get", json!({ "key": "k" })).await, (200, Value::Null));
    let verify = json!({ "key": "own", "message": "aGk=", "signature": signature });
    assert_eq!(havoc("verify-signature", verify.clone()).await, (200, json!(false)));

    let host = host.kill().start();
    assert_eq!(post(&host, "count-notes", json!({ "note": "mine" })).await, (200, json!(1)));
    assert_eq!(post(&host, "verify-signature", verify).await, (200, json!(true)));
    assert_eq!(post(&host, "cache-get", json!({ "key": "k" })).await, (200, Value::Null));
}

#[tokio::test]
async fn the_cache_keeps_counts_and_lets_one_compute() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).start();
    let get = async |key: &str| post(&host, "cache-get", json!({ "key": key })).await;
    assert_eq!(get("k").await, (200, Value::Null));
    assert_eq!(post(&host, "cache-set", json!({ "key": "k", "value": "v" })).await, (204, Value::Null));
    assert_eq!(get("k").await, (200, json!("v")));
    assert_eq!(post(&host, "cache-delete", json!({ "key": "k" })).await, (200, json!(true)));
    assert_eq!(post(&host, "cache-delete", json!({ "key": "k" })).await, (200, json!(false)));
    // Gone the moment it comes.
    assert_eq!(post(&host, "cache-set", json!({ "key": "k", "value": "v", "ttl_ms": 0 })).await.0, 204);
    assert_eq!(get("k").await, (200, Value::Null));
    for (by, sum) in [(5, 5), (-7, -2)] {
        assert_eq!(post(&host, "cache-increment", json!({ "key": "n", "by": by })).await, (200, json!(sum)));
    }
    assert_eq!(post(&host, "cache-set", json!({ "key": "text", "value": "v" })).await.0, 204);
    let (status, answer) = post(&host, "cache-increment", json!({ "key": "text", "by": 1 })).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("NOT_A_NUMBER")));

    // Of many that want it at once one computes it, and all have it.
    let compute = json!({ "key": "dear", "wait_ms": 900, "compute_ms": 20 });
    let calls = (0..8).map(|_| post(&host, "cache-compute", compute.clone()));
    let mut answers = futures_util::future::join_all(calls).await;
    answers.sort_by_key(|(_, answer)| answer.to_string());
    assert_eq!(answers[0], (200, json!("computed")));
    assert!(answers[1..].iter().all(|answer| *answer == (200, json!("found"))), "{answers:?}");
}

#[tokio::test]
async fn digests_passwords_and_keys_are_the_hosts_and_keys_need_a_grant() {
    let setup = Setup::new()
        .env("ARCANA_SECURITY__PASSWORDS__MEMORY", "64KiB")
        .settings("[plugins.settings.\"test/chaos\"]\nword = \"w\"\nnumber = 7\nlist = [\"a\", \"b\"]\nyes = true");
    let host = setup.plugin("chaos", &guest("chaos")).start();
    // FIPS 180-4, and the second test case of RFC 4231.
    let digest = hex::decode("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
    assert_eq!(post(&host, "sha256", json!({ "data": base64("abc") })).await, (200, json!(base64(digest))));
    let mac = hex::decode("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").unwrap();
    let body = json!({ "key": base64("Jefe"), "data": base64("what do ya want for nothing?") });
    assert_eq!(post(&host, "hmac", body).await, (200, json!(base64(mac))));
    assert_eq!(post(&host, "random", json!({ "len": 64 })).await, (200, json!(64)));

    let (_, hash) = post(&host, "hash-password", json!({ "password": "correct horse" })).await;
    assert!(hash.as_str().unwrap().starts_with("$argon2id$v=19$m=64,"), "{hash}");
    for (password, hash, verdict) in [
        ("correct horse", hash.clone(), "correct"),
        ("wrong horse", hash, "wrong"),
        // As much work for an account that is not there, and never a yes.
        ("correct horse", Value::Null, "wrong"),
    ] {
        let body = json!({ "password": password, "hash": hash });
        assert_eq!(post(&host, "verify-password", body).await, (200, json!(verdict)), "{password}");
    }
    let (status, answer) = post(&host, "hash-password", json!({ "password": "x".repeat(1_025) })).await;
    assert_eq!((status, answer["details"][0]["code"].as_str()), (422, Some("TOO_LONG")), "{answer}");

    let (status, signature) = post(&host, "sign", json!({ "key": "own", "message": base64("hi") })).await;
    assert_eq!((status, STANDARD.decode(signature.as_str().unwrap()).unwrap().len()), (200, 64));
    for (message, good) in [("hi", true), ("ho", false)] {
        let body = json!({ "key": "own", "message": base64(message), "signature": signature });
        assert_eq!(post(&host, "verify-signature", body).await, (200, json!(good)));
    }
    for key in ["other", "tokens", "", "own\0"] {
        let (status, answer) = post(&host, "sign", json!({ "key": key, "message": "" })).await;
        assert_eq!((status, answer["code"].as_str()), (403, Some("KEY_DENIED")), "{key}");
    }
    for (key, value) in [
        ("word", json!("w")),
        ("number", json!("7")),
        ("list", json!("a,b")),
        ("yes", json!("true")),
        ("none", Value::Null),
    ] {
        assert_eq!(post(&host, "setting", json!({ "key": key })).await, (200, value), "{key}");
    }
}

#[tokio::test]
async fn the_caller_is_known_to_the_guest_and_made_by_nobody_else() {
    let manifest = guest_manifest("chaos").replace(
        "http = \"POST /test/chaos/whoami\"\nallow = \"public\"",
        "http = \"POST /test/chaos/whoami\"\nallow = \"authenticated\"",
    );
    let setup = Setup::identity().plugin("chaos", &guest_with("chaos", &manifest));
    let host = setup.plugin("users", &shipped("users")).start();
    let (status, answer) = post(&host, "whoami", json!({ "subject": "root" })).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("UNAUTHORIZED")));
    let ada = host.register("ada@example.org").await;
    let body = Some(json!({ "subject": "root", "roles": ["superadmin"] }));
    let (status, seen) = host.call(reqwest::Method::POST, "/test/chaos/whoami", Some(&ada.access), body).await;
    assert_eq!((status, &seen["subject"], &seen["roles"]), (200, &json!(ada.id), &json!(["user"])));
}
