use std::time::Duration;

use super::*;

const FULL: &str = r#"
[plugin]
id = "acme/bookmarks"
version = "1.2.0"
seq = 12   # goes up
description = "Bookmarks with tags"
host = "0.1"
expires = 2030-01-01T00:00:00Z

[capabilities]
stores = ["own", "identity"]
cache = true
crypto = { hash = true, keys = ["own"], revoke_tokens = true }

[stores.identity]
owner = true
migrations = "migrations"

[[methods]]
call = "bookmarks.get"
http = "GET /api/v1/bookmarks/{id}"
allow = ["self:id", "role:admin"]
status = 203
concurrency = 4
call_timeout = "250ms"
rate = [{ by = "address", per_minute = 30, burst = 10 }, { by = ["email", "user-name"], per_minute = 5 }]

[[methods]]
call = "acme:bookmarks/admin@1.0.0.list-all"
http = ["GET /api/v1/bookmarks", "GET /"]
allow = "authenticated"

[limits]
memory = "64MiB"
call_timeout = "5s"
concurrency = 64
instances = "per-call"
max_calls = 1000
"#;

#[test]
fn everything_is_read() {
    let manifest = Manifest::parse(FULL).unwrap();
    assert_eq!((manifest.plugin.id.namespace(), manifest.plugin.id.name()), ("acme", "bookmarks"));
    assert_eq!(manifest.plugin.seq, 12);
    assert_eq!(manifest.plugin.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
    assert!(
        manifest.plugin.host.matches(&Version::new(0, 1, 9)) && !manifest.plugin.host.matches(&Version::new(0, 2, 0))
    );
    let get = &manifest.methods[0];
    assert_eq!(get.http, [HttpRoute { method: Verb::GET, path: "/api/v1/bookmarks/{id}".into() }]);
    assert_eq!(get.allow, [Allow::SelfParam("id".into()), Allow::Role(Role::Admin)]);
    assert_eq!((get.status, get.concurrency, get.call_timeout), (Some(203), Some(4), Some(Duration::from_millis(250))));
    let [address, fields] = &get.rate[..] else { panic!() };
    assert_eq!((&address.by, address.burst), (&RateBy::Address, 10));
    assert_eq!((&fields.by, fields.burst), (&RateBy::Fields(vec!["email".into(), "user-name".into()]), 5));
    assert_eq!(manifest.limits.memory, Some(64 << 20));
    assert_eq!(manifest.limits.instances, Instances::PerCall);
    assert_eq!(get.http[0].param_names(), ["id"]);
    assert_eq!(manifest.route_templates(), ["/api/v1/bookmarks/{id}", "/api/v1/bookmarks", "/"]);
    assert_eq!(manifest.owned_stores(), ["identity"]);
    assert_eq!(
        manifest.capability_names(),
        [
            "database:own",
            "database:identity",
            "cache",
            "crypto",
            "crypto.keys:own",
            "crypto.hash",
            "crypto.revoke_tokens"
        ]
    );
    for (interface, asked) in
        [("log", true), ("database", true), ("passwords", true), ("token-issuer", false), ("events", false)]
    {
        assert_eq!(manifest.asks_for(interface), asked, "{interface}");
    }
}

#[test]
fn crypto_is_a_switch_or_a_table() {
    let with = |crypto: &str| {
        Manifest::parse(&FULL.replace("{ hash = true, keys = [\"own\"], revoke_tokens = true }", crypto))
    };
    assert_eq!(with("true").unwrap().capabilities.crypto, Some(CryptoGrant::default()));
    assert_eq!(with("false").unwrap().capabilities.crypto, None);
    let error = with("{ hsah = true }").unwrap_err().to_string();
    assert!(error.contains("hsah") && error.contains("revoke_tokens"), "{error}");
    let error = with("3").unwrap_err().to_string();
    assert!(error.contains("crypto") && error.contains("true, false or a table"), "{error}");
}

#[test]
fn a_sequence_number_is_replaced_in_place() {
    let changed = with_seq(FULL, 1_700_000_000).unwrap();
    assert_eq!(changed, FULL.replace("seq = 12 ", "seq = 1700000000 "));
    assert!(with_seq("[plugin]\nid = \"a/b\"", 1).is_err());
}

/// What a change of the full manifest is answered with.
fn mistake(from: &str, to: &str) -> Vec<String> {
    assert!(FULL.contains(from), "{from}");
    Manifest::parse(&FULL.replace(from, to)).unwrap_err().mistakes
}

#[test]
fn forms_that_are_not_known_are_named() {
    for (from, to, named) in [
        ("cache = true", "cahce = true", "cahce"),
        ("cache = true", "cache = 1", "cache"),
        ("seq = 12", "seq = -1", "seq"),
        ("allow = \"authenticated\"", "", "allow"),
        ("burst = 10", "brust = 10", "brust"),
        ("instances = \"per-call\"", "instances = \"percall\"", "instances"),
        ("[limits]", "[limit]", "limit"),
        ("2030-01-01T00:00:00Z", "\"soon\"", "expires"),
    ] {
        let mistakes = mistake(from, to);
        assert!(mistakes[0].contains(named), "{mistakes:?}");
    }
}

#[test]
fn values_that_cannot_be_used_are_named_by_their_key() {
    for (from, to, key) in [
        ("acme/bookmarks", "Acme/bookmarks", "plugin.id:"),
        ("acme/bookmarks", "acme/a/b", "plugin.id:"),
        ("1.2.0", "1.2", "plugin.version:"),
        ("host = \"0.1\"", "host = \"new\"", "plugin.host:"),
        ("\"own\", \"identity\"]", "\"own\", \"identity\", \"own\"]", "capabilities.stores[2]:"),
        ("keys = [\"own\"]", "keys = [\"a b\"]", "capabilities.crypto.keys[0]:"),
        ("cache = true", "events = { publish = [\"x\"] }", "capabilities.events:"),
        ("cache = true", "http = [\"https://a.example\"]", "capabilities.http:"),
        ("[stores.identity]", "[stores.other]", "stores.other:"),
        ("owner = true", "owner = false", "stores.identity.owner:"),
        ("bookmarks.get", "bookmarks", "methods[0].call:"),
        ("GET /api/v1/bookmarks/{id}", "FETCH /x", "methods[0].http:"),
        ("\"GET /\"", "\"GET x\"", "methods[1].http[1]:"),
        ("/bookmarks/{id}", "/{id}/{id}", "methods[0].http:"),
        ("/bookmarks/{id}", "/a//{id}", "methods[0].http:"),
        ("/bookmarks/{id}", "/a/../{id}", "methods[0].http:"),
        ("/bookmarks/{id}", "/x{id}", "methods[0].http:"),
        ("/bookmarks/{id}", "/{*id}", "methods[0].http:"),
        ("/bookmarks/{id}", "/plugins/{id}", "methods[0].http:"),
        ("GET /api/v1/bookmarks/{id}", "GET /health", "methods[0].http:"),
        ("role:admin", "role:king", "methods[0].allow[1]:"),
        ("self:id", "self:", "methods[0].allow[0]:"),
        ("self:id", "public", "methods[0].allow:"),
        ("\"authenticated\"", "[]", "methods[1].allow:"),
        ("status = 203", "status = 302", "methods[0].status:"),
        ("concurrency = 4\n", "concurrency = 0\n", "methods[0].concurrency:"),
        ("250ms", "250", "methods[0].call_timeout:"),
        ("\"address\"", "\"planet\"", "methods[0].rate[0].by:"),
        ("[\"email\", \"user-name\"]", "[]", "methods[0].rate[1].by:"),
        ("per_minute = 30", "per_minute = 0", "methods[0].rate[0].per_minute:"),
        ("64MiB", "64", "limits.memory:"),
        ("64MiB", "1KiB", "limits.memory:"),
        ("max_calls = 1000", "max_calls = 0", "limits.max_calls:"),
        ("acme:bookmarks/admin@1.0.0.list-all", "bookmarks.get", "methods:"),
        ("\"GET /\"", "\"GET /api/v1/bookmarks/{name}\"", "methods:"),
        ("\"GET /\"", "\"DELETE /api/v1/bookmarks/{name}\"", "methods:"),
    ] {
        let mistakes = mistake(from, to);
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(key), "{from} -> {to}: {mistakes:#?}");
    }
}

