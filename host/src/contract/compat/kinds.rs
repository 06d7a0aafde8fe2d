//! What two scalars are to each other, and words for types.

use super::walk::Way;
use crate::contract::proto::form;
use crate::contract::types::Type;

/// Whether what one type writes can be read as another one.
pub(super) enum Fit {
    /// Nobody notices.
    Yes,
    /// It can, with this to be told.
    Notice(String),
    /// It cannot: what is said of it.
    No(String),
}

/// Whether a field of this type is a *change*, which may be absent.
pub(super) fn is_change(ty: &Type) -> bool {
    matches!(ty, Type::Variant(variant) if variant.change().is_some())
}

/// What a field that is absent in gRPC is read as; none where it must be there.
pub(super) fn default(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Bool => Some("`false`"),
        Type::Char => None,
        Type::String => Some("an empty string"),
        Type::Bytes => Some("no bytes"),
        Type::List(_) | Type::Flags(_) => Some("an empty list"),
        ty if form::scalar(ty).is_some() => Some("0"),
        _ => None,
    }
}

/// Compares two scalars; none where one of them is none, or both are enums.
pub(super) fn scalars(way: Way, old: &Type, new: &Type) -> Option<Fit> {
    let (writer, reader) = if way.is_request() { (old, new) } else { (new, old) };
    let became = || Fit::No(format!("was `{}` and is `{}`", spell(old), spell(new)));
    if matches!((old, new), (Type::Enum(_), Type::Enum(_))) || !(old.is_scalar() && new.is_scalar()) {
        return None;
    }
    if spell(old) == spell(new) {
        return Some(Fit::Yes);
    }
    Some(match (writer, reader) {
        (Type::Char, Type::String) => Fit::Yes,
        (Type::String, Type::Char) if !way.is_request() => {
            Fit::Notice("was `char` and is `string`: old clients may meet more than one character".into())
        }
        (Type::Char | Type::String, Type::Bytes) if way.is_grpc() => {
            Fit::Notice(format!("was `{}` and is `{}`: a text is read as its bytes", spell(old), spell(new)))
        }
        (Type::F64, Type::F32) if !way.is_grpc() && way.is_request() => {
            Fit::No(format!("was `{}` and is `{}`: what old clients send may not fit", spell(old), spell(new)))
        }
        (Type::F32 | Type::F64, Type::F32 | Type::F64) if !way.is_grpc() => {
            Fit::Notice(format!("was `{}` and is `{}`: the precision is another one", spell(old), spell(new)))
        }
        (writer, Type::F32 | Type::F64) if !way.is_grpc() && integer(writer).is_some() => {
            Fit::Notice(format!("was `{}` and is `{}`: integers are read as numbers", spell(old), spell(new)))
        }
        (writer, reader) => match numbers(way, writer, reader) {
            Some(true) if !way.is_grpc() || form::scalar(writer) == form::scalar(reader) => Fit::Yes,
            Some(true) => Fit::Notice(format!("was `{}` and is `{}` in generated code", spell(old), spell(new))),
            // The old client's integers are as wide as those that are written now: nothing is cut off.
            Some(false) if !way.is_request() && (!way.is_grpc() || form::scalar(writer) == form::scalar(reader)) => {
                Fit::Notice(format!("was `{}` and is `{}`: old clients may meet other numbers", spell(old), spell(new)))
            }
            Some(false) => {
                let who =
                    if way.is_request() { "what old clients send may not fit" } else { "old clients cut numbers off" };
                Fit::No(format!("was `{}` and is `{}`: {who}", spell(old), spell(new)))
            }
            None => became(),
        },
    })
}

/// Whether every number of the writer is one of the reader; none where they are not written alike.
fn numbers(way: Way, writer: &Type, reader: &Type) -> Option<bool> {
    let (a, b) = match (integer(writer), integer(reader)) {
        (Some(a), Some(b)) => (a, b),
        // Varints of gRPC: truth values and enums are numbers as well.
        _ if way.is_grpc() => (varint(writer)?, varint(reader)?),
        _ => return None,
    };
    let zigzag = |ty: &Type| matches!(ty, Type::S8 | Type::S16 | Type::S32);
    if way.is_grpc() && zigzag(writer) != zigzag(reader) {
        return None;
    }
    Some(b.0 <= a.0 && a.1 <= b.1)
}

fn integer(ty: &Type) -> Option<(i128, i128)> {
    Some(match ty {
        Type::S8 => (i8::MIN.into(), i8::MAX.into()),
        Type::U8 => (0, u8::MAX.into()),
        Type::S16 => (i16::MIN.into(), i16::MAX.into()),
        Type::U16 => (0, u16::MAX.into()),
        Type::S32 => (i32::MIN.into(), i32::MAX.into()),
        Type::U32 => (0, u32::MAX.into()),
        Type::S64 => (i64::MIN.into(), i64::MAX.into()),
        Type::U64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

fn varint(ty: &Type) -> Option<(i128, i128)> {
    match ty {
        Type::Bool => Some((0, 1)),
        Type::Enum(labels) => Some((1, i128::try_from(labels.list.len()).unwrap_or(i128::MAX))),
        ty => integer(ty),
    }
}

/// A type as it is written in WIT.
pub(super) fn spell(ty: &Type) -> String {
    let side = |ty: &Option<std::sync::Arc<Type>>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| spell(ty));
    match ty {
        Type::Bool => "bool".into(),
        Type::S8 => "s8".into(),
        Type::U8 => "u8".into(),
        Type::S16 => "s16".into(),
        Type::U16 => "u16".into(),
        Type::S32 => "s32".into(),
        Type::U32 => "u32".into(),
        Type::S64 => "s64".into(),
        Type::U64 => "u64".into(),
        Type::F32 => "f32".into(),
        Type::F64 => "f64".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        Type::Bytes => "list<u8>".into(),
        Type::List(item) => format!("list<{}>", spell(item)),
        Type::Option(option) => format!("option<{}>", spell(&option.inner)),
        Type::Tuple(items) => format!("tuple<{}>", items.iter().map(|ty| spell(ty)).collect::<Vec<_>>().join(", ")),
        Type::Record(record) => record.name.name.clone(),
        Type::Variant(variant) => variant.name.name.clone(),
        Type::Enum(labels) | Type::Flags(labels) => labels.name.name.clone(),
        Type::Result { ok, err } => format!("result<{}, {}>", side(ok), side(err)),
    }
}
