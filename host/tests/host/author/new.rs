//! `arcana plugin new`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{desk, fails, ok, root};

/// Every file below a folder with its text.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let (mut all, mut waiting) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    all
}

/// What the program carries is what is here.
#[test]
fn a_new_plugin_brings_the_sdk_and_the_wit() {
    let desk = desk();
    let said = ok(desk.path(), &["plugin", "new", "book-marks", "--id", "acme/marks"]);
    for word in ["book-marks", "acme/marks", "cd book-marks", "arcana plugin test", "arcana dev"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let made = desk.path().join("book-marks");
    let all = files(&made);
    for name in [
        ".gitignore",
        "Cargo.toml",
        "README.md",
        "calls.toml",
        "dev.toml",
        "migrations/sqlite/own/0001_notes.sql",
        "plugin.toml",
        "src/lib.rs",
        "wit/plugin.wit",
    ] {
        assert!(all.contains_key(name), "{name} in {:?}", all.keys());
    }
    assert!(
        all.iter().all(|(name, text)| !text.contains("{{") || name.starts_with("arcana-sdk")),
        "a place was not filled"
    );
    assert!(all["Cargo.toml"].contains("name = \"book-marks\"") && all["plugin.toml"].contains("id = \"acme/marks\""));
    assert!(
        all["wit/plugin.wit"].contains("package acme:marks@") && all["src/lib.rs"].contains("exports::acme::marks::")
    );

    let sdk = files(&root().join("sdk/src"));
    let carried: BTreeMap<String, String> = all
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix("arcana-sdk/src/")?.to_owned(), text.clone())))
        .collect();
    assert!(carried.keys().eq(sdk.keys()), "{:?}", carried.keys());
    for (name, text) in &sdk {
        let expected = if name == "generated.rs" { text.replace("\"../wit/", "\"wit/") } else { text.clone() };
        assert!(carried[name] == expected, "{name} is another one");
    }
    for (from, to) in [
        ("types", "arcana-sdk/wit/types"),
        ("host", "arcana-sdk/wit/host"),
        ("types", "wit/deps/types"),
        ("plugin", "wit/deps/plugin"),
    ] {
        assert_eq!(files(&root().join("wit").join(from)), files(&made.join(to)), "{to}");
    }
    let manifest: toml::Table = all["arcana-sdk/Cargo.toml"].parse().unwrap();
    let workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let wanted = &workspace["workspace"]["dependencies"]["wit-bindgen"]["version"];
    assert_eq!(&manifest["dependencies"]["wit-bindgen"]["version"], wanted);
}

#[test]
fn an_sdk_elsewhere_is_used_as_it_is() {
    let desk = desk();
    let sdk = root().join("sdk");
    ok(desk.path(), &["plugin", "new", "notes", "--dir", "there", "--sdk", sdk.to_str().unwrap()]);
    let all = files(&desk.path().join("there"));
    assert!(all.keys().all(|name| !name.starts_with("arcana-sdk")));
    assert!(all["Cargo.toml"].contains(&format!("path = \"{}\"", sdk.canonicalize().unwrap().display())));
    assert!(all["plugin.toml"].contains("id = \"local/notes\""));
    fails(desk.path(), 1, &["plugin", "new", "x", "--sdk", "there"], &["--sdk", "arcana-sdk"]);
    fails(desk.path(), 1, &["plugin", "new", "x", "--sdk", "nowhere"], &["--sdk", "nowhere"]);
}

#[test]
fn what_cannot_be_made_is_told_and_leaves_nothing() {
    let desk = desk();
    let new = |args: &[&'static str]| [&["plugin", "new"], args].concat();
    fails(desk.path(), 1, &new(&["My_Notes"]), &["My_Notes", "try `my-notes`"]);
    fails(desk.path(), 1, &new(&["list"]), &["a word of WIT"]);
    fails(desk.path(), 1, &new(&["notes", "--id", "Acme"]), &["--id", "acme/bookmarks"]);
    fails(desk.path(), 1, &new(&["notes", "--id", "arcana/notes"]), &["--id", "not yours"]);
    fails(desk.path(), 1, &new(&["notes", "--template", "shop"]), &["shop", "service"]);
    fails(desk.path(), 1, &new(&["notes", "--dir", "no/where"]), &["no is not there"]);
    fails(desk.path(), 2, &["plugin", "new"], &["Usage"]);
    assert_eq!(desk.path().read_dir().unwrap().count(), 0);

    fs::create_dir_all(desk.path().join("notes")).unwrap();
    ok(desk.path(), &new(&["notes"]));
    fs::write(desk.path().join("notes/mine.txt"), "mine").unwrap();
    let before = files(desk.path());
    fails(desk.path(), 1, &new(&["notes"]), &["notes is there already", "nothing was written"]);
    fs::write(desk.path().join("file"), "").unwrap();
    fails(desk.path(), 1, &new(&["notes", "--dir", "file"]), &["file cannot be used"]);
    fs::remove_file(desk.path().join("file")).unwrap();
    assert_eq!(files(desk.path()), before);
}
