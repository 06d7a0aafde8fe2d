//! The protobuf wire format to component values.
//!
//! A message is walked once. What a later occurrence of the same field may still change waits for the end of its message:
//! messages inside of it are put off as the bytes they are made of, and a number that does not fit stays as it was sent.
//! So a field is judged when it is final, only what is final counts, and nothing is ever read twice.

use std::sync::Arc;

use prost::encoding::WireType;
use wasmtime::component::Val;

use super::form::{Label, Slot};
use super::message::{Pieces, Slots, Values};
use super::reader::{Reader, Stop, Waiting};
use super::scalar::{check, scalar, wire_type};
use crate::contract::input::{Bad, NOTHING, Path, Seen};
use crate::contract::json::one_char;
use crate::contract::plan::FunctionPlan;
use crate::contract::types::{Labels, Record, Type};
use crate::problem::Problem;

/// Messages in messages, where others stop too.
const MAX_DEPTH: usize = 100;

/// The parameters of a call from a request message.
///
/// # Errors
/// A problem of kind malformed where it is no such message, else one of kind validation with every field that is wrong.
pub fn decode(plan: &FunctionPlan, message: &[u8]) -> Result<Vec<Val>, Problem> {
    let mut reader = Reader::new();
    let pieces = Pieces::one(message);
    let read = match plan.request_message() {
        Some(ty) => reader.message(ty, pieces, &Path::Root, 0).map(|value| vec![value]),
        None => reader.values(Slots::Fields(&plan.params), pieces, &Path::Root, 0),
    };
    reader.finish(read)
}

/// The value of a success from a response message, where the function has one: what a client of it reads.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_response(plan: &FunctionPlan, message: &[u8]) -> Result<Option<Val>, Problem> {
    let mut reader = Reader::new();
    let pieces = Pieces::one(message);
    let read = match &plan.result.ok {
        None => reader.values(Slots::Types(&[]), pieces, &Path::Root, 0).map(|_| None),
        Some(ty) => match plan.response_message() {
            Some(message) => reader.message(message, pieces, &Path::Root, 0).map(Some),
            None => {
                let path = Path::Field(&Path::Root, "value");
                reader.values(Slots::Value(ty), pieces, &path, 0).map(|values| values.into_iter().next())
            }
        },
    };
    reader.finish(read)
}

impl<'m> Reader<'m> {
    /// A type that is a message by itself.
    fn message(&mut self, ty: &Type, pieces: Pieces<'m>, path: &Path<'_>, depth: usize) -> Result<Val, Stop> {
        match ty {
            Type::Record(record) => self.record(record, pieces, path, depth),
            Type::Tuple(types) => self.values(Slots::Types(types), pieces, path, depth).map(Val::Tuple),
            Type::Variant(variant) => {
                let case = |at: usize| variant.cases.get(at).map(|case| (&*case.json_name, case.ty.as_ref()));
                let found = self.one_of(case, pieces, path, depth)?;
                let name = |at: usize| variant.cases.get(at).map(|case| case.name.clone());
                Ok(found.and_then(|(at, value)| Some(Val::Variant(name(at)?, value))).unwrap_or(NOTHING))
            }
            Type::Result { ok, err } => {
                let sides = [("ok", ok.as_ref()), ("err", err.as_ref())];
                Ok(match self.one_of(|at| sides.get(at).copied(), pieces, path, depth)? {
                    Some((0, value)) => Val::Result(Ok(value)),
                    Some((_, value)) => Val::Result(Err(value)),
                    None => NOTHING,
                })
            }
            _ => Ok(NOTHING),
        }
    }

    fn record(&mut self, record: &Record, pieces: Pieces<'m>, path: &Path<'_>, depth: usize) -> Result<Val, Stop> {
        self.spend(path, record.fields.len())?;
        let mut fields: Vec<_> = record.fields.iter().map(|field| (field.name.clone(), NOTHING)).collect();
        self.fill(Slots::Fields(&record.fields), Values::Named(&mut fields), pieces, path, depth)?;
        Ok(Val::Record(fields))
    }

    fn values(
        &mut self,
        slots: Slots<'_>,
        pieces: Pieces<'m>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<Vec<Val>, Stop> {
        self.spend(path, slots.len())?;
        let mut values = vec![NOTHING; slots.len()];
        self.fill(slots, Values::Plain(&mut values), pieces, path, depth)?;
        Ok(values)
    }

