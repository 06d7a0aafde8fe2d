//! `arcana plugin compat`: two real files, packed as their authors pack them.

use std::fs;

use serde_json::{Value, json};

use crate::small::{bare_manifest, signed, unreachable_module};
use crate::support::{Setup, guest, shipped};

/// The file of `test/shop` with this interface `shop`, whose functions are all published, each with a route unless the name
/// ends in `-internal`.
fn shop(seq: u64, interface: &str) -> Vec<u8> {
    let wit = format!("package test:shop@1.0.0;\ninterface shop {{\n{interface}\n}}\nworld w {{ export shop; }}");
    let mut manifest = bare_manifest("test/shop", seq);
    for line in interface.lines().filter(|line| line.contains(": func(")) {
        let name = line.split_once(':').unwrap().0.trim();
        let route = if name.ends_with("-internal") { String::new() } else { format!("http = \"POST /shop/{name}\"\n") };
        manifest += &format!("[[methods]]\ncall = \"shop.{name}\"\n{route}allow = \"public\"\n");
    }
    signed(&unreachable_module(&wit), &manifest)
}

const OLD: &str = "
enum color { red, green }
record item { id: string, price: u32, color: color }
record order { item: string, count: u32 }
find: func(id: string) -> item;
buy: func(order: order) -> u64;
count-internal: func() -> u32;";

