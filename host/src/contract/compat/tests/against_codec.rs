//! What is said to be compatible is written by one contract and read by the other.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use wasmtime::component::Val;

use super::*;
use crate::contract::tests::props;
use crate::contract::{json, proto};
use crate::problem::Kind;

/// Definitions, and a type as it is written with them.
const TYPES: [(&str, &str); 44] = [
    ("", "bool"),
    ("", "u8"),
    ("", "u16"),
    ("", "u32"),
    ("", "u64"),
    ("", "s8"),
    ("", "s32"),
    ("", "s64"),
    ("", "f32"),
    ("", "f64"),
    ("", "char"),
    ("", "string"),
    ("", "list<u8>"),
    ("", "list<u32>"),
    ("", "list<u64>"),
    ("", "list<string>"),
    ("", "list<option<string>>"),
    ("", "list<list<u8>>"),
    ("", "option<u8>"),
    ("", "option<u32>"),
    ("", "option<string>"),
    ("", "option<list<u8>>"),
    ("", "option<list<string>>"),
    ("", "option<option<string>>"),
    ("", "tuple<u8>"),
    ("", "tuple<u8, option<string>>"),
    ("", "tuple<u8, string>"),
    ("", "result<u8>"),
    ("", "result<u8, string>"),
    ("", "result<list<u8>, string>"),
    ("", "text-change"),
    ("enum k { a, b }", "k"),
    ("enum k { a, b, c }", "k"),
    ("enum k { b, a }", "k"),
    ("enum k { a, b }", "option<k>"),
    ("enum k { a, b }", "list<k>"),
    ("flags k { a, b }", "k"),
    ("flags k { a, b, c }", "k"),
    ("variant k { a, b(u8) }", "k"),
    ("variant k { a, b(u32), c(list<string>) }", "k"),
    ("variant k { a, b(option<u8>) }", "k"),
    ("record k { p: u8, q: option<string> }", "k"),
    ("record k { p: u8 }", "option<k>"),
    ("record k { p: u32, q: string }", "k"),
];

struct Side {
    surface: Surface,
    values: Vec<Val>,
}

/// A function that takes a record with this field, or one that answers it; and values of that record.
fn side((defs, ty): (&str, &str), function: &str, runner: &mut TestRunner) -> Side {
    let surface = surface(&format!("{defs} record i {{ x: {ty} }} {function}"), &[]);
    let plan = &surface.services[0].methods[0].plan;
    let record =
        plan.params.first().map_or_else(|| plan.result.ok.clone().expect("an answer"), |param| param.ty.clone());
    let values = (0..12).map(|_| props::value(&record).new_tree(runner).expect("a value").current()).collect();
    Side { surface, values }
}

impl Side {
    fn plan(&self) -> &FunctionPlan {
        &self.surface.services[0].methods[0].plan
    }

    /// The protocols over which it can take the other's place.
    fn replaces(&self, old: &Self) -> [bool; 2] {
        let findings = compare(&old.surface, &self.surface);
        [Protocol::Grpc, Protocol::Rest].map(|protocol| {
            let mut breaking = findings.iter().filter(|finding| finding.level == Level::Breaking);
            !breaking.any(|finding| finding.protocols.contains(&protocol))
        })
    }
}

#[test]
fn what_old_clients_send_is_read() {
    let mut runner = TestRunner::deterministic();
    let sides = TYPES.map(|ty| side(ty, "f: func(i: i);", &mut runner));
    let mut compatible = 0;
    for (old, was) in sides.iter().zip(TYPES) {
        for (new, is) in sides.iter().zip(TYPES) {
            let [grpc, rest] = new.replaces(old);
            compatible += usize::from(grpc) + usize::from(rest);
            for value in &old.values {
                if grpc {
                    let mut message = Vec::new();
                    proto::encode_request(old.plan(), std::slice::from_ref(value), &mut message).expect("encodes");
                    let read = proto::decode(new.plan(), &message);
                    assert!(read.is_ok(), "{was:?} became {is:?}: {value:?} over gRPC: {read:?}");
                }
                if rest {
                    let mut body = Vec::new();
                    json::encode(&old.plan().params[0].ty, value, &mut body).expect("encodes");
                    let read = new.surface.services[0].methods[0].routes[0].binding.decode([], None, &body);
                    let body = String::from_utf8_lossy(&body);
                    assert!(read.is_ok(), "{was:?} became {is:?}: {body} over REST: {read:?}");
                }
            }
        }
    }
    // Each with itself at least, and some more.
    assert!(compatible > 2 * TYPES.len() + 20, "{compatible}");
}

#[test]
fn what_is_answered_has_the_form_that_old_clients_read() {
    let mut runner = TestRunner::deterministic();
    let sides = TYPES.map(|ty| side(ty, "f: func() -> i;", &mut runner));
    for (old, was) in sides.iter().zip(TYPES) {
        for (new, is) in sides.iter().zip(TYPES) {
            let [grpc, _] = new.replaces(old);
            for value in new.values.iter().filter(|_| grpc) {
                let mut message = Vec::new();
                proto::answer(new.plan(), std::slice::from_ref(value), &mut message).expect("encodes");
                // Clients are not as strict about values as this host is, but bytes have to be what they expect.
                if let Err(problem) = proto::decode_response(old.plan(), &message) {
                    assert_ne!(problem.kind, Kind::Malformed, "{was:?} became {is:?}: {value:?}: {problem:?}");
                }
            }
        }
    }
}
