//! Functions that take the place of SQLite's own, whose time grows with the product of their arguments: over two values
//! of a megabyte they would run for minutes, and nothing can stop a function. These answer the same in a time that grows
//! with the sum.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::CStr;

/// An argument: null, or bytes that are a blob or text. Numbers come as their text.
pub(super) type Argument<'a> = Option<(Kind, &'a [u8])>;

/// What the bytes of an argument are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Blob,
}

/// What a function answers.
#[derive(Debug, PartialEq)]
pub(super) enum Answer<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, [u8]>),
    Blob(Vec<u8>),
    TooLarge,
}

/// A function for SQL.
pub(super) struct Function {
    pub name: &'static CStr,
    pub arguments: i32,
    /// Gets as many arguments as that, and how many bytes the answer may have.
    pub body: for<'a> fn(&[Argument<'a>], usize) -> Answer<'a>,
}

/// All of them.
pub(super) static REPLACED: [Function; 6] = [
    Function { name: c"instr", arguments: 2, body: instr },
    Function { name: c"replace", arguments: 3, body: replace },
    Function { name: c"trim", arguments: 2, body: |arguments, _| trim(arguments, true, true) },
    Function { name: c"ltrim", arguments: 2, body: |arguments, _| trim(arguments, true, false) },
    Function { name: c"rtrim", arguments: 2, body: |arguments, _| trim(arguments, false, true) },
    Function { name: c"unhex", arguments: 2, body: unhex },
];

/// `instr(text, part)`: where the part begins, in characters from 1 (bytes for two blobs); 0 where it is not there.
fn instr<'a>(arguments: &[Argument<'a>], _: usize) -> Answer<'a> {
    let &[Some((kind, text)), Some((part_kind, part))] = arguments else { return Answer::Null };
    let Some(at) = Finder::new(part).find(text, 0) else { return Answer::Integer(0) };
    let before = text.get(..at).unwrap_or_default();
    let count = match (kind, part_kind) {
        (Kind::Blob, Kind::Blob) => before.len(),
        _ => before.iter().filter(|byte| !is_continuation(**byte)).count(),
    };
    Answer::Integer(i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1))
}

/// `replace(text, part, by)`: the text with every such part replaced.
fn replace<'a>(arguments: &[Argument<'a>], limit: usize) -> Answer<'a> {
    let &[Some((_, text)), Some((_, part)), by] = arguments else { return Answer::Null };
    if part.is_empty() {
        return Answer::Text(text.into());
    }
    let Some((_, by)) = by else { return Answer::Null };
    let finder = Finder::new(part);
    let mut answer = Vec::new();
    let mut done = 0;
    while let Some(at) = finder.find(text, done) {
        answer.extend_from_slice(text.get(done..at).unwrap_or_default());
        answer.extend_from_slice(by);
        done = at + part.len();
        if answer.len() > limit {
            return Answer::TooLarge;
        }
    }
    if done == 0 {
        return Answer::Text(text.into());
    }
    answer.extend_from_slice(text.get(done..).unwrap_or_default());
    if answer.len() > limit { Answer::TooLarge } else { Answer::Text(answer.into()) }
}

/// `trim(text, characters)`: the text without these characters at its start, its end, or both.
fn trim<'a>(arguments: &[Argument<'a>], start: bool, end: bool) -> Answer<'a> {
    let &[Some((_, mut text)), Some((_, characters))] = arguments else { return Answer::Null };
    let set: HashSet<&[u8]> = Characters(characters).collect();
    if start {
        let keep = Characters(text).take_while(|character| set.contains(character)).map(<[u8]>::len).sum();
        text = text.get(keep..).unwrap_or_default();
    }
    while end && !text.is_empty() {
        // A character is at most a lead byte and what continues it; any tail of the text that is in the set goes.
        let last = text.iter().rposition(|byte| !is_continuation(*byte)).unwrap_or(0);
        let (rest, character) = text.split_at(last);
        if !set.contains(character) {
            break;
        }
        text = rest;
    }
    Answer::Text(text.into())
}

/// `unhex(text, characters)`: the bytes that pairs of hexadecimal digits stand for, with these characters between the
/// pairs left out; NULL where there is anything else.
fn unhex<'a>(arguments: &[Argument<'a>], _: usize) -> Answer<'a> {
    let &[Some((_, mut text)), Some((_, characters))] = arguments else { return Answer::Null };
    let set: HashSet<&[u8]> = Characters(characters).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut answer = Vec::with_capacity(text.len() / 2);
    while let Some((first, rest)) = text.split_first() {
        if let Some(high) = digit(*first) {
            let Some(low) = rest.first().copied().and_then(digit) else { return Answer::Null };
            answer.push((high << 4) | low);
            text = rest.get(1..).unwrap_or_default();
        } else {
            let character = Characters(text).next().unwrap_or_default();
            // SQLite reads text up to a NUL.
            if *first == 0 {
                break;
            }
            if !set.contains(character) {
                return Answer::Null;
            }
            text = text.get(character.len()..).unwrap_or_default();
        }
    }
    Answer::Blob(answer)
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The characters of text: a byte and what continues it.
struct Characters<'a>(&'a [u8]);

impl<'a> Iterator for Characters<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_first()?;
        let more = if *first >= 0xc0 { rest.iter().take_while(|byte| is_continuation(**byte)).count() } else { 0 };
        let (character, rest) = self.0.split_at(1 + more);
        self.0 = rest;
        Some(character)
    }
}

/// Finds a part in time that grows with the text alone (Knuth, Morris and Pratt).
struct Finder<'a> {
    part: &'a [u8],
    /// For each prefix of the part: the longest shorter prefix that it ends with.
    borders: Vec<usize>,
}

impl<'a> Finder<'a> {
    fn new(part: &'a [u8]) -> Self {
        let mut borders = vec![0; part.len()];
        let mut matched = 0;
        for index in 1..part.len() {
            matched = advance(part, &borders, matched, part[index]);
            borders[index] = matched;
        }
        Self { part, borders }
    }

    fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        if self.part.is_empty() {
            return Some(from);
        }
        let mut matched = 0;
        for (index, byte) in text.iter().enumerate().skip(from) {
            matched = advance(self.part, &self.borders, matched, *byte);
            if matched == self.part.len() {
                return Some(index + 1 - matched);
            }
        }
        None
    }
}

/// How much of the part is matched after one more byte. `matched` is less than the part's length.
fn advance(part: &[u8], borders: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && part[matched] != byte {
        matched = borders[matched - 1];
    }
    if part[matched] == byte { matched + 1 } else { 0 }
}
