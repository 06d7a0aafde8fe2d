//! Fields that occur more than once: the last scalar counts, messages merge, lists go on.

use wasmtime::component::Val;

use super::{address, case, errors, len, param, plan, read, record, some, text, var};
use crate::contract::proto::decode;

#[test]
fn the_last_scalar_counts() {
    for (wit, wire, value) in [
        ("u8", [var(1, 1), var(1, 2)].concat(), Val::U8(2)),
        ("u8", [var(1, 1), var(1, 0)].concat(), Val::U8(0)),
        ("option<string>", [len(1, "a"), len(1, "b")].concat(), some(text("b"))),
        ("char", [len(1, "a"), len(1, "b")].concat(), Val::Char('b')),
        ("list<u8>", [len(1, "abc"), len(1, "x")].concat(), Val::List(vec![Val::U8(b'x')])),
        ("color", [var(1, 1), var(1, 2)].concat(), Val::Enum("dark-green".into())),
        // What an earlier occurrence holds does not matter.
        ("u8", [var(1, 256), var(1, 2)].concat(), Val::U8(2)),
        ("option<s8>", [var(1, 999), var(1, 2)].concat(), some(Val::S8(1))),
        ("color", [var(1, 0), var(1, 1)].concat(), Val::Enum("red".into())),
        ("char", [len(1, "too long"), len(1, "b")].concat(), Val::Char('b')),
    ] {
        assert_eq!(read(&param(wit), &wire).expect(wit), value, "{wit}");
    }
    assert_eq!(errors(&param("u8"), &[var(1, 2), var(1, 256)].concat()), ["p OUT_OF_RANGE"]);
    assert_eq!(errors(&param("color"), &[var(1, 1), var(1, 0)].concat()), ["p REQUIRED"]);
    assert_eq!(errors(&param("char"), &[len(1, "a"), len(1, "")].concat()), ["p INVALID_FORMAT"]);
}

#[test]
fn messages_merge_field_by_field() {
    for (wit, wire, value) in [
        ("address", [len(1, len(1, "z")), len(1, var(2, 2))].concat(), address("z", Some(1))),
        ("address", [len(1, [len(1, "z"), var(2, 4)].concat()), len(1, len(1, "y"))].concat(), address("y", Some(2))),
        ("option<address>", [len(1, len(1, "z")), len(1, [])].concat(), some(address("z", None))),
        ("tuple<u8, u8>", [len(1, var(2, 2)), len(1, var(1, 1))].concat(), Val::Tuple(vec![Val::U8(1), Val::U8(2)])),
        // Wrappers are messages; the list in one goes on, the scalar is replaced.
        ("option<list<u16>>", [len(1, var(1, 1)), len(1, len(1, [2, 3]))].concat(), {
            some(Val::List((1..=3).map(Val::U16).collect()))
        }),
        ("option<option<u8>>", [len(1, []), len(1, var(1, 7))].concat(), some(some(Val::U8(7)))),
        ("option<option<u8>>", [len(1, var(1, 7)), len(1, [])].concat(), some(some(Val::U8(7)))),
        ("option<access>", [len(1, var(1, 3)), len(1, var(1, 1))].concat(), {
            some(Val::Flags(vec!["can-read".into(), "can-own".into()]))
        }),
        // Other fields may stand between, and items of a list never merge.
        ("address", [len(1, len(1, "z")), var(2, 9), len(1, var(2, 2)), len(7, "?")].concat(), address("z", Some(1))),
        ("list<address>", [len(1, len(1, "z")), len(1, var(2, 2))].concat(), {
            Val::List(vec![address("z", None), address("", Some(1))])
        }),
    ] {
        assert_eq!(read(&param(wit), &wire).expect(wit), value, "{wit}");
    }
}

