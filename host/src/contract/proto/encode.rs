//! Component values to the protobuf wire format, straight into the bytes of the message.

use std::sync::Arc;

use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use wasmtime::component::Val;

use super::form::{Label, Slot};
use super::scalar::wire_type;
use crate::contract::outcome::mismatch;
use crate::contract::plan::FunctionPlan;
use crate::contract::types::{Field, Labels, Presence, Record, Type, Variant};
use crate::problem::Problem;

/// Appends the response message of a call to `out`; nothing where a success has no value.
///
/// # Errors
/// The problem that the plugin answered; one of kind internal where the results are not those of this function. `out`
/// may then hold half a message.
pub fn answer(plan: &FunctionPlan, results: &[Val], out: &mut Vec<u8>) -> Result<(), Problem> {
    match (plan.outcome(results)?, &plan.result.ok) {
        (Some(value), Some(ty)) => match plan.response_message() {
            Some(message) => self::message(message, value, out),
            None => field(1, ty, value, out),
        },
        (None, None) => Ok(()),
        _ => Err(mismatch()),
    }
}

/// Appends the request message with these parameters to `out`: what a client of the function sends.
///
/// # Errors
/// A problem of kind internal where the parameters are not those of this function; `out` may then hold half a message.
pub fn encode_request(plan: &FunctionPlan, params: &[Val], out: &mut Vec<u8>) -> Result<(), Problem> {
    match (plan.request_message(), params) {
        (Some(ty), [value]) => message(ty, value, out),
        (None, params) if params.len() == plan.params.len() => fields(&plan.params, params.iter(), out),
        _ => Err(mismatch()),
    }
}

/// A value whose type is a message by itself.
fn message(ty: &Type, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    match ty {
        Type::Record(record) => self::record(record, value, out),
        Type::Variant(variant) => self::variant(variant, value, out),
        _ => Err(mismatch()),
    }
}

fn variant(variant: &Variant, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    let Val::Variant(name, value) = value else { return Err(mismatch()) };
    let found = (1..).zip(&variant.cases).find(|(_, case)| case.name == *name);
    let (number, case) = found.ok_or_else(mismatch)?;
    payload(number, case.ty.as_ref(), value.as_deref(), out)
}

fn record(record: &Record, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    match value {
        // wasmtime gives the fields in declaration order, which is that of the plan.
        Val::Record(values) if values.len() == record.fields.len() => {
            fields(&record.fields, values.iter().map(|(_, value)| value), out)
        }
        _ => Err(mismatch()),
    }
}

fn fields<'v>(fields: &[Field], values: impl Iterator<Item = &'v Val>, out: &mut Vec<u8>) -> Result<(), Problem> {
    for ((number, plan), value) in (1..).zip(fields).zip(values) {
        match (&plan.presence, value) {
            (Presence::Change(_), Val::Variant(case, None)) if case == "keep" => {}
            _ => field(number, &plan.ty, value, out)?,
        }
    }
    Ok(())
}

/// A field with all its occurrences, none where its absence says the same.
fn field(number: u32, ty: &Arc<Type>, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    let slot = Slot::field(ty);
    match (slot.label, value) {
        (Label::Singular, value) if is_default(ty, value) => Ok(()),
        (Label::Singular, value) => occurrence(number, slot, value, out),
        (Label::Optional, Val::Option(None)) => Ok(()),
        (Label::Optional, Val::Option(Some(value))) => occurrence(number, slot, value, out),
        (Label::Repeated, Val::List(items)) if slot.wrapped || wire_type(slot.ty) == WireType::LengthDelimited => {
            items.iter().try_for_each(|item| occurrence(number, slot, item, out))
        }
        (Label::Repeated, Val::List(items)) if items.is_empty() => Ok(()),
        (Label::Repeated, Val::List(items)) => {
            delimited(number, out, |out| items.iter().try_for_each(|item| bare(slot.ty, item, out)))
        }
        (Label::Repeated, Val::Flags(set)) if set.is_empty() => Ok(()),
        (Label::Repeated, Val::Flags(set)) => delimited(number, out, |out| match &**slot.ty {
            Type::Flags(labels) => set.iter().try_for_each(|flag| label(labels, flag, out)),
            _ => Err(mismatch()),
        }),
        _ => Err(mismatch()),
    }
}

/// Whether a field that is absent means this value. The other zero of floats is not the default.
fn is_default(ty: &Type, value: &Val) -> bool {
    match (ty, value) {
        (Type::String, Val::String(text)) => text.is_empty(),
        (Type::Bool, Val::Bool(value)) => !value,
        (Type::S8, Val::S8(n)) => *n == 0,
        (Type::U8, Val::U8(n)) => *n == 0,
        (Type::S16, Val::S16(n)) => *n == 0,
        (Type::U16, Val::U16(n)) => *n == 0,
        (Type::S32, Val::S32(n)) => *n == 0,
        (Type::U32, Val::U32(n)) => *n == 0,
        (Type::S64, Val::S64(n)) => *n == 0,
        (Type::U64, Val::U64(n)) => *n == 0,
        (Type::F32, Val::Float32(n)) => n.to_bits() == 0,
        (Type::F64, Val::Float64(n)) => n.to_bits() == 0,
        (Type::Bytes, Val::List(bytes)) => bytes.is_empty(),
        _ => false,
    }
}

