//! The gRPC contracts: what `arcana plugin proto` writes of real plugins, and that `proto/` is what it would write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::small::{bare_manifest, signed, unreachable_module};
use crate::support::{Setup, guest, shipped};

/// Every file below a folder by its path in it.
fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    found
}

fn proto(setup: &Setup, args: &[&str]) -> (i32, String, String) {
    let output = setup.command(&[&["plugin", "proto"], args].concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The lines that differ, each with the few before it that do not.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same;
    let end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let block = |mark: char, lines: &[&str]| lines.iter().map(|line| format!("  {mark} {line}\n")).collect::<String>();
    let before = block(' ', &old[same.saturating_sub(3)..same]);
    let (old, new) = (&old[same..old.len() - end], &new[same..new.len() - end]);
    format!("  line {}:\n{before}{}{}", same + 1, block('-', old), block('+', new))
}

#[test]
fn the_files_are_in_step() {
    let setup = Setup::new();
    let plugins = PathBuf::from(std::env::var_os("ARCANA_TEST_DIST").unwrap()).join("plugins");
    let mut args = vec!["--host".to_owned(), "--out".to_owned(), "fresh".to_owned()];
    for entry in plugins.read_dir().unwrap() {
        args.push(entry.unwrap().path().to_str().unwrap().to_owned());
    }
    let (code, _, err) = proto(&setup, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((code, err.as_str()), (0, ""));
    let fresh = tree(&setup.path("fresh"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let kept = if folder.is_dir() { tree(&folder) } else { BTreeMap::new() };
    let mut differences = String::new();
    for path in fresh.keys().chain(kept.keys().filter(|path| !fresh.contains_key(*path))) {
        let name = Path::new("proto").join(path);
        match (kept.get(path), fresh.get(path)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => differences += &format!("{}\n{}", name.display(), difference(old, new)),
            (None, _) => differences += &format!("{} is missing\n", name.display()),
            (_, None) => differences += &format!("{} belongs to nothing that ships\n", name.display()),
        }
    }
    assert!(
        differences.is_empty(),
        "proto/ is not what the WIT says: run `cargo xtask proto` and look at what clients will notice.\n{differences}"
    );
    let services =
        [("auth", "AuthService"), ("user", "UserService"), ("health", "HealthService"), ("plugin", "PluginService")];
    for (file, service) in services {
        let text = &kept[Path::new(&format!("arcana/{file}/v1/{file}.proto"))];
        assert!(text.contains(&format!("\nservice {service} {{")), "{text}");
    }
}

#[test]
fn differences_are_shown_by_their_lines() {
    assert_eq!(
        difference("a\nb\nc\nd\ne\nf", "a\nb\nc\nd\nx\ny\nf"),
        "  line 5:\n    b\n    c\n    d\n  - e\n  + x\n  + y\n"
    );
    assert_eq!(difference("a\na", "a"), "  line 2:\n    a\n  - a\n");
    assert_eq!(difference("", "a"), "  line 1:\n  + a\n");
}

#[test]
fn the_files_of_plugins_compile_with_those_they_import() {
    let setup = Setup::new();
    for name in ["auth", "users"] {
        fs::write(setup.path(&format!("{name}.wasm")), shipped(name)).unwrap();
    }
    fs::write(setup.path("echo.wasm"), guest("echo")).unwrap();
    let (code, out, err) = proto(&setup, &["auth.wasm", "users.wasm", "echo.wasm", "-o", "client/proto"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let written = tree(&setup.path("client/proto"));
    let names: Vec<&str> = written.keys().map(|path| path.to_str().unwrap()).collect();
    let wanted = [
        "arcana/auth/v1/auth.proto",
        "arcana/types/v1/types.proto",
        "arcana/user/v1/user.proto",
        "test/echo/v1/echo.proto",
    ];
    assert_eq!(names, wanted);
    assert_eq!(out.lines().count(), wanted.len(), "{out}");
    protox::compile(wanted, [setup.path("client/proto")]).unwrap();
    let auth = &written[Path::new("arcana/auth/v1/auth.proto")];
    for line in [
        "  // Signs in. The answer and its time are the same whether the account exists or not.\n  rpc Login(LoginRequest) returns (AuthResponse);",
        "  // The life of the access token in seconds.\n  uint64 expires_in = 4;",
        "  arcana.user.v1.User user = 5;",
        "import \"arcana/user/v1/user.proto\";",
    ] {
        assert!(auth.contains(line), "{line} is not in {auth}");
    }

    // Without a folder they are printed.
    let (code, out, _) = proto(&setup, &["auth.wasm"]);
    assert_eq!(code, 0);
    assert!(out.contains("// arcana/auth/v1/auth.proto") && out.contains(auth.as_str()), "{out}");
}

#[test]
fn plugins_that_do_not_go_together_are_told() {
    let setup = Setup::new();
    let plugin = |name: &str, fields: &str| {
        let wit = format!(
            "package test:{name}@1.0.0; interface api {{ use test:shared/types@1.0.0.{{r}}; f: func(r: r); }} world w {{ export api; }}
             package test:shared@1.0.0 {{ interface types {{ record r {{ {fields} }} }} }}"
        );
        let method = "[[methods]]\ncall = \"api.f\"\nallow = \"public\"\n";
        signed(&unreachable_module(&wit), &(bare_manifest(&format!("test/{name}"), 1) + method))
    };
    fs::write(setup.path("one.wasm"), plugin("one", "a: u8")).unwrap();
    fs::write(setup.path("more.wasm"), plugin("more", "a: u8, b: string")).unwrap();
    fs::write(setup.path("other.wasm"), plugin("other", "a: string")).unwrap();
    let (code, out, _) = proto(&setup, &["one.wasm", "more.wasm"]);
    assert!(code == 0 && out.contains("  string b = 2;"), "{out}");
    let (code, out, err) = proto(&setup, &["one.wasm", "other.wasm", "--out", "x"]);
    assert_eq!((code, out.as_str()), (1, ""));
    for words in ["other.wasm does not go with the others", "`test.shared.v1.R`", "`uint32 a = 1`", "`string a = 1`"] {
        assert!(err.contains(words), "{words} is not in {err}");
    }
    assert!(!setup.path("x").exists());
    let (code, _, err) = proto(&setup, &["missing.wasm"]);
    assert!(code == 1 && err.contains("missing.wasm cannot be read"), "{err}");
    assert_eq!(proto(&setup, &[]).0, 2);
}
