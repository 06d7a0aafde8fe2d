//! Every type and every rule about presence, byte by byte.

use wasmtime::component::Val;

use super::{address, case, errors, len, param, plan, read, record, some, text, var};
use crate::contract::proto::{answer, decode, decode_response, encode_request};
use crate::problem::Kind;

fn flags(names: &[&str]) -> Val {
    Val::Flags(names.iter().map(|name| (*name).to_owned()).collect())
}

fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().copied().map(Val::U8).collect())
}

fn label(name: &str) -> Val {
    Val::Enum(name.to_owned())
}

fn none() -> Val {
    Val::Option(None)
}

#[test]
fn every_type_is_written_and_read() {
    let rows: Vec<(&str, Val, Vec<u8>)> = vec![
        ("bool", Val::Bool(true), vec![0x08, 1]),
        ("bool", Val::Bool(false), vec![]),
        ("s8", Val::S8(-1), vec![0x08, 1]),
        ("s8", Val::S8(i8::MIN), vec![0x08, 0xff, 1]),
        ("s16", Val::S16(i16::MAX), vec![0x08, 0xfe, 0xff, 3]),
        ("s32", Val::S32(i32::MIN), vec![0x08, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("s32", Val::S32(0), vec![]),
        ("u8", Val::U8(255), vec![0x08, 0xff, 1]),
        ("u16", Val::U16(u16::MAX), vec![0x08, 0xff, 0xff, 3]),
        ("u32", Val::U32(u32::MAX), vec![0x08, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("s64", Val::S64(-1), vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("s64", Val::S64(5), vec![0x08, 5]),
        ("u64", Val::U64(u64::MAX), vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("f32", Val::Float32(1.5), vec![0x0d, 0, 0, 0xc0, 0x3f]),
        ("f32", Val::Float32(0.0), vec![]),
        ("f32", Val::Float32(-0.0), vec![0x0d, 0, 0, 0, 0x80]),
        ("f64", Val::Float64(f64::INFINITY), vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]),
        ("f64", Val::Float64(-0.0), vec![0x09, 0, 0, 0, 0, 0, 0, 0, 0x80]),
        ("char", Val::Char('😀'), len(1, "😀")),
        ("char", Val::Char('\0'), vec![0x0a, 1, 0]),
        ("string", text("hé"), len(1, "hé")),
        ("string", text(""), vec![]),
        ("list<u8>", bytes(b"\x00\xff"), vec![0x0a, 2, 0, 0xff]),
        ("list<u8>", bytes(b""), vec![]),
        ("color", label("red"), vec![0x08, 1]),
        ("color", label("dark-green"), vec![0x08, 2]),
        ("access", flags(&[]), vec![]),
        ("access", flags(&["can-read", "can-own"]), vec![0x0a, 2, 1, 3]),
        // Repeated: packed where the item is a number, one occurrence an item where it is not.
        ("list<bool>", Val::List(vec![Val::Bool(true), Val::Bool(false)]), vec![0x0a, 2, 1, 0]),
        ("list<u16>", Val::List(vec![Val::U16(0), Val::U16(300)]), vec![0x0a, 3, 0, 0xac, 2]),
        ("list<s64>", Val::List(vec![]), vec![]),
        ("list<f32>", Val::List(vec![Val::Float32(1.5)]), vec![0x0a, 4, 0, 0, 0xc0, 0x3f]),
        ("list<color>", Val::List(vec![label("dark-green"), label("red")]), vec![0x0a, 2, 2, 1]),
        ("list<string>", Val::List(vec![text("a"), text("")]), vec![0x0a, 1, b'a', 0x0a, 0]),
        ("list<char>", Val::List(vec![Val::Char('a'), Val::Char('b')]), vec![0x0a, 1, b'a', 0x0a, 1, b'b']),
        ("list<list<u8>>", Val::List(vec![bytes(b""), bytes(b"x")]), vec![0x0a, 0, 0x0a, 1, b'x']),
        ("list<nothing>", Val::List(vec![record([("a", none())]); 2]), vec![0x0a, 0, 0x0a, 0]),
        // What is no plain item has a wrapper.
        ("list<option<u8>>", Val::List(vec![none(), some(Val::U8(0))]), vec![0x0a, 0, 0x0a, 2, 0x08, 0]),
        (
            "list<list<u16>>",
            Val::List(vec![Val::List(vec![]), Val::List(vec![Val::U16(1), Val::U16(2)])]),
            vec![0x0a, 0, 0x0a, 4, 0x0a, 2, 1, 2],
        ),
        ("list<access>", Val::List(vec![flags(&[]), flags(&["can-write"])]), vec![0x0a, 0, 0x0a, 3, 0x0a, 1, 2]),
        // An option is there with the default of its type.
        ("option<u8>", none(), vec![]),
        ("option<u8>", some(Val::U8(0)), vec![0x08, 0]),
        ("option<f64>", some(Val::Float64(0.0)), vec![0x09, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("option<string>", some(text("")), vec![0x0a, 0]),
        ("option<list<u8>>", some(bytes(b"")), vec![0x0a, 0]),
        ("option<color>", some(label("red")), vec![0x08, 1]),
        ("option<address>", none(), vec![]),
        ("option<address>", some(address("", None)), vec![0x0a, 0]),
        ("option<option<u8>>", none(), vec![]),
        ("option<option<u8>>", some(none()), vec![0x0a, 0]),
        ("option<option<u8>>", some(some(Val::U8(0))), vec![0x0a, 2, 0x08, 0]),
        ("option<option<option<u8>>>", some(some(none())), vec![0x0a, 2, 0x0a, 0]),
        ("option<list<string>>", some(Val::List(vec![])), vec![0x0a, 0]),
        ("option<list<string>>", some(Val::List(vec![text("x")])), vec![0x0a, 3, 0x0a, 1, b'x']),
        ("option<access>", some(flags(&[])), vec![0x0a, 0]),
        ("option<access>", some(flags(&["can-own"])), vec![0x0a, 3, 0x0a, 1, 3]),
        // Messages are always there.
        ("address", address("", None), vec![0x0a, 0]),
        ("address", address("z", Some(-2)), vec![0x0a, 5, 0x0a, 1, b'z', 0x10, 3]),
        ("tuple<u8, string>", Val::Tuple(vec![Val::U8(0), text("")]), vec![0x0a, 0]),
        ("tuple<u8, string>", Val::Tuple(vec![Val::U8(1), text("a")]), vec![0x0a, 5, 0x08, 1, 0x12, 1, b'a']),
        ("shape", case("dot", None), vec![0x0a, 2, 0x0a, 0]),
        ("shape", case("circle", Some(Val::Float64(0.0))), vec![0x0a, 9, 0x11, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("shape", case("label", Some(none())), vec![0x0a, 2, 0x1a, 0]),
        ("shape", case("label", Some(some(text("")))), vec![0x0a, 4, 0x1a, 2, 0x0a, 0]),
        ("shape", case("box", Some(Val::Tuple(vec![Val::U8(0), Val::U8(2)]))), vec![0x0a, 4, 0x22, 2, 0x10, 2]),
        ("shape", case("tags", Some(Val::List(vec![text("t")]))), vec![0x0a, 5, 0x2a, 3, 0x0a, 1, b't']),
        ("shape", case("at", Some(address("", None))), vec![0x0a, 2, 0x32, 0]),
        ("shape", case("of", Some(label("red"))), vec![0x0a, 2, 0x38, 1]),
        ("result<u8, string>", Val::Result(Ok(Some(Box::new(Val::U8(0))))), vec![0x0a, 2, 0x08, 0]),
        ("result<u8, string>", Val::Result(Err(Some(Box::new(text(""))))), vec![0x0a, 2, 0x12, 0]),
        ("result", Val::Result(Ok(None)), vec![0x0a, 2, 0x0a, 0]),
        ("result", Val::Result(Err(None)), vec![0x0a, 2, 0x12, 0]),
        // A change that keeps is left out of a message, and only there.
        ("text-change", case("keep", None), vec![]),
        ("text-change", case("clear", None), vec![0x0a, 2, 0x12, 0]),
        ("text-change", case("set", Some(text(""))), vec![0x0a, 2, 0x1a, 0]),
        ("option<text-change>", some(case("keep", None)), vec![0x0a, 2, 0x0a, 0]),
        ("list<text-change>", Val::List(vec![case("keep", None)]), vec![0x0a, 2, 0x0a, 0]),
        ("tuple<text-change>", Val::Tuple(vec![case("keep", None)]), vec![0x0a, 4, 0x0a, 2, 0x0a, 0]),
    ];
    for (wit, value, wire) in rows {
        let plan = param(wit);
        let mut out = Vec::new();
        encode_request(&plan, &[value.clone(), Val::U8(0)], &mut out).expect(wit);
        assert_eq!(out, wire, "{wit} {value:?}");
        assert_eq!(read(&plan, &wire).expect(wit), value, "{wit} {wire:x?}");
        assert_eq!(decode(&plan, &[wire, var(2, 7)].concat()).expect(wit)[1], Val::U8(7), "{wit}");
    }
}

#[test]
fn other_spellings_are_read_too() {
    let rows: Vec<(&str, Vec<u8>, Val)> = vec![
        // Not packed, packed in several parts, and both.
        ("list<u16>", [var(1, 1), var(1, 300)].concat(), Val::List(vec![Val::U16(1), Val::U16(300)])),
        (
            "list<u16>",
            [len(1, [1]), var(1, 2), len(1, []), len(1, [3, 4])].concat(),
            Val::List((1..=4).map(Val::U16).collect()),
        ),
        ("list<f64>", vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], Val::List(vec![Val::Float64(1.0)])),
        ("list<color>", [var(1, 2), len(1, [1])].concat(), Val::List(vec![label("dark-green"), label("red")])),
        // Flags are a set, in the order of their declaration.
        ("access", [var(1, 3), var(1, 1), len(1, [3, 1])].concat(), flags(&["can-read", "can-own"])),
        // Defaults that are written, and numbers with more bits than the type has.
        ("u8", var(1, 0), Val::U8(0)),
        ("bool", var(1, 300), Val::Bool(true)),
        ("u32", var(1, (1 << 32) + 5), Val::U32(5)),
        ("option<s32>", var(1, (1 << 40) + 1), some(Val::S32(-1))),
        ("string", len(1, ""), text("")),
        ("address", len(1, len(1, "")), address("", None)),
        // A varint may be longer than it has to be.
        ("u8", vec![0x08, 0x81, 0x80, 0x00], Val::U8(1)),
        // Unknown fields of every kind are skipped, wherever they are.
        (
            "address",
            [
                var(9, 1),
                vec![0x4d, 1, 2, 3, 4],
                vec![0x49, 1, 2, 3, 4, 5, 6, 7, 8],
                len(9, "unknown"),
                vec![0x4b, 0x08, 1, 0x4c],
                len(1, [len(3, "x"), len(1, "z"), var(100, 1)].concat()),
            ]
            .concat(),
            address("z", None),
        ),
        ("result", len(1, len(2, var(1, 7))), Val::Result(Err(None))),
    ];
    for (wit, wire, value) in rows {
        assert_eq!(read(&param(wit), &wire).expect(wit), value, "{wit} {wire:x?}");
    }
}

#[test]
fn what_absence_means() {
    for (wit, value) in [
        ("bool", Val::Bool(false)),
        ("s8", Val::S8(0)),
        ("u8", Val::U8(0)),
        ("s16", Val::S16(0)),
        ("u16", Val::U16(0)),
        ("s32", Val::S32(0)),
        ("u32", Val::U32(0)),
        ("s64", Val::S64(0)),
        ("u64", Val::U64(0)),
        ("f32", Val::Float32(0.0)),
        ("f64", Val::Float64(0.0)),
        ("string", text("")),
        ("list<u8>", bytes(b"")),
        ("list<person>", Val::List(vec![])),
        ("access", flags(&[])),
        ("option<person>", none()),
        ("option<option<u8>>", none()),
        ("text-change", case("keep", None)),
    ] {
        assert_eq!(read(&param(wit), &[]).expect(wit), value, "{wit}");
    }
    for wit in ["color", "address", "nothing", "tuple<u8>", "shape", "result", "tuple<text-change>"] {
        assert_eq!(errors(&param(wit), &[]), ["p REQUIRED"], "{wit}");
    }
    assert_eq!(errors(&param("char"), &[]), ["p INVALID_FORMAT"]);
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let plan = plan("(p: person)");
    assert_eq!(
        errors(&plan, &[]),
        ["address REQUIRED", "color REQUIRED", "pair REQUIRED"],
        "the record is the message itself"
    );
    let wire = [
        var(2, 256),
        len(3, var(2, 256)),
        len(4, "fine"),
        var(5, 3),
        len(6, [1, 0, 9]),
        len(7, len(4, var(2, 300))),
        len(9, "ab"),
        len(12, var(1, 256)),
        len(13, var(1, 256)),
        len(14, []),
        len(15, var(1, 1000)),
        len(16, len(1, [0xff, 0xff, 0x7f])),
        len(16, []),
        len(16, len(1, [1, 0x80, 0x80, 0x04])),
        var(77, 1),
    ];
    assert_eq!(
        errors(&plan, &wire.concat()),
        [
            "access[1] REQUIRED",
            "access[2] UNKNOWN_VALUE",
            "address.floor OUT_OF_RANGE",
            "age OUT_OF_RANGE",
            "checked.ok OUT_OF_RANGE",
            "color UNKNOWN_VALUE",
            "done REQUIRED",
            "grid[0][0] OUT_OF_RANGE",
            "grid[2][1] OUT_OF_RANGE",
            "initial INVALID_FORMAT",
            "pair[0] OUT_OF_RANGE",
            "pair[1] REQUIRED",
            "shape.box[1] OUT_OF_RANGE",
            "twice.value OUT_OF_RANGE",
        ]
    );
}

#[test]
fn the_messages_are_those_of_json() {
    let plan = plan("(p: person)");
    let json = crate::contract::Binding::new(&plan, &[], true).expect("binds");
    let body = br#"{"name":"n","age":256,"address":{"zip_code":"z","floor":-129},"tags":[],"color":"blue","access":[],
        "initial":"ab","pair":[128,"red"],"grid":[[65536]]}"#;
    let wire = [
        var(2, 256),
        len(3, var(2, 257)),
        var(5, 9),
        len(9, "ab"),
        len(15, [var(1, 256), var(2, 1)].concat()),
        len(16, len(1, [0x80, 0x80, 0x04])),
    ];
    let sorted = |mut problem: crate::problem::Problem| {
        problem.details.sort_by(|a, b| a.field.cmp(&b.field));
        problem
    };
    let from_json = sorted(json.decode([], None, body).expect_err("six are wrong"));
    assert_eq!(from_json.details.len(), 6);
    assert_eq!(sorted(decode(&plan, &wire.concat()).expect_err("six are wrong")), from_json);
}

#[test]
fn numbers_at_their_edges() {
    for (wit, number, value) in [
        ("u8", 255, Ok(Val::U8(255))),
        ("u8", 256, Err("OUT_OF_RANGE")),
        ("u16", 65535, Ok(Val::U16(65535))),
        ("u16", 65536, Err("OUT_OF_RANGE")),
        ("s8", 255, Ok(Val::S8(-128))),
        ("s8", 256, Err("OUT_OF_RANGE")),
        ("s8", 254, Ok(Val::S8(127))),
        ("s16", 65535, Ok(Val::S16(-32768))),
        ("s16", 65536, Err("OUT_OF_RANGE")),
        ("color", 0, Err("REQUIRED")),
        ("color", 2, Ok(label("dark-green"))),
        ("color", 3, Err("UNKNOWN_VALUE")),
        ("color", u64::MAX, Err("UNKNOWN_VALUE")),
        ("option<color>", 0, Err("REQUIRED")),
        ("option<u8>", 256, Err("OUT_OF_RANGE")),
    ] {
        let read = read(&param(wit), &var(1, number));
        let read = read.as_ref().map_err(|problem| &*problem.details[0].code);
        assert_eq!(read, value.as_ref().map_err(|code| *code), "{wit} {number}");
    }
}

#[test]
fn cases_and_sides_have_to_be_chosen() {
    for wit in ["shape", "result<u8, string>", "result", "text-change"] {
        assert_eq!(errors(&param(wit), &len(1, [])), ["p REQUIRED"], "{wit}");
        assert_eq!(errors(&param(wit), &len(1, var(50, 1))), ["p REQUIRED"], "a case from the future: {wit}");
    }
    // What was chosen may be all defaults.
    let zeros = Val::Tuple(vec![Val::U8(0), Val::U8(0)]);
    assert_eq!(read(&param("shape"), &len(1, len(4, []))), Ok(case("box", Some(zeros))));
}

#[test]
fn a_single_record_is_the_message_itself() {
    let plan = plan("(p: address)");
    let wire = [len(1, "z"), var(2, 3)].concat();
    assert_eq!(decode(&plan, &wire), Ok(vec![address("z", Some(-2))]));
    let mut out = Vec::new();
    encode_request(&plan, &[address("z", Some(-2))], &mut out).expect("encodes");
    assert_eq!(out, wire);
    // Beside another parameter it is a field.
    assert_eq!(decode(&param("address"), &len(1, &wire)).expect("reads")[0], address("z", Some(-2)));
    let nothing = super::plan("()");
    assert_eq!(decode(&nothing, &[]), Ok(vec![]));
    assert_eq!(decode(&nothing, &wire), Ok(vec![]));
}

#[test]
fn answers_of_functions() {
    let ok = |value: Option<Val>| vec![Val::Result(Ok(value.map(Box::new)))];
    let rows = [
        ("() -> result<u8, problem>", ok(Some(Val::U8(7))), Some(Val::U8(7)), var(1, 7)),
        ("() -> result<u8, problem>", ok(Some(Val::U8(0))), Some(Val::U8(0)), vec![]),
        ("() -> result<_, problem>", ok(None), None, vec![]),
        ("() -> result<address, problem>", ok(Some(address("z", None))), Some(address("z", None)), len(1, "z")),
        ("() -> address", vec![address("z", None)], Some(address("z", None)), len(1, "z")),
        ("() -> string", vec![text("x")], Some(text("x")), len(1, "x")),
        ("() -> list<address>", vec![Val::List(vec![])], Some(Val::List(vec![])), vec![]),
        ("() -> option<address>", vec![none()], Some(none()), vec![]),
        ("() -> option<option<u8>>", vec![some(none())], Some(some(none())), len(1, [])),
        ("() -> text-change", vec![case("keep", None)], Some(case("keep", None)), len(1, len(1, []))),
        ("()", vec![], None, vec![]),
    ];
    for (signature, results, value, wire) in rows {
        let plan = plan(signature);
        let mut out = b"before".to_vec();
        answer(&plan, &results, &mut out).expect(signature);
        assert_eq!(out, [b"before", &wire[..]].concat(), "{signature}");
        assert_eq!(decode_response(&plan, &wire).expect(signature), value, "{signature}");
    }
    let errors = decode_response(&plan("() -> list<u8>"), &var(1, 1)).expect_err("another type");
    assert!(errors.message.contains("`value`"), "{}", errors.message);
    let errors = decode_response(&plan("() -> list<u16>"), &len(1, [0xff, 0xff, 0x7f])).expect_err("too large");
    assert_eq!(errors.details[0].field, "value[0]");
}

#[test]
fn the_plugins_problem_is_the_answer() {
    let details = Val::List(vec![record([("field", text("email")), ("message", text("no")), ("code", text("TAKEN"))])]);
    let problem = record([
        ("kind", label("conflict")),
        ("code", some(text("EMAIL_TAKEN"))),
        ("message", text("no")),
        ("details", details),
        ("retry-after-ms", none()),
    ]);
    let mut out = Vec::new();
    let results = [Val::Result(Err(Some(Box::new(problem))))];
    let problem = answer(&plan("() -> result<u8, problem>"), &results, &mut out).expect_err("a problem");
    assert_eq!((problem.kind, problem.code(), problem.details.len()), (Kind::Conflict, "EMAIL_TAKEN", 1));
    assert!(out.is_empty());
}

/// A fault of the host, not a panic.
#[test]
fn values_of_another_function_are_refused() {
    for (wit, value) in [
        ("u8", Val::U16(1)),
        ("u8", Val::Bool(false)),
        ("string", Val::List(vec![])),
        ("list<u8>", Val::List(vec![Val::U16(1)])),
        ("list<u16>", Val::List(vec![Val::U8(1)])),
        ("list<u16>", Val::Flags(vec!["x".into()])),
        ("list<string>", Val::List(vec![Val::U8(1)])),
        ("option<u8>", Val::U8(1)),
        ("option<u8>", some(Val::U16(1))),
        ("access", flags(&["can-fly"])),
        ("access", Val::List(vec![Val::U8(1)])),
        ("color", label("blue")),
        ("shape", case("square", None)),
        ("shape", case("dot", Some(Val::U8(1)))),
        ("shape", case("circle", None)),
        ("result", Val::Result(Ok(Some(Box::new(Val::U8(1)))))),
        ("address", record([("zip-code", text(""))])),
        ("address", Val::Tuple(vec![])),
        ("tuple<u8>", Val::Tuple(vec![])),
        ("text-change", case("keep", Some(text("")))),
        ("char", text("a")),
    ] {
        let problem = encode_request(&param(wit), &[value.clone(), Val::U8(0)], &mut Vec::new());
        assert_eq!(problem.expect_err(wit).kind, Kind::Internal, "{wit} {value:?}");
    }
    let plan = plan("() -> result<u8, problem>");
    for results in [&[][..], &[Val::U8(1)], &[Val::Result(Ok(None))]] {
        assert_eq!(answer(&plan, results, &mut Vec::new()).expect_err("a fault").kind, Kind::Internal);
    }
    assert_eq!(encode_request(&plan, &[Val::U8(1)], &mut Vec::new()).expect_err("a fault").kind, Kind::Internal);
}

#[test]
fn long_messages_have_long_lengths() {
    let plan = param("list<address>");
    for len in [0, 1, 100, 123, 124, 125, 126, 127, 128, 129, 16_370, 16_379, 16_380, 16_384, 70_000, 3_000_000] {
        let value = Val::List(vec![address(&"x".repeat(len), Some(1)); 2]);
        let mut out = Vec::new();
        encode_request(&plan, &[value.clone(), Val::U8(9)], &mut out).expect("encodes");
        let item = [if len == 0 { vec![] } else { super::len(1, "x".repeat(len)) }, var(2, 2)].concat();
        assert!(out == [super::len(1, &item), super::len(1, &item), var(2, 9)].concat(), "{len}");
        assert!(read(&plan, &out).expect("reads") == value, "{len}");
    }
}
