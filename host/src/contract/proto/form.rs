//! What a WIT type is as a field of a message. The rule is said here once, for the codec and for the descriptors.

use std::sync::Arc;

use prost_types::field_descriptor_proto::Type as Kind;

use crate::contract::types::Type;

/// How often a field occurs, and whether its absence is told apart from its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Once; a scalar or an enum that is absent has its default value.
    Singular,
    /// Once or not at all: `optional`.
    Optional,
    /// Any number of times.
    Repeated,
}

/// A type as a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'t> {
    /// How often the field occurs.
    pub(crate) label: Label,
    /// The type of one occurrence; of flags the flags themselves, which occur once a flag.
    pub(crate) ty: &'t Arc<Type>,
    /// An occurrence is a message with the one field `value = 1`, which is the slot of the type.
    pub(crate) wrapped: bool,
}

impl<'t> Slot<'t> {
    /// A field of a record, a parameter, a part of a tuple, or the value of a wrapper or a response.
    pub(crate) fn field(ty: &'t Arc<Type>) -> Self {
        match &**ty {
            Type::Option(option) => Self::of(Label::Optional, &option.inner),
            Type::List(item) => Self::of(Label::Repeated, item),
            Type::Flags(_) => Self { label: Label::Repeated, ty, wrapped: false },
            _ => Self::of(Label::Singular, ty),
        }
    }

    /// A payload of a oneof: of a variant's case, or of either side of a result.
    pub(crate) fn payload(ty: &'t Arc<Type>) -> Self {
        Self::of(Label::Singular, ty)
    }

    fn of(label: Label, ty: &'t Arc<Type>) -> Self {
        Self { label, ty, wrapped: !is_plain(ty) }
    }
}

/// Whether one occurrence of a field can be such a value. The others need a message around them.
pub(crate) const fn is_plain(ty: &Type) -> bool {
    !matches!(ty, Type::Option(_) | Type::List(_) | Type::Flags(_))
}

/// The protobuf type of a scalar; none for enums and for what is a message.
pub(crate) const fn scalar(ty: &Type) -> Option<Kind> {
    Some(match ty {
        Type::Bool => Kind::Bool,
        Type::S8 | Type::S16 | Type::S32 => Kind::Sint32,
        Type::U8 | Type::U16 | Type::U32 => Kind::Uint32,
        Type::S64 => Kind::Int64,
        Type::U64 => Kind::Uint64,
        Type::F32 => Kind::Float,
        Type::F64 => Kind::Double,
        Type::Char | Type::String => Kind::String,
        Type::Bytes => Kind::Bytes,
        Type::List(_)
        | Type::Option(_)
        | Type::Record(_)
        | Type::Tuple(_)
        | Type::Enum(_)
        | Type::Variant(_)
        | Type::Flags(_)
        | Type::Result { .. } => return None,
    })
}
