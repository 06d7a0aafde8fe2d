//! Any bytes as a message: they are refused, or they are a value that survives being written and read again.

#![no_main]

mod plans;

use std::sync::LazyLock;

use arcana::contract::FunctionPlan;
use arcana::contract::proto::{answer, decode, decode_response, encode_request};
use arcana::problem::Kind;
use libfuzzer_sys::fuzz_target;
use wasmtime::component::Val;

static PLANS: LazyLock<[FunctionPlan; 2]> = LazyLock::new(plans::plans);

fuzz_target!(|message: &[u8]| {
    for plan in &*PLANS {
        match decode(plan, message) {
            Ok(params) => {
                let mut again = Vec::new();
                encode_request(plan, &params, &mut again).expect("what was read is of the type");
                assert_eq!(decode(plan, &again).as_ref(), Ok(&params));
            }
            Err(problem) => match problem.kind {
                Kind::Validation => assert!(!problem.details.is_empty()),
                kind => assert_eq!((kind, problem.details.len()), (Kind::Malformed, 0)),
            },
        }
        if let Ok(Some(value)) = decode_response(plan, message) {
            let results = [Val::Result(Ok(Some(Box::new(value.clone()))))];
            let mut again = Vec::new();
            answer(plan, &results, &mut again).expect("what was read is of the type");
            assert_eq!(decode_response(plan, &again), Ok(Some(value)));
        }
    }
});