    /// Reads a message into values that are there and hold nothing yet.
    fn fill(
        &mut self,
        slots: Slots<'_>,
        mut values: Values<'_>,
        mut pieces: Pieces<'m>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        let mark = self.waiting.len();
        let mut seen = Seen::new(slots.len());
        // A field that waits has occurred twice.
        let mut again = false;
        while let Some((at, wire)) = self.next(&mut pieces, path)? {
            let Some(ty) = slots.ty(at) else {
                self.skip(at, wire, &mut pieces, path)?;
                continue;
            };
            let slot = Slot::field(ty);
            let path = slots.path(path, at);
            let before = seen.mark(at);
            if slot.label == Label::Repeated {
                let Some(place) = values.get_mut(at) else { continue };
                if !before {
                    *place = Val::List(Vec::new());
                }
                if let Val::List(items) = place {
                    self.items(slot, wire, &mut pieces.bytes, items, &path, depth)?;
                }
            } else if waits(slot) {
                self.put_off(at, wire, &mut pieces.bytes, &path)?;
                again |= before;
            } else {
                let value = scalar(slot.ty, wire, &mut pieces.bytes).map_err(|error| self.broken(&path, error))?;
                values.put(at, as_labelled(slot, value));
            }
        }
        if again && let Some(waiting) = self.waiting.get_mut(mark..) {
            // Stable: the occurrences of one field stay in their order.
            waiting.sort_by_key(|waiting| waiting.at);
        }
        let mut next = mark;
        while let Some(Waiting { at, bytes }) = self.waiting.get(next) {
            let (at, bytes) = (*at, *bytes);
            let first = next + 1;
            next = first;
            while again && self.waiting.get(next).is_some_and(|more| more.at == at) {
                next += 1;
            }
            let Some(ty) = slots.ty(at) else { continue };
            let slot = Slot::field(ty);
            let pieces = Pieces { bytes, more: first..next };
            let outer = slots.path(path, at);
            // In JSON too such an option is wrapped.
            let path = match **slot.ty {
                Type::Option(_) => Path::Field(&outer, "value"),
                _ => outer,
            };
            let value = self.nested(slot, pieces, &path, depth)?;
            values.put(at, as_labelled(slot, value));
        }
        self.waiting.truncate(mark);
        self.settle(slots, &mut values, &seen, path)
    }

    /// Gives the fields that were absent their meaning, and judges those that were there.
    fn settle(&mut self, slots: Slots<'_>, values: &mut Values<'_>, seen: &Seen, path: &Path<'_>) -> Result<(), Stop> {
        for at in 0..slots.len() {
            let Some((ty, value)) = slots.ty(at).zip(values.get_mut(at)) else { continue };
            let bad = if seen.has(at) {
                if let (Type::Flags(labels), Val::List(flags)) = (&**ty, &*value) {
                    *value = as_set(labels, flags);
                    continue;
                }
                check(ty, value)
            } else {
                match slots.absent(at) {
                    Ok(default) => {
                        *value = default;
                        continue;
                    }
                    Err(bad) => Some(bad),
                }
            };
            if let Some(bad) = bad {
                self.wrong(&slots.path(path, at), bad)?;
            }
        }
        Ok(())
    }

    /// One occurrence of a repeated field: an item, or a packed list of them.
    fn items(
        &mut self,
        slot: Slot<'_>,
        wire: WireType,
        bytes: &mut &'m [u8],
        items: &mut Vec<Val>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        if waits(slot) {
            // Nothing merges with an item: there is nothing to wait for.
            let path = Path::Item(path, items.len());
            let piece = self.delimited(wire, bytes, &path)?;
            self.spend(&path, 1)?;
            let item = self.nested(slot, Pieces::one(piece), &path, depth)?;
            items.push(item);
            return Ok(());
        }
        let unpacked = wire_type(slot.ty);
        if wire != WireType::LengthDelimited || unpacked == WireType::LengthDelimited {
            self.spend(path, 1)?;
            return self.item(slot.ty, wire, bytes, items, path);
        }
        let mut packed = self.delimited(wire, bytes, path)?;
        let count = match unpacked {
            WireType::ThirtyTwoBit => packed.len() / 4,
            WireType::SixtyFourBit => packed.len() / 8,
            _ => packed.iter().filter(|byte| **byte < 0x80).count(),
        };
        self.spend(path, count)?;
        items.reserve(count);
        while !packed.is_empty() {
            self.item(slot.ty, unpacked, &mut packed, items, path)?;
        }
        Ok(())
    }

    fn item(
        &mut self,
        ty: &Type,
        wire: WireType,
        bytes: &mut &'m [u8],
        items: &mut Vec<Val>,
        path: &Path<'_>,
    ) -> Result<(), Stop> {
        let path = Path::Item(path, items.len());
        let item = scalar(ty, wire, bytes).map_err(|error| self.broken(&path, error))?;
        if let Some(bad) = check(ty, &item) {
            self.wrong(&path, bad)?;
        }
        items.push(item);
        Ok(())
    }

