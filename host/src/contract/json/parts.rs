//! Objects and arrays, member by member.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::decode::Seed;
use super::scalar::unknown;
use crate::contract::input::{Bad, Errors, NOTHING, Path, Seen, absent, code};
use crate::contract::types::{Fields, Labels, Presence, Type};

/// Reads known fields in any order, skips unknown ones, and fills in what absence means.
pub(super) fn read_fields<'de, A: MapAccess<'de>>(
    fields: &Fields,
    mut map: A,
    path: &Path<'_>,
    errors: &mut Errors,
    mut put: impl FnMut(usize, Val),
) -> Result<(), A::Error> {
    let mut seen = Seen::new(fields.len());
    let mut hint = 0;
    while let Some(at) = map.next_key_seed(Key(|name: &str| fields.find(name, hint)))? {
        let Some((at, field)) = at.and_then(|at| Some((at, fields.get(at)?))) else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        let path = Path::Field(path, &field.json_name);
        if seen.mark(at) {
            errors.add(&path, Bad::new(code::DUPLICATE_FIELD, "is there more than once"));
            map.next_value::<IgnoredAny>()?;
            continue;
        }
        hint = at + 1;
        let value = match &field.presence {
            Presence::Required | Presence::Optional => {
                map.next_value_seed(Seed { ty: &field.ty, path, errors: &mut *errors })?
            }
            Presence::Change(ty) => changed(map.next_value_seed(Seed { ty, path, errors: &mut *errors })?),
        };
        put(at, value);
    }
    for (at, field) in fields.iter().enumerate() {
        if seen.has(at) {
            continue;
        }
        match absent(&field.presence) {
            Some(value) => put(at, value),
            None => errors.add(&Path::Field(path, &field.json_name), Bad::required()),
        }
    }
    Ok(())
}

/// The change that a null or a value means.
fn changed(value: Val) -> Val {
    match value {
        Val::Option(None) => Val::Variant("clear".into(), None),
        Val::Option(value) => Val::Variant("set".into(), value),
        other => other,
    }
}

/// The object of a variant or a result: exactly one known member. Unknown members are ignored as everywhere.
pub(super) fn one_member<'de, 'n, A: MapAccess<'de>>(
    path: &Path<'_>,
    errors: &mut Errors,
    mut map: A,
    find: impl Fn(&str) -> Option<usize>,
    payload: impl Fn(usize) -> Option<(&'n str, Option<&'n Type>)>,
    names: impl Iterator<Item = &'n str>,
    null_for_none: bool,
) -> Result<Option<(usize, Option<Val>)>, A::Error> {
    let mut found: Option<(usize, Option<Val>)> = None;
    while let Some(at) = map.next_key_seed(Key(&find))? {
        let Some((at, (name, ty))) = at.and_then(|at| Some((at, payload(at)?))) else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        if let Some((first, _)) = &found {
            let bad = if *first == at {
                (Path::Field(path, name), Bad::new(code::DUPLICATE_FIELD, "is there more than once"))
            } else {
                (*path, Bad::new(code::INVALID_FORMAT, "must have one member only"))
            };
            errors.add(&bad.0, bad.1);
            map.next_value::<IgnoredAny>()?;
            continue;
        }
        let path = Path::Field(path, name);
        let value = match ty {
            Some(ty) => Some(map.next_value_seed(Seed { ty, path, errors: &mut *errors })?),
            None if null_for_none => {
                if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                    errors.add(&path, Bad::new(code::WRONG_TYPE, "must be null"));
                }
                None
            }
            None => {
                map.next_value::<IgnoredAny>()?;
                let message = format!("has no value: write \"{name}\" alone");
                errors.add(&path, Bad::new(code::INVALID_FORMAT, message));
                None
            }
        };
        found = Some((at, value));
    }
    if found.is_none() {
        errors.add(path, unknown(names));
    }
    Ok(found)
}

/// `{"value": …}` around an option in an option; without the member the inner one is none.
pub(super) fn wrapper<'de, A: MapAccess<'de>>(
    inner: &Type,
    path: &Path<'_>,
    errors: &mut Errors,
    mut map: A,
) -> Result<Val, A::Error> {
    let mut value = None;
    while let Some(known) = map.next_key_seed(Key(|name: &str| (name == "value").then_some(0)))? {
        if known.is_none() {
            map.next_value::<IgnoredAny>()?;
        } else if value.is_some() {
            errors.add(&Path::Field(path, "value"), Bad::new(code::DUPLICATE_FIELD, "is there more than once"));
            map.next_value::<IgnoredAny>()?;
        } else {
            let path = Path::Field(path, "value");
            value = Some(map.next_value_seed(Seed { ty: inner, path, errors: &mut *errors })?);
        }
    }
    Ok(Val::Option(Some(Box::new(value.unwrap_or(Val::Option(None))))))
}

pub(super) fn tuple<'de, A: SeqAccess<'de>>(
    types: &[Arc<Type>],
    path: &Path<'_>,
    errors: &mut Errors,
    mut seq: A,
) -> Result<Val, A::Error> {
    let mut items = Vec::with_capacity(types.len());
    for (at, ty) in types.iter().enumerate() {
        match seq.next_element_seed(Seed { ty, path: Path::Item(path, at), errors: &mut *errors })? {
            Some(value) => items.push(value),
            None => {
                errors.add(&Path::Item(path, at), Bad::required());
                return Ok(NOTHING);
            }
        }
    }
    if drain_seq(seq)? {
        errors.add(path, Bad::new(code::INVALID_FORMAT, format!("must have {} items", types.len())));
    }
    Ok(Val::Tuple(items))
}

/// Flags are a set: repeated ones count once, and the order is that of the declaration.
pub(super) fn flags<'de, A: SeqAccess<'de>>(
    labels: &Labels,
    path: &Path<'_>,
    errors: &mut Errors,
    mut seq: A,
) -> Result<Val, A::Error> {
    let mut seen = Seen::new(labels.list.len());
    let mut item = 0;
    while let Some(at) =
        seq.next_element_seed(FlagSeed { labels, path: Path::Item(path, item), errors: &mut *errors })?
    {
        if let Some(at) = at {
            seen.mark(at);
        }
        item += 1;
    }
    let set = labels.list.iter().enumerate().filter(|(at, _)| seen.has(*at));
    Ok(Val::Flags(set.map(|(_, label)| label.name.clone()).collect()))
}

struct FlagSeed<'a> {
    labels: &'a Labels,
    path: Path<'a>,
    errors: &'a mut Errors,
}

impl<'de> DeserializeSeed<'de> for FlagSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        // A flag is read as a string and then looked up, so that a wrong one is told like any wrong string.
        match (Seed { ty: &Type::String, path: self.path, errors: &mut *self.errors }).deserialize(deserializer)? {
            Val::String(name) => {
                let found = self.labels.find(&name).map(|(at, _)| at);
                if found.is_none() {
                    self.errors.add(&self.path, unknown(self.labels.list.iter().map(|label| &*label.json_name)));
                }
                Ok(found)
            }
            _ => Ok(None),
        }
    }
}

/// The rest of an array; true where there was any.
pub(super) fn drain_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<bool, A::Error> {
    let mut any = false;
    while seq.next_element::<IgnoredAny>()?.is_some() {
        any = true;
    }
    Ok(any)
}

/// Looks a member's name up without keeping it.
struct Key<F>(F);

impl<'de, F: Fn(&str) -> Option<usize>> DeserializeSeed<'de> for Key<F> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, F: Fn(&str) -> Option<usize>> Visitor<'de> for Key<F> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok((self.0)(name))
    }
}
