//! Any value of any type survives JSON, and JSON that is anything does no harm. The types go through WIT text, so that
//! the planner is part of it; serde_json is the judge of what was written.

use std::sync::Arc;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use wasmtime::component::Val;

use super::super::types::{Fields, Presence};
use super::super::{Binding, FunctionPlan, Type, json as codec, names};
use super::contract;
use crate::problem::Kind;

/// A type as a tree; named ones become definitions.
#[derive(Debug, Clone)]
pub(in crate::contract) enum Shape {
    Plain(&'static str),
    List(Box<Shape>),
    Option(Box<Shape>),
    Tuple(Vec<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Record(Vec<Shape>),
    Variant(Vec<Option<Shape>>),
    Change(Box<Shape>),
    Enum(usize),
    Flags(usize),
}

pub(in crate::contract) fn shape() -> impl Strategy<Value = Shape> {
    let plain = prop::sample::select(vec![
        "bool",
        "s8",
        "u8",
        "s16",
        "u16",
        "s32",
        "u32",
        "s64",
        "u64",
        "f32",
        "f64",
        "char",
        "string",
        "list<u8>",
        "text-change",
    ]);
    let leaf = prop_oneof![
        6 => plain.prop_map(Shape::Plain),
        1 => (1..70usize).prop_map(Shape::Enum),
        1 => (1..=32usize).prop_map(Shape::Flags),
    ];
    leaf.prop_recursive(5, 24, 5, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Shape::List),
            boxed.clone().prop_map(Shape::Option),
            boxed.clone().prop_map(|b| Shape::Option(Box::new(Shape::Option(b)))),
            boxed.clone().prop_map(Shape::Change),
            prop::collection::vec(inner.clone(), 1..5).prop_map(Shape::Tuple),
            prop::collection::vec(inner.clone(), 1..5).prop_map(Shape::Record),
            prop::collection::vec(prop::option::of(inner), 1..5).prop_map(Shape::Variant),
            (prop::option::of(boxed.clone()), prop::option::of(boxed)).prop_map(|(ok, err)| Shape::Result(ok, err)),
        ]
    })
}

/// The type as WIT; definitions go to `defs`.
pub(in crate::contract) fn wit(shape: &Shape, defs: &mut Vec<String>) -> String {
    let define = |defs: &mut Vec<String>, kind: &str, body: String| {
        let name = format!("t{}-x", defs.len());
        defs.push(format!("{kind} {name} {{ {body} }}"));
        name
    };
    match shape {
        Shape::Plain(name) => (*name).to_owned(),
        Shape::List(item) => format!("list<{}>", wit(item, defs)),
        Shape::Option(inner) => format!("option<{}>", wit(inner, defs)),
        Shape::Tuple(items) => {
            let items: Vec<_> = items.iter().map(|item| wit(item, defs)).collect();
            format!("tuple<{}>", items.join(", "))
        }
        Shape::Result(ok, err) => match (ok, err) {
            (None, None) => "result".to_owned(),
            (Some(ok), None) => format!("result<{}>", wit(ok, defs)),
            (ok, Some(err)) => {
                let ok = ok.as_ref().map_or_else(|| "_".to_owned(), |ok| wit(ok, defs));
                format!("result<{ok}, {}>", wit(err, defs))
            }
        },
        Shape::Record(fields) => {
            let fields: Vec<_> =
                fields.iter().enumerate().map(|(n, field)| format!("my-field{n}: {}", wit(field, defs))).collect();
            define(defs, "record", fields.join(", "))
        }
        Shape::Variant(cases) => {
            let cases: Vec<_> = cases
                .iter()
                .enumerate()
                .map(|(n, case)| match case {
                    Some(ty) => format!("a-case{n}({})", wit(ty, defs)),
                    None => format!("a-case{n}"),
                })
                .collect();
            define(defs, "variant", cases.join(", "))
        }
        Shape::Change(set) => {
            let set = wit(set, defs);
            define(defs, "variant", format!("keep, clear, set({set})"))
        }
        Shape::Enum(count) => define(defs, "enum", (0..*count).map(|n| format!("e{n}-e, ")).collect()),
        Shape::Flags(count) => define(defs, "flags", (0..*count).map(|n| format!("f{n}-f, ")).collect()),
    }
}

pub(in crate::contract) fn plan(shape: &Shape) -> FunctionPlan {
    let mut defs = Vec::new();
    let ty = wit(shape, &mut defs);
    let mut contract = contract(&format!("{}\nf: func(p: {ty}, q: u8) -> {ty};", defs.join("\n")));
    // An error type other than `problem` only matters for a function's own result.
    match contract.interfaces[0].functions.remove(0).1 {
        Ok(plan) => plan,
        Err(_) => {
            let mut contract = super::contract(&format!("{}\nf: func(p: {ty}, q: u8);", defs.join("\n")));
            contract.interfaces[0].functions.remove(0).1.expect("publishable")
        }
    }
}

