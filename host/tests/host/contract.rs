//! The contract over HTTP: what goes into the echo guest comes out again, and what is wrong is told by field.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Host, Setup, guest};

fn echo() -> Host {
    Setup::new().plugin("echo", &guest("echo")).start()
}

async fn post(host: &Host, path: &str, body: Value) -> (u16, Value) {
    host.post(&format!("/test/echo/{path}"), body).await
}

/// The fields that a 422 lists, with their codes, in order.
fn fields((status, answer): &(u16, Value)) -> Vec<(String, String)> {
    assert_eq!((*status, answer["code"].as_str()), (422, Some("VALIDATION_FAILED")), "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let details = answer["details"].as_array().unwrap();
    assert!(details.iter().all(|detail| !text(&detail["message"]).is_empty()), "{answer}");
    details.iter().map(|detail| (text(&detail["field"]), text(&detail["code"]))).collect()
}

fn listed(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect()
}

fn scalars() -> Value {
    json!({
        "truth": true, "s8": -128, "s16": -32_768, "s32": i32::MIN, "s64": i64::MIN,
        "u8": 255, "u16": 65_535, "u32": u32::MAX, "u64": u64::MAX,
        "f32": 1.5, "f64": 0.1, "letter": "ß", "text": "a\"b\\c\n\u{0}🦀", "color": "dark_blue",
        "toppings": ["cheese", "extra_onions"],
    })
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_sent() {
    let host = echo();
    let point = json!({ "x": -1, "y": 2 });
    let mut most = scalars();
    for (field, value) in
        [("s8", json!(127)), ("s16", json!(32_767)), ("s32", json!(i32::MAX)), ("s64", json!(i64::MAX))]
    {
        most[field] = value;
    }
    for (field, value) in [("f64", json!(f64::MAX)), ("letter", json!("\u{10ffff}")), ("toppings", json!([]))] {
        most[field] = value;
    }
    let mut words = scalars();
    (words["f32"], words["f64"]) = (json!("NaN"), json!("-Infinity"));
    let options = json!({
        "number": 1, "text": "", "point": point, "color": "red", "words": [], "bytes": "",
        "twice": { "value": "x" }, "thrice": { "value": { "value": 7 } },
    });
    let nothing = json!({
        "number": null, "text": null, "point": null, "color": null, "words": null, "bytes": null,
        "twice": null, "thrice": null,
    });
    let mut inside = nothing.clone();
    (inside["twice"], inside["thrice"]) = (json!({ "value": null }), json!({ "value": { "value": null } }));
    let lists = json!({
        "bytes": "AP8=", "numbers": [i64::MIN, 0, i64::MAX], "words": ["", "a"], "points": [point], "colors": ["green"],
        "matrix": [[1.0, 2.5], [], [-0.5]], "deep": [[[point], []], []], "gaps": [1, null, 3], "blobs": ["", "aGk="],
    });
    let empty = json!({
        "bytes": "", "numbers": [], "words": [], "points": [], "colors": [], "matrix": [], "deep": [], "gaps": [], "blobs": [],
    });
    let tuples = json!({
        "pair": [-5, "five"], "single": [true], "nested": [[255, "red"], [["a", u64::MAX]], null],
    });
    let shapes = json!([
        "empty", { "circle": 1.5 }, { "dot": point }, { "polygon": [point, point] }, { "label": null }, { "label": "a" },
        { "segment": [point, point] }, { "topped": ["olives"] }, { "outcome": { "ok": 5 } }, { "outcome": { "err": "no" } },
    ]);
    let outcomes = json!({
        "both": { "ok": 1 }, "only_ok": { "ok": point }, "only_err": { "err": "green" }, "neither": { "ok": null },
        "several": [{ "ok": 1 }, { "err": "no" }],
    });
    let others = json!({
        "both": { "err": "no" }, "only_ok": { "err": null }, "only_err": { "ok": null }, "neither": { "err": null },
        "several": [],
    });
    for (path, value) in [
        ("scalars", scalars()),
        ("scalars", most),
        ("scalars", words),
        ("options", options),
        ("options", nothing.clone()),
        ("options", inside),
        ("lists", lists),
        ("lists", empty),
        ("tuples", tuples),
        ("shapes", json!({ "shapes": shapes })),
        ("shape", json!({ "shape": "empty" })),
        ("outcomes", outcomes),
        ("outcomes", others),
        ("toppings", json!({ "toppings": ["cheese", "olives"] })),
        ("bytes", json!({ "data": "AAECAwQF/w==" })),
    ] {
        // A single record is the body itself; any other parameter is a member of it.
        let expected = match path {
            "shapes" | "shape" | "toppings" => value[path].clone(),
            "bytes" => value["data"].clone(),
            _ => value.clone(),
        };
        assert_eq!(post(&host, path, value).await, (200, expected), "{path}");
    }
    // What is absent is nothing, in whatever order and company the rest comes.
    assert_eq!(post(&host, "options", json!({ "unknown": [1, { "deep": 2 }] })).await, (200, nothing));
    for path in ["nothing", "nothing-fallible"] {
        assert_eq!(post(&host, path, Value::Null).await, (204, Value::Null), "{path}");
    }
    assert_eq!(host.get("/test/echo/add?left=4294967295&right=1").await, (200, json!(4_294_967_296_u64)));
    assert_eq!(host.get("/test/echo/half/8").await, (200, json!(4)));
}

#[tokio::test]
async fn a_patch_tells_absent_null_and_a_value_apart() {
    let host = echo();
    for patch in
        [json!({}), json!({ "name": null }), json!({ "name": "Ada", "nick_name": null }), json!({ "nick_name": "" })]
    {
        let answer = host.call(Method::PATCH, "/test/echo/people/7", None, Some(patch.clone())).await;
        assert_eq!(answer, (200, patch));
    }
    let answer = host.call(Method::PATCH, "/test/echo/people/7", None, Some(json!({ "name": 1 }))).await;
    assert_eq!(fields(&answer), listed(&[("name", "WRONG_TYPE")]));
}

#[tokio::test]
async fn every_kind_of_problem_has_its_status_and_its_code() {
    let host = echo();
    for (kind, status, code) in [
        ("malformed", 400, "INVALID_JSON"),
        ("validation", 422, "VALIDATION_FAILED"),
        ("unauthenticated", 401, "UNAUTHORIZED"),
        ("forbidden", 403, "FORBIDDEN"),
        ("not_found", 404, "NOT_FOUND"),
        ("conflict", 409, "CONFLICT"),
        ("too_many_requests", 429, "RATE_LIMIT_EXCEEDED"),
        ("unavailable", 503, "SERVICE_UNAVAILABLE"),
        ("timeout", 504, "TIMEOUT"),
        ("internal", 500, "INTERNAL_ERROR"),
    ] {
        let response = host.client.post(format!("{}/test/echo/fail/{kind}", host.url)).send().await.unwrap();
        let challenge = response.headers().contains_key("www-authenticate");
        assert_eq!((response.status().as_u16(), challenge), (status, status == 401), "{kind}");
        assert!(!response.headers().contains_key("retry-after"), "{kind}");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer: Value = response.json().await.unwrap();
        assert_eq!((answer["code"].as_str(), answer["request_id"].as_str()), (Some(code), Some(&*id)), "{answer}");
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "details", "message", "request_id", "timestamp"]);
        // What is internal is for the log.
        assert_eq!(answer["message"] == "as you wished", kind != "internal", "{answer}");
        assert_eq!(host.logged(&id).iter().any(|line| line.contains("as you wished")), kind == "internal");
        let body = json!({
            "kind": kind, "code": "MY_OWN", "message": "m", "details": [{ "field": "a.b", "message": "why", "code": "C" }],
            "retry_after_ms": 1_500,
        });
        let response = host.client.post(format!("{}/test/echo/fail-with", host.url)).json(&body).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (status, &"2".parse().unwrap()));
        let answer: Value = response.json().await.unwrap();
        assert_eq!((&answer["code"], &answer["details"]), (&body["code"], &body["details"]), "{kind}");
    }
    let answer = host.get("/test/echo/half/7").await;
    assert_eq!(fields(&answer), listed(&[("number", "ODD")]));
}

