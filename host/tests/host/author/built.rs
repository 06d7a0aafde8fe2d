//! `arcana plugin build`, and the other ways to build a new plugin.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{arcana, command, desk, edit, fails, make, ok, said, shared, skipped};
use crate::support::{Setup, until};

#[test]
fn the_unit_tests_of_a_new_plugin_pass() {
    let said = said(command("cargo", shared()).args(["test", "--quiet"]));
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    assert!(said.out.contains("2 passed"), "{}", said.out);
}

/// New → build → the plugin folder of a host for development → REST.
#[tokio::test]
async fn a_new_plugin_is_served() {
    let desk = desk();
    let out = desk.path().join("notes.wasm");
    let setup = Setup::new().dev();
    fs::remove_file(setup.path("config/trust.toml")).unwrap();
    let home = setup.path("");
    let args = ["plugin", "build", ".", "--home", home.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let said = ok(shared(), &args);
    assert!(said.contains("acme/notes") && said.contains("development key"), "{said}");
    // A build is a release of its own, as development knows them.
    let seq = |file: &Path| -> u64 {
        let report: Value =
            serde_json::from_str(&ok(desk.path(), &["plugin", "inspect", file.to_str().unwrap(), "--json"])).unwrap();
        assert_eq!(
            report["documented"],
            json!(["arcana:plugin@0.1.0", "acme:notes@0.1.0", "arcana:types@1.0.0"]),
            "{report}"
        );
        report["plugin"]["seq"].as_u64().unwrap()
    };
    let first = seq(&out);
    ok(shared(), &args);
    assert!(first > 1_700_000_000_000 && seq(&out) > first);

    let host = setup.plugin("notes", &fs::read(&out).unwrap()).start();
    until("the plugin serves", async || host.get("/api/v1/notes/count").await.0 == 200).await;
    assert_eq!(host.get("/api/v1/notes/count").await, (200, json!(0)), "{}", host.log());
    assert_eq!(host.get("/api/v1/notes").await.0, 401);
    let (_, api) = host.get("/api/openapi.json").await;
    assert_eq!(api["paths"]["/api/v1/notes"]["post"]["summary"], "Keeps a note", "{api}");
}

#[test]
fn a_release_keeps_its_seq_and_has_its_own_signer() {
    let desk = desk();
    ok(desk.path(), &["key", "generate", "--out", "my.pem"]);
    let (key, out) = (desk.path().join("my.pem"), desk.path().join("notes.wasm"));
    // From a folder in the crate, as cargo does it.
    let said = ok(
        &shared().join("src"),
        &["plugin", "build", "--key", key.to_str().unwrap(), "--out", out.to_str().unwrap(), "--release"],
    );
    assert!(said.contains("my.pem"), "{said}");
    let report: Value = serde_json::from_str(&ok(desk.path(), &["plugin", "inspect", "notes.wasm", "--json"])).unwrap();
    assert_eq!((&report["plugin"]["seq"], &report["plugin"]["version"]), (&json!(1), &json!("0.1.0")));
    assert_eq!(report["capabilities"], json!(["database:own", "cache", "crypto"]));
}

#[test]
fn mistakes_are_shown_where_the_author_made_them() {
    let desk = desk();
    let crate_ = make(desk.path(), "wrong-notes", &[]);
    let build = ["plugin", "build", "--out", "out.wasm"];
    let source = crate_.join("src/lib.rs");

    edit(&source, "Ok(row.into())\n    }\n\n    fn remove", "Ok(row)\n    }\n\n    fn remove");
    // The compiler's own words, and the place.
    fails(&crate_, 1, &build, &["error[E0308]: mismatched types", "src/lib.rs:", "wrong-notes does not build"]);
    edit(&source, "Ok(row)\n    }\n\n    fn remove", "Ok(row.into())\n    }\n\n    fn remove");

    let manifest = crate_.join("plugin.toml");
    edit(&manifest, "call = \"notes.get\"", "call = \"notes.gte\"");
    fails(&crate_, 1, &build, &["notes.gte", "plugin.toml"]);
    edit(&manifest, "call = \"notes.gte\"", "call = \"notes.get\"");
    edit(&manifest, "cache = true\n", "");
    fails(&crate_, 1, &build, &["arcana:host/cache@0.1.0", "cache = true"]);
    edit(&manifest, "stores = [\"own\"]", "stores = [\"own\"]\ncash = true");
    fails(&crate_, 1, &build, &["plugin.toml cannot be used", "cash"]);
    edit(&manifest, "\ncash = true", "\ncache = true");
    fs::rename(crate_.join("migrations"), crate_.join("elsewhere")).unwrap();
    fails(&crate_, 1, &build, &["stores.own.migrations", "0001_name.sql"]);
    assert!(!crate_.join("out.wasm").exists(), "nothing is written of what failed");

    edit(&crate_.join("Cargo.toml"), "crate-type = [\"cdylib\"]", "crate-type = [\"rlib\"]");
    fails(&crate_, 1, &build, &["crate-type = [\"cdylib\"]"]);
    edit(&crate_.join("dev.toml"), "max_notes = 3", "max_notes = 3\n[servr]\nx = 1");
    fails(&crate_, 2, &build, &["dev.toml", "servr"]);
    // What cannot even be tried.
    fails(desk.path(), 2, &["plugin", "build"], &["plugin.toml", "arcana plugin new"]);
    fails(desk.path(), 2, &["plugin", "build", "nowhere"], &["nowhere"]);
    fails(&crate_, 2, &["plugin", "build", "--key", "none.pem"], &["none.pem"]);
}

/// Where no toolchain has the target the message says what to do.
#[test]
fn a_toolchain_that_is_not_there_is_told() {
    let without = |value: Option<&str>| {
        let mut arcana = command(env!("CARGO_BIN_EXE_arcana"), shared());
        arcana.args(["plugin", "build"]).env_remove("ARCANA_WASM_TOOLCHAIN").env("RUSTC", "/bin/false");
        arcana.envs(value.map(|value| ("ARCANA_WASM_TOOLCHAIN", value)));
        said(&mut arcana)
    };
    let none = without(None);
    assert_eq!(none.code, Some(2));
    assert!(
        none.err.contains("rustup target add wasm32-wasip2") && none.err.contains("ARCANA_WASM_TOOLCHAIN"),
        "{}",
        none.err
    );
    let named = without(Some("no-such-toolchain"));
    assert_eq!(named.code, Some(2));
    assert!(named.err.contains("no-such-toolchain"), "{}", named.err);
}

/// What `cargo component` builds is packed, tested and served like anything else. Installing that takes too long for every run.
#[test]
fn cargo_component_builds_a_new_plugin() {
    let desk = desk();
    let test = "cargo_component_builds_a_new_plugin";
    if said(command("cargo", desk.path()).args(["component", "--version"])).code != Some(0) {
        return skipped(test, "cargo-component is not installed (`cargo install cargo-component`)");
    }
    let crate_ = make(desk.path(), "component-notes", &[]);
    let target = desk.path().join("target");
    let mut cargo = command("cargo", &crate_);
    cargo.args(["component", "build", "--release"]).env("CARGO_TARGET_DIR", &target);
    if std::env::var_os("ARCANA_WASM_TOOLCHAIN").is_some_and(|name| name == "distro") {
        cargo.env("RUSTUP_TOOLCHAIN", "arcana-wasm");
    }
    let built = said(&mut cargo);
    if built.code != Some(0) && built.err.contains("wasm32-wasip1") {
        return skipped(test, "the toolchain has no wasm32-wasip1, which cargo-component builds for");
    }
    assert_eq!(built.code, Some(0), "{}", built.err);
    let wasm = target.join("wasm32-wasip1/release/component_notes.wasm");
    ok(&crate_, &["plugin", "pack", wasm.to_str().unwrap(), "--wit", "wit", "-o", "packed.wasm"]);
    let said = arcana(&crate_, &["plugin", "test", "packed.wasm", "--calls", "calls.toml", "--settings", "dev.toml"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}

/// What `cargo component` reads of a new plugin is right, whether or not it is installed here.
#[test]
fn cargo_component_finds_the_wit_of_a_new_plugin() {
    let manifest: toml::Table = fs::read_to_string(shared().join("Cargo.toml")).unwrap().parse().unwrap();
    let target = &manifest["package"]["metadata"]["component"]["target"];
    let mut resolve = wit_parser::Resolve::default();
    // As it does it: the dependencies that are named first, then the folder alone, without its `deps`.
    for name in ["arcana:types", "arcana:plugin"] {
        let path = target["dependencies"][name]["path"].as_str().unwrap();
        resolve.push_group(wit_parser::UnresolvedPackageGroup::parse_dir(shared().join(path)).unwrap()).unwrap();
    }
    let path = shared().join(target["path"].as_str().unwrap());
    let package = resolve.push_group(wit_parser::UnresolvedPackageGroup::parse_dir(&path).unwrap()).unwrap();
    let world = resolve.select_world(&[package], target["world"].as_str()).unwrap();
    assert_eq!(resolve.worlds[world].exports.len(), 2);
}
