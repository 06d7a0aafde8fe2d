//! Values without parts: how they stand on the wire, what their absence means, and what is said of wrong ones.

use prost::DecodeError;
use prost::encoding::{self, DecodeContext, WireType};
use wasmtime::component::Val;

use crate::contract::input::Bad;
use crate::contract::json::{integer, one_char, unknown};
use crate::contract::types::{Label, Labels, Type};

/// How one occurrence of a field is written, without a packed list around it.
pub(super) const fn wire_type(ty: &Type) -> WireType {
    match ty {
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Enum(_)
        | Type::Flags(_) => WireType::Varint,
        Type::F32 => WireType::ThirtyTwoBit,
        Type::F64 => WireType::SixtyFourBit,
        Type::Char
        | Type::String
        | Type::Bytes
        | Type::List(_)
        | Type::Option(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Variant(_)
        | Type::Result { .. } => WireType::LengthDelimited,
    }
}

/// The number, or the string, that is next.
///
/// What is valid protobuf and not of the type is kept as it was on the wire, a `u32` or an `s32`, because a later
/// occurrence of the field may replace it: [`check`] judges the last one. A flag is the `u32` of its position.
pub(super) fn scalar(ty: &Type, wire: WireType, bytes: &mut &[u8]) -> Result<Val, DecodeError> {
    Ok(match ty {
        Type::String => Val::String(read(wire, bytes, encoding::string::merge)?),
        Type::Bool => Val::Bool(read(wire, bytes, encoding::bool::merge)?),
        Type::S8 => signed(read(wire, bytes, encoding::sint32::merge)?, Val::S8),
        Type::S16 => signed(read(wire, bytes, encoding::sint32::merge)?, Val::S16),
        Type::S32 => Val::S32(read(wire, bytes, encoding::sint32::merge)?),
        Type::U8 => unsigned(read(wire, bytes, encoding::uint32::merge)?, Val::U8),
        Type::U16 => unsigned(read(wire, bytes, encoding::uint32::merge)?, Val::U16),
        Type::U32 => Val::U32(read(wire, bytes, encoding::uint32::merge)?),
        Type::S64 => Val::S64(read(wire, bytes, encoding::int64::merge)?),
        Type::U64 => Val::U64(read(wire, bytes, encoding::uint64::merge)?),
        Type::F32 => Val::Float32(read(wire, bytes, encoding::float::merge)?),
        Type::F64 => Val::Float64(read(wire, bytes, encoding::double::merge)?),
        Type::Enum(labels) => {
            let number = read(wire, bytes, encoding::int32::merge)?;
            position(labels, number).map_or(Val::S32(number), |(_, label)| Val::Enum(label.name.clone()))
        }
        Type::Flags(labels) => {
            let number = read(wire, bytes, encoding::int32::merge)?;
            position(labels, number).map_or(Val::S32(number), |(at, _)| Val::U32(at))
        }
        Type::Char
        | Type::Bytes
        | Type::List(_)
        | Type::Option(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Variant(_)
        | Type::Result { .. } => {
            encoding::skip_field(wire, encoding::MIN_TAG, bytes, DecodeContext::default())?;
            crate::contract::input::NOTHING
        }
    })
}

fn read<'m, T: Default>(
    wire: WireType,
    bytes: &mut &'m [u8],
    merge: impl FnOnce(WireType, &mut T, &mut &'m [u8], DecodeContext) -> Result<(), DecodeError>,
) -> Result<T, DecodeError> {
    let mut value = T::default();
    merge(wire, &mut value, bytes, DecodeContext::default())?;
    Ok(value)
}

fn signed<T: TryFrom<i32>>(number: i32, val: fn(T) -> Val) -> Val {
    T::try_from(number).map_or(Val::S32(number), val)
}

fn unsigned<T: TryFrom<u32>>(number: u32, val: fn(T) -> Val) -> Val {
    T::try_from(number).map_or(Val::U32(number), val)
}

/// The label with this number: they count from 1.
fn position(labels: &Labels, number: i32) -> Option<(u32, &Label)> {
    let at = u32::try_from(number).ok()?.checked_sub(1)?;
    Some((at, labels.list.get(usize::try_from(at).ok()?)?))
}

/// What is wrong with what [`scalar`] read; looks through one option.
pub(super) fn check(ty: &Type, value: &Val) -> Option<Bad> {
    let (ty, value) = match (ty, value) {
        (Type::Option(option), Val::Option(Some(value))) => (&*option.inner, &**value),
        _ => (ty, value),
    };
    match (ty, value) {
        (Type::U8 | Type::U16, Val::U32(number)) => integer(ty, (*number).into()).err(),
        (Type::S8 | Type::S16, Val::S32(number)) => integer(ty, (*number).into()).err(),
        (Type::Enum(_) | Type::Flags(_), Val::S32(0)) => Some(Bad::required()),
        (Type::Enum(labels) | Type::Flags(labels), Val::S32(_)) => {
            Some(unknown(labels.list.iter().map(|label| &*label.json_name)))
        }
        _ => None,
    }
}

/// What a field is that is not there.
pub(super) fn absent(ty: &Type) -> Result<Val, Bad> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::F32 => Val::Float32(0.0),
        Type::F64 => Val::Float64(0.0),
        // The default of a string is the empty one, which is no char.
        Type::Char => return one_char(""),
        Type::String => Val::String(String::new()),
        Type::Bytes | Type::List(_) => Val::List(Vec::new()),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Enum(_) | Type::Record(_) | Type::Tuple(_) | Type::Variant(_) | Type::Result { .. } => {
            return Err(Bad::required());
        }
    })
}
