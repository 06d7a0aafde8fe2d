//! What the policy lets in, what it grants, and with which code it refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod common;

use arcana_signing::envelope::{self, sign};
use arcana_signing::{Code, Purpose, Request, TrustPolicy, Verdict, trust};
use common::*;
use jiff::Timestamp;

struct Ask<'a> {
    purpose: Purpose,
    id: &'a str,
    seq: u64,
    packages: &'a [&'a str],
    routes: &'a [&'a str],
    owned_stores: &'a [&'a str],
    capabilities: &'a [&'a str],
    expires: Option<&'a str>,
    host: &'a str,
}

const ASK: Ask<'_> = Ask {
    purpose: Purpose::Install,
    id: "acme/bookmarks",
    seq: 1,
    packages: &[],
    routes: &[],
    owned_stores: &[],
    capabilities: &[],
    expires: None,
    host: "0.1",
};

fn evaluate(policy: &TrustPolicy, signers: &[u8], ask: &Ask<'_>) -> Result<Verdict, (&'static str, u16)> {
    let keys: Vec<_> = signers.iter().map(|seed| key(*seed)).collect();
    let bytes = sign(&packed(), &keys.iter().collect::<Vec<_>>()).unwrap();
    let envelope = envelope::parse(&bytes).unwrap();
    let verified = policy.verify(&envelope).map_err(|error| (error.code(), error.status()))?;
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let request = Request {
        purpose: ask.purpose,
        now: "2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap(),
        host_version: &"0.1.4".parse().unwrap(),
        host: &ask.host.parse().unwrap(),
        id: ask.id,
        seq: ask.seq,
        expires: ask.expires.map(|text| text.parse().unwrap()),
        packages: &own(ask.packages),
        routes: &own(ask.routes),
        events: &[],
        owned_stores: &own(ask.owned_stores),
        capabilities: &own(ask.capabilities),
    };
    policy.evaluate(&verified, &request).map_err(|error| (error.code(), error.status()))
}

const ACME: KeyText = KeyText {
    seed: 1,
    principal: "acme",
    more: "packages = [\"acme:*\"]\nroutes = [\"/api/v1/bookmarks\"]\nowned_stores = [\"shared\"]\n\
           may_grant = [\"cache\", \"database:own\"]\nmay_request = [\"crypto*\", \"http:https://api.example.com\"]",
};

#[test]
fn grants_what_it_may_and_leaves_the_rest_to_an_admin() {
    let ask = Ask {
        packages: &["acme:bookmarks"],
        routes: &["/api/v1/bookmarks/{id}"],
        owned_stores: &["shared"],
        capabilities: &["cache", "database:own", "crypto.hash", "http:https://api.example.com"],
        ..ASK
    };
    let verdict = evaluate(&policy(&[ACME], ""), &[1], &ask).unwrap();
    assert_eq!(verdict.signers, ["acme"]);
    assert_eq!(verdict.granted, ["cache", "database:own"]);
    assert_eq!(verdict.pending, ["crypto.hash", "http:https://api.example.com"]);
    assert!(verdict.warnings.is_empty());
}

#[test]
fn beyond_the_signers_word_is_403() {
    let policy = policy(&[ACME], "");
    let cases = [
        (Ask { id: "other/bookmarks", ..ASK }, "NO_RULE"),
        (Ask { capabilities: &["cache", "database:identity"], ..ASK }, "CAPABILITY"),
        (Ask { capabilities: &["http:https://api.example.com.evil.org"], ..ASK }, "CAPABILITY"),
        (Ask { packages: &["arcana:auth"], ..ASK }, "PACKAGE"),
        (Ask { routes: &["/api/v1/users"], ..ASK }, "ROUTE"),
        (Ask { owned_stores: &["identity"], ..ASK }, "STORE"),
    ];
    for (ask, code) in cases {
        assert_eq!(evaluate(&policy, &[1], &ask), Err((code, 403)));
    }
    let other_namespace = KeyText { seed: 1, principal: "acme", more: "namespaces = [\"acme/calendar\"]" };
    assert_eq!(evaluate(&common::policy(&[other_namespace], ""), &[1], &ASK), Err(("NAMESPACE", 403)));
}

#[test]
fn thresholds_count_principals_not_keys() {
    let keys = [
        KeyText { seed: 1, principal: "ann", more: "may_grant = [\"cache\"]" },
        KeyText { seed: 2, principal: "ann", more: "may_grant = [\"cache\"]" },
        KeyText { seed: 3, principal: "bob", more: "may_request = [\"cache\"]" },
    ];
    let policy = policy(&keys, "threshold = 2");
    assert_eq!(evaluate(&policy, &[1, 2], &ASK), Err(("THRESHOLD", 403)));
    assert_eq!(evaluate(&policy, &[1, 3], &ASK).unwrap().signers, ["ann", "bob"]);
    // What is granted needs the word of as many principals as the threshold.
    let verdict = evaluate(&policy, &[1, 2, 3], &Ask { capabilities: &["cache"], ..ASK }).unwrap();
    assert_eq!((verdict.granted.len(), verdict.pending.len()), (0, 1));
}

