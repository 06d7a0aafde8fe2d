//! A publisher who may own nothing tries to migrate what belongs to others.

use std::fs;
use std::path::Path;

use arcana_signing::{SecretKey, envelope};
use reqwest::Method;
use serde_json::{Value, json};
use wasm_encoder::{Component, ComponentSection as _, CustomSection, NestedComponentSection};

use crate::live::{Admin, setup};
use crate::small::{answering, bare_manifest, manifest_of, signed_by};
use crate::support::{KEY, Setup};

/// What everybody but bob may.
const EVERYTHING: &str =
    "namespaces = [\"*\"]\npackages = [\"*\"]\nroutes = [\"/\"]\nowned_stores = [\"*\"]\nmay_grant = [\"*\"]\n";

/// A key of `bob`, who may bring plugins of his namespace with a store of their own, and a policy that says so.
pub(super) fn bob(setup: &Setup) -> SecretKey {
    let bob = SecretKey::generate().unwrap();
    let key = |key: &SecretKey, principal: &str, more: &str| {
        format!("[[keys]]\nkey = \"{}\"\nprincipal = \"{principal}\"\nrole = \"publisher\"\n{more}\n", key.public_key())
    };
    let narrow = "namespaces = [\"bob/*\"]\npackages = [\"test:bob*\"]\nroutes = [\"/bob\"]\nmay_grant = [\"database:own\", \"database:shared\"]\n\
                  may_request = [\"cache\"]\n";
    let policy = ["serial = 1\n".to_owned(), key(&KEY, "main", EVERYTHING), key(&bob, "bob", narrow)].concat();
    fs::write(setup.path("config/trust.toml"), policy + "[[rules]]\nplugins = [\"*\"]\n").unwrap();
    bob
}

/// A custom section of a component.
pub(super) fn section(name: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    CustomSection { name: name.into(), data: data.into() }.append_to_component(&mut bytes);
    bytes
}

/// A section with one migration of a store.
fn migrating(store: &str, backend: &str, sql: &str) -> Vec<u8> {
    let one = json!({ "version": 2, "name": "theirs", "sql": sql });
    section("arcana:migrations", json!({ store: { backend: [one] } }).to_string().as_bytes())
}

/// A component with this manifest as it is, packed and not signed: what `pack` would have against it is for the host to find.
pub(super) fn packed_unseen(component: &[u8], manifest: &str) -> Vec<u8> {
    let plain = bare_manifest("bob/app", 1);
    let file = arcana::plugins::pack::pack(component, &plain, &[], Path::new(".")).unwrap();
    let first = section(envelope::MANIFEST_SECTION, plain.as_bytes());
    let rest = &file[envelope::COMPONENT_HEADER.len() + first.len()..];
    [&envelope::COMPONENT_HEADER[..], &section(envelope::MANIFEST_SECTION, manifest.as_bytes()), rest].concat()
}

/// `bob/app` without anything bad.
fn innocent(manifest: &str) -> Vec<u8> {
    packed_unseen(&answering("bob", 1), manifest)
}

fn with_at_end(manifest: &str, more: &[u8]) -> Vec<u8> {
    [&innocent(manifest)[..], more].concat()
}

/// The same section before the component's own.
fn with_before(manifest: &str, more: &[u8]) -> Vec<u8> {
    let packed = innocent(manifest);
    let first = section(envelope::MANIFEST_SECTION, manifest.as_bytes());
    let rest = packed[envelope::COMPONENT_HEADER.len()..].strip_prefix(&first[..]).unwrap();
    [&envelope::COMPONENT_HEADER[..], &first, more, rest].concat()
}

/// The same section inside of a component in the component.
fn with_nested(manifest: &str, more: &[u8]) -> Vec<u8> {
    let mut inner = Component::new();
    let parsed = envelope::custom_sections(more).unwrap();
    inner.section(&CustomSection {
        name: std::str::from_utf8(parsed[0].name).unwrap().into(),
        data: parsed[0].payload.into(),
    });
    let mut outer = Component::new();
    outer.section(&NestedComponentSection(&inner));
    with_at_end(manifest, &outer.finish()[envelope::COMPONENT_HEADER.len()..])
}

