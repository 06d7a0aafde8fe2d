//! SQLite's JSON functions behind checks of their arguments.
//!
//! SQLite bounds how deep JSON may be where it reads text, and neither where it reads its own binary form nor where a path
//! makes what is not there: 400 KiB of a blob, or of a path, overflow the stack. And some functions take the product of
//! their arguments, in which nothing can stop them. So each function, and each function in the shape of a table, is
//! replaced by one of the same name that checks what it gets and then asks SQLite's own on a connection without a file.

mod calculator;
mod each;
mod functions;
mod groups;

pub(super) use functions::install;

use std::ffi::CStr;

/// What the arguments of a function are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// JSON.
    Document,
    /// What the answer is made of.
    Parts,
    /// JSON, then paths.
    Paths,
    /// JSON, then paths and values in turn.
    Edits,
    /// JSON, and JSON that is merged into it.
    Merge,
    /// JSON, and how to indent it.
    Indent,
}

/// The functions and what they take.
static FUNCTIONS: [(&CStr, Rule); 26] = [
    (c"->", Rule::Paths),
    (c"->>", Rule::Paths),
    (c"json", Rule::Document),
    (c"json_array", Rule::Parts),
    (c"json_array_length", Rule::Paths),
    (c"json_error_position", Rule::Document),
    (c"json_extract", Rule::Paths),
    (c"json_insert", Rule::Edits),
    (c"json_object", Rule::Parts),
    (c"json_patch", Rule::Merge),
    (c"json_pretty", Rule::Indent),
    (c"json_quote", Rule::Document),
    (c"json_remove", Rule::Paths),
    (c"json_replace", Rule::Edits),
    (c"json_set", Rule::Edits),
    (c"json_type", Rule::Paths),
    (c"json_valid", Rule::Document),
    (c"jsonb", Rule::Document),
    (c"jsonb_array", Rule::Parts),
    (c"jsonb_extract", Rule::Paths),
    (c"jsonb_insert", Rule::Edits),
    (c"jsonb_object", Rule::Parts),
    (c"jsonb_patch", Rule::Merge),
    (c"jsonb_remove", Rule::Paths),
    (c"jsonb_replace", Rule::Edits),
    (c"jsonb_set", Rule::Edits),
];

/// The longest path, in bytes: SQLite recurses over its steps.
const MAX_PATH: usize = 4 << 10;

/// How deep JSON may be, as SQLite has it for text.
const MAX_DEPTH: usize = 1_000;

/// What a function may do at most, in bytes that are read or moved: a few hundred milliseconds.
const MAX_WORK: usize = 256 << 20;

/// The bytes that what is made in between may take.
const MAX_BETWEEN: usize = 32 << 20;

/// An argument.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    blob: bool,
    bytes: &'a [u8],
}

/// Why a function does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    TooLarge,
    Because(&'static CStr),
}

