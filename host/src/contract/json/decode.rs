//! JSON to component values in one pass.
//!
//! The parser asks for each value with the type that is wanted there. What does not fit is noted with its path and
//! skipped, so that one answer names every wrong field; the values are used only when nothing was noted.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::parts::{drain_seq, flags, one_member, read_fields, tuple, wrapper};
use super::scalar::{base64_bytes, float_word, integer, label, one_char, real, unknown, wrong_type};
use crate::contract::input::{Bad, Errors, NOTHING, Path, code};
use crate::contract::types::{Fields, OptionType, Record, Type, Variant};
use crate::problem::{Kind, Problem};

/// One JSON text as a value of this type.
///
/// # Errors
/// A problem of kind malformed where it is no JSON, else one of kind validation with every field that is wrong.
pub fn decode(ty: &Type, json: &[u8]) -> Result<Val, Problem> {
    let mut errors = Errors::new();
    let value = run(json, &mut errors, |parser, errors| Seed { ty, path: Path::Root, errors }.deserialize(parser))?;
    if errors.is_empty() { Ok(value.unwrap_or(NOTHING)) } else { Err(Problem::validation(errors.into_list())) }
}

/// The fields of one JSON object, each given to `put` with its position. An empty text is an empty object.
///
/// # Errors
/// A problem of kind malformed where it is no JSON. What is wrong with the fields goes to `errors`.
pub(crate) fn fields(
    fields: &Fields,
    json: &[u8],
    errors: &mut Errors,
    put: impl FnMut(usize, Val),
) -> Result<(), Problem> {
    let json = if json.iter().all(u8::is_ascii_whitespace) { b"{}" } else { json };
    run(json, errors, |parser, errors| parser.deserialize_any(Object { fields, errors, put })).map(drop)
}

type Parser<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

/// Runs the parser over a whole text; none where it stopped with a field error.
fn run<'de, 'e, T>(
    json: &'de [u8],
    errors: &'e mut Errors,
    read: impl FnOnce(&mut Parser<'de>, &mut Errors) -> Result<T, serde_json::Error>,
) -> Result<Option<T>, Problem> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    let error = match read(&mut parser, errors).and_then(|value| parser.end().map(|()| value)) {
        Ok(value) => return Ok(Some(value)),
        Err(_) if errors.is_full() => return Ok(None),
        Err(error) => error,
    };
    let text = error.to_string();
    // The grammar allows any number; only this parser does not.
    if text.starts_with("number out of range") {
        errors.number_out_of_range();
        return Ok(None);
    }
    Err(Problem::new(Kind::Malformed, format!("the body is not valid JSON: {text}")))
}

/// The body as an object with these fields.
struct Object<'a, F> {
    fields: &'a Fields,
    errors: &'a mut Errors,
    put: F,
}

impl<'de, F: FnMut(usize, Val)> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        read_fields(self.fields, map, &Path::Root, self.errors, self.put)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        drain_seq(seq)?;
        self.wrong()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.wrong()
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.wrong()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.wrong()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.wrong()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.wrong()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.wrong()
    }
}

impl<F> Object<'_, F> {
    fn wrong<E>(self) -> Result<(), E> {
        self.errors.add(&Path::Root, Bad::new(code::WRONG_TYPE, "the body must be an object"));
        Ok(())
    }
}

/// A value of this type is next.
pub(super) struct Seed<'a> {
    pub(super) ty: &'a Type,
    pub(super) path: Path<'a>,
    pub(super) errors: &'a mut Errors,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Val, D::Error> {
        let Self { ty, path, errors } = self;
        errors.spend(&path, 1);
        if errors.is_full() {
            return Err(D::Error::custom("too many errors"));
        }
        let read = deserializer.deserialize_any(Read { ty, path: &path, errors });
        if read.is_err() {
            errors.stop(&path);
        }
        read
    }
}

/// Takes whatever is next as a value of this type.
struct Read<'a> {
    ty: &'a Type,
    path: &'a Path<'a>,
    errors: &'a mut Errors,
}

