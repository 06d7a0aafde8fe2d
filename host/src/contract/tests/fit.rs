use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::super::{Contract, Misfits, nearest};

/// The misfits of a component that imports an instance with these items.
fn importing(name: &str, items: &str) -> Misfits {
    let component = wat::parse_str(format!("(component (import \"{name}\" (instance {items})))"))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    Contract::decode(&component, None).expect("it decodes").misfits
}

const GET: &str = r#"
    (type $error' (variant (case "too-large" u64) (case "not-a-number") (case "unavailable" string) (case "other" string)))
    (export "error" (type $error (eq $error')))
    (export "get" (func (param "key" string) (result (result (option (list u8)) (error $error)))))"#;

#[test]
fn both_sides_of_an_import_are_shown() {
    let unknown_type = GET.replace("\"other\" string", "\"other\" u32");
    let more = format!(r#"{GET} (export "clear" (func))"#);
    let many: String = (0..12).map(|at| format!(r#"(export "f{at}" (func))"#)).collect();
    let cases = [
        ("another version", "arcana:host/cache@0.2.0", GET),
        ("another version, with more", "arcana:host/cache@0.2.0", &more),
        (
            "a function of another type",
            "arcana:host/cache@0.1.0",
            r#"(export "get" (func (param "key" string) (result string)))"#,
        ),
        ("a type of another shape", "arcana:host/cache@0.1.0", &unknown_type),
        (
            "a slip in the name of a function",
            "arcana:host/cache@0.1.0",
            r#"(export "incremnt" (func (param "key" string)))"#,
        ),
        ("a function like none", "arcana:host/log@0.1.0", r#"(export "zzz" (func))"#),
        (
            "methods of a resource",
            "arcana:host/database@0.1.0",
            r#"(export "transaction" (type $t (sub resource)))
               (export "[method]transaction.query" (func (param "self" (borrow $t)) (param "sql" u32)))
               (export "[method]transaction.exec" (func (param "self" (borrow $t)) (param "sql" string)))
               (export "[static]transaction.commit" (func (param "this" (own $t))))"#,
        ),
        ("a slip in the name of an interface", "arcana:host/cahce@0.1.0", r#"(export "get" (func))"#),
        ("functions without end", "arcana:host/context@0.1.0", &many),
    ];
    let mut told = String::new();
    for (what, name, items) in cases {
        let misfits = importing(name, items);
        assert!(misfits.exports.is_empty() && misfits.imports.len() == 1, "{what}: {misfits:?}");
        told += &format!("# {what}\n{}\n\n", misfits.imports.join("\n"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_fits_is_not_told() {
    for (name, items) in [
        ("arcana:host/cache@0.1.0", GET),
        // Within a minor version below 1.0 functions are only added.
        ("arcana:host/cache@0.1.7", GET),
        // Only types: nothing is linked.
        ("arcana:host/cache@0.9.0", "(type $e (enum \"a\")) (export \"error\" (type (eq $e)))"),
        // None of the host's packages.
        ("wasi:io/poll@0.2.0", "(export \"nothing\" (func))"),
        ("acme:host/cache@0.1.0", "(export \"nothing\" (func))"),
    ] {
        assert_eq!(importing(name, items), Misfits::default(), "{name}");
    }
}

#[test]
fn an_extension_point_of_another_type_is_shown() {
    let wit = |lifecycle: &str, version: &str| {
        format!(
            "package t:t@1.0.0;\nworld w {{ export arcana:plugin/lifecycle@{version}; }}\n\
             package arcana:plugin@{version} {{ interface lifecycle {{ {lifecycle} }} }}"
        )
    };
    let misfits = |lifecycle: &str, version: &str, functions: &[(&str, &str)]| {
        let mut resolve = Resolve::new();
        let package = resolve.push_source("t.wit", &wit(lifecycle, version)).expect("it parses");
        let functions: String = functions
            .iter()
            .map(|(name, signature)| {
                format!("(func (export \"arcana:plugin/lifecycle@{version}#{name}\") {signature} unreachable)")
            })
            .collect();
        let text = format!("(module (memory (export \"memory\") 1) {functions})");
        let mut module = wat::parse_str(text).expect("the module parses");
        let world = resolve.packages[package].worlds["w"];
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata");
        let component = ComponentEncoder::default().module(&module).expect("a module").encode().expect("a component");
        Contract::decode(&component, None).expect("it decodes").misfits
    };
    let (enable, disable) = (("on-enable", "(result i32)"), ("on-disable", "(result i32)"));
    let right = "on-enable: func() -> result<_, string>; on-disable: func() -> result<_, string>;";
    assert_eq!(misfits(right, "0.1.0", &[enable, disable]), Misfits::default());
    let other = misfits(
        "on-enable: func(); on-disable: func(why: u32) -> result<_, string>; on-enabled: func();",
        "0.1.0",
        &[("on-enable", ""), ("on-disable", "(param i32) (result i32)"), ("on-enabled", "")],
    );
    let newer = misfits(right, "2.0.0", &[enable, disable]);
    assert!(other.imports.is_empty() && newer.imports.is_empty());
    insta::assert_snapshot!([other.exports, newer.exports].concat().join("\n\n"));
}

#[test]
fn only_what_is_alike_is_near() {
    let names = ["get", "set", "delete", "increment", "get-or-lock"];
    assert_eq!(nearest("incrment", names), Some("increment"));
    assert_eq!(nearest("get-or-lok", names), Some("get-or-lock"));
    assert_eq!(nearest("query", names), None);
    assert_eq!(nearest("", names), None);
}
