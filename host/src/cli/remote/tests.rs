use std::os::unix::fs::PermissionsExt as _;

use clap::Parser as _;

use super::client::{is_in_the_clear, server_url};
use super::credentials::{Credentials, Session, Sessions};
use super::view::{Details, Installed, Listing};
use super::*;

#[test]
fn an_address_has_one_form() {
    for (text, form) in [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("https://Apps.Example.com:443/", "https://apps.example.com/"),
        ("https://example.com/arcana/", "https://example.com/arcana"),
        ("http://[::1]:9/", "http://[::1]:9/"),
    ] {
        assert_eq!(server_url(text).unwrap().as_str(), form);
        assert_eq!(server_url(form).unwrap().as_str(), form);
    }
    for text in [
        "",
        "example.com",
        "ftp://a",
        "https://",
        "https://me:secret@a",
        "https://me@a",
        "https://a/?q",
        "https://a/#f",
    ] {
        let Err(Failure::Use(message)) = server_url(text) else { panic!("{text}") };
        assert!(message.contains("https://apps.example.com"), "{message}");
    }
    for (text, clear) in [
        ("http://example.com", true),
        ("https://example.com", false),
        ("http://localhost:8080", false),
        ("http://127.9.9.9", false),
        ("http://[::1]", false),
        ("http://10.0.0.1", true),
    ] {
        assert_eq!(is_in_the_clear(&server_url(text).unwrap()), clear, "{text}");
    }
}

fn session(token: &str) -> Session {
    let text = |kind: &str| format!("{kind}-{token}");
    Session { access_token: text("access"), refresh_token: text("refresh"), expires_at: 7, account: "a@b".into() }
}

#[tokio::test]
async fn sessions_are_kept_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("arcana");
    let credentials = Credentials::at(&folder);
    assert!(credentials.read().unwrap().servers.is_empty());
    let lock = credentials.lock().await.unwrap();
    let mut sessions = Sessions::default();
    sessions.servers.insert("https://a/".into(), session("one"));
    credentials.write(&lock, &sessions).unwrap();
    drop(lock);
    let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("credentials.json"), mode("."), mode("credentials.lock")), (0o600, 0o700, 0o600));
    assert!(credentials.read().unwrap().servers["https://a/"] == session("one"));

    // One that others can read is taken back; one that is damaged is told without its text.
    let file = folder.join("credentials.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    credentials.read().unwrap();
    assert_eq!(mode("credentials.json"), 0o600);
    std::fs::write(&file, "{ \"servers\": { \"https://a/\": \"hunter\" } }").unwrap();
    let Err(Failure::Use(message)) = credentials.read() else { panic!() };
    assert!(message.contains("sign in again") && !message.contains("hunter"), "{message}");
}

/// Commands that run at once change the file one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_the_file_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let add = |at: usize| {
        let credentials = Credentials::at(folder.path());
        async move {
            let lock = credentials.lock().await.unwrap();
            let mut sessions = credentials.read().unwrap();
            tokio::task::yield_now().await;
            sessions.servers.insert(format!("https://{at}/"), session("x"));
            credentials.write(&lock, &sessions).unwrap();
        }
    };
    let all: Vec<_> = (0..32).map(|at| tokio::spawn(add(at))).collect();
    for one in all {
        one.await.unwrap();
    }
    assert_eq!(Credentials::at(folder.path()).read().unwrap().servers.len(), 32);
}

#[test]
fn answers_are_told_in_words() {
    let summary = serde_json::json!({
        "id": "acme/app", "description": "Does \u{1b}[2J things", "state": "failed", "version": "1.0.2", "seq": 2,
        "digest": "ab".repeat(32), "signers": ["ada", "bob"], "updated_at": "2030-01-01T00:00:00Z",
        "figures": { "instances": 1, "memory_bytes": 1_572_864, "calls": 12, "traps": 3 },
        "last_error": { "code": "START_FAILED", "message": "it fails\nwhen it starts", "version": "1.0.2", "at": "2030-01-01T00:00:00Z" },
    });
    let listing: Listing = serde_json::from_value(serde_json::json!({
        "plugins": [summary, { "id": "a/b", "description": null, "state": "active", "version": "10.0.0-rc.1", "seq": 1_700_000_000_000_u64,
            "digest": "cd".repeat(32), "signers": [], "updated_at": "", "last_error": null,
            "figures": { "instances": 0, "memory_bytes": 0, "calls": 0, "traps": 0 } }],
        "refused": [{ "code": "UNSIGNED", "message": "x.wasm is not signed", "version": null, "at": "2030-01-01T00:00:00Z" }],
    }))
    .unwrap();
    let details: Details = serde_json::from_value(serde_json::json!({
        "plugin": summary, "exports": ["acme:app/api@1.0.0"],
        "methods": [{ "call": "api.get", "grpc": "/acme.app.v1.Api/Get", "routes": ["GET /x", "GET /y/{id}"], "allow": ["role:admin"] }],
        "requested": ["cache"], "granted": [], "pending": ["cache"],
        "limits": { "memory_bytes": 67_108_864, "call_timeout_ms": 5000, "concurrency": 64, "calls_per_instance": 100_000 },
        "warnings": ["the key of ada is retired"],
        "versions": [{ "version": "1.0.2", "seq": 2, "digest": "ab".repeat(32), "state": "pending_approval", "signers": ["ada"],
            "size_bytes": 2048, "pending": ["cache"], "error": null, "installed_at": "2030-01-01T00:00:00Z" }],
        "changes": [{ "at": "2030-01-01T00:00:00Z", "who": "0198", "action": "install", "id": "acme/app", "from_version": null,
            "from_digest": null, "to_version": "1.0.2", "to_digest": "ab", "outcome": "ok", "message": "" }],
    }))
    .unwrap();
    let installed: Installed = serde_json::from_value(serde_json::json!({
        "changed": true, "id": "acme/app", "state": "pending_approval", "version": "1.0.2", "seq": 2, "digest": "ab".repeat(32),
        "signers": ["ada"], "pending": ["cache"], "warnings": ["old key"],
        "comparison": { "from_version": "1.0.1", "to_version": "1.0.2", "capabilities_added": ["cache"], "capabilities_removed": [],
            "methods_added": ["api.put"], "methods_removed": ["api.del"], "routes_added": ["PUT /x"], "routes_removed": [],
            "compatibility": "breaking",
            "findings": [{ "breaking": true, "protocols": ["grpc", "rest"], "path": "api.del", "message": "is gone" }] },
    }))
    .unwrap();
    let empty = Listing { plugins: Vec::new(), refused: Vec::new() };
    let shown = [
        text::listing(&listing),
        text::listing(&empty),
        text::details(&details),
        text::standing(&details.plugin),
        text::installed(&installed, false),
        text::installed(&installed, true),
    ];
    insta::assert_snapshot!(shown.join("\n----\n"));
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(subcommand)]
    verb: PluginVerb,
}

#[test]
fn the_command_line_takes_what_it_says() {
    for line in [
        "x list --state failed --json --server http://a --token t",
        "x show a/b",
        "x install f.wasm --dry-run --allow-breaking --allow-downgrade --no-activate",
        "x enable a/b",
        "x disable a/b --json",
        "x rollback a/b --to 1.0.0",
        "x remove a/b --yes",
        "x approve a/b -y",
        "x logs a/b --follow --lines 5",
    ] {
        Line::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for id in ["a", "A/b", "a/b/c", "../x", "a/"] {
        assert!(matches!(plugin_id(id), Err(Failure::Use(_))), "{id}");
    }
}
