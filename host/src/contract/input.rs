//! What reading a request needs in every protocol: what is wrong with its fields, collected with their paths, and what
//! it may still use.

use std::borrow::Cow;
use std::fmt;

use wasmtime::component::Val;

use super::types::Presence;
use crate::problem::FieldError;

/// Most field errors a problem lists.
pub const MAX_ERRORS: usize = 100;
/// Most values one request may hold, every field of every record counted: small bodies must not become large memory.
pub const MAX_VALUES: usize = 1 << 18;
/// Most bytes that all `list<u8>` of a request may hold together: each travels as one dynamic value.
pub const MAX_BYTES: usize = 1 << 20;

/// Stands for a value that could not be read; never leaves this crate without an error beside it.
pub(crate) const NOTHING: Val = Val::Bool(false);

/// The codes of field errors.
pub(crate) mod code {
    /// It must be there and is absent or null.
    pub(crate) const REQUIRED: &str = "REQUIRED";
    /// It is of another type.
    pub(crate) const WRONG_TYPE: &str = "WRONG_TYPE";
    /// The number does not fit.
    pub(crate) const OUT_OF_RANGE: &str = "OUT_OF_RANGE";
    /// It is none of the names there are.
    pub(crate) const UNKNOWN_VALUE: &str = "UNKNOWN_VALUE";
    /// The type is right and the text is not.
    pub(crate) const INVALID_FORMAT: &str = "INVALID_FORMAT";
    /// It is larger than is allowed.
    pub(crate) const TOO_LARGE: &str = "TOO_LARGE";
    /// It is there twice.
    pub(crate) const DUPLICATE_FIELD: &str = "DUPLICATE_FIELD";
}

/// What is wrong with a value, before its path is known.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
}

impl Bad {
    pub(crate) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) const fn required() -> Self {
        Self { code: code::REQUIRED, message: Cow::Borrowed("is required") }
    }
}

/// The way to a value: a list on the stack, so that it costs nothing until there is an error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The body itself.
    Root,
    /// A field, a case or a parameter.
    Field(&'a Path<'a>, &'a str),
    /// An item of an array.
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// The errors of one request and what it may still use.
#[derive(Debug)]
pub(crate) struct Errors {
    list: Vec<FieldError>,
    values_left: usize,
    bytes_left: usize,
    /// Where the parser stopped by itself.
    stopped_at: Option<String>,
    /// Nothing more is to be read: the list or the request is full.
    full: bool,
}

impl Errors {
    pub(crate) const fn new() -> Self {
        Self { list: Vec::new(), values_left: MAX_VALUES, bytes_left: MAX_BYTES, stopped_at: None, full: false }
    }

    pub(crate) fn add(&mut self, path: &Path<'_>, bad: Bad) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(FieldError {
                field: path.to_string(),
                message: bad.message.into_owned(),
                code: Cow::Borrowed(bad.code),
            });
        }
        self.full |= self.list.len() >= MAX_ERRORS;
    }

    /// Takes `count` values from what the request may hold.
    pub(crate) fn spend(&mut self, path: &Path<'_>, count: usize) {
        match self.values_left.checked_sub(count) {
            Some(left) => self.values_left = left,
            None => {
                self.values_left = 0;
                self.add(
                    path,
                    Bad::new(code::TOO_LARGE, format!("makes the request hold more than {MAX_VALUES} values")),
                );
                self.full = true;
            }
        }
    }

    /// Takes `count` bytes from what the request may hold.
    pub(crate) fn spend_bytes(&mut self, count: usize) -> Result<(), Bad> {
        match self.bytes_left.checked_sub(count) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => Err(Bad::new(
                code::TOO_LARGE,
                format!("makes the request hold more than {MAX_BYTES} bytes of binary data"),
            )),
        }
    }

    /// Whether reading on is pointless.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Remembers the innermost value that the parser could not read.
    pub(crate) fn stop(&mut self, path: &Path<'_>) {
        self.stopped_at.get_or_insert_with(|| path.to_string());
    }

    /// The number at which the parser stopped is too large for any number type.
    pub(crate) fn number_out_of_range(&mut self) {
        let field = self.stopped_at.take().unwrap_or_default();
        let message = "is too large a number".into();
        self.list.push(FieldError { field, message, code: Cow::Borrowed(code::OUT_OF_RANGE) });
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_list(self) -> Vec<FieldError> {
        self.list
    }
}

/// What a field is when it is not there, unless it must be.
pub(crate) fn absent(presence: &Presence) -> Option<Val> {
    match presence {
        Presence::Required => None,
        Presence::Optional => Some(Val::Option(None)),
        Presence::Change(_) => Some(Val::Variant("keep".into(), None)),
    }
}

/// Which positions were met; up to 64 without an allocation.
pub(crate) struct Seen {
    first: u64,
    rest: Vec<bool>,
}

impl Seen {
    pub(crate) fn new(count: usize) -> Self {
        Self { first: 0, rest: vec![false; count.saturating_sub(64)] }
    }

    /// Marks a position; true where it was marked before.
    pub(crate) fn mark(&mut self, at: usize) -> bool {
        if at < 64 {
            let before = self.first;
            self.first |= 1 << at;
            before == self.first
        } else {
            self.rest.get_mut(at - 64).is_some_and(|seen| std::mem::replace(seen, true))
        }
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        if at < 64 { self.first >> at & 1 == 1 } else { self.rest.get(at - 64).copied().unwrap_or(false) }
    }
}
