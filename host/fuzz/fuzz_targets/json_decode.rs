//! Any bytes as JSON: they are refused, or they are a value that survives being written and read again.

#![no_main]

mod plans;

use std::sync::LazyLock;

use arcana::contract::{Binding, FunctionPlan, json};
use arcana::problem::Kind;
use libfuzzer_sys::fuzz_target;

static PLANS: LazyLock<[(FunctionPlan, Binding); 2]> = LazyLock::new(|| {
    plans::plans().map(|plan| {
        let binding = Binding::new(&plan, &[], true).expect("a body binds to anything");
        (plan, binding)
    })
});

fuzz_target!(|text: &[u8]| {
    for (plan, binding) in &*PLANS {
        for param in &**plan.params {
            match json::decode(&param.ty, text) {
                Ok(value) => {
                    let mut again = Vec::new();
                    json::encode(&param.ty, &value, &mut again).expect("what was read is of the type");
                    assert_eq!(json::decode(&param.ty, &again).as_ref(), Ok(&value));
                }
                Err(problem) => match problem.kind {
                    Kind::Validation => assert!(!problem.details.is_empty()),
                    kind => assert_eq!((kind, problem.details.len()), (Kind::Malformed, 0)),
                },
            }
        }
        // The same text as a body, and as a query that is not escaped.
        drop(binding.decode([], std::str::from_utf8(text).ok(), text));
    }
});
