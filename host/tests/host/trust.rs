//! The trust policy as the host lives by it: who may bring in what, and what happens when the operator changes their mind.

use std::fs;

use arcana_signing::{SecretKey, envelope};
use serde_json::json;

use crate::small::{
    answer, answering, codes, events, expect, health, json_log, manifest, manifest_of, plugin, refused, signed_by,
    stopped,
};
use crate::support::{KEY, Setup};

const EVERYTHING: &str =
    "namespaces = [\"*\"]\npackages = [\"*\"]\nroutes = [\"/\"]\nowned_stores = [\"*\"]\nmay_grant = [\"*\"]\n";

fn key(key: &SecretKey, principal: &str, more: &str) -> String {
    format!("[[keys]]\nkey = \"{}\"\nprincipal = \"{principal}\"\nrole = \"publisher\"\n{more}\n", key.public_key())
}

fn rule(plugins: &str, more: &str) -> String {
    format!("[[rules]]\nplugins = [\"{plugins}\"]\n{more}\n")
}

/// Puts the policy in the place of the one that trusts [`KEY`].
fn trusting(setup: Setup, policy: &[String]) -> Setup {
    fs::write(setup.path("config/trust.toml"), policy.concat()).unwrap();
    setup
}

fn new_key() -> SecretKey {
    SecretKey::generate().unwrap()
}

