use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, TypeDefKind};

use super::*;

const WIT: &str = r"
/// About bookmarks.
package acme:bookmarks@1.0.0;

/// Keeps bookmarks.
interface bookmarks {
  /// One of them.
  record bookmark {
    /// Where it points.
    url: string,
  }
  /// Finds one.
  get: func(id: string) -> bookmark;
}

world plugin {
  export bookmarks;
}
";

const MODULE: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
  (func (export "acme:bookmarks/bookmarks@1.0.0#get") (param i32 i32) (result i32) i32.const 8))"#;

fn manifest(more: &str) -> String {
    format!("[plugin]\nid = \"acme/bookmarks\"\nversion = \"1.0.0\"\nseq = 1\nhost = \"0.1\"\n{more}")
}

/// A core module with its component type, as wit-bindgen leaves it.
fn core_module() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("bookmarks.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = wat::parse_str(MODULE).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    module
}

fn wit_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bookmarks.wit"), WIT).unwrap();
    dir
}

#[test]
fn a_core_module_becomes_a_packed_component_with_its_docs() {
    let dir = wit_dir();
    let text = manifest("");
    let packed = pack(&core_module(), &text, &[dir.path().to_owned()], dir.path()).unwrap();
    let contents = envelope::contents(&packed).unwrap();
    assert_eq!(contents.manifest, text.as_bytes());
    wasmparser::Validator::new().validate_all(&packed).unwrap();

    let sections = sections(contents.body, &PrepassLimits::default()).unwrap();
    let [wit] = &sections.wit[..] else { panic!("{} packages", sections.wit.len()) };
    let DecodedWit { resolve, package } = decode(wit);
    let interface = &resolve.interfaces[resolve.packages[package].interfaces["bookmarks"]];
    assert_eq!(interface.docs.contents.as_deref(), Some("Keeps bookmarks."));
    assert_eq!(interface.functions["get"].docs.contents.as_deref(), Some("Finds one."));
    let TypeDefKind::Record(record) = &resolve.types[interface.types["bookmark"]].kind else { panic!() };
    assert_eq!(record.fields[0].docs.contents.as_deref(), Some("Where it points."));
}

struct DecodedWit {
    resolve: Resolve,
    package: wit_parser::PackageId,
}

fn read_back(file: &[u8]) -> PackedSections {
    sections(envelope::contents(file).unwrap().body, &PrepassLimits::default()).unwrap()
}

fn decode(wit: &[u8]) -> DecodedWit {
    match wit_component::decode(wit).unwrap() {
        wit_component::DecodedWasm::WitPackage(resolve, package) => DecodedWit { resolve, package },
        wit_component::DecodedWasm::Component(..) => panic!("not a package"),
    }
}

#[test]
fn a_component_is_kept_byte_for_byte() {
    let component = component(&core_module()).unwrap();
    let packed = pack(&component, &manifest(""), &[], Path::new(".")).unwrap();
    assert!(packed.ends_with(&component[COMPONENT_HEADER.len()..]));
    let packed_of_module = pack(&core_module(), &manifest(""), &[], Path::new(".")).unwrap();
    assert_eq!(packed, packed_of_module);
}

#[test]
fn packages_are_found_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "a",
            "package acme:a@1.0.0; interface api { use acme:b/types@1.0.0.{thing}; get: func() -> thing; } world w { export api; }",
        ),
        ("b", "package acme:b@1.0.0; /// Shared.\ninterface types { record thing { x: u32 } }"),
        ("c", "package acme:unused@1.0.0; interface unused { f: func(); }"),
    ] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("x.wit"), text).unwrap();
    }
    let paths: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| dir.path().join(name)).collect();
    let mut resolve = Resolve::default();
    resolve.push_path(&paths[1]).unwrap();
    let (package, _) = resolve.push_path(&paths[0]).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let text =
        r#"(module (memory (export "memory") 1) (func (export "acme:a/api@1.0.0#get") (result i32) i32.const 8))"#;
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let packed = pack(&module, &manifest(""), &paths, dir.path()).unwrap();
    let sections = read_back(&packed);
    let names: Vec<String> = sections
        .wit
        .iter()
        .map(|wit| {
            let DecodedWit { resolve, package } = decode(wit);
            resolve.packages[package].name.to_string()
        })
        .collect();
    assert_eq!(names, ["acme:a@1.0.0", "acme:b@1.0.0"]);

    let error = pack(&module, &manifest(""), &paths[1..], dir.path()).unwrap_err().to_string();
    assert!(error.contains("acme:a@1.0.0") && error.contains("acme:unused"), "{error}");
    let error = pack(&module, &manifest(""), &paths[..1], dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("acme:b"), "{error:#}");
}

