//! The bytes of a message, field by field: what goes wrong with them, and what waits to be read.

use std::fmt::Display;

use prost::encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field};

use super::message::Pieces;
use crate::contract::input::{Bad, Errors, Path};
use crate::problem::{Kind, Problem};

/// Reading has ended early; the reader knows why.
pub(super) struct Stop;

pub(super) struct Reader<'m> {
    pub(super) errors: Errors,
    /// Why the bytes are no message.
    broken: Option<Problem>,
    /// Fields that wait for the end of their message; those of outer messages below those of inner ones.
    pub(super) waiting: Vec<Waiting<'m>>,
}

/// One occurrence of a field that is read when its message has ended.
pub(super) struct Waiting<'m> {
    /// The position of the field in its message.
    pub(super) at: usize,
    pub(super) bytes: &'m [u8],
}

impl<'m> Reader<'m> {
    pub(super) const fn new() -> Self {
        Self { errors: Errors::new(), broken: None, waiting: Vec::new() }
    }

    pub(super) fn finish<T>(self, read: Result<T, Stop>) -> Result<T, Problem> {
        match (read, self.broken) {
            (_, Some(problem)) => Err(problem),
            (Ok(value), None) if self.errors.is_empty() => Ok(value),
            _ => Err(Problem::validation(self.errors.into_list())),
        }
    }

    #[cold]
    pub(super) fn broken(&mut self, path: &Path<'_>, cause: impl Display) -> Stop {
        let cause = cause.to_string();
        let cause = cause.strip_prefix("failed to decode Protobuf message: ").unwrap_or(&cause);
        let message = match path {
            Path::Root => format!("the message is not valid protobuf: {cause}"),
            path => format!("the message is not valid protobuf: `{path}`: {cause}"),
        };
        self.broken = Some(Problem::new(Kind::Malformed, message).with_code("INVALID_PROTOBUF"));
        Stop
    }

    #[cold]
    pub(super) fn wrong(&mut self, path: &Path<'_>, bad: Bad) -> Result<(), Stop> {
        self.errors.add(path, bad);
        if self.errors.is_full() { Err(Stop) } else { Ok(()) }
    }

    pub(super) fn spend(&mut self, path: &Path<'_>, count: usize) -> Result<(), Stop> {
        self.errors.spend(path, count);
        if self.errors.is_full() { Err(Stop) } else { Ok(()) }
    }

    /// The position of the field that is next, and how it is written; none at the end of the message.
    pub(super) fn next(&mut self, pieces: &mut Pieces<'m>, path: &Path<'_>) -> Result<Option<(usize, WireType)>, Stop> {
        while pieces.bytes.is_empty() {
            match pieces.more.next().and_then(|at| self.waiting.get(at)) {
                Some(piece) => pieces.bytes = piece.bytes,
                None => return Ok(None),
            }
        }
        let (number, wire) = decode_key(&mut pieces.bytes).map_err(|error| self.broken(path, error))?;
        // Numbers begin with 1; the position of any other fits no field.
        Ok(Some(((number as usize).wrapping_sub(1), wire)))
    }

    pub(super) fn skip(
        &mut self,
        at: usize,
        wire: WireType,
        pieces: &mut Pieces<'m>,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        // Comes from a number of 32 bits.
        let number = at.wrapping_add(1) as u32;
        skip_field(wire, number, &mut pieces.bytes, DecodeContext::default()).map_err(|error| self.broken(path, error))
    }

    /// The bytes of a field that has a length.
    pub(super) fn delimited(
        &mut self,
        wire: WireType,
        bytes: &mut &'m [u8],
        path: &Path<'_>,
    ) -> Result<&'m [u8], Stop> {
        let len = check_wire_type(WireType::LengthDelimited, wire).and_then(|()| decode_varint(bytes));
        let len = len.map_err(|error| self.broken(path, error))?;
        match usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)) {
            Some((value, rest)) => {
                *bytes = rest;
                Ok(value)
            }
            None => Err(self.broken(path, "it is longer than the message")),
        }
    }

    pub(super) fn put_off(
        &mut self,
        at: usize,
        wire: WireType,
        bytes: &mut &'m [u8],
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        let bytes = self.delimited(wire, bytes, path)?;
        self.spend(path, 1)?;
        self.waiting.push(Waiting { at, bytes });
        Ok(())
    }
}
