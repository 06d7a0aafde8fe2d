//! Streams of the host's own functions: their methods, and each item as a message.

use wasmtime::component::Val;

use super::pool;
use crate::contract::proto::{Files, Service, answer, decode, decode_response, encode_request, text};
use crate::contract::tests::{TYPES_WIT, contract};
use crate::contract::{ContractError, FunctionPlan, Interface, Streams};
use crate::problem::Kind;

const API: &str = "package t:t@1.2.0;
interface api {
  use arcana:types/types@1.0.0.{problem};
  record line { text: string }
  variant part { name(line), chunk(list<u8>), done }
  /// Sends parts.
  send: func(parts: stream<part>) -> result<stream<part>, problem>;
  /// Follows lines.
  follow: func(start: u32) -> stream<line>;
  put: func(lines: stream<line>) -> result<line, problem>;
  two: func(a: stream<line>, b: u8);
}";

fn api() -> Interface {
    let mut interfaces = Interface::parse(&[("types.wit", TYPES_WIT), ("t.wit", API)]).expect("parses");
    interfaces.remove(0)
}

fn plan(interface: &Interface, function: &str) -> FunctionPlan {
    interface.publish(function).expect("can be published").clone()
}

#[test]
fn methods_say_which_side_is_a_stream() {
    let api = api();
    let plans = ["send", "follow", "put"].map(|function| plan(&api, function));
    let sides = plans.each_ref().map(|plan| (plan.streams.request, plan.streams.answer));
    assert_eq!(sides, [(true, true), (false, true), (true, false)]);
    let functions = plans.iter().collect();
    let service = Service { package: api.package.as_ref().expect("one"), name: &api.name, docs: None, functions };
    let files = Files::of([service]).expect("describes");
    let methods = pool(&files).get_service_by_name("t.t.v1.Api").expect("listed").methods().collect::<Vec<_>>();
    let streams = methods.iter().map(|method| (method.is_client_streaming(), method.is_server_streaming()));
    assert!(streams.eq(sides));
    let text = text::render(files.file("t/t/v1/t.proto").expect("there"));
    for line in [
        "  // Sends parts.\n  rpc Send(stream Part) returns (stream Part);",
        "  rpc Follow(FollowRequest) returns (stream Line);",
        "  rpc Put(stream Line) returns (Line);",
        "message Part {\n  oneof kind {\n    Line name = 1;",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    // A compiler of such files reads the same out of it.
    let file = files.file("t/t/v1/t.proto").expect("there");
    let unary = Files::from_iter([{
        let mut unary = prost_types::FileDescriptorProto::clone(file);
        unary.service[0].method[1].server_streaming = None;
        unary
    }]);
    let mut both = files.clone();
    let disagreement = both.merge(&unary).expect_err("they differ").to_string();
    assert!(disagreement.contains("returns (stream t.t.v1.Line)"), "{disagreement}");
}

#[test]
fn each_item_of_a_stream_is_a_message() {
    let api = api();
    let send = plan(&api, "send");
    let line = |text: &str| Val::Record(vec![("text".into(), Val::String(text.into()))]);
    for (part, bytes) in [
        (Val::Variant("name".into(), Some(Box::new(line("a")))), &b"\x0a\x03\x0a\x01a"[..]),
        (Val::Variant("chunk".into(), Some(Box::new(Val::List(vec![Val::U8(7)])))), b"\x12\x01\x07"),
        (Val::Variant("done".into(), None), b"\x1a\x00"),
    ] {
        let mut request = Vec::new();
        encode_request(&send, std::slice::from_ref(&part), &mut request).expect("encodes");
        assert_eq!(request, bytes);
        assert_eq!(decode(&send, bytes).expect("decodes"), std::slice::from_ref(&part));
        let mut response = Vec::new();
        answer(&send, &[Val::Result(Ok(Some(Box::new(part.clone()))))], &mut response).expect("encodes");
        assert_eq!(response, bytes);
        assert_eq!(decode_response(&send, bytes).expect("decodes"), Some(part));
    }
    let nothing = decode(&send, b"").expect_err("a oneof must have a case");
    assert_eq!((nothing.kind, &*nothing.details[0].code), (Kind::Validation, "REQUIRED"));
}

#[test]
fn streams_are_for_whole_requests_and_answers_of_the_host() {
    let error = api().publish("two").expect_err("one of two parameters").to_string();
    assert!(error.contains("`a` has the type `stream<line>`") && error.contains("cannot be sent"), "{error}");
    let plugin = contract("f: func(p: stream<u8>); g: func() -> stream<u8>;");
    for (call, place) in [("api.f", "parameter `p`"), ("api.g", "its result")] {
        let error = plugin.publish(call).map(drop).expect_err("a plugin");
        assert!(matches!(error, ContractError::Parameter { .. } | ContractError::Result { .. }), "{error}");
        assert!(error.to_string().contains(place), "{error}");
    }
    let plugin = contract("f: func(p: u8);");
    assert_eq!(plugin.publish("api.f").expect("fine").1.streams, Streams::default());
}
