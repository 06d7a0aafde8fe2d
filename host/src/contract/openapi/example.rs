//! One example for each type: always the same, and valid against the type's schema on either side.

use super::super::types::{Field, Presence, Type};
use super::node::{Node, Object};

/// "Hello"
pub(super) const BYTES: &str = "SGVsbG8=";
/// Where an id is wanted.
const UUID: &str = "0198c8e2-4f6a-7b1c-9d3e-5a7f0c2b4d68";
const TIME: &str = "2026-01-31T12:00:00Z";

/// A value of this type. `name` is what it is called in JSON, empty where it has no name: a text is made from it.
pub(super) fn of(ty: &Type, name: &str) -> Node {
    match ty {
        Type::Bool => true.into(),
        Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64 => 1_u64.into(),
        Type::F32 | Type::F64 => 1.5.into(),
        Type::Char => "a".into(),
        Type::String => text(name),
        Type::Bytes => BYTES.into(),
        Type::List(item) => Node::List(vec![of(item, name.strip_suffix('s').unwrap_or(name))]),
        Type::Option(option) if option.wrapped => Object::new().with("value", of(&option.inner, name)).into(),
        Type::Option(option) => of(&option.inner, name),
        Type::Record(record) => fields(record.fields.iter()).into(),
        Type::Tuple(items) => items.iter().map(|item| of(item, name)).collect(),
        Type::Enum(labels) => labels.list.first().map_or(Node::Null, |label| label.json_name.to_string().into()),
        Type::Flags(labels) => labels.list.iter().take(1).map(|label| label.json_name.to_string()).collect(),
        Type::Variant(variant) => match variant.cases.first() {
            Some(case) => match &case.ty {
                Some(ty) => Object::new().with(case.json_name.to_string(), of(ty, &case.json_name)).into(),
                None => case.json_name.to_string().into(),
            },
            None => Node::Null,
        },
        Type::Result { ok, .. } => Object::new().with("ok", ok.as_ref().map_or(Node::Null, |ok| of(ok, name))).into(),
    }
}

/// An object with all of these members.
pub(super) fn fields<'f>(fields: impl Iterator<Item = &'f Field>) -> Object {
    let member = |field: &Field| {
        let ty = match &field.presence {
            Presence::Change(set) => set,
            Presence::Required | Presence::Optional => &field.ty,
        };
        (field.json_name.to_string(), of(ty, &field.json_name))
    };
    fields.map(member).collect()
}

/// A text as its name suggests, so that what the page fills in can be sent.
fn text(name: &str) -> Node {
    let is = |word: &str| name == word || name.split('_').any(|part| part == word);
    let ends = |word: &str| name.rsplit('_').next() == Some(word);
    if is("email") {
        "ada@example.com".into()
    } else if is("password") {
        "correct horse battery".into()
    } else if ends("id") {
        UUID.into()
    } else if ends("at") {
        TIME.into()
    } else if ends("url") || ends("uri") {
        "https://example.com/".into()
    } else if name.is_empty() {
        "text".into()
    } else {
        name.to_owned().into()
    }
}
