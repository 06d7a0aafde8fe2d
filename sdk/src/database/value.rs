//! From values to types and back.

use super::host::Value;
use crate::{Timestamp, Uuid};

/// What a column can be read as.
pub trait FromValue: Sized {
    /// What the value has to be, for messages: `integer`.
    const EXPECTED: &'static str;
    /// The value, or none where it is something else.
    fn from_value(value: Value) -> Option<Self>;
}

/// What can be a parameter.
pub trait ToValue {
    /// The value that the store keeps.
    fn to_value(&self) -> Value;
}

/// A JSON document as text, for columns of the type JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub String);

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_value(value: Value) -> Option<Self> {
        if matches!(value, Value::Null) { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for Value {
    const EXPECTED: &'static str = "value";
    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl FromValue for bool {
    const EXPECTED: &'static str = "truth value";
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(value),
            // What a store without booleans answers for an expression, which has no declared type.
            Value::Int64(0) => Some(false),
            Value::Int64(1) => Some(true),
            _ => None,
        }
    }
}

macro_rules! integer_from_value {
    ($($type:ty),+) => { $(
        impl FromValue for $type {
            const EXPECTED: &'static str = "integer";
            fn from_value(value: Value) -> Option<Self> {
                if let Value::Int64(value) = value { value.try_into().ok() } else { None }
            }
        }
    )+ };
}
integer_from_value!(i64, i32, u32, u64);

impl FromValue for f64 {
    const EXPECTED: &'static str = "number";
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Float64(value) => Some(value),
            Value::Int64(value) => i32::try_from(value).ok().map(Self::from),
            _ => None,
        }
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(value) | Value::Json(value) => Some(value),
            Value::Uuid(value) => Some(Uuid::from(value).to_string()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    const EXPECTED: &'static str = "byte string";
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Bytes(value) = value { Some(value) } else { None }
    }
}

impl FromValue for Timestamp {
    const EXPECTED: &'static str = "timestamp";
    fn from_value(value: Value) -> Option<Self> {
        match value {
            // An integer is what a store without timestamps answers for an expression, such as max(created_at).
            Value::Timestamp(micros) | Value::Int64(micros) => Some(Self::from_unix_micros(micros)),
            _ => None,
        }
    }
}

impl FromValue for Uuid {
    const EXPECTED: &'static str = "UUID";
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Uuid(value) => Some(value.into()),
            Value::Text(value) => value.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for Json {
    const EXPECTED: &'static str = "JSON document";
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Json(value) | Value::Text(value) = value { Some(Self(value)) } else { None }
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (*self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

macro_rules! to_value {
    ($($type:ty: |$value:ident| $make:expr),+ $(,)?) => { $(
        impl ToValue for $type {
            fn to_value(&self) -> Value {
                let $value = self;
                $make
            }
        }
    )+ };
}

to_value! {
    Value: |value| value.clone(),
    bool: |value| Value::Boolean(*value),
    i64: |value| Value::Int64(*value),
    i32: |value| Value::Int64(i64::from(*value)),
    u32: |value| Value::Int64(i64::from(*value)),
    f64: |value| Value::Float64(*value),
    str: |value| Value::Text(value.to_owned()),
    String: |value| Value::Text(value.clone()),
    [u8]: |value| Value::Bytes(value.to_vec()),
    Vec<u8>: |value| Value::Bytes(value.clone()),
    Timestamp: |value| Value::Timestamp(value.unix_micros()),
    Uuid: |value| Value::Uuid((*value).into()),
    Json: |value| Value::Json(value.0.clone()),
}
