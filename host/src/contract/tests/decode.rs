use serde_json::json;
use wasmtime::component::Val;

use super::super::{json as codec, outcome};
use super::{contract, ty};
use crate::problem::{Kind, Problem};

const DEFS: &str = "
  enum color { red, dark-green }
  flags access { can-read, can-write }
  record address { zip-code: string, floor: option<s8> }
  variant shape { dot, circle(f64), label(option<string>), box(tuple<u8, u8>) }
  record person {
    name: string, age: u8, address: address, tags: list<string>, color: color, access: access,
    shape: option<shape>, photo: option<list<u8>>, initial: option<char>, score: option<f32>,
    nick: text-change, twice: option<option<u8>>, checked: option<result<u8, string>>, done: option<result>,
  }";

fn read(wit: &str, text: &str) -> Result<Val, Problem> {
    codec::decode(&ty(DEFS, wit), text.as_bytes())
}

/// The errors as `path CODE`, sorted.
fn errors(wit: &str, text: &str) -> Vec<String> {
    let problem = read(wit, text).expect_err(text);
    assert_eq!(problem.kind, Kind::Validation, "{problem:?}");
    let mut list: Vec<_> = problem.details.iter().map(|e| format!("{} {}", e.field, e.code)).collect();
    list.sort();
    list
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let text = json!({
        "name": 1, "age": 256, "address": {"floor": 1.5}, "tags": ["a", null, {"x": [1]}], "color": "blue",
        "access": ["can_read", "can_fly", 3], "shape": {"box": [1]}, "photo": "@@", "initial": "ab", "score": 1e39,
        "nick": 5, "twice": 5, "checked": {"ok": "x"}, "unknown": {"deep": [1, {}]},
    });
    assert_eq!(
        errors("person", &text.to_string()),
        [
            "access[1] UNKNOWN_VALUE",
            "access[2] WRONG_TYPE",
            "address.floor WRONG_TYPE",
            "address.zip_code REQUIRED",
            "age OUT_OF_RANGE",
            "checked.ok WRONG_TYPE",
            "color UNKNOWN_VALUE",
            "initial INVALID_FORMAT",
            "name WRONG_TYPE",
            "nick WRONG_TYPE",
            "photo INVALID_FORMAT",
            "score OUT_OF_RANGE",
            "shape.box[1] REQUIRED",
            "tags[1] REQUIRED",
            "tags[2] WRONG_TYPE",
            "twice WRONG_TYPE",
        ]
    );
}

#[test]
fn absence_by_type() {
    assert_eq!(
        errors("person", "{}"),
        ["access REQUIRED", "address REQUIRED", "age REQUIRED", "color REQUIRED", "name REQUIRED", "tags REQUIRED"]
    );
    let text = r#"{"name":"n","age":1,"address":{"zip_code":"z"},"tags":[],"color":"dark_green","access":[]}"#;
    let Ok(Val::Record(person)) = read("person", text) else { panic!("a person") };
    let field = |name: &str| &person.iter().find(|(n, _)| n == name).expect(name).1;
    assert_eq!(*field("nick"), Val::Variant("keep".into(), None));
    assert_eq!(*field("twice"), Val::Option(None));
    assert_eq!(*field("color"), Val::Enum("dark-green".into()));
}