#[test]
fn settings_are_declared_with_their_type() {
    use crate::config::{Secret, Setting};

    let with =
        |settings: &str| Manifest::parse(&FULL.replace("[limits]", &format!("[settings]\n{settings}\n[limits]")));
    assert_eq!(Manifest::parse(FULL).unwrap().settings, None);
    assert_eq!(with("").unwrap().settings, Some(BTreeMap::new()));
    let rules = with(
        "name = { type = \"text\", default = \"x\", description = \"who\" }\nkey = { type = \"text\", required = true, secret = true }\n\
         half = { type = \"decimal\", default = 1 }\nmany = { type = \"texts\", default = [] }\non = { type = \"boolean\" }",
    );
    let rules = rules.unwrap().settings.unwrap();
    assert_eq!(rules["name"].default, Some(Setting::Text(Secret::new("x".to_owned()))));
    assert_eq!((rules["name"].kind, rules["name"].description.as_str()), (SettingKind::Text, "who"));
    assert!(rules["key"].required && rules["key"].secret && rules["key"].default.is_none());
    assert_eq!(rules["half"].default, Some(Setting::Decimal(1.0)));
    for (settings, words) in [
        ("n = { type = \"integer\", default = \"1\" }", "settings.n.default: must be an integer"),
        ("n = { type = \"integer\", default = 1.5 }", "settings.n.default: must be an integer"),
        ("n = { type = \"text\", default = { env = \"A\" } }", "settings.n.default: must be a text"),
        ("n = { type = \"texts\", default = \"a\" }", "settings.n.default: must be a list of texts"),
        ("n = { type = \"text\", default = \"a\", required = true }", "settings.n: is required, so"),
        ("n = { type = \"text\", default = \"a\", secret = true }", "settings.n: is secret, so"),
        ("N = { type = \"text\" }", "settings.N: is no name of a setting"),
        ("n = { type = \"number\" }", "integer"),
        ("n = { default = 1 }", "type"),
        ("n = { type = \"text\", requried = true }", "requried"),
    ] {
        let mistakes = with(settings).unwrap_err().mistakes;
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{settings}: {mistakes:?}");
    }
}

#[test]
fn all_of_them_are_told_at_once() {
    let text = FULL
        .replace("1.2.0", "x")
        .replace("64MiB", "x")
        .replace("role:admin", "x")
        .replace("status = 203", "status = 99");
    assert_eq!(Manifest::parse(&text).unwrap_err().mistakes.len(), 4);
}

#[test]
fn the_shipped_manifests_are_good() {
    for text in [
        include_str!("../../../../components/auth/plugin.toml"),
        include_str!("../../../../components/users/plugin.toml"),
    ] {
        assert!(!Manifest::parse(text).unwrap().methods.is_empty());
    }
}
