//! What is written is compiled again, by a compiler nobody here wrote.

use std::collections::HashMap;

use proptest::prelude::*;
use prost_types::FileDescriptorProto;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::{files, pool};
use crate::contract::plan::PackageName;
use crate::contract::proto::walk::comments;
use crate::contract::proto::{Files, Service, text};
use crate::contract::tests::props;

struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Writes every file, compiles what was written and compares the descriptors and the comments.
fn survives(files: &Files) {
    let own = || files.iter().filter(|file| file.package() != "google.protobuf");
    let texts: HashMap<_, _> = own().map(|file| (file.name().to_owned(), text::render(file))).collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_source_info(true);
    for file in own() {
        let text = &texts[file.name()];
        compiler.open_file(file.name()).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    }
    let compiled: HashMap<_, _> =
        compiler.file_descriptor_set().file.into_iter().map(|f| (f.name().to_owned(), f)).collect();
    for file in own() {
        let compiled = &compiled[file.name()];
        assert_eq!(comments(compiled), comments(file), "{}", texts[file.name()]);
        let bare = |file: &FileDescriptorProto| FileDescriptorProto { source_code_info: None, ..file.clone() };
        assert_eq!(bare(compiled), bare(file), "{}", texts[file.name()]);
    }
}

#[test]
fn a_file_reads_like_one_that_was_written_by_hand() {
    let files = files(
        "/// A color.\nenum color {\n/// Hot.\nred, dark-blue }
         /// A thing.\n///\n/// Of parts.\nrecord thing {\n/// Its color.\ncolor: color, size: option<u8>, rows: list<list<f64>> }
         variant any {\n/// Nothing.\nempty,\n/// A thing.\nthing(thing), both(tuple<u8, option<string>>) }
         /// Finds things.\nfind: func(name: string, any: option<any>) -> result<list<thing>, problem>;
         keep: func(thing: thing, change: text-change) -> thing; stop: func();",
    )
    .expect("describes");
    survives(&files);
    insta::assert_snapshot!(text::render(files.file("t/t/v1/t.proto").expect("the file")), @r#"
    // Derived from WIT by `arcana plugin proto`, in the sources of Arcana by `cargo xtask proto`. Changes belong into the WIT.

    syntax = "proto3";

    package t.t.v1;

    import "arcana/types/v1/types.proto";
    import "google/protobuf/empty.proto";

    // The interface.
    service Api {
      // Finds things.
      rpc Find(FindRequest) returns (FindResponse);

      rpc Keep(KeepRequest) returns (Thing);

      rpc Stop(StopRequest) returns (StopResponse);
    }

    // What `Find` takes.
    message FindRequest {
      string name = 1;
      optional Any any = 2;
    }

    message Any {
      oneof kind {
        // Nothing.
        google.protobuf.Empty empty = 1;
        // A thing.
        Thing thing = 2;
        BothTuple both = 3;
      }

      // The parts of `both`.
      message BothTuple {
        uint32 f0 = 1;
        optional string f1 = 2;
      }
    }

    // A thing.
    //
    // Of parts.
    message Thing {
      // Its color.
      Color color = 1;
      optional uint32 size = 2;
      repeated RowsValue rows = 3;

      // One list of `rows`.
      message RowsValue {
        repeated double value = 1;
      }
    }

    // What `Find` answers.
    message FindResponse {
      repeated Thing value = 1;
    }

    // What `Keep` takes.
    message KeepRequest {
      Thing thing = 1;
      arcana.types.v1.TextChange change = 2;
    }

    // What `Stop` takes.
    message StopRequest {}

    // What `Stop` answers.
    message StopResponse {}

    // A color.
    enum Color {
      // No value: it is refused.
      COLOR_UNSPECIFIED = 0;
      // Hot.
      COLOR_RED = 1;
      COLOR_DARK_BLUE = 2;
    }
    "#);
}

#[test]
fn every_kind_of_name_leads_to_its_type() {
    for api in [
        // A message that is nested hides one of the package.
        "record a-value { x: u8 } record r { a: option<list<u8>>, b: a-value, c: list<a-value> } f: func(r: r);",
        "record a-tuple { x: u8 } record r { a: tuple<a-tuple, list<a-tuple>>, b: a-tuple } f: func(r: r);",
        // A method hides a type, a field the first word of a package.
        "record r { t: u8, arcana: text-change, google: u8 } variant v { google, arcana(text-change), t(r) } f: func(v: v);",
        "record word { a: u8 } word-get: func(w: word) -> word; f: func() -> list<word>;",
        // Words of the language are names as well.
        "record message { %option: u8, repeated: list<message2>, optional: option<message2>, oneof: u8, reserved: u8, syntax: u8,
           %enum: u8, rpc: string, returns: string, %package: u8, %import: message2, to: u8, max: u8, extend: u8, %map: u8, service: u8 }
         record message2 { %string: string, %bool: bool, double: f64 } variant %option { message, %option(message), %enum(u8) }
         enum %enum { %enum, syntax } f: func(m: message, o: %option, e: %enum);",
    ] {
        let files = files(api).expect("describes");
        pool(&files);
        survives(&files);
    }
}

/// A declaration that begins with a word of the language would be another one.
#[test]
fn a_namespace_may_be_a_word_of_the_language() {
    for word in ["message", "oneof", "option", "optional", "stream", "reserved", "extensions", "group", "bool", "bytes"]
    {
        let wit = format!(
            "package t:t; interface api {{ use %{word}:x/types.{{t}}; record r {{ t: t }} variant v {{ t(t), r(r) }} f: func(t: t) -> t; g: func(v: v); }}
             package %{word}:x {{ interface types {{ record t {{ a: u8 }} }} }} world w {{ export api; }}"
        );
        survives(&of_packages(&wit, "t"));
    }
}

/// The packages of these names would hide the first word of every full name in them.
#[test]
fn a_package_may_have_the_name_of_another_namespace() {
    let wit = "package arcana:google; interface types { record t { a: u8 } }
        package arcana:arcana { interface types { record t { a: u8 } } }
        package arcana:t { interface api { use arcana:google/types.{t as g}; use arcana:arcana/types.{t as a}; variant v { none, a(a), g(g) } f: func(v: v); } }
        package x:w { world w { export arcana:t/api; } }";
    let files = of_packages(wit, "w");
    survives(&files);
    let text = text::render(files.file("arcana/t/v0/t.proto").expect("the file"));
    assert!(
        text.contains("  .arcana.arcana.v0.T a = 2;") && text.contains("  .google.protobuf.Empty none = 1;"),
        "{text}"
    );
}

/// What the world `w` of this package exports.
fn of_packages(wit: &str, package: &str) -> Files {
    let mut resolve = wit_parser::Resolve::new();
    resolve.push_source("x.wit", wit).unwrap_or_else(|error| panic!("{error:#}"));
    let (_, package) = resolve.package_names.iter().find(|(name, _)| name.name == package).expect("the package");
    let world = resolve.packages[*package].worlds["w"];
    let contract = crate::contract::Contract::from_world(&resolve, world, &crate::contract::docs::Docs::default());
    let files = super::describe(&contract).expect("describes");
    pool(&files);
    files
}

#[test]
fn comments_cannot_break_out() {
    let docs = "Ends */ here.\\\n\n  indented // and \"quoted\" {\r\n\u{1b}[31mred\u{0}\ttab\u{85}next\n@deprecated";
    let contract = crate::contract::tests::contract("f: func(a: option<list<u8>>);");
    let interface = &contract.interfaces[0];
    let mut plan = interface.functions[0].1.clone().expect("publishable");
    plan.docs = Some(docs.to_owned());
    let package = interface.package.as_ref().expect("a package");
    let files =
        Files::of([Service { package, name: "api", docs: Some(docs), functions: vec![&plan] }]).expect("describes");
    survives(&files);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_contract_survives(shapes in prop::collection::vec(props::shape(), 1..4)) {
        let package = PackageName { namespace: "t".into(), name: "t".into(), version: Some((1, 2, "1.2.0".into())) };
        let mut merged = Files::default();
        for (at, shape) in shapes.iter().enumerate() {
            let plan = props::plan(shape);
            // Types of these plans are called alike and are not.
            let name = format!("api{at}");
            let files = Files::of([Service { package: &package, name: &name, docs: None, functions: vec![&plan] }]).expect("describes");
            pool(&files);
            survives(&files);
            let before = merged.clone();
            match merged.merge(&files) {
                Ok(()) => {
                    pool(&merged);
                    survives(&merged);
                    let once = merged.clone();
                    merged.merge(&files).expect("again");
                    merged.merge(&before).expect("again");
                    prop_assert!(merged.iter().eq(once.iter()));
                }
                Err(_) => prop_assert!(merged.iter().eq(before.iter())),
            }
        }
    }
}