impl Read<'_> {
    /// A value without parts, seen through an option. An option in an option has a wrapper and is not seen through.
    fn scalar<E>(self, read: impl FnOnce(&Type, &mut Errors) -> Result<Val, Bad>) -> Result<Val, E> {
        let optional = match self.ty {
            Type::Option(OptionType { inner, wrapped: false }) => Some(&**inner),
            _ => None,
        };
        match read(optional.unwrap_or(self.ty), self.errors) {
            Ok(value) if optional.is_some() => Ok(Val::Option(Some(Box::new(value)))),
            Ok(value) => Ok(value),
            Err(bad) => {
                self.errors.add(self.path, bad);
                Ok(NOTHING)
            }
        }
    }

    fn inside<'b>(&'b mut self, ty: &'b Type) -> Read<'b> {
        Read { ty, path: self.path, errors: self.errors }
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Val, E> {
        if matches!(self.ty, Type::Option(_)) {
            return Ok(Val::Option(None));
        }
        self.errors.add(self.path, Bad::required());
        Ok(NOTHING)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Val, E> {
        self.scalar(|ty, _| match ty {
            Type::Bool => Ok(Val::Bool(value)),
            _ => Err(wrong_type(ty)),
        })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Val, E> {
        self.scalar(|ty, _| integer(ty, value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Val, E> {
        self.scalar(|ty, _| integer(ty, value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Val, E> {
        self.scalar(|ty, _| real(ty, value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Val, E> {
        self.scalar(|ty, errors| match ty {
            Type::String => Ok(Val::String(text.to_owned())),
            Type::Enum(labels) => label(labels, text),
            Type::Variant(variant) => bare_case(variant, text),
            Type::Char => one_char(text),
            Type::Bytes => base64_bytes(text, errors),
            Type::F32 | Type::F64 => float_word(ty, text),
            _ => Err(wrong_type(ty)),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::Option(OptionType { inner, wrapped: false }) => {
                let value = self.inside(inner).visit_seq(seq)?;
                Ok(Val::Option(Some(Box::new(value))))
            }
            Type::List(item) => {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element_seed(Seed {
                    ty: item,
                    path: Path::Item(self.path, items.len()),
                    errors: self.errors,
                })? {
                    items.push(item);
                }
                Ok(Val::List(items))
            }
            Type::Tuple(types) => tuple(types, self.path, self.errors, seq),
            Type::Flags(labels) => flags(labels, self.path, self.errors, seq),
            ty => {
                self.errors.add(self.path, wrong_type(ty));
                drain_seq(seq)?;
                Ok(NOTHING)
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Val, A::Error> {
        match self.ty {
            Type::Option(OptionType { inner, wrapped: false }) => {
                let value = self.inside(inner).visit_map(map)?;
                Ok(Val::Option(Some(Box::new(value))))
            }
            Type::Option(OptionType { inner, wrapped: true }) => wrapper(inner, self.path, self.errors, map),
            Type::Record(Record { fields, .. }) => {
                self.errors.spend(self.path, fields.len());
                if self.errors.is_full() {
                    return Err(A::Error::custom("too many values"));
                }
                let mut record: Vec<_> = fields.iter().map(|field| (field.name.clone(), NOTHING)).collect();
                read_fields(fields, map, self.path, self.errors, |at, value| {
                    if let Some(slot) = record.get_mut(at) {
                        slot.1 = value;
                    }
                })?;
                Ok(Val::Record(record))
            }
            Type::Variant(variant) => {
                let find = |name: &str| variant.position(name);
                let payload = |at: usize| variant.cases.get(at).map(|case| (&*case.json_name, case.ty.as_deref()));
                let names = variant.cases.iter().map(|case| &*case.json_name);
                let found = one_member(self.path, self.errors, map, find, payload, names, false)?;
                let name = |at: usize| variant.cases.get(at).map(|case| case.name.clone());
                Ok(found.and_then(|(at, value)| Some(Val::Variant(name(at)?, value.map(Box::new)))).unwrap_or(NOTHING))
            }
            Type::Result { ok, err } => {
                let cases = [("ok", ok.as_deref()), ("err", err.as_deref())];
                let find = |name: &str| cases.iter().position(|(case, _)| *case == name);
                let payload = |at: usize| cases.get(at).copied();
                let found = one_member(self.path, self.errors, map, find, payload, ["ok", "err"].into_iter(), true)?;
                Ok(match found {
                    Some((0, value)) => Val::Result(Ok(value.map(Box::new))),
                    Some((_, value)) => Val::Result(Err(value.map(Box::new))),
                    None => NOTHING,
                })
            }
            ty => {
                self.errors.add(self.path, wrong_type(ty));
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(NOTHING)
            }
        }
    }
}

fn bare_case(variant: &Variant, text: &str) -> Result<Val, Bad> {
    match variant.position(text).and_then(|at| variant.cases.get(at)) {
        Some(case) if case.ty.is_none() => Ok(Val::Variant(case.name.clone(), None)),
        Some(case) => Err(Bad::new(code::INVALID_FORMAT, format!("needs a value: {{\"{}\": …}}", case.json_name))),
        None => Err(unknown(variant.cases.iter().map(|case| &*case.json_name))),
    }
}
