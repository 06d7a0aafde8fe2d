use prost_reflect::{Kind, MessageDescriptor};

use super::{describe, files, pool};
use crate::contract::ContractError;
use crate::contract::proto::{Files, method_name, service_name};
use crate::contract::tests::contract;

/// `number label type name` of every field.
fn fields(message: &MessageDescriptor) -> Vec<String> {
    let one = |field: prost_reflect::FieldDescriptor| {
        let label = match () {
            () if field.is_list() => "repeated ",
            () if field.field_descriptor_proto().proto3_optional() => "optional ",
            () if field.containing_oneof().is_some() => "oneof ",
            () => "",
        };
        let ty = match field.kind() {
            Kind::Message(message) => message.full_name().trim_start_matches("t.t.v1.").to_owned(),
            Kind::Enum(of) => of.full_name().trim_start_matches("t.t.v1.").to_owned(),
            scalar => format!("{scalar:?}").to_lowercase(),
        };
        format!("{} {label}{ty} {}", field.number(), field.name())
    };
    message.fields().map(one).collect()
}

fn message(files: &Files, name: &str) -> MessageDescriptor {
    pool(files).get_message_by_name(&format!("t.t.v1.{name}")).unwrap_or_else(|| panic!("no {name} in {files:#?}"))
}

#[test]
fn every_type_has_its_form() {
    let files = files(
        "enum color { red, dark-blue } flags tops { cheese, extra-onions } record point { x: s32 }
         variant shape { empty, dot(point), many(list<point>), label(option<string>), pair(tuple<u8>), tops(tops), out(result) }
         variant odd { kind, other(u8) }
         record all {
           truth: bool, a8: s8, a16: s16, a32: s32, a64: s64, b8: u8, b16: u16, b32: u32, b64: u64, c32: f32, c64: f64,
           letter: char, text: string, bytes: list<u8>, color: color, tops: tops, point: point, shape: shape, odd: odd,
           opt-text: option<string>, opt-point: option<point>, opt-words: option<list<string>>, opt-bytes: option<list<u8>>,
           opt-opt: option<option<u8>>, opt-tops: option<tops>, words: list<string>, blobs: list<list<u8>>, colors: list<color>,
           matrix: list<list<f64>>, gaps: list<option<u32>>, sets: list<tops>, pair: tuple<u8, option<list<u8>>, list<list<u8>>, tuple<u8>>,
           both: result<u32, list<string>>, neither: result, pairs: list<tuple<u8>>, maybe: option<result<u8>>, change: text-change }
         f: func(p: all);",
    )
    .expect("describes");
    assert_eq!(
        fields(&message(&files, "All")),
        [
            "1 bool truth",
            "2 sint32 a8",
            "3 sint32 a16",
            "4 sint32 a32",
            "5 int64 a64",
            "6 uint32 b8",
            "7 uint32 b16",
            "8 uint32 b32",
            "9 uint64 b64",
            "10 float c32",
            "11 double c64",
            "12 string letter",
            "13 string text",
            "14 bytes bytes",
            "15 Color color",
            "16 repeated Tops tops",
            "17 Point point",
            "18 Shape shape",
            "19 Odd odd",
            "20 optional string opt_text",
            "21 optional Point opt_point",
            "22 optional All.OptWordsValue opt_words",
            "23 optional bytes opt_bytes",
            "24 optional All.OptOptValue opt_opt",
            "25 optional All.OptTopsValue opt_tops",
            "26 repeated string words",
            "27 repeated bytes blobs",
            "28 repeated Color colors",
            "29 repeated All.MatrixValue matrix",
            "30 repeated All.GapsValue gaps",
            "31 repeated All.SetsValue sets",
            "32 All.PairTuple pair",
            "33 All.BothResult both",
            "34 All.NeitherResult neither",
            "35 repeated All.PairsTuple pairs",
            "36 optional All.MaybeResult maybe",
            "37 arcana.types.v1.TextChange change",
        ]
    );
    for (name, wanted) in [
        ("All.OptWordsValue", &["1 repeated string value"][..]),
        ("All.OptOptValue", &["1 optional uint32 value"]),
        ("All.OptTopsValue", &["1 repeated Tops value"]),
        ("All.MatrixValue", &["1 repeated double value"]),
        ("All.GapsValue", &["1 optional uint32 value"]),
        ("All.SetsValue", &["1 repeated Tops value"]),
        ("All.PairTuple", &["1 uint32 f0", "2 optional bytes f1", "3 repeated bytes f2", "4 All.PairTuple.F3Tuple f3"]),
        ("All.PairTuple.F3Tuple", &["1 uint32 f0"]),
        ("All.BothResult", &["1 oneof uint32 ok", "2 oneof All.BothResult.ErrValue err"]),
        ("All.BothResult.ErrValue", &["1 repeated string value"]),
        ("All.NeitherResult", &["1 oneof google.protobuf.Empty ok", "2 oneof google.protobuf.Empty err"]),
        (
            "Shape",
            &[
                "1 oneof google.protobuf.Empty empty",
                "2 oneof Point dot",
                "3 oneof Shape.ManyValue many",
                "4 oneof Shape.LabelValue label",
                "5 oneof Shape.PairTuple pair",
                "6 oneof Shape.TopsValue tops",
                "7 oneof Shape.OutResult out",
            ],
        ),
        ("Odd", &["1 oneof google.protobuf.Empty kind", "2 oneof uint32 other"]),
    ] {
        assert_eq!(fields(&message(&files, name)), wanted, "{name}");
    }
    let oneof = |name: &str| message(&files, name).oneofs().next().expect("a oneof").name().to_owned();
    assert_eq!(["Shape", "Odd", "All.BothResult"].map(oneof), ["kind", "kind_", "result"]);
    let values = |name: &str| {
        let of = pool(&files).get_enum_by_name(name).expect("an enum");
        of.values().map(|value| format!("{} {}", value.name(), value.number())).collect::<Vec<_>>()
    };
    assert_eq!(values("t.t.v1.Color"), ["COLOR_UNSPECIFIED 0", "COLOR_RED 1", "COLOR_DARK_BLUE 2"]);
    assert_eq!(values("t.t.v1.Tops"), ["TOPS_UNSPECIFIED 0", "TOPS_CHEESE 1", "TOPS_EXTRA_ONIONS 2"]);
    let names: Vec<&str> = files.iter().map(|file| file.name()).collect();
    assert_eq!(names, ["arcana/types/v1/types.proto", "google/protobuf/empty.proto", "t/t/v1/t.proto"]);
}