/// The exit code, what was printed, what was told on standard error.
fn compat(setup: &Setup, args: &[&str]) -> (i32, String, String) {
    let output = setup.command(&[&["plugin", "compat"], args].concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Compares the old shop with one where this text is replaced; answers the exit code and the findings.
fn changed(changes: &[(&str, &str)]) -> (i32, Vec<Value>) {
    let setup = Setup::new();
    let mut new = OLD.to_owned();
    for (from, to) in changes {
        assert!(new.contains(from), "{from}");
        new = new.replace(from, to);
    }
    fs::write(setup.path("old.wasm"), shop(1, OLD)).unwrap();
    fs::write(setup.path("new.wasm"), shop(2, &new)).unwrap();
    let (code, out, err) = compat(&setup, &["old.wasm", "new.wasm", "--json"]);
    assert_eq!(err, "");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["old"], json!({ "id": "test/shop", "version": "1.0.1", "seq": 1 }));
    assert_eq!(report["new"], json!({ "id": "test/shop", "version": "1.0.2", "seq": 2 }));
    let findings = report["findings"].as_array().unwrap().clone();
    let breaking = findings.iter().any(|finding| finding["level"] == "breaking");
    assert_eq!((report["compatible"].as_bool(), code), (Some(!breaking), i32::from(breaking)), "{report}");

    // The same in words.
    let (text_code, text, err) = compat(&setup, &["old.wasm", "new.wasm"]);
    assert_eq!((text_code, err.as_str()), (code, ""));
    for finding in &findings {
        for key in ["path", "message"] {
            assert!(text.contains(finding[key].as_str().unwrap()), "{text}");
        }
    }
    (code, findings)
}

#[track_caller]
fn breaks(changes: &[(&str, &str)], wanted: &[(Value, &str, &str)]) {
    let (code, findings) = changed(changes);
    assert_eq!((code, findings.len()), (1, wanted.len()), "{findings:#?}");
    for (finding, (protocols, path, words)) in findings.iter().zip(wanted) {
        assert_eq!((&finding["protocols"], finding["path"].as_str()), (protocols, Some(*path)), "{finding}");
        assert_eq!(finding["level"], "breaking");
        assert!(finding["message"].as_str().unwrap().contains(words), "{finding}");
    }
}

#[test]
fn clients_go_on_where_things_are_appended() {
    for changes in [
        &[][..],
        &[("count: u32 }", "count: u32, note: option<string> }")],
        &[("color: color }", "color: color, sizes: list<u8> }")],
        &[("find: func(id: string)", "find: func(id: string, currency: option<string>)")],
        &[("count-internal", "more: func();\ncount-internal")],
    ] {
        assert_eq!(changed(changes), (0, vec![]), "{changes:?}");
    }
    let (code, findings) = changed(&[("red, green", "red, green, blue")]);
    assert_eq!((code, findings.len()), (0, 1));
    assert_eq!(findings[0]["level"], "notice");
    assert!(findings[0]["message"].as_str().unwrap().contains("`blue` is new"), "{findings:?}");
}

#[test]
fn what_breaks_clients_is_told_in_words_of_the_wit() {
    let (grpc, rest, both) = (json!(["grpc"]), json!(["rest"]), json!(["grpc", "rest"]));
    breaks(
        &[("find: func(id: string) -> item;", "")],
        &[
            (grpc.clone(), "test.shop.v1.Shop.Find", "the method was removed"),
            (rest.clone(), "POST /shop/find", "the route was removed"),
        ],
    );
    breaks(
        &[("count-internal: func() -> u32;", "")],
        &[(grpc.clone(), "test.shop.v1.Shop.CountInternal", "the method was removed")],
    );
    breaks(
        &[("price: u32", "price: string")],
        &[(both.clone(), "test.shop.v1.Item.price", "was `u32` and is `string`")],
    );
    breaks(
        &[("item: string, count", "item: string, note: option<string>, count")],
        &[(grpc.clone(), "test.shop.v1.Order", "field `note` was inserted before `count`")],
    );
    breaks(
        &[("price: u32", "cost: u32")],
        &[(rest.clone(), "test.shop.v1.Item", "field `price` was renamed to `cost`")],
    );
    breaks(&[("red, green", "green")], &[(grpc.clone(), "test.shop.v1.Color", "case `red` was removed")]);
    breaks(
        &[("count: u32 }", "count: u32, note: color }")],
        &[(both, "test.shop.v1.Order", "field `note` is new and required: make it an option")],
    );
    breaks(
        &[("buy: func(order: order)", "buy: func(order: order, gift: option<bool>)")],
        &[
            (grpc, "test.shop.v1.Shop.Buy", "a single record is the request itself"),
            (rest, "POST /shop/buy", "append to that record"),
        ],
    );
}

#[test]
fn shipped_plugins_are_compatible_with_themselves_and_not_with_each_other() {
    let setup = Setup::new();
    fs::write(setup.path("auth.wasm"), shipped("auth")).unwrap();
    fs::write(setup.path("users.wasm"), shipped("users")).unwrap();
    fs::write(setup.path("echo.wasm"), guest("echo")).unwrap();
    for file in ["auth.wasm", "users.wasm", "echo.wasm"] {
        let (code, out, err) = compat(&setup, &[file, file]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.contains(" can replace ") && out.lines().count() == 1, "{out}");
    }
    let (code, out, _) = compat(&setup, &["auth.wasm", "users.wasm"]);
    assert_eq!(code, 1);
    for words in [
        "arcana/users 0.1.0",
        "would break clients of arcana/auth 0.1.0",
        "breaking changes",
        "gRPC",
        "arcana.auth.v1.AuthService",
        "the service was removed",
        "POST /api/v1/auth/login",
        "the plugins are two",
    ] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
}

#[test]
fn what_is_no_plugin_has_an_exit_code_of_its_own() {
    let setup = Setup::new();
    fs::write(setup.path("good.wasm"), shop(1, OLD)).unwrap();
    fs::write(setup.path("text"), "(component)").unwrap();
    fs::write(setup.path("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(setup.path("bare.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    fs::write(setup.path("cut.wasm"), &shop(1, OLD)[..80]).unwrap();
    for (file, words) in [
        ("missing", "cannot be read"),
        ("text", "it is no packed plugin"),
        ("core.wasm", "it is no packed plugin"),
        ("bare.wasm", "it is no packed plugin"),
        ("cut.wasm", "it is no packed plugin"),
    ] {
        for args in [["good.wasm", file], [file, "good.wasm"]] {
            let (code, out, err) = compat(&setup, &args);
            assert_eq!((code, out.as_str()), (2, ""), "{err}");
            assert!(err.starts_with("arcana: ") && err.contains(file) && err.contains(words), "{err}");
        }
    }
    assert_eq!(compat(&setup, &["good.wasm"]).0, 2);
}
