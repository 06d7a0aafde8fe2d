//! The schemas admit exactly what is read, and all that is written: for types and values of any kind, judged by a JSON Schema
//! validator that others wrote (the Python package `jsonschema-rs`, in the Python of `cargo xtask test`).

use std::io::Write as _;
use std::process::{Command, Stdio};

use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::super::openapi::{Access, Api, Operation, Service, document};
use super::super::{Binding, FunctionPlan, PackageName, json as codec};
use super::props::{any_json, plan, shape, value};

/// Reads one JSON object a line: a schema, and what it must admit and refuse.
const JUDGE: &str = "
import json, sys
from jsonschema_rs import Draft202012Validator
count = 0
for line in sys.stdin:
    case = json.loads(line)
    validator = Draft202012Validator(case['schema'])
    for wanted in (True, False):
        for text in case['admits' if wanted else 'refuses']:
            count += 1
            if validator.is_valid(json.loads(text)) != wanted:
                print('refused' if wanted else 'admitted', text, json.dumps(case['schema']))
print(count, file=sys.stderr)
";

/// The schemas of `p` in `f: func(p: T, q: u8) -> T` on both sides; that of the request where p is a member like others.
fn schemas(plan: &FunctionPlan) -> (Value, Value) {
    let binding = Binding::new(plan, &[], true).expect("binds");
    let package = PackageName { namespace: "t".into(), name: "t".into(), version: None };
    let (verb, template, access) = (&Method::POST, "/f", vec![Access::Public]);
    let operation = Operation {
        verb,
        template,
        plan,
        binding: &binding,
        access,
        limits: vec![],
        status: StatusCode::OK,
        streamed: None,
    };
    let service =
        Service { name: "api", package: &package, docs: None, plugin: Some("t/t"), operations: vec![operation] };
    let document = serde_json::to_value(document(&Api { services: vec![service], ..Api::default() })).expect("JSON");
    let operation = &document["paths"]["/f"]["post"];
    let content = |place: &Value| {
        let mut schema = place["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        schema
    };
    (content(&operation["requestBody"]), content(&operation["responses"]["200"]))
}

/// Whether the schema says less than the reader: whole numbers with a fraction or an exponent, where they are so large
/// that not every one is a float.
fn is_said_by_no_schema(json: &Value) -> bool {
    match json {
        Value::Object(members) => members.values().any(is_said_by_no_schema),
        Value::Array(items) => items.iter().any(is_said_by_no_schema),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().map_or(0.0, f64::abs);
            number > 2_f64.powi(53) && number < 2_f64.powi(64)
        }
        _ => false,
    }
}

/// The value in this place among all values in a value, itself the first.
fn nth<'v>(json: &'v mut Value, place: &mut usize) -> Option<&'v mut Value> {
    if *place == 0 {
        return Some(json);
    }
    *place -= 1;
    match json {
        Value::Object(members) => members.values_mut().find_map(|value| nth(value, place)),
        Value::Array(items) => items.iter_mut().find_map(|value| nth(value, place)),
        _ => None,
    }
}

/// Values that are nearly right: one part is another, is gone, or is there twice.
fn nearly(json: &Value, other: Value, place: usize) -> Value {
    let mut near = json.clone();
    let mut left = place / 3 % 8;
    let Some(part) = nth(&mut near, &mut left) else { return near };
    match (part, place % 3) {
        (Value::Object(members), 1) => {
            let gone = members.keys().next().cloned();
            gone.map(|name| members.remove(&name));
        }
        (Value::Array(items), 1) => items.extend(items.last().cloned()),
        (part, _) => *part = other,
    }
    near
}