#[test]
fn changes_are_a_merge_patch() {
    let ty = ty("record patch { a: text-change, b: text-change, c: text-change, d: list<text-change> }", "patch");
    let value = codec::decode(&ty, br#"{"b":null,"c":"x","d":["keep",{"set":"y"}]}"#).expect("a patch");
    let set = |text: &str| Val::Variant("set".into(), Some(Box::new(Val::String(text.into()))));
    assert_eq!(
        value,
        Val::Record(vec![
            ("a".into(), Val::Variant("keep".into(), None)),
            ("b".into(), Val::Variant("clear".into(), None)),
            ("c".into(), set("x")),
            ("d".into(), Val::List(vec![Val::Variant("keep".into(), None), set("y")])),
        ])
    );
    let mut out = Vec::new();
    codec::encode(&ty, &value, &mut out).expect("encodes");
    assert_eq!(out, br#"{"b":null,"c":"x","d":["keep",{"set":"y"}]}"#);
}

#[test]
fn a_change_of_an_option_is_an_ordinary_variant() {
    let defs = "variant odd { keep, clear, set(option<u8>) } record r { a: odd }";
    let ty = ty(defs, "r");
    let problem = codec::decode(&ty, b"{}").expect_err("it is required");
    assert_eq!(problem.details[0].code, "REQUIRED");
    codec::decode(&ty, br#"{"a":{"set":null}}"#).expect("an ordinary variant");
}

#[test]
fn numbers_at_their_edges() {
    for (wit, text, value) in [
        ("u64", "18446744073709551615", Val::U64(u64::MAX)),
        ("s64", "-9223372036854775808", Val::S64(i64::MIN)),
        ("u8", "255", Val::U8(255)),
        ("s8", "-128", Val::S8(-128)),
        ("u8", "-0", Val::U8(0)),
        ("u32", "1e3", Val::U32(1000)),
        ("s32", "-2.0", Val::S32(-2)),
        ("f64", "-0.0", Val::Float64(-0.0)),
        ("f64", "-0", Val::Float64(-0.0)),
        ("f64", "18446744073709551615", Val::Float64(18_446_744_073_709_551_615.0)),
        ("f64", "123456789012345678901234567890", Val::Float64(123_456_789_012_345_678_901_234_567_890.0)),
        ("f64", "1.7976931348623157e308", Val::Float64(f64::MAX)),
        ("f64", "5e-324", Val::Float64(5e-324)),
        ("f32", "3.4028235e38", Val::Float32(f32::MAX)),
        ("f32", r#""-Infinity""#, Val::Float32(f32::NEG_INFINITY)),
        ("f64", r#""NaN""#, Val::Float64(f64::NAN)),
        ("char", r#""\ud83d\ude00""#, Val::Char('😀')),
        ("option<u8>", "null", Val::Option(None)),
    ] {
        assert_eq!(read(wit, text).expect(text), value, "{wit} {text}");
    }
    for (wit, text, code) in [
        ("u64", "18446744073709551616", "OUT_OF_RANGE"),
        ("u64", "-1", "OUT_OF_RANGE"),
        ("s64", "9223372036854775808", "OUT_OF_RANGE"),
        ("u64", "1e18", "INVALID_FORMAT"),
        ("u64", "1e300", "OUT_OF_RANGE"),
        ("u64", "1e400", "OUT_OF_RANGE"),
        ("string", "1e400", "OUT_OF_RANGE"),
        ("u8", "1.5", "WRONG_TYPE"),
        ("f32", "3.5e38", "OUT_OF_RANGE"),
        ("f64", r#""inf""#, "WRONG_TYPE"),
        ("u8", r#""1""#, "WRONG_TYPE"),
        ("char", r#""""#, "INVALID_FORMAT"),
        ("bool", "0", "WRONG_TYPE"),
        ("string", "null", "REQUIRED"),
        ("list<u8>", "[1,2]", "WRONG_TYPE"),
        ("tuple<u8, u8>", "[1,2,3]", "INVALID_FORMAT"),
        ("color", r#""darkgreen""#, "UNKNOWN_VALUE"),
        ("shape", r#""circle""#, "INVALID_FORMAT"),
        ("shape", r#"{"dot":null}"#, "INVALID_FORMAT"),
        ("shape", "{}", "UNKNOWN_VALUE"),
        ("shape", r#"{"circle":1,"label":"x"}"#, "INVALID_FORMAT"),
        ("shape", r#"{"circle":1,"circle":2}"#, "DUPLICATE_FIELD"),
        ("result<u8, string>", r#"{}"#, "UNKNOWN_VALUE"),
        ("result", r#"{"ok":1}"#, "WRONG_TYPE"),
        ("address", r#"{"zip_code":"a","zip_code":"b"}"#, "DUPLICATE_FIELD"),
    ] {
        let problem = read(wit, text).expect_err(text);
        assert_eq!((problem.kind, &*problem.details[0].code), (Kind::Validation, code), "{wit} {text}");
    }
}

#[test]
fn the_path_of_a_number_beyond_every_type() {
    assert_eq!(errors("person", r#"{"address":{"floor":1e400}}"#), ["address.floor OUT_OF_RANGE"]);
    read("address", r#"{"zip_code":"z","ignored":1e400}"#).expect("unknown fields are ignored");
}

#[test]
fn malformed_json_is_told_with_its_place() {
    let deep = "[".repeat(5000);
    for text in ["", "{", "{\"zip_code\":}", "{\"zip_code\":\"a\"} x", "\"\\ud800\"", "\u{feff}{}", "nul", "01", &deep]
    {
        let problem = read("address", text).expect_err(text);
        assert_eq!((problem.kind, problem.code()), (Kind::Malformed, "INVALID_JSON"), "{text}");
        assert!(problem.message.contains("line") && problem.message.contains("column"), "{}", problem.message);
    }
    let problem = codec::decode(&ty("", "string"), b"\"\xff\"").expect_err("no UTF-8");
    assert_eq!(problem.kind, Kind::Malformed);
    // The grammar comes before the fields.
    assert_eq!(read("address", r#"{"zip_code":1"#).expect_err("cut off").kind, Kind::Malformed);
}

#[test]
fn deep_unknown_fields_cost_no_stack() {
    let deep = format!(r#"{{"zip_code":"z","x":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    read("address", &deep).expect("ignored");
}

#[test]
fn what_may_grow_is_bounded() {
    let many = format!("[{}]", vec!["\"x\""; 5000].join(","));
    assert_eq!(read("list<u8>", &many).expect_err("one").details.len(), 1);
    assert_eq!(read("list<u16>", &many).expect_err("many").details.len(), codec::MAX_ERRORS);
    let blob = |len: usize| format!("\"{}\"", "A".repeat(len.div_ceil(3) * 4));
    read("list<u8>", &blob(codec::MAX_BYTES - 4)).expect("as much as is allowed");
    let problem = read("list<u8>", &blob(codec::MAX_BYTES + 3)).expect_err("too much");
    assert_eq!(problem.details[0].code, "TOO_LARGE");
    let problem = read("list<list<u8>>", &format!("[{0},{0}]", blob(codec::MAX_BYTES / 2 + 3))).expect_err("both");
    assert_eq!((problem.details[0].field.as_str(), &*problem.details[0].code), ("[1]", "TOO_LARGE"));
    // A small body must not become a large record each three bytes.
    let rows = format!("[{}]", vec!["{}"; 100_000].join(","));
    let problem =
        codec::decode(&ty("record r { a: option<u8>, b: option<u8>, c: option<u8> }", "list<r>"), rows.as_bytes());
    assert_eq!(problem.expect_err("too many values").details[0].code, "TOO_LARGE");
}

#[test]
fn base64_in_every_spelling() {
    let bytes = Val::List([0xfb, 0xff, 0xfe, 1].map(Val::U8).to_vec());
    for text in [r#""+//+AQ==""#, r#""+//+AQ""#, r#""-__-AQ""#, r#""-__-AQ==""#] {
        assert_eq!(read("list<u8>", text).expect(text), bytes);
    }
    assert!(read("list<u8>", r#""-_/+AQ""#).is_err());
}

#[test]
fn wide_records_are_found_by_name_in_any_order() {
    let defs: Vec<_> = (0..80).map(|n| format!("n{n}: u8")).collect();
    let ty = ty(&format!("record wide {{ {} }}", defs.join(", ")), "wide");
    let fields: Vec<_> = (0..80).rev().map(|n| format!("\"n{n}\":{n}")).collect();
    let Ok(Val::Record(values)) = codec::decode(&ty, format!("{{{}}}", fields.join(",")).as_bytes()) else {
        panic!("a record")
    };
    for (n, (name, value)) in values.iter().enumerate() {
        assert_eq!((name.as_str(), value), (format!("n{n}").as_str(), &Val::U8(u8::try_from(n).expect("small"))));
    }
    let twice = codec::decode(&ty, format!("{{{},\"n79\":1}}", fields.join(",")).as_bytes()).expect_err("twice");
    assert_eq!(twice.details[0].field, "n79");
}

fn a_problem(kind: &str) -> Val {
    let text = |t: &str| Val::String(t.into());
    let detail = Val::Record(vec![
        ("field".into(), text("email")),
        ("message".into(), text("is taken")),
        ("code".into(), text("TAKEN")),
    ]);
    Val::Record(vec![
        ("kind".into(), Val::Enum(kind.into())),
        ("code".into(), Val::Option(Some(Box::new(text("EMAIL_TAKEN"))))),
        ("message".into(), text("no")),
        ("details".into(), Val::List(vec![detail])),
        ("retry-after-ms".into(), Val::Option(Some(Box::new(Val::U64(5))))),
    ])
}

#[test]
fn answers_of_functions() {
    let contract =
        contract("f: func() -> result<u8, problem>; g: func() -> result<_, problem>; h: func() -> string; i: func();");
    let plan = |name: &str| contract.publish(name).expect(name).1;
    let answer = |name: &str, results: &[Val]| {
        let mut out = Vec::new();
        codec::answer(plan(name), results, &mut out).map(|some| (some, String::from_utf8(out).expect("text")))
    };
    let ok = |value: Option<Val>| [Val::Result(Ok(value.map(Box::new)))];
    assert_eq!(answer("api.f", &ok(Some(Val::U8(7)))), Ok((true, "7".into())));
    assert_eq!(answer("api.g", &ok(None)), Ok((false, String::new())));
    assert_eq!(answer("api.h", &[Val::String("a\"\u{1}\n\\é".into())]), Ok((true, "\"a\\\"\\u0001\\n\\\\é\"".into())));
    assert_eq!(answer("api.i", &[]), Ok((false, String::new())));

    let problem = answer("api.f", &[Val::Result(Err(Some(Box::new(a_problem("conflict")))))]).expect_err("a problem");
    assert_eq!((problem.kind, problem.code(), problem.retry_after_ms), (Kind::Conflict, "EMAIL_TAKEN", Some(5)));
    assert_eq!(problem.details[0].field, "email");
    assert_eq!(outcome::problem(&a_problem("nonsense")), None);
    // Results of another function are a fault of the host, not a panic.
    for results in [&[][..], &[Val::U8(1)], &ok(None), &ok(Some(Val::Bool(true)))] {
        assert_eq!(answer("api.f", results).expect_err("a fault").kind, Kind::Internal);
    }
}