/// One occurrence of a field with its key.
fn occurrence(number: u32, slot: Slot<'_>, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    if slot.wrapped {
        return delimited(number, out, |out| field(1, slot.ty, value, out));
    }
    match (&**slot.ty, value) {
        (Type::String, Val::String(text)) => bytes(number, text.as_bytes(), out),
        (Type::Char, Val::Char(char)) => bytes(number, char.encode_utf8(&mut [0; 4]).as_bytes(), out),
        (Type::Bytes, Val::List(values)) => {
            encode_key(number, WireType::LengthDelimited, out);
            encode_varint(values.len() as u64, out);
            out.reserve(values.len());
            for value in values {
                let Val::U8(byte) = value else { return Err(mismatch()) };
                out.push(*byte);
            }
        }
        (Type::Record(plan), value) => return delimited(number, out, |out| record(plan, value, out)),
        (Type::Tuple(types), Val::Tuple(values)) if types.len() == values.len() => {
            return delimited(number, out, |out| {
                let mut parts = (1..).zip(types).zip(values);
                parts.try_for_each(|((number, ty), value)| field(number, ty, value, out))
            });
        }
        (Type::Variant(plan), value) => return delimited(number, out, |out| variant(plan, value, out)),
        (Type::Result { ok, .. }, Val::Result(Ok(value))) => {
            return delimited(number, out, |out| payload(1, ok.as_ref(), value.as_deref(), out));
        }
        (Type::Result { err, .. }, Val::Result(Err(value))) => {
            return delimited(number, out, |out| payload(2, err.as_ref(), value.as_deref(), out));
        }
        (ty, value) => {
            encode_key(number, wire_type(ty), out);
            return bare(ty, value, out);
        }
    }
    Ok(())
}

/// The member of a oneof; an empty message where the case has no payload.
fn payload(number: u32, ty: Option<&Arc<Type>>, value: Option<&Val>, out: &mut Vec<u8>) -> Result<(), Problem> {
    match (ty, value) {
        (None, None) => delimited(number, out, |_| Ok(())),
        (Some(ty), Some(value)) => occurrence(number, Slot::payload(ty), value, out),
        _ => Err(mismatch()),
    }
}

/// A number without its key, as in a packed list.
fn bare(ty: &Type, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    match (ty, value) {
        (Type::Bool, Val::Bool(value)) => out.push(u8::from(*value)),
        (Type::S8, Val::S8(n)) => signed((*n).into(), out),
        (Type::S16, Val::S16(n)) => signed((*n).into(), out),
        (Type::S32, Val::S32(n)) => signed(*n, out),
        (Type::U8, Val::U8(n)) => encode_varint((*n).into(), out),
        (Type::U16, Val::U16(n)) => encode_varint((*n).into(), out),
        (Type::U32, Val::U32(n)) => encode_varint((*n).into(), out),
        (Type::S64, Val::S64(n)) => encode_varint(n.cast_unsigned(), out),
        (Type::U64, Val::U64(n)) => encode_varint(*n, out),
        (Type::F32, Val::Float32(n)) => out.put_f32_le(*n),
        (Type::F64, Val::Float64(n)) => out.put_f64_le(*n),
        (Type::Enum(labels), Val::Enum(name)) => return label(labels, name, out),
        _ => return Err(mismatch()),
    }
    Ok(())
}

/// Small numbers of either sign are short: 0, -1, 1, -2 are written 0, 1, 2, 3.
fn signed(number: i32, out: &mut Vec<u8>) {
    encode_varint(((number << 1) ^ (number >> 31)).cast_unsigned().into(), out);
}

fn label(labels: &Labels, name: &str, out: &mut Vec<u8>) -> Result<(), Problem> {
    let (number, _) = (1..).zip(&labels.list).find(|(_, label)| label.name == name).ok_or_else(mismatch)?;
    encode_varint(number, out);
    Ok(())
}

fn bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What `write` appends, with its key and its length. The length is known afterwards: one byte is left for it, which is
/// enough for most messages; longer ones are moved up.
fn delimited(
    number: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    encode_key(number, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    write(out)?;
    let end = out.len();
    let len = (end - at - 1) as u64;
    let extra = encoded_len_varint(len) - 1;
    if extra > 0 {
        out.resize(end + extra, 0);
        out.copy_within(at + 1..end, at + 1 + extra);
    }
    if let Some(mut place) = out.get_mut(at..=at + extra) {
        encode_varint(len, &mut place);
    }
    Ok(())
}