#[test]
fn only_the_merged_message_is_judged() {
    let plan = param("person");
    let first = [len(3, var(2, 999)), var(5, 77), var(2, 300)].concat();
    let second = [len(3, [len(1, "z"), var(2, 2)].concat()), var(5, 1), var(2, 30)].concat();
    let third = len(15, [var(1, 2), var(2, 2)].concat());
    assert_eq!(
        errors(&plan, &len(1, &first)),
        ["p.address.floor OUT_OF_RANGE", "p.age OUT_OF_RANGE", "p.color UNKNOWN_VALUE", "p.pair REQUIRED"]
    );
    let Val::Record(person) = read(&plan, &[len(1, &first), len(1, &second), len(1, &third)].concat()).expect("merges")
    else {
        panic!("a record")
    };
    let field = |name: &str| &person.iter().find(|(n, _)| n == name).expect(name).1;
    assert_eq!(*field("address"), address("z", Some(1)));
    assert_eq!(*field("age"), Val::U8(30));
    assert_eq!(*field("color"), Val::Enum("red".into()));
    assert_eq!(*field("pair"), Val::Tuple(vec![Val::S8(1), Val::Enum("dark-green".into())]));
    // In the other order the wrong ones are the last.
    assert_eq!(
        errors(&plan, &[len(1, &third), len(1, &second), len(1, &first)].concat()),
        ["p.address.floor OUT_OF_RANGE", "p.age OUT_OF_RANGE", "p.color UNKNOWN_VALUE"]
    );
}

#[test]
fn of_a_oneof_the_last_member_counts() {
    let circle = [0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    let at = |inner: Vec<u8>| len(6, inner);
    let rows = [
        (circle.to_vec(), at(len(1, "z")), case("at", Some(address("z", None)))),
        (at(len(1, "z")), circle.to_vec(), case("circle", Some(Val::Float64(1.0)))),
        // The same message member merges, also over several occurrences of the message around it.
        (at(len(1, "z")), at(var(2, 2)), case("at", Some(address("z", Some(1))))),
        (len(3, len(1, "a")), len(3, []), case("label", Some(some(text("a"))))),
        (len(5, len(1, "a")), len(5, len(1, "b")), case("tags", Some(Val::List(vec![text("a"), text("b")])))),
        (len(1, []), len(1, []), case("dot", None)),
        (var(7, 9), var(7, 2), case("of", Some(Val::Enum("dark-green".into())))),
        // An overridden member is gone, and does not merge when it comes again.
        ([at(len(1, "z")), len(1, [])].concat(), at(var(2, 2)), case("at", Some(address("", Some(1))))),
        ([at(len(1, "z")), circle.to_vec()].concat(), at(vec![]), case("at", Some(address("", None)))),
        // Unknown members do not count.
        (at(len(1, "z")), var(50, 1), case("at", Some(address("z", None)))),
    ];
    for (first, second, value) in rows {
        for wire in [len(1, [&first[..], &second].concat()), [len(1, &first), len(1, &second)].concat()] {
            assert_eq!(read(&param("shape"), &wire), Ok(value.clone()), "{wire:x?}");
        }
    }
    let sides = [len(1, var(1, 999)), len(1, len(2, "e"))].concat();
    assert_eq!(read(&param("result<u8, string>"), &sides), Ok(Val::Result(Err(Some(Box::new(text("e")))))));
}

#[test]
fn merging_reaches_every_level() {
    let defs = "(p: option<tuple<tuple<address, list<u16>>, text-change>>)";
    let inner = |address: Vec<u8>, list: Vec<u8>| len(1, [len(1, address), list].concat());
    let wire = [
        len(1, [inner(len(1, "a"), var(2, 1)), len(2, len(2, []))].concat()),
        len(1, [inner(var(2, 1), len(2, [2])), inner(len(1, "b"), var(2, 3))].concat()),
        len(1, len(2, len(3, "new"))),
    ];
    let list = Val::List((1..=3).map(Val::U16).collect());
    let inner = Val::Tuple(vec![address("b", Some(-1)), list]);
    let value = some(Val::Tuple(vec![inner, case("set", Some(text("new")))]));
    assert_eq!(decode(&plan(defs), &wire.concat()), Ok(vec![value]));
}

#[test]
fn fields_of_the_request_merge_too() {
    let plan = plan("(p: nothing)");
    assert_eq!(decode(&plan, &[var(1, 1), var(1, 2)].concat()), Ok(vec![record([("a", some(Val::U8(2)))])]));
}