pub(in crate::contract) fn value(ty: &Arc<Type>) -> BoxedStrategy<Val> {
    match &**ty {
        Type::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Type::S64 => prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)].prop_map(Val::S64).boxed(),
        Type::U64 => prop_oneof![any::<u64>(), Just(u64::MAX)].prop_map(Val::U64).boxed(),
        Type::F32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        Type::F64 => {
            prop_oneof![any::<u64>().prop_map(f64::from_bits), any::<f64>(), Just(-0.0)].prop_map(Val::Float64).boxed()
        }
        Type::Char => any::<char>().prop_map(Val::Char).boxed(),
        Type::String => any::<String>().prop_map(Val::String).boxed(),
        Type::Bytes => prop::collection::vec(any::<u8>(), 0..1600)
            .prop_map(|b| Val::List(b.into_iter().map(Val::U8).collect()))
            .boxed(),
        Type::List(item) => prop::collection::vec(value(item), 0..4).prop_map(Val::List).boxed(),
        Type::Option(option) => {
            prop::option::of(value(&option.inner)).prop_map(|v| Val::Option(v.map(Box::new))).boxed()
        }
        Type::Tuple(types) => types.iter().map(value).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Type::Record(record) => {
            let fields: Vec<_> = record
                .fields
                .iter()
                .map(|field| {
                    let name = field.name.clone();
                    value(&field.ty).prop_map(move |v| (name.clone(), v)).boxed()
                })
                .collect();
            fields.prop_map(Val::Record).boxed()
        }
        Type::Enum(labels) => {
            let names: Vec<_> = labels.list.iter().map(|label| label.name.clone()).collect();
            prop::sample::select(names).prop_map(Val::Enum).boxed()
        }
        Type::Flags(labels) => {
            let names: Vec<_> = labels.list.iter().map(|label| label.name.clone()).collect();
            let count = names.len();
            prop::sample::subsequence(names, 0..=count).prop_map(Val::Flags).boxed()
        }
        Type::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| {
                let name = case.name.clone();
                match &case.ty {
                    Some(ty) => value(ty).prop_map(move |v| Val::Variant(name.clone(), Some(Box::new(v)))).boxed(),
                    None => Just(Val::Variant(name, None)).boxed(),
                }
            });
            prop::strategy::Union::new(cases).boxed()
        }
        Type::Result { ok, err } => {
            let side = |ty: &Option<Arc<Type>>| match ty {
                Some(ty) => value(ty).prop_map(|v| Some(Box::new(v))).boxed(),
                None => Just(None).boxed(),
            };
            prop_oneof![side(ok).prop_map(|v| Val::Result(Ok(v))), side(err).prop_map(|v| Val::Result(Err(v)))].boxed()
        }
    }
}

