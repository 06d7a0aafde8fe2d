//! Component values to JSON, straight into the bytes of the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::ser::{CompactFormatter, Formatter as _};
use wasmtime::component::Val;

use crate::contract::names::snake_byte;
use crate::contract::outcome::mismatch;
use crate::contract::types::{Fields, OptionType, Presence, Record, Type};
use crate::problem::Problem;

/// Appends a value of this type to `out`. Options that are none are written as `null`, so that an answer always has the
/// same members; only a change that keeps is left out.
///
/// # Errors
/// A problem of kind internal where the value is of another type; `out` may then hold half a value.
pub fn encode(ty: &Type, value: &Val, out: &mut Vec<u8>) -> Result<(), Problem> {
    match (ty, value) {
        (Type::String, Val::String(text)) => string(text, out),
        (Type::Record(Record { fields, .. }), Val::Record(values)) => return record(fields, values, out),
        (Type::Option(_), Val::Option(None)) => out.extend_from_slice(b"null"),
        (Type::Option(OptionType { inner, wrapped }), Val::Option(Some(value))) => {
            if *wrapped {
                out.extend_from_slice(b"{\"value\":");
                encode(inner, value, out)?;
                out.push(b'}');
            } else {
                return encode(inner, value, out);
            }
        }
        (Type::Bool, Val::Bool(value)) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        (Type::S8, Val::S8(n)) => number(*n, out),
        (Type::U8, Val::U8(n)) => number(*n, out),
        (Type::S16, Val::S16(n)) => number(*n, out),
        (Type::U16, Val::U16(n)) => number(*n, out),
        (Type::S32, Val::S32(n)) => number(*n, out),
        (Type::U32, Val::U32(n)) => number(*n, out),
        (Type::S64, Val::S64(n)) => number(*n, out),
        (Type::U64, Val::U64(n)) => number(*n, out),
        (Type::F32, Val::Float32(n)) if n.is_finite() => {
            CompactFormatter.write_f32(out, *n).map_err(|_| mismatch())?;
        }
        (Type::F64, Val::Float64(n)) if n.is_finite() => {
            CompactFormatter.write_f64(out, *n).map_err(|_| mismatch())?;
        }
        (Type::F32, Val::Float32(n)) => float_word(f64::from(*n), out),
        (Type::F64, Val::Float64(n)) => float_word(*n, out),
        (Type::Char, Val::Char(c)) => string(c.encode_utf8(&mut [0; 4]), out),
        (Type::Enum(_), Val::Enum(name)) => label(name, out),
        (Type::Bytes, Val::List(bytes)) => return base64(bytes, out),
        (Type::List(item), Val::List(items)) => {
            return array(items.iter(), out, |value, out| encode(item, value, out));
        }
        (Type::Tuple(types), Val::Tuple(items)) if types.len() == items.len() => {
            return array(types.iter().zip(items), out, |(ty, value), out| encode(ty, value, out));
        }
        (Type::Flags(_), Val::Flags(names)) => {
            return array(names.iter(), out, |name, out| {
                label(name, out);
                Ok(())
            });
        }
        (Type::Variant(variant), Val::Variant(name, payload)) => {
            let case = variant.cases.iter().find(|case| case.name == *name).ok_or_else(mismatch)?;
            return match (&case.ty, payload) {
                (None, None) => {
                    label(name, out);
                    Ok(())
                }
                (Some(ty), Some(value)) => member(name, Some((ty, value)), out),
                _ => Err(mismatch()),
            };
        }
        (Type::Result { ok, err }, Val::Result(result)) => {
            let (name, ty, payload) = match result {
                Ok(payload) => ("ok", ok, payload),
                Err(payload) => ("err", err, payload),
            };
            return match (ty, payload) {
                (None, None) => member(name, None, out),
                (Some(ty), Some(value)) => member(name, Some((ty, value)), out),
                _ => Err(mismatch()),
            };
        }
        _ => return Err(mismatch()),
    }
    Ok(())
}

/// wasmtime gives the fields in declaration order, which is that of the plan.
fn record(fields: &Fields, values: &[(String, Val)], out: &mut Vec<u8>) -> Result<(), Problem> {
    if fields.len() != values.len() {
        return Err(mismatch());
    }
    out.push(b'{');
    let mut first = true;
    for (field, (_, value)) in fields.iter().zip(values) {
        let mut key = |out: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(&field.key);
        };
        match (&field.presence, value) {
            (Presence::Change(ty), Val::Variant(case, payload)) => match (case.as_str(), payload) {
                ("keep", None) => {}
                ("clear", None) => {
                    key(out);
                    out.extend_from_slice(b"null");
                }
                ("set", Some(value)) => {
                    key(out);
                    encode(ty.without_option(), value, out)?;
                }
                _ => return Err(mismatch()),
            },
            _ => {
                key(out);
                encode(&field.ty, value, out)?;
            }
        }
    }
    out.push(b'}');
    Ok(())
}

fn array<T>(
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut each: impl FnMut(T, &mut Vec<u8>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn member(name: &str, payload: Option<(&Type, &Val)>, out: &mut Vec<u8>) -> Result<(), Problem> {
    out.push(b'{');
    label(name, out);
    out.push(b':');
    match payload {
        Some((ty, value)) => encode(ty, value, out)?,
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(())
}

fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn float_word(number: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(if number.is_nan() {
        b"\"NaN\""
    } else if number > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    });
}

/// A WIT name in snake_case: letters, digits and hyphens, nothing to escape.
fn label(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend(name.bytes().map(snake_byte));
    out.push(b'"');
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // Runs of plain bytes are copied at once; everything above ASCII stays as it is.
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        escape(*byte, out);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        control => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn base64(values: &[Val], out: &mut Vec<u8>) -> Result<(), Problem> {
    const CHUNK: usize = 768;
    out.push(b'"');
    out.reserve(values.len().div_ceil(3) * 4);
    let mut bytes = [0; CHUNK];
    let mut text = [0; CHUNK / 3 * 4];
    for chunk in values.chunks(CHUNK) {
        for (byte, value) in bytes.iter_mut().zip(chunk) {
            let Val::U8(value) = value else { return Err(mismatch()) };
            *byte = *value;
        }
        let filled = bytes.get(..chunk.len()).unwrap_or_default();
        let written = STANDARD.encode_slice(filled, &mut text).map_err(|_| mismatch())?;
        out.extend_from_slice(text.get(..written).unwrap_or_default());
    }
    out.push(b'"');
    Ok(())
}
