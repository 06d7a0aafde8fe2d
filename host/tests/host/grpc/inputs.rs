//! Inputs for the echo guest.

use proptest::prelude::*;
use serde_json::{Value, json};

/// Inputs for every method of the echo guest, as JSON of the REST side.
pub fn echo_input() -> impl Strategy<Value = (&'static str, Value)> {
    let text = || prop_oneof![Just(String::new()), "[a-zß🦀\"\\\\/ ?&%+]{0,12}"];
    let color = || prop::sample::select(vec!["red", "dark_blue", "green"]);
    let toppings = || prop::sample::subsequence(vec!["cheese", "extra_onions", "olives"], 0..=3);
    let point = || (any::<i32>(), any::<i32>()).prop_map(|(x, y)| json!({ "x": x, "y": y }));
    let float = || {
        prop_oneof![
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| json!(n)),
            prop::sample::select(vec!["NaN", "Infinity", "-Infinity"]).prop_map(|word| json!(word)),
        ]
    };
    let bytes = || {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            use base64::Engine as _;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        })
    };
    let maybe = |some: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), some].boxed();
    let scalars = (
        (any::<bool>(), any::<i8>(), any::<i16>(), any::<i32>(), any::<i64>()),
        (any::<u8>(), any::<u16>(), any::<u32>(), any::<u64>()),
        (float(), any::<char>(), text(), color(), toppings()),
    )
        .prop_map(|(signed, unsigned, rest)| {
            json!({
                "truth": signed.0, "s8": signed.1, "s16": signed.2, "s32": signed.3, "s64": signed.4,
                "u8": unsigned.0, "u16": unsigned.1, "u32": unsigned.2, "u64": unsigned.3,
                "f32": 1.5, "f64": rest.0, "letter": rest.1.to_string(), "text": rest.2, "color": rest.3, "toppings": rest.4,
            })
        });
    let options = (
        maybe(any::<u32>().prop_map(|n| json!(n)).boxed()),
        maybe(text().prop_map(|text| json!(text)).boxed()),
        maybe(point().boxed()),
        maybe(color().prop_map(|color| json!(color)).boxed()),
        maybe(prop::collection::vec(text(), 0..3).prop_map(|words| json!(words)).boxed()),
        maybe(bytes().boxed()),
        prop::sample::select(vec![
            json!(null),
            json!({ "value": null }),
            json!({ "value": "" }),
            json!({ "value": "x" }),
        ]),
        prop::sample::select(vec![
            json!(null),
            json!({ "value": null }),
            json!({ "value": { "value": null } }),
            json!({ "value": { "value": 0 } }),
        ]),
    )
        .prop_map(|(number, text, point, color, words, bytes, twice, thrice)| {
            json!({
                "number": number, "text": text, "point": point, "color": color, "words": words, "bytes": bytes,
                "twice": twice, "thrice": thrice,
            })
        });
    let many = |item: BoxedStrategy<Value>| prop::collection::vec(item, 0..4).prop_map(Value::Array).boxed();
    let lists = (
        bytes(),
        many(any::<i64>().prop_map(|n| json!(n)).boxed()),
        many(text().prop_map(|text| json!(text)).boxed()),
        many(point().boxed()),
        many(color().prop_map(|color| json!(color)).boxed()),
        many(many(float().boxed())),
        many(many(many(point().boxed()))),
        many(maybe(any::<u32>().prop_map(|n| json!(n)).boxed())),
        many(bytes().boxed()),
    )
        .prop_map(|(bytes, numbers, words, points, colors, matrix, deep, gaps, blobs)| {
            json!({
                "bytes": bytes, "numbers": numbers, "words": words, "points": points, "colors": colors, "matrix": matrix,
                "deep": deep, "gaps": gaps, "blobs": blobs,
            })
        });
    let tuples = (any::<i32>(), text(), any::<bool>(), any::<u8>(), color(), maybe(point().boxed()), any::<u64>()).prop_map(
        |(number, text, truth, small, color, point, large)| {
            json!({ "pair": [number, text], "single": [truth], "nested": [[small, color], [[text, large]], point] })
        },
    );
    let shape = prop_oneof![
        Just(json!("empty")),
        float().prop_map(|n| json!({ "circle": n })),
        point().prop_map(|point| json!({ "dot": point })),
        many(point().boxed()).prop_map(|points| json!({ "polygon": points })),
        maybe(text().prop_map(|text| json!(text)).boxed()).prop_map(|label| json!({ "label": label })),
        (point(), point()).prop_map(|(a, b)| json!({ "segment": [a, b] })),
        toppings().prop_map(|toppings| json!({ "topped": toppings })),
        any::<u32>().prop_map(|n| json!({ "outcome": { "ok": n } })),
        text().prop_map(|text| json!({ "outcome": { "err": text } })),
    ]
    .boxed();
    let outcomes =
        (any::<u32>(), text(), color(), any::<bool>(), any::<u8>()).prop_map(|(n, text, color, well, small)| {
            let pick = |ok: Value, err: Value| if well { json!({ "ok": ok }) } else { json!({ "err": err }) };
            json!({
                "both": pick(json!(n), json!(text)), "only_ok": pick(json!({ "x": 0, "y": 1 }), json!(null)),
                "only_err": pick(json!(null), json!(color)), "neither": pick(json!(null), json!(null)),
                "several": [{ "ok": small }, { "err": text }],
            })
        });
    let patch = (
        prop::sample::select(vec![json!({}), json!({ "name": null }), json!({ "name": "", "nick_name": "x" })]),
        "[a-z]{1,5}",
    )
        .prop_map(|(patch, id)| json!({ "id": id, "patch": patch }));
    let several = ("[a-zß?/]{1,5}", any::<u32>(), maybe(color().prop_map(|c| json!(c)).boxed()), prop::collection::vec(text(), 0..3), maybe(any::<bool>().prop_map(|b| json!(b)).boxed()))
        .prop_map(|(id, count, color, tags, flag)| json!({ "id": id, "count": count, "color": color, "tags": tags, "flag": flag }));
    let kinds = vec![
        "validation",
        "forbidden",
        "not_found",
        "conflict",
        "unavailable",
        "timeout",
        "too_many_requests",
        "unauthenticated",
    ];
    let failure = (prop::sample::select(kinds.clone()), maybe(Just(json!("OWN_CODE")).boxed()), "[a-zü€%\n]{1,20}", 0..4_usize, maybe(any::<u32>().prop_map(|n| json!(n)).boxed()))
        .prop_map(|(kind, code, message, details, retry)| {
            let detail = json!({ "field": "a.b[1]", "message": message, "code": "BAD" });
            json!({ "kind": kind, "code": code, "message": message, "details": vec![detail; details], "retry_after_ms": retry })
        });
    prop_oneof![
        "[a-zß🦀 ]{1,10}".prop_map(|name| ("Kitchen.Hello", json!({ "name": name }))),
        scalars.prop_map(|input| ("Kitchen.EchoScalars", input)),
        options.prop_map(|input| ("Kitchen.EchoOptions", input)),
        lists.prop_map(|input| ("Kitchen.EchoLists", input)),
        tuples.prop_map(|input| ("Kitchen.EchoTuples", input)),
        many(shape.clone()).prop_map(|shapes| ("Kitchen.EchoShapes", json!({ "shapes": shapes }))),
        shape.prop_map(|shape| ("Kitchen.EchoShape", json!({ "shape": shape }))),
        outcomes.prop_map(|input| ("Kitchen.EchoOutcomes", input)),
        patch.prop_map(|input| ("Kitchen.EchoPatch", input)),
        color().prop_map(|color| ("Kitchen.EchoColor", json!({ "color": color }))),
        toppings().prop_map(|toppings| ("Kitchen.EchoToppings", json!({ "toppings": toppings }))),
        maybe(text().prop_map(|text| json!(text)).boxed())
            .prop_map(|text| ("Kitchen.EchoMaybe", json!({ "text": text }))),
        bytes().prop_map(|bytes| ("Kitchen.EchoBytes", json!({ "data": bytes }))),
        (any::<u32>(), any::<u32>()).prop_map(|(left, right)| ("Kitchen.Add", json!({ "left": left, "right": right }))),
        several.prop_map(|input| ("Kitchen.Several", input)),
        Just(("Kitchen.Nothing", json!({}))),
        Just(("Kitchen.NothingFallible", json!({}))),
        any::<u32>().prop_map(|number| ("Kitchen.Half", json!({ "number": number }))),
        prop::sample::select(kinds).prop_map(|kind| ("Kitchen.Fail", json!({ "kind": kind }))),
        failure.prop_map(|input| ("Kitchen.FailWith", input)),
    ]
}