#[tokio::test]
async fn everybody_brings_in_only_what_they_may() {
    let (narrow, second, revoked, retired, late, foreign) =
        (new_key(), new_key(), new_key(), new_key(), new_key(), new_key());
    let bad_file = plugin("bad", 1, 1);
    let policy = [
        format!("serial = 1\nrevoked = [\"{}\"]\n", envelope::parse(&bad_file).unwrap().digest()),
        key(&KEY, "main", EVERYTHING),
        key(
            &narrow,
            "acme",
            "namespaces = [\"acme/*\"]\npackages = [\"test:acme-*\"]\nroutes = [\"/acme\"]\nmay_grant = [\"cache\"]\n\
             may_request = [\"crypto\", \"crypto.hash\"]",
        ),
        key(&second, "main", EVERYTHING),
        key(&revoked, "mallory", &format!("status = \"revoked\"\n{EVERYTHING}")),
        key(&retired, "oldtimer", &format!("status = \"retired\"\n{EVERYTHING}")),
        key(&late, "late", &format!("not_after = 2020-01-01T00:00:00Z\n{EVERYTHING}")),
        rule("test/*", ""),
        rule("acme/*", ""),
        rule("board/*", "threshold = 2"),
        rule("new/*", "min_seq = 5"),
    ];
    let by = |keys: &[&SecretKey], name: &str, id: &str, path: &str, more: &str| {
        signed_by(keys, &answering(name, 1), &(manifest_of(id, 1, path) + more))
    };
    let plain = |keys: &[&SecretKey], name: &str| by(keys, name, &format!("test/{name}"), &format!("/{name}"), "");
    let asking = |what: &str| format!("[capabilities]\n{what}\n");
    let host = trusting(json_log(), &policy)
        .plugin("fine", &plain(&[&KEY], "fine"))
        .plugin("known-and-unknown", &plain(&[&foreign, &KEY], "known"))
        .plugin("within", &by(&[&narrow], "acme-a", "acme/a", "/acme/a", &asking("cache = true")))
        .plugin("foreign", &plain(&[&foreign], "foreign"))
        .plugin("revoked-key", &plain(&[&revoked], "revoked"))
        .plugin("revoked-file", &bad_file)
        .plugin("retired", &plain(&[&retired], "retired"))
        .plugin("late", &plain(&[&late], "late"))
        .plugin("namespace", &by(&[&narrow], "acme-n", "test/n", "/acme/n", ""))
        .plugin("package", &by(&[&narrow], "other", "acme/p", "/acme/p", ""))
        .plugin("route", &by(&[&narrow], "acme-r", "acme/r", "/elsewhere", ""))
        .plugin("capability", &by(&[&narrow], "acme-c", "acme/c", "/acme/c", &asking("stores = [\"identity\"]")))
        .plugin("request", &by(&[&narrow], "acme-q", "acme/q", "/acme/q", &asking("crypto = { hash = true }")))
        .plugin("no-rule", &by(&[&KEY], "lonely", "lonely/x", "/lonely", ""))
        .plugin("threshold", &by(&[&KEY, &second], "board", "board/x", "/board", ""))
        .plugin("minimum", &by(&[&KEY], "new", "new/x", "/new", ""))
        .start();
    for path in ["/fine", "/known", "/acme/a"] {
        assert_eq!(answer(&host, path).await, (200, json!(1)), "{path}");
    }
    let refused = refused(&host);
    let expected = [
        ("foreign", "UNKNOWN_KEY", foreign.public_key().key_id().to_string()),
        ("revoked-key", "REVOKED", "mallory".into()),
        ("revoked-file", "REVOKED", envelope::parse(&bad_file).unwrap().digest().to_string()),
        ("retired", "KEY_RETIRED", "oldtimer".into()),
        ("late", "KEY_EXPIRED", "2020-01-01".into()),
        ("namespace", "NAMESPACE", "test/n".into()),
        ("package", "PACKAGE", "test:other".into()),
        ("route", "ROUTE", "/elsewhere".into()),
        ("capability", "CAPABILITY", "database:identity".into()),
        ("no-rule", "NO_RULE", "lonely/x".into()),
        ("threshold", "THRESHOLD", "2".into()),
        ("minimum", "SEQ_BELOW_MINIMUM", "5".into()),
    ];
    assert_eq!((health(&host).await, refused.len()), ((3, 12), 12), "{refused:#?}");
    for (name, code, word) in expected {
        let (found, reason) = &refused[name];
        assert!(found == code && reason.contains(&word), "{name}: {found}: {reason}");
    }
    for path in ["/foreign", "/revoked", "/retired", "/elsewhere", "/acme/c", "/acme/q", "/board"] {
        assert_eq!(host.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_revoked_is_unloaded_and_what_is_retired_runs_on() {
    let other = new_key();
    let policy = |serial: u32, status: &str, revoked: &str| {
        [
            format!("serial = {serial}\nrevoked = [{revoked}]\n"),
            key(&KEY, "main", EVERYTHING),
            key(&other, "other", &format!("status = \"{status}\"\n{EVERYTHING}")),
            rule("*", ""),
        ]
    };
    let by_other = |seq, number| signed_by(&[&other], &answering("theirs", number), &manifest("theirs", seq));
    let first = by_other(1, 1);
    let host = trusting(json_log(), &policy(1, "active", ""))
        .plugin("ours", &plugin("ours", 1, 7))
        .plugin("theirs", &first)
        .start();
    assert_eq!(answer(&host, "/theirs").await, (200, json!(1)));

    // Retired: what was installed runs on with a warning, from the folder or from the installed copy; nothing new comes in.
    let host = trusting(stopped(host), &policy(2, "retired", "")).start();
    assert_eq!((answer(&host, "/theirs").await, codes(&host)), ((200, json!(1)), expect([])));
    let warnings = events(&host, "trust");
    assert!(warnings.len() == 1 && warnings[0]["level"] == "WARN", "{}", host.log());
    assert!(warnings[0]["warning"].as_str().unwrap().contains("was retired"), "{}", warnings[0]);
    let host = stopped(host).plugin("theirs", &by_other(2, 2)).start();
    assert_eq!((answer(&host, "/theirs").await, codes(&host)), ((200, json!(1)), expect([("theirs", "KEY_RETIRED")])));
    fs::remove_file(host.path("plugins/theirs.wasm")).unwrap();

    // Revoked: gone with the next start, wherever the file is. What others signed serves.
    let host = trusting(stopped(host), &policy(3, "revoked", "")).start();
    assert_eq!((answer(&host, "/theirs").await.0, answer(&host, "/ours").await), (404, (200, json!(7))));
    assert_eq!(codes(&host), expect([("test/theirs", "REVOKED")]));
    let host = stopped(host).plugin("theirs", &first).start();
    assert_eq!(answer(&host, "/theirs").await.0, 404);
    assert!(codes(&host).values().all(|code| code == "REVOKED"), "{:?}", codes(&host));

    // The operator may take it back with a newer policy, and revoke single files.
    let host = trusting(stopped(host), &policy(4, "active", "")).start();
    assert_eq!((answer(&host, "/theirs").await, codes(&host)), ((200, json!(1)), expect([])));
    let digest = envelope::parse(&first).unwrap().digest();
    let host = trusting(stopped(host), &policy(5, "active", &format!("\"{digest}\""))).start();
    assert_eq!(answer(&host, "/theirs").await.0, 404);
    assert!(codes(&host).values().all(|code| code == "REVOKED") && !codes(&host).is_empty());
    // A newer version of it by the same key is another file.
    let host = stopped(host).plugin("theirs", &by_other(6, 6)).start();
    assert_eq!(answer(&host, "/theirs").await, (200, json!(6)));
}

#[tokio::test]
async fn a_policy_that_goes_back_or_cannot_be_read_stops_the_start() {
    let policy = |serial: &str| [format!("serial = {serial}\n"), key(&KEY, "main", EVERYTHING), rule("*", "")];
    let again =
        |setup: Setup| setup.env("ARCANA_OBSERVABILITY__LOG__FORMAT", "json").plugin("ours", &plugin("ours", 1, 7));
    let host = trusting(again(Setup::new()), &policy("8")).start();
    assert_eq!(answer(&host, "/ours").await, (200, json!(7)));

    let setup = trusting(stopped(host), &policy("7"));
    let output = setup.command(&["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(["TRUST_ROLLBACK", "serial 7", "serial 8"].iter().all(|word| said.contains(word)), "{said}");

    // A broken policy is no policy, and neither is none.
    let setup = trusting(setup, &policy("9\nsreial = 1"));
    let output = setup.command(&["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(["plugins.trust", "trust.toml", "sreial"].iter().all(|word| said.contains(word)), "{said}");
    fs::remove_file(setup.path("config/trust.toml")).unwrap();
    let output = setup.command(&["serve"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(["plugins.trust", "trust.toml"].iter().all(|word| said.contains(word)), "{said}");

    // None of the failed starts was held against the policy that was in force.
    let host = trusting(setup, &policy("8")).start();
    assert_eq!(answer(&host, "/ours").await, (200, json!(7)));
}

/// Without a trust file development mode makes a key, which only this data folder has, and trusts what it signed.
#[tokio::test]
async fn development_mode_trusts_a_key_of_its_own_where_there_is_no_policy() {
    let setup = json_log().dev();
    fs::remove_file(setup.path("config/trust.toml")).unwrap();
    // As a start that was killed leaves it.
    fs::create_dir_all(setup.path("data/keys")).unwrap();
    fs::write(setup.path("data/keys/development.new"), "-----BEGIN").unwrap();
    let host = setup.plugin("stranger", &plugin("stranger", 1, 1)).start();
    assert_eq!(codes(&host), expect([("stranger", "UNKNOWN_KEY")]));
    let key = SecretKey::load(&host.path("data/keys/development.pem")).unwrap();
    assert!(!host.path("data/keys/development.new").exists());
    let ours = signed_by(&[&key], &answering("ours", 5), &manifest("ours", 1));
    let host = stopped(host).plugin("ours", &ours).start();
    assert_eq!((answer(&host, "/ours").await, answer(&host, "/stranger").await.0), ((200, json!(5)), 404));
}