#[test]
fn requests_and_responses_are_called_after_the_function_or_are_the_record() {
    let files = files(
        "record thing { a: u8 } f-one: func(t: thing) -> thing; f-two: func(t: thing, more: option<u8>) -> result<thing, problem>;
         f-three: func() -> result<_, problem>; f-four: func(t: option<thing>) -> list<option<thing>>;",
    )
    .expect("describes");
    let pool = pool(&files);
    let service = pool.get_service_by_name("t.t.v1.Api").expect("the service");
    let methods: Vec<_> = service
        .methods()
        .map(|m| [m.name().to_owned(), m.input().name().to_owned(), m.output().name().to_owned()].join(" "))
        .collect();
    assert_eq!(
        methods,
        [
            "FOne Thing Thing",
            "FTwo FTwoRequest Thing",
            "FThree FThreeRequest FThreeResponse",
            "FFour FFourRequest FFourResponse",
        ]
    );
    assert_eq!(fields(&message(&files, "FTwoRequest")), ["1 Thing t", "2 optional uint32 more"]);
    assert!(
        fields(&message(&files, "FThreeRequest")).is_empty() && fields(&message(&files, "FThreeResponse")).is_empty()
    );
    assert_eq!(fields(&message(&files, "FFourRequest")), ["1 optional Thing t"]);
    assert_eq!(fields(&message(&files, "FFourResponse")), ["1 repeated FFourResponse.ValueValue value"]);
    let contract = contract("f: func();");
    let package = contract.interfaces[0].package.as_ref().expect("a package");
    assert_eq!(service_name(package, "auth-service"), "t.t.v1.AuthService");
    assert_eq!(method_name("validate-token"), "ValidateToken");
}

