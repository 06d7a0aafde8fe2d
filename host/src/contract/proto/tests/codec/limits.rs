//! What may grow is bounded, and costs nothing before it is refused.

use std::sync::Arc;

use wasmtime::component::Val;

use super::{len, param, plan, read, var};
use crate::contract::json::{MAX_BYTES, MAX_ERRORS, MAX_VALUES};
use crate::contract::proto::decode;
use crate::contract::types::{Field, Fields, Type};
use crate::contract::{FunctionPlan, Streams, plan::ResultPlan};
use crate::problem::Kind;

fn code(plan: &FunctionPlan, message: &[u8]) -> (String, String) {
    let problem = decode(plan, message).map(drop).expect_err("too much");
    assert_eq!(problem.kind, Kind::Validation, "{problem:?}");
    let last = problem.details.last().expect("a detail");
    (last.field.clone(), last.code.clone().into_owned())
}

#[test]
fn the_number_of_values() {
    let too_large = |wit: &str, wire: &[u8]| {
        let (field, code) = code(&param(wit), wire);
        assert!(code == "TOO_LARGE" && field.starts_with('p'), "{wit}: {field} {code}");
    };
    read(&param("list<bool>"), &len(1, vec![1; MAX_VALUES - 2])).expect("as many as are allowed");
    too_large("list<bool>", &len(1, vec![1; MAX_VALUES]));
    too_large("list<bool>", &var(1, 1).repeat(MAX_VALUES));
    too_large("access", &len(1, vec![1; MAX_VALUES]));
    too_large("list<string>", &len(1, "").repeat(MAX_VALUES));
    too_large("list<option<bool>>", &len(1, []).repeat(MAX_VALUES));
    // A small message must not become large records.
    too_large("list<address>", &len(1, []).repeat(MAX_VALUES / 3 + 1));
    // Nor many occurrences of one.
    too_large("address", &len(1, []).repeat(MAX_VALUES));
    too_large("option<shape>", &len(1, len(6, []).repeat(100)).repeat(MAX_VALUES / 100));
}

#[test]
fn the_number_of_bytes() {
    let half = vec![7; MAX_BYTES / 2 + 1];
    let plan = plan("(p: list<u8>, q: option<list<u8>>, r: list<list<u8>>)");
    decode(&plan, &len(1, vec![7; MAX_BYTES])).expect("as many as are allowed");
    assert_eq!(code(&plan, &len(1, vec![7; MAX_BYTES + 1])), ("p".into(), "TOO_LARGE".into()));
    assert_eq!(code(&plan, &[len(1, &half), len(2, &half)].concat()), ("q".into(), "TOO_LARGE".into()));
    assert_eq!(code(&plan, &len(3, &half).repeat(2)), ("r[1]".into(), "TOO_LARGE".into()));
    // Only the last one counts.
    decode(&plan, &len(1, &half).repeat(3)).expect("one is left");
}

#[test]
fn the_number_of_errors() {
    let problem = decode(&param("list<u16>"), &len(1, [0xff, 0xff, 0x7f].repeat(5000))).expect_err("many");
    assert_eq!((problem.kind, problem.details.len()), (Kind::Validation, MAX_ERRORS));
    let wide: Vec<_> = (0..200).map(|n| format!("n{n}: color")).collect();
    let problem = decode(&plan(&format!("({})", wide.join(", "))), &[]).expect_err("many");
    assert_eq!(problem.details.len(), MAX_ERRORS);
}

/// A plan whose type is so many options deep; each is a message.
fn deep(levels: usize) -> FunctionPlan {
    let ty = (0..levels).fold(Arc::new(Type::Bytes), |inner, _| Arc::new(Type::option(inner)));
    let params: Fields = [Field::new("p", ty, None)].into_iter().collect();
    let result = ResultPlan { ok: None, fallible: false };
    FunctionPlan { name: "f".into(), docs: None, params: Arc::new(params), result, streams: Streams::default() }
}

#[test]
fn the_depth_of_messages() {
    let nested = |levels: usize| (0..levels).fold(Vec::new(), |inner, _| len(1, inner));
    let value = decode(&deep(1000), &nested(100)).expect("as deep as is allowed, and deeper than it is");
    assert!(matches!(&value[0], Val::Option(Some(_))));
    let problem = decode(&deep(1000), &nested(101)).expect_err("too deep");
    assert_eq!(problem.kind, Kind::Malformed);
    assert!(problem.message.contains("100 levels deep"), "{}", problem.message);
    // Bytes are no message: they may be inside of the last one.
    decode(&deep(101), &nested(101)).expect("no message is too deep");
    assert!(decode(&deep(102), &nested(101)).is_err());
    // What is unknown may hold groups.
    let groups = |levels: usize| [vec![0x4b; levels], vec![0x4c; levels]].concat();
    decode(&deep(1), &groups(50)).expect("skipped");
    let problem = decode(&deep(1), &groups(100_000)).expect_err("too deep");
    assert_eq!(problem.kind, Kind::Malformed);
    // In a field of bytes nesting means nothing.
    decode(&deep(1), &nested(1000)).expect("bytes");
}

#[test]
fn wide_records_have_all_their_fields() {
    let fields: Vec<_> = (0..200).map(|n| format!("n{n}: u8")).collect();
    let plan = plan(&format!("({})", fields.join(", ")));
    let wire: Vec<u8> = (0..200).rev().flat_map(|n| var(n + 1, n.into())).collect();
    let expected: Vec<_> = (0..200).map(Val::U8).collect();
    assert_eq!(decode(&plan, &wire), Ok(expected));
    assert_eq!(decode(&plan, &[]), Ok(vec![Val::U8(0); 200]));
}