/// What the JSON of a value must be, said a second time in the simplest way.
fn expected(ty: &Type, value: &Val) -> Value {
    match (ty, value) {
        (_, Val::Bool(v)) => json!(v),
        (_, Val::S8(v)) => json!(v),
        (_, Val::U8(v)) => json!(v),
        (_, Val::S16(v)) => json!(v),
        (_, Val::U16(v)) => json!(v),
        (_, Val::S32(v)) => json!(v),
        (_, Val::U32(v)) => json!(v),
        (_, Val::S64(v)) => json!(v),
        (_, Val::U64(v)) => json!(v),
        (_, Val::Float32(v)) if v.is_finite() => {
            serde_json::to_string(v).expect("a number").parse::<f64>().expect("a number").into()
        }
        (_, Val::Float64(v)) if v.is_finite() => json!(v),
        (_, Val::Float32(v)) => json!(v.to_string().replace("inf", "Infinity")),
        (_, Val::Float64(v)) => json!(v.to_string().replace("inf", "Infinity")),
        (_, Val::Char(v)) => json!(v),
        (_, Val::String(v)) => json!(v),
        (Type::Bytes, Val::List(v)) => {
            let bytes: Vec<u8> = v.iter().map(|v| if let Val::U8(b) = v { *b } else { panic!("{v:?}") }).collect();
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (Type::List(item), Val::List(v)) => v.iter().map(|v| expected(item, v)).collect(),
        (Type::Option(_), Val::Option(None)) => Value::Null,
        (Type::Option(option), Val::Option(Some(v))) => match &*option.inner {
            Type::Option(_) => json!({ "value": expected(&option.inner, v) }),
            inner => expected(inner, v),
        },
        (Type::Tuple(types), Val::Tuple(v)) => types.iter().zip(v).map(|(ty, v)| expected(ty, v)).collect(),
        (_, Val::Enum(name)) => json!(names::snake(name)),
        (_, Val::Flags(set)) => set.iter().map(|name| json!(names::snake(name))).collect(),
        (Type::Record(record), Val::Record(fields)) => {
            let mut object = serde_json::Map::new();
            for (field, (_, value)) in record.fields.iter().zip(fields) {
                let value = match (&field.presence, value) {
                    (Presence::Change(_), Val::Variant(case, None)) if case == "keep" => continue,
                    (Presence::Change(_), Val::Variant(_, None)) => Value::Null,
                    (Presence::Change(ty), Val::Variant(_, Some(value))) => expected(ty.without_option(), value),
                    _ => expected(&field.ty, value),
                };
                object.insert(names::snake(&field.name), value);
            }
            Value::Object(object)
        }
        (Type::Variant(_), Val::Variant(name, None)) => json!(names::snake(name)),
        (Type::Variant(variant), Val::Variant(name, Some(value))) => {
            let case = variant.cases.iter().find(|case| case.name == *name).expect("the case");
            json!({ names::snake(name): expected(case.ty.as_ref().expect("a payload"), value) })
        }
        (Type::Result { ok, err }, Val::Result(result)) => {
            let (name, ty, value) = match result {
                Ok(value) => ("ok", ok, value),
                Err(value) => ("err", err, value),
            };
            json!({ name: value.as_ref().map(|v| expected(ty.as_ref().expect("a payload"), v)) })
        }
        _ => panic!("{ty:?} is no {value:?}"),
    }
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|v| json!(v)),
        any::<i64>().prop_map(|v| json!(v)),
        any::<u64>().prop_map(|v| json!(v)),
        (0..300u64).prop_map(|v| json!(v)),
        any::<f64>().prop_map(|v| json!(v)),
        any::<String>().prop_map(|v| json!(v)),
        prop::sample::select(vec!["e0_e", "f0_f", "a_case0", "keep", "AQID", "NaN"]).prop_map(|v| json!(v)),
    ];
    let keys = prop::sample::select(vec![
        "p",
        "q",
        "my_field0",
        "my_field1",
        "a_case0",
        "a_case1",
        "ok",
        "err",
        "value",
        "set",
        "?",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((keys.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn body(fields: &Fields, json: &[u8]) -> Vec<u8> {
    assert_eq!(fields.len(), 2);
    match &fields[0].presence {
        Presence::Change(_) => b"{\"q\":1}".to_vec(),
        _ => [b"{\"q\":1,\"p\":", json, b"}"].concat(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_type_survives(
        (plan, value) in shape().prop_map(|shape| Arc::new(plan(&shape))).prop_flat_map(|plan| {
            let value = value(&plan.params[0].ty);
            (Just(plan), value)
        })
    ) {
        let ty = &plan.params[0].ty;
        let mut out = Vec::new();
        codec::encode(ty, &value, &mut out).expect("encodes");
        let parsed: Value = serde_json::from_slice(&out).expect("it is JSON");
        prop_assert_eq!(&parsed, &expected(ty, &value));
        let back = codec::decode(ty, &out).expect("decodes");
        prop_assert_eq!(&back, &value);
        let binding = Binding::new(&plan, &[], true).expect("binds");
        let params = binding.decode([], None, &body(&plan.params, &out)).expect("a body");
        prop_assert_eq!(&params[1], &Val::U8(1));
        if !matches!(plan.params[0].presence, Presence::Change(_)) {
            prop_assert_eq!(&params[0], &value);
        }
    }

    #[test]
    fn any_json_gives_a_value_or_a_problem(shape in shape(), json in any_json()) {
        let plan = plan(&shape);
        let ty = &plan.params[0].ty;
        match codec::decode(ty, json.to_string().as_bytes()) {
            // What was read is of the type: it can be written again, and reads the same.
            Ok(value) => {
                let mut out = Vec::new();
                codec::encode(ty, &value, &mut out).expect("encodes");
                prop_assert_eq!(codec::decode(ty, &out).expect("decodes"), value);
            }
            Err(problem) => {
                prop_assert_eq!(problem.kind, Kind::Validation);
                prop_assert!(!problem.details.is_empty());
            }
        }
    }

    #[test]
    fn any_bytes_give_a_value_or_a_problem(shape in shape(), bytes in any::<Vec<u8>>(), text in "[\\[\\]{}\",:0-9a-z\\\\ .eE+-]{0,40}") {
        let plan = plan(&shape);
        for bytes in [&bytes[..], text.as_bytes()] {
            if let Err(problem) = codec::decode(&plan.params[0].ty, bytes) {
                prop_assert!(matches!(problem.kind, Kind::Malformed | Kind::Validation));
            }
            let binding = Binding::new(&plan, &[], true).expect("binds");
            let query = String::from_utf8_lossy(bytes);
            drop(binding.decode([("p", &*query)], Some(&query), bytes));
        }
    }
}