#[test]
fn the_empty_message_is_the_one_of_protobuf_and_only_there_where_it_is_used() {
    let ours = files("f: func(a: text-change);").expect("describes");
    let ours = ours.file("google/protobuf/empty.proto").expect("used").clone();
    let theirs = DescriptorPoolOfGoogle::empty();
    assert_eq!(*ours, theirs);
    assert!(files("f: func(a: u8);").expect("describes").file("google/protobuf/empty.proto").is_none());
}

struct DescriptorPoolOfGoogle;

impl DescriptorPoolOfGoogle {
    fn empty() -> prost_types::FileDescriptorProto {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("x.proto"), "syntax = \"proto3\"; import \"google/protobuf/empty.proto\";")
            .expect("written");
        let mut compiler = protox::Compiler::new([dir.path()]).expect("a compiler");
        compiler.include_imports(true).include_source_info(false).open_file("x.proto").expect("compiles");
        let set = compiler.file_descriptor_set();
        set.file.into_iter().find(|file| file.name().ends_with("empty.proto")).expect("imported")
    }
}

#[test]
fn every_doc_comment_is_at_its_place() {
    let files = files(
        "/// A color.\nenum color {\n/// Hot.\nred, blue }
         /// A thing.\n///\n///   Of two parts.\nrecord thing {\n/// Its color.\ncolor: color, plain: u8 }
         /// Any.\nvariant any {\n/// A thing.\nthing(thing) }
         /// Does it.\nf: func(thing: thing, any: any) -> u8; g: func();",
    )
    .expect("describes");
    let file = files.file("t/t/v1/t.proto").expect("the file");
    let info = file.source_code_info.as_ref().expect("comments");
    let at = |path: &[i32]| {
        let found: Vec<_> = info.location.iter().filter(|at| at.path == path).collect();
        assert!(found.len() <= 1, "{path:?} twice");
        found.first().and_then(|at| at.leading_comments.clone())
    };
    let place = |name: &str| {
        let place = file.message_type.iter().position(|message| message.name() == name);
        i32::try_from(place.expect("the message")).expect("few")
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(at(&[6, 0]), text(" The interface.\n"));
    assert_eq!(at(&[6, 0, 2, 0]), text(" Does it.\n"));
    assert_eq!(at(&[6, 0, 2, 1]), None);
    assert_eq!(at(&[4, place("Thing")]), text(" A thing.\n\n   Of two parts.\n"));
    assert_eq!(at(&[4, place("Thing"), 2, 0]), text(" Its color.\n"));
    assert_eq!(at(&[4, place("Thing"), 2, 1]), None);
    assert_eq!(at(&[4, place("Any"), 2, 0]), text(" A thing.\n"));
    assert_eq!(at(&[4, place("FRequest")]), text(" What `F` takes.\n"));
    assert_eq!(at(&[5, 0]), text(" A color.\n"));
    assert_eq!(at(&[5, 0, 2, 1]), text(" Hot.\n"));
    assert_eq!(at(&[5, 0, 2, 2]), None);
}

#[test]
fn types_stand_in_the_order_of_their_use() {
    let files = files(
        "record z { a: u8 } record b { z: z } record a { l: list<tuple<b>> } enum e2 { x } enum e1 { x }
         late: func(e: e2, f: e1); early: func(a: a) -> b;",
    )
    .expect("describes");
    let file = files.file("t/t/v1/t.proto").expect("the file");
    let names: Vec<_> = file.message_type.iter().map(|message| message.name()).collect();
    assert_eq!(names, ["LateRequest", "LateResponse", "A", "B", "Z"]);
    assert_eq!(file.enum_type.iter().map(|of| of.name()).collect::<Vec<_>>(), ["E2", "E1"]);
}

#[test]
fn names_that_protobuf_cannot_keep_apart_are_refused() {
    for (api, name, first, second) in [
        (
            "enum foo { bar-baz } enum foo-bar { baz } f: func(a: foo, b: foo-bar);",
            "t.t.v1.FOO_BAR_BAZ",
            "`foo`",
            "`foo-bar`",
        ),
        ("enum foo { unspecified } f: func(a: foo);", "t.t.v1.FOO_UNSPECIFIED", "the zero", "the case `unspecified`"),
        ("record api { a: u8 } f: func(a: api);", "t.t.v1.Api", "the interface `t:t@1.2.0/api`", "the type `api`"),
        (
            "record f-request { a: u8 } f: func(a: f-request, b: u8);",
            "t.t.v1.FRequest",
            "the request",
            "the type `f-request`",
        ),
    ] {
        match files(api) {
            Err(ContractError::Collision { name: found, first: one, second: two }) => {
                assert_eq!(found, name, "{api}");
                assert!(one.contains(first) && two.contains(second), "{one} / {two}");
            }
            other => panic!("{api}: {other:?}"),
        }
    }
    // The same words in different messages and enums are no collision.
    pool(&files("enum a { x, y } enum b { x, y } flags c { x } record r { a-1: a, b: b, c: c } record s { a1: r } f: func(s: s);").expect("fine"));
}

#[test]
fn types_without_names_nest_as_deep_as_compilers_go() {
    let nested = |depth: usize| format!("f: func(a: {}string{});", "list<".repeat(depth), ">".repeat(depth));
    pool(&files(&nested(30)).expect("fine"));
    let error = files(&nested(31)).expect_err("too deep").to_string();
    assert!(error.contains("function `f` of `t:t@1.2.0/api`") && error.contains("more than 30 lists"), "{error}");
}

#[test]
fn symbols_are_found_in_their_files() {
    let files = files(
        "enum color { red } variant v { a(list<color>), b } record r { o: option<u8>, change: text-change } f: func(v: v) -> r;",
    )
    .expect("describes");
    for symbol in [
        "Api",
        "Api.F",
        "FRequest",
        "FRequest.v",
        "V",
        "V.kind",
        "V.a",
        "V.AValue",
        "V.AValue.value",
        "R",
        "R.o",
        "R._o",
        "Color",
        "COLOR_RED",
        "Color.COLOR_RED",
    ] {
        let found = files.of_symbol(&format!("t.t.v1.{symbol}")).unwrap_or_else(|| panic!("no {symbol}"));
        assert_eq!(found.name(), "t/t/v1/t.proto");
    }
    let found = |symbol: &str| files.of_symbol(symbol).map(|file| file.name());
    assert_eq!(found(".t.t.v1.Api"), Some("t/t/v1/t.proto"));
    assert_eq!(found("google.protobuf.Empty"), Some("google/protobuf/empty.proto"));
    assert_eq!(found("arcana.types.v1.TextChange.set"), Some("arcana/types/v1/types.proto"));
    for symbol in [
        "",
        ".",
        "t",
        "t.t.v1",
        "t.t.v1.",
        "t.t.v1.Ap",
        "t.t.v1.Api.G",
        "t.t.v1.V.a.b",
        "t.t.v1.Api.F.x",
        "t.t.v1.V.COLOR_RED",
        "Api",
    ] {
        assert_eq!(found(symbol), None, "{symbol}");
    }
    assert_eq!(files.services(), ["t.t.v1.Api"]);
}

#[test]
fn files_of_several_plugins_become_one() {
    let of = |api: &str| files(api).expect("describes");
    let small = of("record r { a: u8, e: e } enum e { x } q: func() -> r;");
    let large =
        of("enum e { x, y } record r { a: u8, e: e, l: list<tuple<e>> } variant v { kind(r) } s: func(v: v) -> r;");
    let mut one = small.clone();
    one.merge(&large).expect("the larger one has all of the smaller one");
    let mut other = large.clone();
    other.merge(&small).expect("the other way round as well");
    let file = |files: &Files| files.file("t/t/v1/t.proto").expect("the file").clone();
    assert_eq!(fields(&message(&one, "R")), ["1 uint32 a", "2 E e", "3 repeated R.LTuple l"]);
    assert_eq!(file(&one).message_type.len(), 4);
    let methods = |files: &Files| pool(files).get_service_by_name("t.t.v1.Api").expect("there").methods().count();
    assert_eq!((methods(&one), methods(&other)), (2, 2));
    // Everything that both have is the same; only the methods stand in the order of merging.
    let sorted = |files: &Files| {
        let mut names: Vec<_> = file(files).message_type.iter().map(|m| m.name().to_owned()).collect();
        names.sort_unstable();
        (names, file(files).enum_type.clone())
    };
    assert_eq!(sorted(&one), sorted(&other));
    let comments = |files: &Files| super::super::walk::comments(&file(files));
    assert_eq!(comments(&one)["t.t.v1.Api"], " The interface.\n");
    assert_eq!(comments(&one), comments(&other));

    let again = one.clone();
    one.merge(&small).expect("nothing new");
    assert_eq!(file(&one), file(&again));
}

#[test]
fn a_type_that_is_two_is_told_with_both_shapes() {
    let of = |api: &str| files(&format!("{api} ")).expect("describes");
    for (first, second, name, shapes) in [
        (
            "record r { a: u8 } f: func(r: r);",
            "record r { b: u8 } f: func(r: r);",
            "t.t.v1.R",
            ["uint32 a = 1", "uint32 b = 1"],
        ),
        (
            "record r { a: u8 } f: func(r: r);",
            "record r { a: option<u8> } f: func(r: r);",
            "t.t.v1.R",
            ["uint32 a = 1", "optional uint32 a = 1"],
        ),
        (
            "record r { a: u8 } f: func(r: r);",
            "variant r { a(u8) } g: func(r: list<r>);",
            "t.t.v1.R",
            ["uint32 a = 1", "uint32 a = 1 of a oneof"],
        ),
        ("enum e { a } f: func(e: e);", "enum e { b } f: func(e: e);", "t.t.v1.E", ["E_A = 1", "E_B = 1"]),
        ("enum e { a } f: func(e: e);", "record e { b: u8 } g: func(e: e);", "t.t.v1.E", ["message E", "enum E"]),
        (
            "enum e { a-b } f: func(e: e);",
            "enum e-a { b } g: func(e: e-a);",
            "t.t.v1.E_A_B",
            ["a value of enum E", "a value of enum EA"],
        ),
        (
            "record q { a: u8 } record r { b: u8 } f: func(r: r);",
            "record q { a: u8 } f: func(r: q);",
            "t.t.v1.Api.F",
            ["(t.t.v1.R) returns (t.t.v1.FResponse)", "(t.t.v1.Q) returns (t.t.v1.FResponse)"],
        ),
    ] {
        let mut files = of(first);
        let before = files.iter().cloned().collect::<Vec<_>>();
        let error = files.merge(&of(second)).expect_err(first);
        assert_eq!((error.name.as_str(), [error.first.as_str(), error.second.as_str()]), (name, shapes));
        assert_eq!(files.iter().cloned().collect::<Vec<_>>(), before, "nothing is added");
    }
}

#[test]
fn the_shipped_contract_has_the_names_that_clients_know() {
    let wit = |name: &str| format!("{}/../wit/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut resolve = wit_parser::Resolve::new();
    for folder in ["types", "user", "auth"] {
        resolve.push_path(wit(folder)).expect("parses");
    }
    let world =
        "package t:t; world w { export arcana:auth/auth-service@1.0.0; export arcana:user/user-service@1.0.0; }";
    let package = resolve.push_source("w.wit", world).expect("parses");
    let world = resolve.packages[package].worlds["w"];
    let contract = crate::contract::Contract::from_world(&resolve, world, &crate::contract::docs::Docs::default());
    let files = describe(&contract).expect("describes");
    pool(&files);
    assert_eq!(files.services(), ["arcana.auth.v1.AuthService", "arcana.user.v1.UserService"]);
    for method in ["Register", "Login", "Refresh", "Logout", "ValidateToken", "GetCurrentUser"] {
        assert!(files.of_symbol(&format!("arcana.auth.v1.AuthService.{method}")).is_some(), "{method}");
    }
    for method in ["Get", "List", "Create", "Update", "Delete", "UpdateRole", "UpdateStatus"] {
        assert!(files.of_symbol(&format!("arcana.user.v1.UserService.{method}")).is_some(), "{method}");
    }
}
