//! The verbs that need no host: keys and plugin files, from an author's first key to a plugin that serves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::small::{answer, answering, manifest, plugin, wit};
use crate::support::{Setup, guest_component, guest_manifest};

/// What a command said, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn arcana(setup: &Setup, args: &[&str]) -> Said {
    let output = setup.command(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs what must succeed.
fn ok(setup: &Setup, args: &[&str]) -> String {
    let said = arcana(setup, args);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}: {}", said.out);
    said.out
}

/// Runs what must fail, with these words and nothing on standard output.
fn fails(setup: &Setup, args: &[&str], words: &[&str]) {
    let said = arcana(setup, args);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}: {}", said.err);
    assert!(said.err.starts_with("arcana: "), "{args:?}: {}", said.err);
    for word in words {
        assert!(said.err.contains(word), "{args:?}: {word} is not in: {}", said.err);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The value after a label such as `public key`.
fn labelled<'t>(text: &'t str, label: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("no {label} in {text}")).trim()
}

#[test]
fn a_key_is_private_and_never_overwritten() {
    let setup = Setup::new();
    let said = ok(&setup, &["key", "generate", "--out", "my.pem"]);
    let path = setup.path("my.pem");
    let pem = fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let public = labelled(&said, "public key").to_owned();
    assert!(public.starts_with("ed25519:") && public.len() == 8 + 64, "{public}");
    let secret = pem.lines().nth(1).unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----") && !said.contains(secret));

    fails(&setup, &["key", "generate", "--out", "my.pem"], &["my.pem", "never overwritten"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), pem);
    let shown = ok(&setup, &["key", "show", "my.pem"]);
    assert!(labelled(&shown, "public key") == public && !shown.contains(secret), "{shown}");

    // A folder gets the usual name; another key is another key.
    let said = ok(&setup, &["key", "generate"]);
    assert_ne!(labelled(&said, "public key"), public);
    assert_eq!(mode(&setup.path("arcana-signing-key.pem")), 0o600);

    // A key that others may read is not used.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(setup.path("x.wasm"), plugin("x", 1, 1)).unwrap();
    fails(&setup, &["plugin", "sign", "x.wasm", "--key", "my.pem"], &["my.pem", "chmod 600"]);
    fails(&setup, &["key", "show", "missing.pem"], &["missing.pem"]);
    fs::write(setup.path("none.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    fs::set_permissions(setup.path("none.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fails(&setup, &["key", "show", "none.pem"], &["none.pem", "no Ed25519 secret key"]);
}

/// A folder with the core module, the WIT and the manifest of `test/small`, and two keys.
fn workshop() -> Setup {
    let setup = Setup::new();
    fs::create_dir(setup.path("wit")).unwrap();
    fs::write(setup.path("wit/small.wit"), wit("small")).unwrap();
    fs::write(setup.path("plugin.toml"), manifest("small", 1)).unwrap();
    fs::write(setup.path("small.wasm"), answering("small", 42)).unwrap();
    for key in ["one.pem", "two.pem"] {
        ok(&setup, &["key", "generate", "--out", key]);
    }
    setup
}

fn inspect(setup: &Setup, file: &str) -> Value {
    serde_json::from_str(&ok(setup, &["plugin", "inspect", file, "--json", "--trust", "config/trust.toml"])).unwrap()
}

/// A module for wasm32-unknown-unknown becomes a signed component that the host serves.
#[tokio::test]
async fn from_a_core_module_to_an_answer() {
    let setup = workshop();
    // The policy with what `key generate` told to add.
    let told = ok(&setup, &["key", "generate", "--out", "author.pem"]);
    let entry = told[told.find("[[keys]]").unwrap()..].replace("your-name/*", "test/*").replace("your-name", "author");
    let more = "packages = [\"test:*\"]\nroutes = [\"/small\"]\n[[rules]]\nplugins = [\"test/*\"]\n";
    fs::write(setup.path("config/trust.toml"), format!("serial = 1\n{entry}\n{more}")).unwrap();

    let said = ok(&setup, &["plugin", "pack", "small.wasm", "--wit", "wit", "-o", "packed.wasm", "--seq", "7"]);
    assert!(said.contains("packed.wasm"), "{said}");
    let report = inspect(&setup, "packed.wasm");
    assert_eq!((&report["plugin"]["id"], &report["plugin"]["seq"]), (&json!("test/small"), &json!(7)), "{report}");
    assert_eq!(report["problems"][0]["code"], "UNSIGNED");
    fails(&setup, &["plugin", "verify", "packed.wasm", "--trust", "config/trust.toml"], &["packed.wasm", "UNSIGNED"]);

    let said = ok(&setup, &["plugin", "sign", "packed.wasm", "--key", "two.pem", "-o", "signed.wasm"]);
    let digest = labelled(&said, "digest").to_owned();
    fails(&setup, &["plugin", "verify", "signed.wasm", "--trust", "config/trust.toml"], &["UNKNOWN_KEY"]);
    // Signed once more, by somebody who counts; the content and with it the digest stay.
    let said = ok(&setup, &["plugin", "sign", "signed.wasm", "--key", "author.pem"]);
    assert!(said.contains("(2 signatures)") && labelled(&said, "digest") == digest, "{said}");
    fails(&setup, &["plugin", "sign", "signed.wasm", "--key", "author.pem"], &["signed.wasm"]);
    let verified = ok(&setup, &["plugin", "verify", "signed.wasm", "--trust", "config/trust.toml"]);
    for word in ["test/small 1.0.1 (seq 7) is accepted", &digest, "author", "nothing"] {
        assert!(verified.contains(word), "{word} is not in {verified}");
    }

    let report = inspect(&setup, "signed.wasm");
    assert_eq!((&report["problems"], &report["trust"]["accepted"]), (&json!([]), &json!(true)), "{report}");
    assert_eq!(report["digest"], digest);
    let signers: Vec<&Value> = report["signatures"].as_array().unwrap().iter().map(|one| &one["principal"]).collect();
    assert_eq!(signers, [&Value::Null, &json!("author")]);
    assert_eq!(report["methods"][0]["routes"], json!(["GET /small"]));
    assert_eq!(report["documented"], json!(["test:small@1.0.0"]));
    let text = ok(&setup, &["plugin", "inspect", "signed.wasm"]);
    for word in [
        "test/small",
        "test:small/api@1.0.0",
        "api.answer",
        "GET",
        "/small",
        "public",
        "Limits",
        "give a policy with --trust",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }

    fs::copy(setup.path("signed.wasm"), setup.path("plugins/small.wasm")).unwrap();
    let host = setup.start();
    assert_eq!(answer(&host, "/small").await, (200, json!(42)), "{}", host.log());
}

#[test]
fn what_does_not_fit_together_is_not_packed() {
    let setup = workshop();
    let pack = ["plugin", "pack", "small.wasm", "-o", "out.wasm"];
    let with = |text: &str| fs::write(setup.path("plugin.toml"), text).unwrap();
    let good = manifest("small", 1);
    with(&good.replace("seq = 1", "seq = 1\nsqe = 2"));
    fails(&setup, &pack, &["small.wasm was not packed", "sqe"]);
    with(&good.replace("\"public\"", "\"everybody\"").replace("GET /small", "FETCH /small"));
    fails(&setup, &pack, &["methods[0].allow", "everybody", "methods[0].http", "FETCH"]);
    with(&good.replace("api.answer", "api.question"));
    fails(&setup, &pack, &["api.question", "answer"]);
    fs::write(setup.path("greedy.wasm"), guest_component("greedy")).unwrap();
    with(&guest_manifest("greedy"));
    let greedy = ["plugin", "pack", "greedy.wasm", "-o", "out.wasm"];
    fails(&setup, &greedy, &["arcana:host/cache@0.1.0", "cache = true"]);

    with(&good);
    fails(&setup, &["plugin", "pack", "nothing.wasm", "-o", "out.wasm"], &["nothing.wasm", "cannot be read"]);
    fails(
        &setup,
        &["plugin", "pack", "plugin.toml", "-o", "out.wasm"],
        &["neither a WebAssembly component nor a core module"],
    );
    fs::write(setup.path("wit/small.wit"), wit("other")).unwrap();
    fails(
        &setup,
        &["plugin", "pack", "small.wasm", "--wit", "wit", "-o", "out.wasm"],
        &["test:small@1.0.0", "test:other"],
    );
    fs::write(setup.path("wit/small.wit"), wit("small").replace("u32", "u64")).unwrap();
    fails(&setup, &["plugin", "pack", "small.wasm", "--wit", "wit", "-o", "out.wasm"], &["answer", "u32", "u64"]);
    assert!(!setup.path("out.wasm").exists(), "nothing is left of what failed");

    // What was packed is not packed again, and what was not is not signed.
    ok(&setup, &pack);
    fails(&setup, &["plugin", "pack", "out.wasm", "-o", "again.wasm"], &["packed already"]);
    fails(&setup, &["plugin", "sign", "small.wasm", "--key", "one.pem"], &["small.wasm"]);
    ok(&setup, &["plugin", "sign", "out.wasm", "--key", "one.pem"]);
    fails(&setup, &["plugin", "pack", "out.wasm", "-o", "again.wasm"], &["already"]);
    assert_eq!(
        arcana(&setup, &["plugin", "sign", "out.wasm"]).code,
        Some(2),
        "no key is a mistake in the command line"
    );
    assert_eq!(arcana(&setup, &["plugin", "pack", "small.wasm", "-o", "x", "--seq", "soon"]).code, Some(2));
}

#[test]
fn inspect_shows_what_it_can_of_any_file() {
    let setup = workshop();
    let good = plugin("small", 1, 1);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let files: [(&str, &[u8], &str); 7] = [
        ("flipped", &flipped, "DIGEST_MISMATCH"),
        ("cut", &good[..60], "TRUNCATED"),
        ("empty", b"", "NOT_COMPONENT"),
        ("text", b"(component)", "NOT_COMPONENT"),
        ("core", &answering("small", 1), "NOT_COMPONENT"),
        ("bare", b"\0asm\x0d\0\x01\0", "UNSIGNED"),
        ("hostile", &[&good[..8], b"\0\xff\xff\xff\xff\x0f\x09signature"].concat(), "TRUNCATED"),
    ];
    for (name, bytes, code) in files {
        fs::write(setup.path(name), bytes).unwrap();
        let report = inspect(&setup, name);
        let codes: Vec<&str> =
            report["problems"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
        assert!(codes.contains(&code), "{name}: {report}");
        assert_eq!((&report["trust"]["accepted"], &report["trust"]["code"]), (&json!(false), &json!(code)), "{name}");
        let text = ok(&setup, &["plugin", "inspect", name]);
        assert!(text.contains(code), "{name}: {text}");
        fails(&setup, &["plugin", "verify", name, "--trust", "config/trust.toml"], &[name, code]);
    }
    // What was changed is still shown for what it claims to be.
    let text = ok(&setup, &["plugin", "inspect", "flipped"]);
    assert!(text.contains("test/small") && text.contains("/small"), "{text}");
    fails(&setup, &["plugin", "inspect", "missing"], &["missing", "cannot be read"]);
    fs::write(setup.path("config/trust.toml"), "serial = 1\nkyes = []\n").unwrap();
    fails(&setup, &["plugin", "verify", "flipped", "--trust", "config/trust.toml"], &["trust.toml", "kyes"]);
}

#[test]
fn usage_is_told_and_mistakes_in_it_have_their_own_exit_code() {
    let setup = Setup::new();
    let help = ok(&setup, &["--help"]);
    assert!(["serve", "config", "key", "plugin", "user"].iter().all(|verb| help.contains(verb)), "{help}");
    assert!(!help.contains("compile-worker"), "{help}");
    assert_eq!(ok(&setup, &["--version"]), format!("arcana {}\n", env!("CARGO_PKG_VERSION")));
    for args in [&[][..], &["srve"], &["serve", "--prot", "1"], &["key"], &["plugin", "verify", "x"]] {
        let said = arcana(&setup, args);
        assert!(said.code == Some(2) && said.err.contains("Usage"), "{args:?}: {}", said.err);
    }
}
