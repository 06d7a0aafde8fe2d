//! Any value of any type survives the wire, and bytes that are anything do no harm.

use proptest::prelude::*;
use wasmtime::component::Val;

use crate::contract::FunctionPlan;
use crate::contract::proto::{answer, decode, decode_response, encode_request};
use crate::contract::tests::contract;
pub(super) use crate::contract::tests::props::{Shape, shape, value, wit};
use crate::problem::Kind;

/// `f` takes the shape and something beside it, `g` takes it alone, and both answer it.
pub(super) fn definitions(shape: &Shape) -> String {
    let mut defs = Vec::new();
    let ty = wit(shape, &mut defs);
    // A bare `result` would be the function's own.
    let answer = if ty.starts_with("result") { format!("option<{ty}>") } else { ty.clone() };
    format!("{}\nf: func(p: {ty}, q: u8) -> {answer};\ng: func(p: {ty}) -> {answer};", defs.join("\n"))
}

/// The plans of `f` and `g`.
pub(super) fn plans_of(definitions: &str) -> [FunctionPlan; 2] {
    let contract = contract(definitions);
    ["api.f", "api.g"].map(|name| contract.publish(name).expect("publishable").1.clone())
}

fn plans_and_value() -> impl Strategy<Value = ([FunctionPlan; 2], Val)> {
    shape().prop_map(|shape| plans_of(&definitions(&shape))).prop_flat_map(|plans| {
        let value = value(&plans[0].params[0].ty);
        (Just(plans), value)
    })
}

/// Damage to a message: bytes that are replaced, taken out, put in or said twice.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
}

pub(super) fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<prop::sample::Index>;
    let one = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        at().prop_map(Damage::Remove),
        (at(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        at().prop_map(Damage::Cut),
    ];
    prop::collection::vec(one, 1..5)
}

pub(super) fn damaged(mut message: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        if message.is_empty() {
            message.push(0);
        }
        let len = message.len();
        match damage {
            Damage::Replace(at, byte) => message[at.index(len)] = *byte,
            Damage::Remove(at) => drop(message.remove(at.index(len))),
            Damage::Insert(at, bytes) => {
                let at = at.index(len);
                message.splice(at..at, bytes.iter().copied());
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = message[from.min(to)..=from.max(to)].to_vec();
                message.extend(part);
            }
            Damage::Cut(at) => message.truncate(at.index(len)),
        }
    }
    message
}

/// Field numbers and wire types that the plans have, with anything behind them.
pub(super) fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let key = (1..6u8, prop::sample::select(vec![0u8, 1, 2, 2, 2, 5])).prop_map(|(number, wire)| number << 3 | wire);
    let rest = prop_oneof![
        3 => (0..8u8).prop_map(|n| vec![n]),
        1 => prop::collection::vec(any::<u8>(), 1..12),
        1 => Just(vec![0xff, 0xff, 0x7f]),
    ];
    prop::collection::vec((key, rest), 0..10)
        .prop_map(|fields| fields.into_iter().flat_map(|(key, rest)| [vec![key], rest].concat()).collect())
}

/// Reads anything; what was read can be written, and then reads the same.
fn try_reading(plan: &FunctionPlan, bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(plan, bytes) {
        Ok(params) => {
            let mut out = Vec::new();
            encode_request(plan, &params, &mut out).expect("what was read is of the type");
            prop_assert_eq!(decode(plan, &out).expect("decodes"), params);
        }
        Err(problem) => match problem.kind {
            Kind::Malformed => prop_assert!(problem.details.is_empty()),
            Kind::Validation => prop_assert!(!problem.details.is_empty()),
            kind => prop_assert!(false, "{kind:?}"),
        },
    }
    if let Err(problem) = decode_response(plan, bytes) {
        prop_assert!(matches!(problem.kind, Kind::Malformed | Kind::Validation));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_of_any_type_survives(([f, g], value) in plans_and_value(), q in any::<u8>()) {
        for (plan, params) in [(&f, vec![value.clone(), Val::U8(q)]), (&g, vec![value.clone()])] {
            let mut out = Vec::new();
            encode_request(plan, &params, &mut out).expect("encodes");
            prop_assert_eq!(decode(plan, &out).expect("decodes"), params);
        }
        let wrapped = matches!(value, Val::Result(_));
        let result = if wrapped { Val::Option(Some(Box::new(value))) } else { value };
        let mut out = Vec::new();
        answer(&f, std::slice::from_ref(&result), &mut out).expect("encodes");
        prop_assert_eq!(decode_response(&f, &out).expect("decodes"), Some(result));
    }

    #[test]
    fn any_bytes_give_a_value_or_a_problem(shape in shape(), bytes in any::<Vec<u8>>(), likely in likely_bytes()) {
        for plan in &plans_of(&definitions(&shape)) {
            try_reading(plan, &bytes)?;
            try_reading(plan, &likely)?;
        }
    }

    #[test]
    fn damaged_messages_give_a_value_or_a_problem(([f, g], value) in plans_and_value(), damage in damage()) {
        for (plan, params) in [(&f, vec![value.clone(), Val::U8(1)]), (&g, vec![value.clone()])] {
            let mut out = Vec::new();
            encode_request(plan, &params, &mut out).expect("encodes");
            try_reading(plan, &damaged(out, &damage))?;
        }
    }
}