/// Values at the edges of types, and any others.
fn another() -> impl Strategy<Value = Value> {
    let edges = [7, 8, 15, 16, 31, 32, 63, 64].map(|bits| 1_i128 << bits);
    let integers = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1, -edge - 1, -edge, 1 - edge]);
    let single = f64::from(f32::MAX) + 2_f64.powi(103);
    let floats = [0.5, 1.0, -0.0, 1e30, -1e300, single, single.next_down(), -single, (-single).next_up()];
    let texts =
        ["", "a", "ab", "\u{10ffff}", "NaN", "-Infinity", "inf", "AQ", "AQ=", "AQ==", "AR==", "AQI", "AQI=", "AQIDBA"];
    let more =
        ["A+/_", "++//", "--__", "AQID\n", " AQID", "A", "AQ=A", "e0_e", "e1_e", "f0_f", "a_case0", "a_case1", "clear"];
    let numbers = integers.map(|n| serde_json::from_str(&n.to_string()).expect("a number"));
    let numbers = numbers.chain(floats.map(|n| json!(n)));
    let texts = texts.into_iter().chain(more).map(|text| json!(text));
    let others = [json!(null), json!(true), json!([]), json!({}), json!(["f0_f", "f0_f"]), json!({ "ok": null })];
    prop_oneof![
        3 => prop::sample::select(numbers.chain(texts).chain(others).collect::<Vec<_>>()),
        1 => any_json(),
    ]
}

fn draw<T>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("a value").current()
}

#[test]
fn schemas_admit_what_is_read_and_what_is_written() {
    let Some(python) = std::env::var_os("ARCANA_TEST_PYTHON") else {
        let why = std::env::var("ARCANA_TEST_PYTHON_MISSING");
        let why = why.unwrap_or_else(|_| "ARCANA_TEST_PYTHON is not set; `cargo xtask test` sets it".into());
        // Past the harness, which shows nothing of what a test prints that does not fail. `cargo xtask test` counts it.
        let note = format!("\nskipped: schemas_admit_what_is_read_and_what_is_written: {why}\n");
        std::io::stdout().lock().write_all(note.as_bytes()).expect("written");
        return;
    };
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (mut lines, mut count) = (String::new(), 0);
    for _ in 0..300 {
        let plan = plan(&draw(&mut runner, shape()));
        let binding = Binding::new(&plan, &[], true).expect("binds");
        let ty = &plan.params[0].ty;
        let (request, answer) = schemas(&plan);
        let (mut written, mut admitted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..6 {
            let mut out = Vec::new();
            codec::encode(ty, &draw(&mut runner, value(ty)), &mut out).expect("encodes");
            written.push(String::from_utf8(out).expect("text"));
        }
        let mut bodies: Vec<Value> = Vec::new();
        for text in &written {
            let value: Value = serde_json::from_str(text).expect("JSON");
            let body = json!({ "p": value, "q": 1 });
            for _ in 0..24 {
                let (other, place) = draw(&mut runner, (another(), any::<usize>()));
                bodies.push(nearly(&body, other, place));
            }
            bodies.push(body);
        }
        bodies.extend((0..6).map(|_| draw(&mut runner, any_json())));
        for body in bodies.iter().filter(|body| !is_said_by_no_schema(body)) {
            let text = body.to_string();
            let read = binding.decode([], None, text.as_bytes()).is_ok();
            if read { admitted.push(text) } else { refused.push(text) }
        }
        count += written.len() + admitted.len() + refused.len();
        // Whether the plan has an answer: one whose error side would be another than `problem` has none.
        if plan.result.ok.is_some() {
            lines += &format!("{}\n", json!({ "schema": answer, "admits": written, "refuses": [] }));
        } else {
            count -= written.len();
        }
        lines += &format!("{}\n", json!({ "schema": request, "admits": admitted, "refuses": refused }));
    }
    let mut judge = Command::new(python);
    judge.args(["-B", "-c", JUDGE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = judge.spawn().expect("Python");
    let mut input = judge.stdin.take().expect("piped");
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = judge.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (found, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(found.is_empty(), "{}", found.lines().take(20).collect::<Vec<_>>().join("\n"));
    assert_eq!(told.trim(), count.to_string());
    drop(writing.join());
}
