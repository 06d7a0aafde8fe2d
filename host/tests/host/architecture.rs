//! The rules of the architecture, read from the sources themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From left to right: a module uses those to its right, and never one to its left. `cli` stands beside `main`.
const LAYERS: [&[&str]; 7] =
    [&["main", "lib", "cli"], &["app"], &["ingress"], &["plugins"], &["runtime"], &["capabilities"], &["backends"]];

/// Used by everybody; they use only each other.
const LEAVES: [&str; 6] = ["config", "telemetry", "contract", "principal", "problem", "request_id"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file below these folders of the workspace, with its path in it and its text.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = root();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let build_output = path.file_name().is_some_and(|name| name == "target");
            if !build_output {
                waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            files.push((path.strip_prefix(&root).unwrap().to_owned(), text));
        }
    }
    files.sort();
    files
}

/// The module of the crate that a file of `host/src` belongs to.
fn module(path: &Path) -> String {
    let first = path.strip_prefix("host/src").unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The modules that a text names by `crate::module` or in `crate::{…}`.
fn used(text: &str) -> BTreeSet<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        // `arcana_crate::` is another word, and `$crate::` would be a macro's.
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (place, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    found.insert(name(&list[place..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn place(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Why `module` may not use `other`; none where it may.
fn objection(module: &str, other: &str) -> Option<String> {
    let known = |name: &str| place(name).is_some() || LEAVES.contains(&name);
    if !known(other) {
        return Some(format!("`{other}` is in no layer: give it its place in this test and in ARCHITECTURE.md"));
    }
    match (place(module), place(other)) {
        _ if module == other => None,
        (None, Some(_)) => Some(format!("the leaf `{module}` uses `{other}`, which is no leaf")),
        (Some(from), Some(to)) if to < from => Some(format!("`{module}` uses `{other}`, which is left of it")),
        _ => None,
    }
}

#[test]
fn modules_use_what_is_right_of_them() {
    let files = sources(&["host/src"]);
    let modules: BTreeSet<String> = files.iter().map(|(path, _)| module(path)).collect();
    for name in &modules {
        assert!(place(name).is_some() || LEAVES.contains(&name.as_str()), "the module `{name}` is in no layer");
    }
    let mut uses = 0;
    let mut broken = Vec::new();
    for (path, text) in &files {
        for other in used(text).iter().filter(|other| modules.contains(*other)) {
            uses += 1;
            broken.extend(objection(&module(path), other).map(|why| format!("{}: {why}", path.display())));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(uses > 50, "only {uses} uses were found: this test no longer reads the sources");
}

#[test]
fn the_check_of_the_layers_sees_what_it_should() {
    let text = "use crate::app::App;\nuse crate::{config::{self, Config}, ingress, backends::sql};\nlet x = crate::problem::y();";
    let expected = ["app", "backends", "config", "ingress", "problem"];
    assert!(used(text).iter().eq(expected), "{:?}", used(text));
    assert!(objection("runtime", "plugins").is_some_and(|why| why.contains("left of it")));
    assert!(objection("contract", "runtime").is_some_and(|why| why.contains("no leaf")));
    assert!(objection("app", "shop").is_some_and(|why| why.contains("in no layer")));
    for (module, other) in [("cli", "capabilities"), ("app", "config"), ("config", "problem"), ("backends", "backends")]
    {
        assert_eq!(objection(module, other), None);
    }
}

/// Backends are clients and know nothing of components; the signatures can be checked without a runtime of any kind.
#[test]
fn parts_that_stay_small_pull_in_no_runtime() {
    for (path, text) in sources(&["host/src/backends", "host/src/config", "host/src/principal"]) {
        assert!(!text.contains("wasmtime::") && !text.contains("wasmtime_wasi::"), "{} uses wasmtime", path.display());
    }
    let manifest = std::fs::read_to_string(root().join("signing/Cargo.toml")).unwrap();
    for name in ["tokio", "wasmtime", "arcana."] {
        assert!(!manifest.lines().any(|line| line.starts_with(name)), "signing depends on {name}");
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let files = sources(&["host/src", "host/tests", "signing/src", "components", "sdk", "xtask"]);
    assert!(files.len() > 100, "only {} files were found", files.len());
    let long: Vec<String> = files
        .iter()
        .filter(|(_, text)| text.lines().count() > 500)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split these by topic:\n{}", long.join("\n"));
}
