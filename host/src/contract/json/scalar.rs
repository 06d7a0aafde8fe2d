//! Values without parts: how they are read from numbers and strings, and what is said of wrong ones.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use wasmtime::component::Val;

use crate::contract::input::{Bad, Errors, MAX_BYTES, code};
use crate::contract::types::{Labels, Type};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a value of this type looks like, after "must be".
pub(crate) const fn described(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true or false",
        Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64 => "a whole number",
        Type::F32 | Type::F64 => "a number",
        Type::Char => "a string of one character",
        Type::String | Type::Enum(_) => "a string",
        Type::Bytes => "a base64 string",
        Type::List(_) | Type::Tuple(_) => "an array",
        Type::Flags(_) => "an array of strings",
        Type::Record(_) => "an object",
        Type::Variant(_) => "a string or an object with one member",
        Type::Result { .. } => "an object with the member `ok` or `err`",
        Type::Option(_) => "null or an object with the member `value`",
    }
}

pub(crate) fn wrong_type(ty: &Type) -> Bad {
    Bad::new(code::WRONG_TYPE, format!("must be {}", described(ty)))
}

/// A whole number as the type wants it.
pub(crate) fn integer(ty: &Type, number: i128) -> Result<Val, Bad> {
    fn fit<T: TryFrom<i128> + std::fmt::Display>(number: i128, min: T, max: T, val: fn(T) -> Val) -> Result<Val, Bad> {
        T::try_from(number)
            .map(val)
            .map_err(|_| Bad::new(code::OUT_OF_RANGE, format!("must be between {min} and {max}")))
    }
    match ty {
        Type::S8 => fit(number, i8::MIN, i8::MAX, Val::S8),
        Type::U8 => fit(number, u8::MIN, u8::MAX, Val::U8),
        Type::S16 => fit(number, i16::MIN, i16::MAX, Val::S16),
        Type::U16 => fit(number, u16::MIN, u16::MAX, Val::U16),
        Type::S32 => fit(number, i32::MIN, i32::MAX, Val::S32),
        Type::U32 => fit(number, u32::MIN, u32::MAX, Val::U32),
        Type::S64 => fit(number, i64::MIN, i64::MAX, Val::S64),
        Type::U64 => fit(number, u64::MIN, u64::MAX, Val::U64),
        // The nearest float is what a number means for a float.
        Type::F32 | Type::F64 => real(ty, number as f64),
        _ => Err(wrong_type(ty)),
    }
}

/// A number with a fraction or an exponent as the type wants it. Whole numbers may be written so as far as every one
/// of them is a float.
pub(crate) fn real(ty: &Type, number: f64) -> Result<Val, Bad> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match ty {
        Type::F64 => Ok(Val::Float64(number)),
        Type::F32 => {
            // Rounds to the nearest; what rounds to an infinity does not fit.
            let single = number as f32;
            if single.is_finite() {
                Ok(Val::Float32(single))
            } else {
                Err(Bad::new(code::OUT_OF_RANGE, format!("must be between {:e} and {:e}", f32::MIN, f32::MAX)))
            }
        }
        Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64 => {
            if number.fract() != 0.0 {
                Err(wrong_type(ty))
            } else if number.abs() <= EXACT {
                // Whole and below 2^53: nothing is lost.
                integer(ty, number as i128)
            } else {
                // Saturates beyond 2^127, which fits no type either.
                integer(ty, number as i128)
                    .and(Err(Bad::new(code::INVALID_FORMAT, "must be written without a fraction and an exponent")))
            }
        }
        _ => Err(wrong_type(ty)),
    }
}

/// The floats that JSON numbers cannot say.
pub(crate) fn float_word(ty: &Type, text: &str) -> Result<Val, Bad> {
    let number = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return Err(wrong_type(ty)),
    };
    // Exact: NaN and the infinities are the same in both widths.
    Ok(if matches!(ty, Type::F32) { Val::Float32(number as f32) } else { Val::Float64(number) })
}

pub(crate) fn one_char(text: &str) -> Result<Val, Bad> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok(Val::Char(only)),
        _ => Err(Bad::new(code::INVALID_FORMAT, "must be a string of one character")),
    }
}

pub(crate) fn label(labels: &Labels, text: &str) -> Result<Val, Bad> {
    match labels.find(text) {
        Some((_, label)) => Ok(Val::Enum(label.name.clone())),
        None => Err(unknown(labels.list.iter().map(|label| &*label.json_name))),
    }
}

/// None of these names; long lists are cut off.
pub(crate) fn unknown<'n>(names: impl Iterator<Item = &'n str>) -> Bad {
    const SHOWN: usize = 20;
    let mut message = String::from("must be one of: ");
    for (at, name) in names.enumerate() {
        message.push_str(if at == 0 { "" } else { ", " });
        message.push_str(if at < SHOWN { name } else { "…" });
        if at >= SHOWN {
            break;
        }
    }
    Bad::new(code::UNKNOWN_VALUE, Cow::Owned(message))
}

pub(crate) fn base64_bytes(text: &str, errors: &mut Errors) -> Result<Val, Bad> {
    // Checked before decoding: nothing is allocated for what will be refused.
    if text.len() > MAX_BYTES.div_ceil(3) * 4 {
        return Err(Bad::new(code::TOO_LARGE, format!("must be at most {MAX_BYTES} bytes")));
    }
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let bytes = engine.decode(text).map_err(|_| Bad::new(code::INVALID_FORMAT, "must be base64"))?;
    errors.spend_bytes(bytes.len())?;
    Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
}
