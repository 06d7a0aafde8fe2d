//! The codec: what is written and read.

mod client;
mod limits;
mod malformed;
mod merging;
mod props;
mod reflect;
mod types;

use prost::encoding::{WireType, encode_key, encode_varint};
use wasmtime::component::Val;

use crate::contract::FunctionPlan;
use crate::contract::proto::decode;
use crate::contract::tests::contract;
use crate::problem::{Kind, Problem};

const DEFS: &str = "
  enum color { red, dark-green }
  flags access { can-read, can-write, can-own }
  record address { zip-code: string, floor: option<s8> }
  record nothing { a: option<u8> }
  variant shape { dot, circle(f64), label(option<string>), box(tuple<u8, u8>), tags(list<string>), at(address), of(color) }
  record person {
    name: string, age: u8, address: address, tags: list<string>, color: color, access: access,
    shape: option<shape>, photo: option<list<u8>>, initial: option<char>, score: option<f32>,
    nick: text-change, twice: option<option<u8>>, checked: option<result<u8, string>>, done: option<result>,
    pair: tuple<s8, color>, grid: list<list<u16>>,
  }";

/// The plan of `f` with this signature, after these definitions.
fn plan(signature: &str) -> FunctionPlan {
    let contract = contract(&format!("{DEFS}\nf: func{signature};"));
    contract.publish("api.f").unwrap_or_else(|e| panic!("{signature}: {e}")).1.clone()
}

/// A request whose first field is of this type.
fn param(wit: &str) -> FunctionPlan {
    plan(&format!("(p: {wit}, q: u8)"))
}

fn read(plan: &FunctionPlan, message: &[u8]) -> Result<Val, Problem> {
    decode(plan, message).map(|mut params| params.swap_remove(0))
}

/// The errors as `path CODE`, sorted.
fn errors(plan: &FunctionPlan, message: &[u8]) -> Vec<String> {
    let problem = decode(plan, message).expect_err("there is something wrong");
    assert_eq!(problem.kind, Kind::Validation, "{problem:?}");
    let mut list: Vec<_> = problem.details.iter().map(|e| format!("{} {}", e.field, e.code)).collect();
    list.sort();
    list
}

/// A field with a length: a string, bytes, a message or a packed list.
fn len(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut out);
    encode_varint(value.as_ref().len() as u64, &mut out);
    out.extend_from_slice(value.as_ref());
    out
}

/// A field that is a varint.
fn var(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(number, WireType::Varint, &mut out);
    encode_varint(value, &mut out);
    out
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn some(value: Val) -> Val {
    Val::Option(Some(Box::new(value)))
}

fn case(name: &str, payload: Option<Val>) -> Val {
    Val::Variant(name.to_owned(), payload.map(Box::new))
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

fn address(zip: &str, floor: Option<i8>) -> Val {
    record([("zip-code", text(zip)), ("floor", Val::Option(floor.map(|floor| Box::new(Val::S8(floor)))))])
}
