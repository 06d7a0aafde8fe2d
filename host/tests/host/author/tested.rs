//! `arcana plugin test`.

use std::fs;

use serde_json::{Value, json};

use super::{arcana, desk, edit, fails, make, ok, shared};

#[test]
fn the_calls_of_a_new_plugin_come_to_what_they_should() {
    let said = arcana(shared(), &["plugin", "test"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    assert!(said.out.contains("ok      nobody else sees it (notes.get as grace)"), "{}", said.out);
    assert!(said.out.ends_with("\n13 passed, 0 failed\n"), "{}", said.out);
    // What the plugin writes is seen.
    assert!(said.err.contains("note kept") && said.err.contains("owner=ada"), "{}", said.err);
    let report: Value = serde_json::from_str(&ok(shared(), &["plugin", "test", "--json"])).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(13), &json!(0)));
    assert_eq!(report["calls"][2]["problem"]["code"], "NOT_FOUND");
    assert_eq!(report["calls"][3]["problem"]["details"][0]["field"], "text");
}

#[test]
fn calls_of_the_command_line_share_one_host() {
    let said = ok(shared(), &["plugin", "test", ".", "--as", "ada", "notes.add", r#"{"text":"x"}"#, "notes.list"]);
    assert!(said.starts_with("notes.add as ada\n{") && said.contains("\nnotes.list as ada\n[\n"), "{said}");
    assert_eq!(said.matches("\"text\": \"x\"").count(), 2, "{said}");
    // The path may be left out, and a name may be whole.
    assert_eq!(ok(shared(), &["plugin", "test", "acme:notes/notes@0.1.0.count"]), "acme:notes/notes@0.1.0.count\n0\n");
    assert_eq!(
        ok(shared(), &["plugin", "test", "notes.add", r#"{"text":"x"}"#, "notes.count", "--as", "ada:admin", "--json"])
            .parse::<Value>()
            .unwrap()["calls"][1],
        json!({ "call": "notes.count", "ok": true, "as": "ada:admin", "answer": 1 })
    );
}

/// A packed file is tested as it is: unsigned, or signed by anybody.
#[test]
fn a_file_is_tested_without_its_crate() {
    let desk = desk();
    let file = desk.path().join("notes.wasm");
    ok(shared(), &["plugin", "build", "--out", file.to_str().unwrap()]);
    let said = ok(desk.path(), &["plugin", "test", "notes.wasm", "notes.count"]);
    assert_eq!(said, "notes.count\n0\n");
    fails(desk.path(), 2, &["plugin", "test", "notes.wasm"], &["which calls?", "calls.toml"]);
    fs::write(&file, "no plugin").unwrap();
    fails(desk.path(), 2, &["plugin", "test", "notes.wasm", "notes.count"], &["no packed plugin"]);
}

#[test]
fn what_is_not_as_it_should_be_is_told() {
    let desk = desk();
    let crate_ = make(desk.path(), "tested-notes", &[]);
    fs::write(
        crate_.join("calls.toml"),
        r#"
        [[calls]]
        name = "wrong text"
        call = "notes.add"
        as = "ada"
        args = { text = "one" }
        expect = { text = "two" }
        save = { note = "id" }
        [[calls]]
        call = "notes.get"
        as = "ada"
        args = { id = "${note}" }
        [[calls]]
        call = "notes.list"
        as = "ada"
        problem = "NOT_FOUND"
        [[calls]]
        call = "notes.add"
        as = "ada"
        args = { text = 7 }
        expect = { text = "7" }
        [[calls]]
        name = "this one is right"
        call = "notes.count"
        expect = 1
        "#,
    )
    .unwrap();
    let said = arcana(&crate_, &["plugin", "test"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    for words in [
        "FAILED  wrong text (notes.add as ada)\n        at text\n        - \"two\"\n        + \"one\"\n",
        "FAILED  notes.get as ada\n        ${note} was not saved by a call before this one\n",
        "FAILED  notes.list as ada\n        - the problem NOT_FOUND\n        + [",
        "+ the problem VALIDATION_FAILED: one field is not valid (text: must be a string)",
        "ok      this one is right (notes.count)\n",
        "\n1 passed, 4 failed\n",
    ] {
        assert!(said.out.contains(words), "{words}\nis not in\n{}", said.out);
    }

    // A problem of a call on the command line is its answer, and a failing exit code.
    let said = arcana(&crate_, &["plugin", "test", "notes.list"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "notes.list\nUNAUTHORIZED: sign in to do this\n"));
    fails(&crate_, 2, &["plugin", "test", "notes.lst"], &["no notes.lst", "did you mean notes.list?", "notes.count"]);
    fails(&crate_, 2, &["plugin", "test", "notes.list", "{"], &["no JSON"]);
    fails(&crate_, 2, &["plugin", "test", r#"{"a":1}"#], &["behind the call"]);
    fails(&crate_, 2, &["plugin", "test", "notes.list", "--as", "ada:root"], &["root", "superadmin"]);
    edit(&crate_.join("calls.toml"), "expect = 1", "expct = 1");
    fails(&crate_, 2, &["plugin", "test"], &["calls.toml", "expct"]);

    // The rule of the manifest is applied, and a setting that cannot be used keeps the plugin from starting.
    edit(
        &crate_.join("plugin.toml"),
        "GET /api/v1/tested-notes/count\"\nallow = \"public\"",
        "GET /api/v1/tested-notes/count\"\nallow = \"role:admin\"",
    );
    let said = arcana(&crate_, &["plugin", "test", "notes.count", "--as", "ada"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "notes.count as ada\nFORBIDDEN: you may not do this\n"));
    assert_eq!(ok(&crate_, &["plugin", "test", "notes.count", "--as", "ada:admin"]), "notes.count as ada:admin\n0\n");
    let settings = crate_.join("dev.toml");
    edit(&settings, "max_notes = 3", "max_notes = 0");
    fails(
        &crate_,
        2,
        &["plugin", "test", "notes.count"],
        &["ON_ENABLE_FAILED", "max_notes", "an integer from 1 to 10000"],
    );
    edit(&settings, "max_notes = 0", "max_nots = 3");
    fails(&crate_, 2, &["plugin", "test", "notes.count"], &["SETTING_UNKNOWN", "max_notes"]);
}