#[test]
fn reviewers_are_others_and_grant_nothing() {
    let keys = [
        KeyText { seed: 1, principal: "ann", more: "" },
        KeyText { seed: 2, principal: "ann", more: "role = \"reviewer\"" },
        KeyText { seed: 3, principal: "bob", more: "role = \"reviewer\"\nmay_grant = [\"cache\"]" },
    ];
    let policy = policy(&keys, "reviewers = 1");
    assert_eq!(evaluate(&policy, &[1], &ASK), Err(("THRESHOLD", 403)));
    assert_eq!(evaluate(&policy, &[1, 2], &ASK), Err(("THRESHOLD", 403)));
    assert_eq!(evaluate(&policy, &[3], &ASK), Err(("THRESHOLD", 403)));
    assert_eq!(evaluate(&policy, &[1, 3], &ASK).unwrap().signers, ["ann", "bob"]);
    assert_eq!(evaluate(&policy, &[1, 3], &Ask { capabilities: &["cache"], ..ASK }), Err(("CAPABILITY", 403)));
}

#[test]
fn revoked_is_refused_and_retired_keeps_running() {
    let with = |more| policy(&[KeyText { seed: 1, principal: "acme", more }], "");
    let keep = Ask { purpose: Purpose::Keep, ..ASK };
    assert_eq!(evaluate(&with("status = \"revoked\""), &[1], &keep), Err(("REVOKED", 403)));
    for (more, code) in [
        ("status = \"retired\"", "KEY_RETIRED"),
        ("not_after = 2026-05-31T00:00:00Z", "KEY_EXPIRED"),
        ("not_before = \"2026-06-02T00:00:00Z\"", "KEY_EXPIRED"),
    ] {
        assert_eq!(evaluate(&with(more), &[1], &ASK), Err((code, 403)));
        assert_eq!(evaluate(&with(more), &[1], &keep).unwrap().warnings.len(), 1, "{more}");
    }
    let mut policy = trusting(1);
    policy.revoked.push(envelope::Digest::of(&body()));
    assert_eq!(evaluate(&policy, &[1], &keep), Err(("REVOKED", 403)));
}

#[test]
fn sequence_host_and_time() {
    let policy = policy(&[ACME], "min_seq = 5");
    assert_eq!(evaluate(&policy, &[1], &Ask { seq: 4, ..ASK }), Err(("SEQ_BELOW_MINIMUM", 409)));
    assert!(evaluate(&policy, &[1], &Ask { seq: 5, ..ASK }).is_ok());
    assert_eq!(evaluate(&policy, &[1], &Ask { seq: 5, host: "0.2", ..ASK }), Err(("HOST_VERSION", 422)));
    let expired = Ask { seq: 5, expires: Some("2026-05-31T00:00:00Z"), ..ASK };
    assert_eq!(evaluate(&policy, &[1], &expired), Err(("EXPIRED", 403)));
    assert!(evaluate(&policy, &[1], &Ask { purpose: Purpose::Keep, ..expired }).is_ok());
}

#[test]
fn the_serial_does_not_go_back() {
    let policy = trusting(1);
    assert!(policy.check_serial(None).is_ok() && policy.check_serial(Some(7)).is_ok());
    assert_eq!(policy.check_serial(Some(8)).unwrap_err().kind(), Code::TrustRollback);
}

#[test]
fn the_development_policy_grants_everything_to_its_key_and_nothing_to_others() {
    let policy = TrustPolicy::parse(&trust::development(&key(1).public_key())).unwrap();
    let ask = Ask {
        id: "arcana/auth",
        routes: &["/x"],
        capabilities: &["crypto.issue_tokens"],
        owned_stores: &["identity"],
        ..ASK
    };
    assert_eq!(evaluate(&policy, &[1], &ask).unwrap().granted, ["crypto.issue_tokens"]);
    assert_eq!(evaluate(&policy, &[2], &ask), Err(("UNKNOWN_KEY", 403)));
}

#[test]
fn mistakes_in_the_file_are_named() {
    let error = TrustPolicy::parse("serial = 1\nsreial = 2\n").unwrap_err().to_string();
    assert!(error.contains("sreial"), "{error}");
    let error = TrustPolicy::parse("serial = \"1\"\n").unwrap_err().to_string();
    assert!(error.contains("serial"), "{error}");
    let good = key(1).public_key();
    let text = format!(
        "serial = 1\nrevoked = [\"abc\"]\n\
         [[keys]]\nkey = \"{good}\"\nprincipal = \"\"\nrole = \"publisher\"\nmay_grant = [\"a*b\"]\n\
         [[keys]]\nkey = \"{good}\"\nprincipal = \"x\"\nrole = \"publisher\"\nroutes = [\"api\"]\n\
         not_before = 2027-01-01T00:00:00Z\nnot_after = 2026-01-01T00:00:00Z\n\
         [[keys]]\nkey = \"ed25519:00\"\nprincipal = \"x\"\nrole = \"publisher\"\n\
         [[rules]]\nplugins = [\"acme/*\"]\nthreshold = 0\n[[rules]]\nplugins = [\"acme/x\"]\n"
    );
    let mistakes = TrustPolicy::parse(&text).unwrap_err().mistakes;
    for at in [
        "keys[0].principal:",
        "keys[0].may_grant[0]:",
        "keys[1].key:",
        "keys[1].routes[0]:",
        "keys[1].not_after:",
        "keys[2].key:",
        "rules[0].threshold:",
        "rules[1].plugins:",
        "revoked[0]:",
    ] {
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(at)), "{at} is not in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 9);
}
