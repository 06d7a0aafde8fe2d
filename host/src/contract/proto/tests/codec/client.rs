//! Messages that a client of another make writes and reads.

use prost::Message;
use wasmtime::component::Val;

use super::{address, case, plan, record, some, text};
use crate::contract::proto::{answer, decode, encode_request};

#[derive(Clone, PartialEq, Message)]
struct Address {
    #[prost(string, tag = "1")]
    zip_code: String,
    #[prost(sint32, optional, tag = "2")]
    floor: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, optional, tag = "1")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Numbers {
    #[prost(uint32, repeated, tag = "1")]
    value: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Twice {
    #[prost(uint32, optional, tag = "1")]
    value: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(sint32, tag = "1")]
    f0: i32,
    #[prost(enumeration = "Color", tag = "2")]
    f1: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum Color {
    Unspecified = 0,
    Red = 1,
    DarkGreen = 2,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 6, 7")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Dot(()),
    #[prost(double, tag = "2")]
    Circle(f64),
    #[prost(message, tag = "3")]
    Label(Label),
    #[prost(message, tag = "6")]
    At(Address),
    #[prost(enumeration = "Color", tag = "7")]
    Of(i32),
}

#[derive(Clone, PartialEq, Message)]
struct TextChange {
    #[prost(oneof = "Change", tags = "1, 2, 3")]
    kind: Option<Change>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Change {
    #[prost(message, tag = "1")]
    Keep(()),
    #[prost(message, tag = "2")]
    Clear(()),
    #[prost(string, tag = "3")]
    Set(String),
}

#[derive(Clone, PartialEq, Message)]
struct Checked {
    #[prost(oneof = "Side", tags = "1, 2")]
    result: Option<Side>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Side {
    #[prost(uint32, tag = "1")]
    Ok(u32),
    #[prost(string, tag = "2")]
    Err(String),
}

#[derive(Clone, PartialEq, Message)]
struct Done {
    #[prost(oneof = "Bare", tags = "1, 2")]
    result: Option<Bare>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Bare {
    #[prost(message, tag = "1")]
    Ok(()),
    #[prost(message, tag = "2")]
    Err(()),
}

#[derive(Clone, PartialEq, Message)]
struct Person {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    age: u32,
    #[prost(message, optional, tag = "3")]
    address: Option<Address>,
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
    #[prost(enumeration = "Color", tag = "5")]
    color: i32,
    #[prost(int32, repeated, tag = "6")]
    access: Vec<i32>,
    #[prost(message, optional, tag = "7")]
    shape: Option<Shape>,
    #[prost(bytes, optional, tag = "8")]
    photo: Option<Vec<u8>>,
    #[prost(string, optional, tag = "9")]
    initial: Option<String>,
    #[prost(float, optional, tag = "10")]
    score: Option<f32>,
    #[prost(message, optional, tag = "11")]
    nick: Option<TextChange>,
    #[prost(message, optional, tag = "12")]
    twice: Option<Twice>,
    #[prost(message, optional, tag = "13")]
    checked: Option<Checked>,
    #[prost(message, optional, tag = "14")]
    done: Option<Done>,
    #[prost(message, optional, tag = "15")]
    pair: Option<Pair>,
    #[prost(message, repeated, tag = "16")]
    grid: Vec<Numbers>,
}

fn full() -> (Person, Val) {
    let message = Person {
        name: "Ann".into(),
        age: 30,
        address: Some(Address { zip_code: "z".into(), floor: Some(-3) }),
        tags: vec!["a".into(), String::new()],
        color: Color::DarkGreen.into(),
        access: vec![1, 3],
        shape: Some(Shape { kind: Some(Kind::Label(Label { value: Some(String::new()) })) }),
        photo: Some(vec![0, 255]),
        initial: Some("é".into()),
        score: Some(0.0),
        nick: Some(TextChange { kind: Some(Change::Set("n".into())) }),
        twice: Some(Twice { value: None }),
        checked: Some(Checked { result: Some(Side::Err("e".into())) }),
        done: Some(Done { result: Some(Bare::Ok(())) }),
        pair: Some(Pair { f0: -128, f1: Color::Red.into() }),
        grid: vec![Numbers { value: vec![1, 300] }, Numbers { value: vec![] }],
    };
    let value = record([
        ("name", text("Ann")),
        ("age", Val::U8(30)),
        ("address", address("z", Some(-3))),
        ("tags", Val::List(vec![text("a"), text("")])),
        ("color", Val::Enum("dark-green".into())),
        ("access", Val::Flags(vec!["can-read".into(), "can-own".into()])),
        ("shape", some(case("label", Some(some(text("")))))),
        ("photo", some(Val::List(vec![Val::U8(0), Val::U8(255)]))),
        ("initial", some(Val::Char('é'))),
        ("score", some(Val::Float32(0.0))),
        ("nick", case("set", Some(text("n")))),
        ("twice", some(Val::Option(None))),
        ("checked", some(Val::Result(Err(Some(Box::new(text("e"))))))),
        ("done", some(Val::Result(Ok(None)))),
        ("pair", Val::Tuple(vec![Val::S8(-128), Val::Enum("red".into())])),
        ("grid", Val::List(vec![Val::List(vec![Val::U16(1), Val::U16(300)]), Val::List(vec![])])),
    ]);
    (message, value)
}

fn bare() -> (Person, Val) {
    let message = Person {
        address: Some(Address::default()),
        color: Color::Red.into(),
        shape: Some(Shape { kind: Some(Kind::Dot(())) }),
        pair: Some(Pair { f0: 0, f1: Color::Red.into() }),
        ..Person::default()
    };
    let value = record([
        ("name", text("")),
        ("age", Val::U8(0)),
        ("address", address("", None)),
        ("tags", Val::List(vec![])),
        ("color", Val::Enum("red".into())),
        ("access", Val::Flags(vec![])),
        ("shape", some(case("dot", None))),
        ("photo", Val::Option(None)),
        ("initial", Val::Option(None)),
        ("score", Val::Option(None)),
        ("nick", case("keep", None)),
        ("twice", Val::Option(None)),
        ("checked", Val::Option(None)),
        ("done", Val::Option(None)),
        ("pair", Val::Tuple(vec![Val::S8(0), Val::Enum("red".into())])),
        ("grid", Val::List(vec![])),
    ]);
    (message, value)
}

#[test]
fn a_client_and_the_host_understand_each_other() {
    let plan = plan("(p: person) -> result<person, problem>");
    for (message, value) in [full(), bare()] {
        assert_eq!(decode(&plan, &message.encode_to_vec()).expect("reads"), std::slice::from_ref(&value));
        let mut out = Vec::new();
        encode_request(&plan, std::slice::from_ref(&value), &mut out).expect("encodes");
        assert_eq!(Person::decode(&out[..]).expect("reads"), message);
        assert_eq!(out, message.encode_to_vec(), "both write the same bytes");
        out.clear();
        answer(&plan, &[Val::Result(Ok(Some(Box::new(value))))], &mut out).expect("encodes");
        assert_eq!(Person::decode(&out[..]).expect("reads"), message);
    }
}