#[tokio::test]
async fn paths_and_queries_bind_by_name() {
    let host = echo();
    for (path, greeted) in [
        ("Ada", "Hello, Ada!"),
        ("a%20b%2Fc", "Hello, a b/c!"),
        ("1+1", "Hello, 1+1!"),
        ("%F0%9F%A6%80", "Hello, 🦀!"),
        ("%25", "Hello, %!"),
    ] {
        assert_eq!(host.get(&format!("/test/echo/hello/{path}")).await, (200, json!(greeted)), "{path}");
    }
    for broken in ["%", "%zz", "%FF"] {
        let answer = host.get(&format!("/test/echo/hello/{broken}")).await;
        assert_eq!(fields(&answer), listed(&[("name", "INVALID_FORMAT")]), "{broken}");
    }
    assert_eq!(host.get("/test/echo/colors/dark_blue").await, (200, json!("dark_blue")));
    assert_eq!(fields(&host.get("/test/echo/colors/pink").await), listed(&[("color", "UNKNOWN_VALUE")]));
    assert_eq!(host.get("/test/echo/maybe").await, (200, Value::Null));
    assert_eq!(host.get("/test/echo/maybe?text=").await, (200, json!("")));
    assert_eq!(host.get("/test/echo/maybe?text=a+b%2Bc&other=1").await, (200, json!("a b+c")));

    let several = json!({ "id": "x/y", "count": 3, "color": "red", "tags": ["a b", "", "c&d"], "flag": false });
    let path = "/test/echo/several/x%2Fy";
    let query = "count=3&tags=a+b&color=red&tags=&flag=false&tags=c%26d";
    assert_eq!(host.get(&format!("{path}?{query}")).await, (200, several.clone()));
    let body = json!({ "count": 3, "color": "red", "tags": ["a b", "", "c&d"], "flag": false, "id": "not this one" });
    assert_eq!(host.call(Method::PUT, path, None, Some(body)).await, (200, several));
    let least = json!({ "id": "i", "count": 0, "color": null, "tags": [], "flag": null });
    assert_eq!(host.get("/test/echo/several/i?count=0").await, (200, least));

    let answer = host.get("/test/echo/several/i?count=1&count=2&color=pink&flag=yes&tags=%FF").await;
    let wrong = [
        ("count", "DUPLICATE_FIELD"),
        ("color", "UNKNOWN_VALUE"),
        ("flag", "WRONG_TYPE"),
        ("tags[0]", "INVALID_FORMAT"),
    ];
    assert_eq!(fields(&answer), listed(&wrong));
    for (query, code) in [
        ("", "REQUIRED"),
        ("left=", "WRONG_TYPE"),
        ("left=-1", "OUT_OF_RANGE"),
        ("left=4294967296", "OUT_OF_RANGE"),
        ("left=1.5", "WRONG_TYPE"),
        ("left=0x10", "WRONG_TYPE"),
    ] {
        let answer = host.get(&format!("/test/echo/add?right=1&{query}")).await;
        assert_eq!(fields(&answer), listed(&[("left", code)]), "{query}");
    }
}

