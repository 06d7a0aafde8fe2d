//! What is no protobuf message.

use super::{len, param, plan, var};
use crate::contract::proto::decode;
use crate::problem::Kind;

#[test]
fn broken_messages_are_told_with_the_place() {
    let all = "the message is not valid protobuf";
    let rows: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        // The end comes too early.
        ("u8", vec![0x08], "`p`", "varint"),
        ("u8", vec![0x08, 0x80], "`p`", "varint"),
        ("u8", vec![0x80], all, "varint"),
        ("f32", vec![0x0d, 0, 0, 0], "`p`", "underflow"),
        ("f64", vec![0x09, 0], "`p`", "underflow"),
        ("string", vec![0x0a, 2, b'a'], "`p`", "underflow"),
        ("string", vec![0x0a], "`p`", "varint"),
        ("list<u8>", vec![0x0a, 2, b'a'], "`p`", "longer"),
        ("address", vec![0x0a, 2, 0x0a], "`p`", "longer"),
        ("address", len(1, [0x0a, 2, b'a']), "`p.zip_code`", "underflow"),
        ("list<u16>", len(1, [1, 0x80]), "`p[1]`", "varint"),
        ("list<f32>", len(1, [0, 0, 0, 0, 1]), "`p[1]`", "underflow"),
        ("u8", vec![0x4d, 1], all, "underflow"),
        ("u8", len(9, "x")[..2].to_vec(), all, "underflow"),
        // Lengths beyond every memory.
        ("string", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "`p`", "underflow"),
        ("list<u8>", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "`p`", "longer"),
        ("list<u16>", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1], "`p`", "longer"),
        ("person", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1], "`p`", "longer"),
        ("u8", vec![0x4a, 0xff, 0xff, 0xff, 0xff, 0x07, 1], all, "underflow"),
        // Varints of more than ten bytes, or more than 64 bits.
        ("u64", [&[0x08][..], &[0xff; 10], &[1]].concat(), "`p`", "varint"),
        ("u64", [&[0x08][..], &[0xff; 9], &[2]].concat(), "`p`", "varint"),
        ("u8", [&[0xff; 10][..], &[1]].concat(), all, "varint"),
        // Another wire type.
        ("u8", len(1, [1]), "`p`", "wire type"),
        ("bool", vec![0x0d, 0, 0, 0, 0], "`p`", "wire type"),
        ("f32", var(1, 1), "`p`", "wire type"),
        ("f64", vec![0x0d, 0, 0, 0, 0], "`p`", "wire type"),
        ("string", var(1, 1), "`p`", "wire type"),
        ("list<u8>", var(1, 1), "`p`", "wire type"),
        ("char", var(1, 1), "`p`", "wire type"),
        ("color", len(1, [1]), "`p`", "wire type"),
        ("access", vec![0x0d, 0, 0, 0, 0], "`p[0]`", "wire type"),
        ("address", var(1, 1), "`p`", "wire type"),
        ("list<address>", [len(1, []), var(1, 1)].concat(), "`p[1]`", "wire type"),
        ("list<u16>", vec![0x0d, 0, 0, 0, 0], "`p[0]`", "wire type"),
        ("list<string>", var(1, 1), "`p[0]`", "wire type"),
        ("option<list<u16>>", len(1, vec![0x0d, 0, 0, 0, 0]), "`p[0]`", "wire type"),
        ("option<option<u8>>", len(1, len(1, [])), "`p.value`", "wire type"),
        ("shape", len(1, var(1, 1)), "`p.dot`", "wire type"),
        ("shape", len(1, var(2, 1)), "`p.circle`", "wire type"),
        ("result<u8, string>", len(1, var(2, 1)), "`p.err`", "wire type"),
        ("u8", vec![0x0e], all, "wire type"),
        ("u8", vec![0x4f], all, "wire type"),
        // Groups, where a field is known and where it is not.
        ("u8", vec![0x0b, 0x0c], "`p`", "wire type"),
        ("address", vec![0x0b, 0x0c], "`p`", "wire type"),
        ("address", vec![0x0c], "`p`", "wire type"),
        ("u8", vec![0x4c], all, "end group"),
        ("u8", vec![0x4b, 0x54], all, "end group"),
        ("u8", vec![0x4b], all, "varint"),
        ("address", len(1, [0x4b]), "`p`", "varint"),
        // There is no field 0, and none above 2^29.
        ("u8", vec![0x00, 1], all, "tag"),
        ("u8", vec![0x02, 0], all, "tag"),
        ("address", len(1, [0x00, 1]), "`p`", "tag"),
        ("u8", vec![0x80, 0x80, 0x80, 0x80, 0x10, 1], all, "key"),
        // Text is UTF-8.
        ("string", len(1, [0xff]), "`p`", "UTF-8"),
        ("list<string>", [len(1, "ok"), len(1, [0xc3])].concat(), "`p[1]`", "UTF-8"),
        ("char", len(1, [0xed, 0xa0, 0x80]), "`p`", "utf-8"),
        ("address", len(1, len(1, [0x80])), "`p.zip_code`", "UTF-8"),
        // The contents of an empty message.
        ("result", len(1, len(1, [0x08])), "`p.ok`", "varint"),
    ];
    for (wit, wire, place, cause) in rows {
        let problem = decode(&param(wit), &wire).expect_err(wit);
        assert_eq!((problem.kind, problem.code()), (Kind::Malformed, "INVALID_PROTOBUF"), "{wit} {wire:x?}");
        let message = problem.message;
        assert!(message.starts_with(all), "{message}");
        assert!(message.contains(place) && message.contains(cause), "{wit} {wire:x?}: {message}");
        assert_eq!(message.contains('`'), place.contains('`'), "{wit} {wire:x?}: {message}");
        assert!(!message.contains("failed to decode"), "{message}");
    }
}

#[test]
fn the_wire_format_comes_before_the_fields() {
    let plan = plan("(p: person)");
    let wrong = decode(&plan, &var(2, 300)).expect_err("wrong fields");
    assert_eq!(wrong.kind, Kind::Validation);
    let broken = decode(&plan, &[var(2, 300), vec![0x08]].concat()).expect_err("and broken");
    assert_eq!((broken.kind, broken.details.len()), (Kind::Malformed, 0));
}

#[test]
fn every_beginning_of_a_message_is_a_message_or_told() {
    let plan = plan("(p: person)");
    let whole = [
        len(1, "n"),
        len(3, [len(1, "z"), var(2, 1)].concat()),
        var(5, 1),
        len(6, [1, 2]),
        len(7, len(4, [var(1, 1), var(2, 2)].concat())),
        len(15, [var(1, 1), var(2, 1)].concat()),
        len(16, len(1, [1, 2, 3])),
    ]
    .concat();
    decode(&plan, &whole).expect("the whole is valid");
    let (mut malformed, mut invalid) = (0, 0);
    for end in 0..whole.len() {
        match decode(&plan, &whole[..end]) {
            Err(problem) if problem.kind == Kind::Malformed => malformed += 1,
            Err(problem) => {
                assert_eq!(problem.kind, Kind::Validation);
                invalid += 1;
            }
            Ok(_) => {}
        }
    }
    // One cut lies between two fields, all others inside of one.
    assert_eq!((malformed, invalid), (whole.len() - 7, 6));
}