fn stores(setup: &Setup) -> Vec<String> {
    let entries = fs::read_dir(setup.path("data/stores")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".db"));
    names.sort();
    names
}

/// The section is read from the same bytes that run, and it reached every store: `identity`, where it made its author a
/// superadmin, the private store of another plugin, and any new one.
#[tokio::test]
async fn migrations_of_a_store_that_the_manifest_does_not_own_are_refused_everywhere() {
    let setup = setup();
    let bob = bob(&setup);
    let admin = Admin::start(setup).await;
    let mallory = admin.host.register("mallory@example.com").await;
    let plain = manifest_of("bob/app", 1, "/bob/app");
    let owning = bare_manifest("bob/app", 1)
        + "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"x\"\n";
    let using = plain.clone() + "[capabilities]\nstores = [\"own\"]\n";
    let rise = "UPDATE users SET role = 3 WHERE email_key = 'mallory@example.com'";
    let before = stores(admin.host.setup());

    let signed = |packed: &[u8]| envelope::sign(packed, &[&bob]).unwrap();
    let mut files = Vec::new();
    for store in [
        "identity",
        "own",
        "own.arcana.users",
        "own.bob.app",
        "own.bob.other",
        "host",
        "new",
        "Identity",
        "../identity",
        "..",
        "/etc/x",
        "a/b",
        "",
        "identity\0",
        "identity ",
        "own\n",
        "\u{1b}[2J",
    ] {
        files.push((format!("{store:?}"), signed(&with_at_end(&plain, &migrating(store, "sqlite", rise)))));
    }
    for backend in ["postgres", "mysql"] {
        files.push((backend.into(), signed(&with_at_end(&plain, &migrating("identity", backend, rise)))));
    }
    files.push(("first".into(), signed(&with_before(&plain, &migrating("identity", "sqlite", rise)))));
    // It uses a store of its own, and does not own it.
    files.push(("used".into(), signed(&with_at_end(&using, &migrating("own", "sqlite", "SELECT 1")))));
    let empty = section("arcana:migrations", br#"{"identity":{}}"#);
    files.push(("empty".into(), signed(&with_at_end(&plain, &empty))));
    let beside = json!({
        "own": { "sqlite": [{ "version": 1, "name": "a", "sql": "CREATE TABLE a (b TEXT)" }] },
        "identity": { "sqlite": [{ "version": 2, "name": "b", "sql": rise }] },
    });
    let beside = section("arcana:migrations", beside.to_string().as_bytes());
    files.push(("beside its own".into(), signed(&with_at_end(&owning, &beside))));
    for (what, file) in &files {
        for query in ["?dry_run=true", ""] {
            let (status, answer) = admin.upload(file, query).await;
            assert_eq!((status, &answer["code"]), (403, &json!("STORE")), "{what} {query}: {answer}");
        }
    }
    // What cannot be read in one way only.
    let twice = section("arcana:migrations", br#"{"own":{},"identity":{},"own":{}}"#);
    let two = [migrating("own", "sqlite", "SELECT 1"), migrating("identity", "sqlite", rise)].concat();
    for (what, more) in [("twice", &twice), ("two sections", &two)] {
        admin.refused(&signed(&with_at_end(&owning, more)), 422, "SECTION_INVALID").await;
        assert_eq!(stores(admin.host.setup()), before, "{what}");
    }
    // What stands in a component inside is no section of this file, and nothing runs it.
    let inside = signed(&with_nested(&plain, &migrating("identity", "sqlite", rise)));
    let installed = admin.install(&inside).await;
    assert_eq!(installed["stores"], json!([]), "{installed}");

    assert_eq!(stores(admin.host.setup()), before, "a store was made");
    let (status, _) = admin.host.call(Method::GET, "/api/v1/users", Some(&mallory.access), None).await;
    assert_eq!(status, 403);
    // The folder has no other rules, at a start and while the host serves.
    let mut setup = admin.host.kill();
    for (place, (_, file)) in files.iter().enumerate().take(6) {
        setup = setup.plugin(&format!("bad{place}"), file);
    }
    let admin = Admin::again(setup).await;
    let log = admin.host.log();
    for place in 0..6 {
        let refused = log.lines().any(|line| line.contains(&format!("bad{place}.wasm")) && line.contains("\"STORE\""));
        assert!(refused, "bad{place}: {log}");
    }
    assert_eq!(stores(admin.host.setup()), before, "a store was made");
    let (_, answer) = admin.host.login("mallory@example.com", crate::support::PASSWORD).await;
    assert_eq!(answer["user"]["role"], "user", "{answer}");
}

/// Who decides about a version sees which stores it migrates: in the dry run, with the version, in the record, on files.
#[tokio::test]
async fn the_stores_that_a_version_migrates_are_shown_before_and_after() {
    let setup = setup();
    let bob = bob(&setup);
    let folder = setup.path("sql/sqlite/own");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("0001_notes.sql"), "CREATE TABLE notes (text TEXT NOT NULL) STRICT;").unwrap();
    fs::write(folder.join("0007_more.sql"), "CREATE TABLE more (text TEXT NOT NULL) STRICT;").unwrap();
    let manifest = |seq| {
        manifest_of("bob/app", seq, "/bob/app")
            + "[capabilities]\nstores = [\"own\"]\ncache = true\n[stores.own]\nowner = true\nmigrations = \"sql\"\n"
    };
    let pack = |manifest: &str| {
        let packed = arcana::plugins::pack::pack(&answering("bob", 1), manifest, &[], &setup.path("")).unwrap();
        envelope::sign(&packed, &[&bob]).unwrap()
    };
    let (waiting, free) = (pack(&manifest(1)), pack(&manifest(2).replace("cache = true\n", "")));
    fs::write(setup.path("app.wasm"), &free).unwrap();
    let expected = json!([{ "store": "own", "backends": ["sqlite"], "migrations": 2, "newest": 7 }]);
    let words = "own (2 migrations for sqlite, the last is 7)";
    for args in [&["verify", "app.wasm"][..], &["inspect", "app.wasm"]] {
        let args = [&["plugin"], args, &["--trust", "config/trust.toml"]].concat();
        let output = setup.command(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find(|line| line.starts_with("migrates")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.ends_with(words), "{line}");
    }

    let admin = Admin::start(setup).await;
    let (status, tried) = admin.upload(&waiting, "?dry_run=true").await;
    assert_eq!((status, &tried["stores"], &tried["pending"]), (200, &expected, &json!(["cache"])), "{tried}");
    let (status, answer) = admin.upload(&waiting, "").await;
    assert_eq!((status, &answer["stores"]), (202, &expected), "{answer}");
    let shown = admin.show("bob/app").await;
    assert_eq!(shown["versions"][0]["stores"], expected, "{shown}");
    let (status, approved) =
        admin.call(Method::PUT, "/api/v1/plugins/bob/app", Some(json!({ "capabilities": ["cache"] }))).await;
    assert_eq!((status, &approved["plugin"]["state"]), (200, &json!("active")), "{approved}");
    admin.install(&free).await;
    let changes = admin.show("bob/app").await["changes"].clone();
    let migrating: Vec<&Value> = changes.as_array().unwrap().iter().collect();
    assert_eq!(migrating.len(), 4, "{changes}");
    for change in migrating {
        assert!(change["message"].as_str().unwrap().contains(words), "{change}");
    }
    // A file of the same publisher without migrations says so by saying nothing.
    let (status, tried) = admin
        .upload(&signed_by(&[&bob], &answering("bob", 1), &manifest_of("bob/app", 3, "/bob/app")), "?dry_run=true")
        .await;
    assert_eq!((status, &tried["stores"]), (200, &json!([])), "{tried}");
}
