//! Messages as the decoder sees them: which fields they have, where the values go, and the bytes they are made of.

use std::ops::Range;
use std::sync::Arc;

use wasmtime::component::Val;

use super::scalar;
use crate::contract::input::{self, Bad, Path};
use crate::contract::types::{Field, Type};

/// The fields of a message, numbered from 1 in this order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slots<'p> {
    /// Of a record, or the parameters of a function.
    Fields(&'p [Field]),
    /// The parts of a tuple; none at all of an empty message.
    Types(&'p [Arc<Type>]),
    /// The one value of a wrapper or a response.
    Value(&'p Arc<Type>),
}

impl<'p> Slots<'p> {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Fields(fields) => fields.len(),
            Self::Types(types) => types.len(),
            Self::Value(_) => 1,
        }
    }

    pub(super) fn ty(self, at: usize) -> Option<&'p Arc<Type>> {
        match self {
            Self::Fields(fields) => fields.get(at).map(|field| &field.ty),
            Self::Types(types) => types.get(at),
            Self::Value(ty) => (at == 0).then_some(ty),
        }
    }

    /// Paths are those of JSON, where a wrapper is not seen.
    pub(super) fn path<'a>(self, parent: &'a Path<'a>, at: usize) -> Path<'a>
    where
        'p: 'a,
    {
        match self {
            Self::Fields(fields) => fields.get(at).map_or(*parent, |field| Path::Field(parent, &field.json_name)),
            Self::Types(_) => Path::Item(parent, at),
            Self::Value(_) => *parent,
        }
    }

    /// What a field is that is not there.
    pub(super) fn absent(self, at: usize) -> Result<Val, Bad> {
        if let Self::Fields(fields) = self
            && let Some(value) = fields.get(at).and_then(|field| input::absent(&field.presence))
        {
            return Ok(value);
        }
        self.ty(at).map_or_else(|| Err(Bad::required()), |ty| scalar::absent(ty))
    }
}

/// Where the values of a message go.
#[derive(Debug)]
pub(super) enum Values<'v> {
    /// The fields of a record, which have their names already.
    Named(&'v mut [(String, Val)]),
    /// Anything else.
    Plain(&'v mut [Val]),
}

impl Values<'_> {
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Val> {
        match self {
            Self::Named(fields) => fields.get_mut(at).map(|field| &mut field.1),
            Self::Plain(values) => values.get_mut(at),
        }
    }

    pub(super) fn put(&mut self, at: usize, value: Val) {
        if let Some(place) = self.get_mut(at) {
            *place = value;
        }
    }
}

/// The bytes of a message. A field that holds a message and occurs more than once is the merger of all occurrences,
/// which is what reading them one after the other gives.
#[derive(Debug, Clone)]
pub(super) struct Pieces<'m> {
    /// What is left of the occurrence that is being read.
    pub(super) bytes: &'m [u8],
    /// Those that follow, among what the reader has put off.
    pub(super) more: Range<usize>,
}

impl<'m> Pieces<'m> {
    /// One occurrence, as almost always.
    pub(super) const fn one(bytes: &'m [u8]) -> Self {
        Self { bytes, more: 0..0 }
    }
}