    /// A field that has waited, in full.
    fn nested(&mut self, slot: Slot<'_>, pieces: Pieces<'m>, path: &Path<'_>, depth: usize) -> Result<Val, Stop> {
        if !slot.wrapped && matches!(**slot.ty, Type::Bytes | Type::Char) {
            return self.last(slot.ty, &pieces, path);
        }
        let depth = depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.broken(path, format_args!("it is nested more than {MAX_DEPTH} levels deep")));
        }
        if slot.wrapped {
            let mut value = [NOTHING];
            self.fill(Slots::Value(slot.ty), Values::Plain(&mut value), pieces, path, depth)?;
            let [value] = value;
            return Ok(value);
        }
        self.message(slot.ty, pieces, path, depth)
    }

    /// The last occurrence of a value that does not merge.
    fn last(&mut self, ty: &Type, pieces: &Pieces<'m>, path: &Path<'_>) -> Result<Val, Stop> {
        let last = pieces.more.clone().next_back().and_then(|at| self.waiting.get(at));
        let bytes = last.map_or(pieces.bytes, |last| last.bytes);
        let value = if matches!(ty, Type::Bytes) {
            let fits = self.errors.spend_bytes(bytes.len());
            fits.map(|()| Val::List(bytes.iter().copied().map(Val::U8).collect()))
        } else {
            one_char(std::str::from_utf8(bytes).map_err(|error| self.broken(path, error))?)
        };
        value.or_else(|bad| self.wrong(path, bad).map(|()| NOTHING))
    }

    /// The case of a message that is one oneof: the last that occurs, merged with what of the same case is right before.
    fn one_of<'n>(
        &mut self,
        case: impl Fn(usize) -> Option<(&'n str, Option<&'n Arc<Type>>)>,
        mut pieces: Pieces<'m>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<Option<Chosen>, Stop> {
        let mark = self.waiting.len();
        let mut last = None;
        let mut value = NOTHING;
        while let Some((at, wire)) = self.next(&mut pieces, path)? {
            let Some((name, ty)) = case(at) else {
                self.skip(at, wire, &mut pieces, path)?;
                continue;
            };
            let path = Path::Field(path, name);
            if last != Some(at) {
                self.waiting.truncate(mark);
                last = Some(at);
            }
            match ty.map(Slot::payload) {
                Some(slot) if !waits(slot) => {
                    value = scalar(slot.ty, wire, &mut pieces.bytes).map_err(|error| self.broken(&path, error))?;
                }
                _ => self.put_off(at, wire, &mut pieces.bytes, &path)?,
            }
        }
        let Some((at, (name, ty))) = last.and_then(|at| Some((at, case(at)?))) else {
            self.wrong(path, Bad::required())?;
            return Ok(None);
        };
        let path = Path::Field(path, name);
        let pieces = match self.waiting.get(mark) {
            Some(first) => Pieces { bytes: first.bytes, more: mark + 1..self.waiting.len() },
            None => Pieces::one(&[]),
        };
        let value = match ty.map(Slot::payload) {
            None => {
                self.fill(Slots::Types(&[]), Values::Plain(&mut []), pieces, &path, depth)?;
                None
            }
            Some(slot) if waits(slot) => Some(Box::new(self.nested(slot, pieces, &path, depth)?)),
            Some(slot) => {
                if let Some(bad) = check(slot.ty, &value) {
                    self.wrong(&path, bad)?;
                }
                Some(Box::new(value))
            }
        };
        self.waiting.truncate(mark);
        Ok(Some((at, value)))
    }
}

/// The case of a oneof with its payload.
type Chosen = (usize, Option<Box<Val>>);

/// Whether an occurrence is read only when its message has ended: what merges with a later one, and what would be made
/// and checked for nothing where a later one replaces it.
fn waits(slot: Slot<'_>) -> bool {
    let number_or_text = wire_type(slot.ty) != WireType::LengthDelimited || matches!(**slot.ty, Type::String);
    slot.wrapped || !number_or_text
}

fn as_labelled(slot: Slot<'_>, value: Val) -> Val {
    if slot.label == Label::Optional { Val::Option(Some(Box::new(value))) } else { value }
}

/// Flags are a set: repeated ones count once, and the order is that of the declaration.
fn as_set(labels: &Labels, flags: &[Val]) -> Val {
    let mut seen = Seen::new(labels.list.len());
    for flag in flags {
        if let Val::U32(at) = flag {
            seen.mark(*at as usize);
        }
    }
    let set = labels.list.iter().enumerate().filter(|(at, _)| seen.has(*at));
    Val::Flags(set.map(|(_, label)| label.name.clone()).collect())
}