#[tokio::test]
async fn every_wrong_field_is_listed_at_once() {
    let host = echo();
    let wrong = json!({
        "truth": 1, "s8": 128, "s16": "x", "s32": 1.5, "s64": 9_223_372_036_854_775_808_u64, "u8": -1, "u16": null,
        "u32": [], "f32": "one", "f64": {}, "letter": "ab", "text": 5, "color": "DarkBlue", "toppings": ["cheese", "ham", 1],
    });
    let expected = [
        ("color", "UNKNOWN_VALUE"),
        ("f32", "WRONG_TYPE"),
        ("f64", "WRONG_TYPE"),
        ("letter", "INVALID_FORMAT"),
        ("s16", "WRONG_TYPE"),
        ("s32", "WRONG_TYPE"),
        ("s64", "OUT_OF_RANGE"),
        ("s8", "OUT_OF_RANGE"),
        ("text", "WRONG_TYPE"),
        ("toppings[1]", "UNKNOWN_VALUE"),
        ("toppings[2]", "WRONG_TYPE"),
        ("truth", "WRONG_TYPE"),
        ("u16", "REQUIRED"),
        ("u32", "WRONG_TYPE"),
        ("u64", "REQUIRED"),
        ("u8", "OUT_OF_RANGE"),
    ];
    let mut found = fields(&post(&host, "scalars", wrong).await);
    found.sort();
    assert_eq!(found, listed(&expected));

    let nested = json!({
        "pair": [1], "single": [true, false], "nested": [[256, "red"], [["a", -1], ["b"]], { "x": 1 }],
    });
    let expected =
        ["nested[0][0]", "nested[1][0][1]", "nested[1][1][1]", "nested[2].y", "pair[1]", "single"].map(str::to_owned);
    let mut found: Vec<String> =
        fields(&post(&host, "tuples", nested).await).into_iter().map(|(field, _)| field).collect();
    found.sort();
    assert_eq!(found, expected);
    for (shape, field) in [
        (json!("square"), "shape"),
        (json!({ "square": 1 }), "shape"),
        (json!({}), "shape"),
        (json!({ "circle": "round" }), "shape.circle"),
        (json!({ "circle": 1, "dot": null }), "shape"),
        (json!({ "dot": { "x": 1 } }), "shape.dot.y"),
        (json!({ "outcome": { "ok": -1 } }), "shape.outcome.ok"),
    ] {
        let found = fields(&post(&host, "shape", json!({ "shape": shape })).await);
        assert!(found.iter().any(|(name, _)| name == field), "{shape}: {found:?}");
    }
    // A list of mistakes has an end.
    let many = json!({ "shapes": vec!["square"; 1_000] });
    assert_eq!(fields(&post(&host, "shapes", many).await).len(), 100);
    let blown = json!({ "shapes": vec!["empty"; 100_000] });
    assert_eq!(post(&host, "shapes", blown.clone()).await, (200, blown["shapes"].clone()));
}