/// Whether a function of this kind ends in time with these arguments, with values of at most `limit` bytes.
fn check(rule: Rule, values: &[Value<'_>], limit: usize) -> Result<(), Refused> {
    for value in values {
        check_document(*value)?;
    }
    let [document, rest @ ..] = values else { return Ok(()) };
    let all = values.iter().map(|value| value.bytes.len()).fold(0, usize::saturating_add);
    let every = match rule {
        Rule::Paths => Some(1),
        Rule::Edits => Some(2),
        _ => None,
    };
    let paths = every.map_or(0, |every| rest.len().div_ceil(every));
    if every.is_some_and(|every| rest.iter().step_by(every).any(|path| path.bytes.len() > MAX_PATH)) {
        return Err(Refused::Because(c"a JSON path has at most 4096 bytes"));
    }
    let most = |work: usize, limit: usize| if work > limit { Err(Refused::TooLarge) } else { Ok(()) };
    match rule {
        Rule::Document => Ok(()),
        // The answer has at least these bytes.
        Rule::Parts => most(all, limit),
        Rule::Paths => most(document.bytes.len().saturating_mul(paths), MAX_WORK / 4),
        Rule::Edits => {
            most(all, limit.saturating_mul(2))?;
            most(all.saturating_mul(paths), MAX_WORK / 4)
        }
        // For each key of the second every key of the first is looked at, and what comes after it may move.
        Rule::Merge => most(all.saturating_mul(rest.first().map_or(0, keys)), MAX_WORK),
        Rule::Indent => {
            let indent = rest.first().map_or(4, |value| value.bytes.len());
            let depth = depth(document);
            most(items(document).saturating_mul(indent).saturating_mul(depth), MAX_BETWEEN)
        }
    }
}

/// Whether JSON in SQLite's binary form is whole, and no deeper than text may be.
fn check_document(value: Value<'_>) -> Result<(), Refused> {
    // What is this short cannot be deep. SQLite takes a blob for binary JSON where its head fits its length.
    if !value.blob || value.bytes.len() <= 64 {
        return Ok(());
    }
    match head(value.bytes, 0) {
        Some((kind, first, length)) if kind <= OBJECT && first.checked_add(length) == Some(value.bytes.len()) => {}
        _ => return Ok(()),
    }
    binary_depth(value.bytes).map(drop).ok_or(Refused::Because(c"malformed JSON"))
}

const ARRAY: u8 = 11;
const OBJECT: u8 = 12;

/// The head of a value in binary JSON: its kind, where what it holds begins, and how long that is.
fn head(bytes: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let first = *bytes.get(at)?;
    let (kind, size) = (first & 0x0f, usize::from(first >> 4));
    let more = match size {
        0..=11 => return Some((kind, at + 1, size)),
        12 => 1,
        13 => 2,
        14 => 4,
        _ => 8,
    };
    let number = bytes.get(at + 1..at + 1 + more)?;
    let length = number.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    Some((kind, at + 1 + more, length))
}

/// How deep binary JSON is; nothing where a part does not fit into what it is part of, or it is too deep.
fn binary_depth(bytes: &[u8]) -> Option<usize> {
    let mut ends = vec![bytes.len()];
    let (mut at, mut deepest) = (0, 0);
    while let Some(end) = ends.last().copied() {
        if at == end {
            ends.pop();
            continue;
        }
        let (kind, first, length) = head(bytes, at)?;
        let last = first.checked_add(length).filter(|last| *last <= end)?;
        if kind == ARRAY || kind == OBJECT {
            ends.push(last);
            deepest = deepest.max(ends.len());
            if ends.len() > MAX_DEPTH + 1 {
                return None;
            }
            at = first;
        } else {
            at = last;
        }
    }
    Some(deepest)
}

/// How deep JSON can be at most.
fn depth(value: &Value<'_>) -> usize {
    if value.blob {
        return binary_depth(value.bytes).unwrap_or(MAX_DEPTH);
    }
    let (mut open, mut deepest) = (0_usize, 1);
    for byte in value.bytes {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest.min(MAX_DEPTH)
}

/// How many lines JSON can have at most when it is indented.
fn items(value: &Value<'_>) -> usize {
    if value.blob {
        return value.bytes.len();
    }
    value.bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b']' | b'}')).count() + 1
}

/// How many keys JSON can have at most.
fn keys(value: &Value<'_>) -> usize {
    if value.blob {
        return value.bytes.len() / 2;
    }
    value.bytes.iter().filter(|byte| **byte == b':').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut found = Vec::new();
        for _ in 0..levels {
            let length = found.len();
            let mut outer = match length {
                0..=11 => vec![(u8::try_from(length).unwrap() << 4) | ARRAY],
                12..=255 => vec![0xc0 | ARRAY, u8::try_from(length).unwrap()],
                256..=65_535 => vec![0xd0 | ARRAY, (length >> 8) as u8, length as u8],
                _ => [&[0xe0 | ARRAY][..], &u32::try_from(length).unwrap().to_be_bytes()].concat(),
            };
            outer.extend(found);
            found = outer;
        }
        found
    }

    #[test]
    fn binary_json_is_as_deep_as_text_may_be() {
        assert_eq!(binary_depth(&nested(500)), Some(501));
        assert_eq!(binary_depth(&nested(2_000)), None);
        let deep = Value { blob: true, bytes: &nested(2_000) };
        assert_eq!(check_document(deep), Err(Refused::Because(c"malformed JSON")));
        assert_eq!(check_document(Value { blob: false, ..deep }), Ok(()));
        // A part that is larger than what it is part of.
        assert_eq!(binary_depth(&[0x2b, 0xc7, 200]), None);
    }
}