#[test]
fn migrations_are_packed_in_order_and_read_back() {
    let dir = wit_dir();
    let write = |path: &str, sql: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, sql).unwrap();
    };
    let text = manifest(
        "[capabilities]\nstores = [\"own\", \"shared\"]\n[stores.own]\nowner = true\nmigrations = \"sql\"\n\
         [stores.shared]\nowner = true\nmigrations = \"sql\"\n",
    );
    let packed = || pack(&core_module(), &text, &[], dir.path());
    let error = packed().unwrap_err().to_string();
    assert!(error.contains("stores.own.migrations"), "{error}");

    write("sql/sqlite/10_second.sql", "b");
    write("sql/sqlite/0002_first_one.sql", "a");
    write("sql/sqlite/README", "no migration");
    write("sql/sqlite/shared/1_x.sql", "c");
    write("sql/postgres/shared/1_x.sql", "d");
    let file = packed().unwrap();
    let read = read_back(&file);
    let migration = |version, name: &str, sql: &str| Migration { version, name: name.into(), sql: sql.into() };
    assert_eq!(read.migrations("own", "sqlite"), [migration(2, "first_one", "a"), migration(10, "second", "b")]);
    assert_eq!(read.migrations("shared", "sqlite"), [migration(1, "x", "c")]);
    assert_eq!(read.migrations("shared", "postgres"), [migration(1, "x", "d")]);
    assert!(read.migrations("own", "postgres").is_empty() && read.migrations("other", "sqlite").is_empty());
    let stores: Vec<String> = read.stores().map(|store| store.to_string()).collect();
    assert_eq!(
        stores,
        ["own (2 migrations for sqlite, the last is 10)", "shared (1 migration for postgres, sqlite, the last is 1)"]
    );

    write("sql/sqlite/2_again.sql", "x");
    assert!(packed().unwrap_err().to_string().contains("same version"));
    std::fs::remove_file(dir.path().join("sql/sqlite/2_again.sql")).unwrap();
    write("sql/sqlite/second.sql", "x");
    assert!(packed().unwrap_err().to_string().contains("NNNN_name.sql"));
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let key = arcana_signing::SecretKey::from_seed(&[1; 32]);
    let text = manifest("");
    let packed = pack(&core_module(), &text, &[], Path::new(".")).unwrap();
    let signed = envelope::sign(&packed, &[&key]).unwrap();
    let again = |input: &[u8]| format!("{:#}", pack(input, &text, &[], Path::new(".")).unwrap_err());
    assert!(again(&packed).contains("packed already"));
    assert!(again(&signed).contains("signed already"));
    assert!(again(b"(component)").contains("neither"));
    assert!(
        again(&wat::parse_str("(module (import \"wasi_snapshot_preview1\" \"f\" (func)))").unwrap())
            .contains("wasm32-wasip2")
    );
    let error = pack(&core_module(), &text.replace("seq = 1", "seq = 1\nsqe = 2"), &[], Path::new(".")).unwrap_err();
    assert!(format!("{error:#}").contains("sqe"), "{error:#}");
}

#[test]
fn sections_that_pack_does_not_write_are_refused() {
    let body = |sections: &[(&str, &str)]| {
        let mut body = Vec::new();
        sections.iter().for_each(|(name, data)| append(&mut body, name, data.as_bytes()));
        body
    };
    let fine = r#"{"own":{"sqlite":[{"version":1,"name":"a","sql":""},{"version":2,"name":"b","sql":""}]}}"#;
    let limits = PrepassLimits { max_migrations: 2, max_migration_bytes: 5, ..PrepassLimits::default() };
    let with = |from: &str, to: &str| {
        assert!(fine.contains(from), "{from}");
        fine.replacen(from, to, 1)
    };
    let refused = |list: &[(&str, &str)]| sections(&body(list), &limits).unwrap_err().to_string();
    for good in [
        fine.to_owned(),
        with("\"sql\":\"\"", "\"sql\":\"12345\""),
        with("\"version\":2", "\"version\":9223372036854775807"),
        // Which stores there may be is judged elsewhere.
        with("own", "../x"),
    ] {
        assert!(sections(&body(&[(MIGRATIONS_SECTION, &good)]), &limits).is_ok(), "{good}");
    }
    for (text, words) in [
        (with("\"version\":2", "\"version\":1"), "not in order"),
        (with("\"version\":2", "\"version\":9223372036854775808"), "at most 9223372036854775807"),
        (with("\"version\":2", "\"version\":18446744073709551616"), "invalid"),
        (with("\"version\":2", "\"version\":-1"), "invalid"),
        (with("\"version\":2", "\"version\":2.0"), "invalid"),
        (with("sqlite", "oracle"), "no backend"),
        (with("\"sql\":\"\"", "\"sql\":\"\",\"x\":1"), "unknown field"),
        (with("\"sql\":\"\"", "\"sql\":\"\",\"sql\":\"\""), "duplicate field"),
        (with("\"sql\":\"\"", "\"sql\":\"123456\""), "plugins.max_migration_bytes"),
        (with("\"name\":\"a\"", "\"name\":\"\""), "a name has 1 to 128"),
        (with("\"name\":\"a\"", "\"name\":\"a\\u0000\""), "control characters"),
        (with("\"name\":\"a\"", &format!("\"name\":\"{}\"", "a".repeat(129))), "a name has 1 to 128"),
        (with("}]}", "}],\"sqlite\":[]}"), "`sqlite` is there twice"),
        (with("}]}}", "}]},\"own\":{}}"), "`own` is there twice"),
        // The same key in another spelling of JSON.
        (with("}]}}", "}]},\"\\u006fwn\":{}}"), "`own` is there twice"),
        (with("}]}", "}],\"postgres\":[{\"version\":1,\"name\":\"a\",\"sql\":\"\"}]}"), "plugins.max_migrations"),
        ("[]".to_owned(), "expected an object"),
        (String::new(), "EOF"),
        (format!("{fine} {fine}"), "trailing"),
        ("[".repeat(100_000), "expected an object"),
    ] {
        let reason = refused(&[(MIGRATIONS_SECTION, &text)]);
        assert!(reason.contains(words), "{words}: {reason}");
    }
    assert!(refused(&[(MIGRATIONS_SECTION, fine), (MIGRATIONS_SECTION, "{}")]).contains("two sections"));
}