/// Any scalars, numbers at their ends among them.
fn any_scalars() -> impl Strategy<Value = Value> {
    let float =
        prop_oneof![any::<f64>().prop_filter("JSON has no words for the others", |f| f.is_finite()), Just(-0.0)];
    let small = (any::<bool>(), any::<i8>(), any::<i16>(), any::<i32>(), any::<u8>(), any::<u16>(), any::<u32>());
    let large = (any::<i64>(), any::<u64>(), float, any::<char>(), any::<String>(), 0..3_usize, any::<[bool; 3]>());
    (small, large).prop_map(|((truth, s8, s16, s32, u8, u16, u32), (s64, u64, f64, letter, text, color, toppings))| {
        let names = ["cheese", "extra_onions", "olives"].into_iter().zip(toppings);
        let toppings: Vec<&str> = names.filter(|(_, on)| *on).map(|(name, _)| name).collect();
        json!({
            "truth": truth, "s8": s8, "s16": s16, "s32": s32, "s64": s64, "u8": u8, "u16": u16, "u32": u32, "u64": u64,
            "f32": f32::from(s16), "f64": f64, "letter": letter, "text": text,
            "color": (["red", "dark_blue", "green"][color]), "toppings": toppings,
        })
    })
}

/// Any list of shapes.
fn any_shapes() -> impl Strategy<Value = Value> {
    let point = || (any::<i32>(), any::<i32>()).prop_map(|(x, y)| json!({ "x": x, "y": y }));
    let shape = prop_oneof![
        Just(json!("empty")),
        any::<i32>().prop_map(|n| json!({ "circle": f64::from(n) })),
        point().prop_map(|point| json!({ "dot": point })),
        prop::collection::vec(point(), 0..4).prop_map(|points| json!({ "polygon": points })),
        any::<Option<String>>().prop_map(|label| json!({ "label": label })),
        (point(), point()).prop_map(|(from, to)| json!({ "segment": [from, to] })),
        any::<Result<u32, String>>().prop_map(|outcome| match outcome {
            Ok(number) => json!({ "outcome": { "ok": number } }),
            Err(text) => json!({ "outcome": { "err": text } }),
        }),
    ];
    prop::collection::vec(shape, 0..8).prop_map(Value::from)
}

/// Any JSON of no particular type.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let name = prop::sample::select(vec!["truth", "s8", "u64", "text", "color", "toppings", "other"]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

#[test]
fn any_value_comes_back_and_any_nonsense_is_told_by_field() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = echo();
    let cases = |cases| TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let send = |path: &str, body: Value| runtime.block_on(post(&host, path, body));
    let round_trip = |path: &str, body: Value, value: Value| {
        prop_assert_eq!(send(path, body), (200, value));
        Ok(())
    };
    cases(64).run(&any_scalars(), |value| round_trip("scalars", value.clone(), value)).unwrap();
    cases(64).run(&any_shapes(), |shapes| round_trip("shapes", json!({ "shapes": shapes }), shapes)).unwrap();
    let bytes = any::<Vec<u8>>().prop_map(|bytes| {
        use base64::Engine as _;
        json!(base64::engine::general_purpose::STANDARD.encode(bytes))
    });
    cases(32).run(&bytes, |data| round_trip("bytes", json!({ "data": data }), data)).unwrap();
    cases(64)
        .run(&any_json(), |value| {
            let (status, answer) = send("scalars", value);
            prop_assert_eq!((status, &answer["code"]), (422, &json!("VALIDATION_FAILED")));
            prop_assert!(!answer["details"].as_array().unwrap().is_empty());
            Ok(())
        })
        .unwrap();
    let unwell = runtime.block_on(host.metric(r#"arcana_plugin_traps_total{plugin="test/echo"}"#));
    assert_eq!(unwell, 0.0);
}
