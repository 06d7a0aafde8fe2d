//! Values from the texts of a path or a query.

use std::borrow::Cow;
use std::num::IntErrorKind;

use wasmtime::component::Val;

use super::input::{Bad, Errors, code};
use super::json::{base64_bytes, described, float_word, integer, label, one_char, real};
use super::types::Type;

/// A scalar; see [`Type::is_scalar`].
pub(super) fn scalar(ty: &Type, text: Cow<'_, str>, errors: &mut Errors) -> Result<Val, Bad> {
    let wrong = || Bad::new(code::WRONG_TYPE, format!("must be {}", described(ty)));
    match ty {
        Type::String => Ok(Val::String(text.into_owned())),
        Type::Bool => match &*text {
            "true" => Ok(Val::Bool(true)),
            "false" => Ok(Val::Bool(false)),
            _ => Err(wrong()),
        },
        Type::S8 | Type::U8 | Type::S16 | Type::U16 | Type::S32 | Type::U32 | Type::S64 | Type::U64 => {
            match text.parse::<i128>() {
                Ok(number) => integer(ty, number),
                Err(error) => match error.kind() {
                    IntErrorKind::PosOverflow => integer(ty, i128::MAX),
                    IntErrorKind::NegOverflow => integer(ty, i128::MIN),
                    _ => Err(wrong()),
                },
            }
        }
        Type::F32 | Type::F64 => {
            if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
                return float_word(ty, &text);
            }
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if number.is_infinite() {
                return Err(Bad::new(code::OUT_OF_RANGE, "is too large a number"));
            }
            real(ty, number)
        }
        Type::Char => one_char(&text),
        Type::Enum(labels) => label(labels, &text),
        Type::Bytes => base64_bytes(&text, errors),
        _ => Err(wrong()),
    }
}

/// Takes the escapes out of a part of a URL. In a query a plus sign is a space.
pub(super) fn unescape(raw: &str, query: bool) -> Result<Cow<'_, str>, Bad> {
    if !raw.bytes().any(|byte| byte == b'%' || query && byte == b'+') {
        return Ok(Cow::Borrowed(raw));
    }
    let invalid = || Bad::new(code::INVALID_FORMAT, "is not valid percent-encoded UTF-8");
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'+' if query => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|d| char::from(d).to_digit(16));
                let (high, low) = digit().zip(digit()).ok_or_else(invalid)?;
                u8::try_from(high * 16 + low).map_err(|_| invalid())?
            }
            other => other,
        });
    }
    String::from_utf8(text).map(Cow::Owned).map_err(|_| invalid())
}
