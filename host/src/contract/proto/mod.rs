//! Protobuf: what a contract is over gRPC, derived from the same plans as JSON.
//!
//! # Types
//! | WIT | protobuf |
//! |---|---|
//! | bool; s8, s16, s32; u8, u16, u32; s64; u64; f32; f64 | bool; sint32; uint32; int64; uint64; float; double |
//! | char, string; `list<u8>` | string; bytes |
//! | `option<T>` | `optional T` |
//! | `list<T>`, flags | `repeated T`, a repeated enum |
//! | record; tuple | a message; one with the fields `f0`, `f1` … |
//! | enum | an enum; 0 is `…_UNSPECIFIED`, the cases count from 1 |
//! | variant | a message with the oneof `kind` (`kind_` where a case has this name), the cases count from 1 |
//! | result | a message with the oneof `result { ok = 1; err = 2 }` |
//!
//! An option, a list or flags inside of an option, a list or a oneof is a message with the one field `value = 1`. A case
//! without a payload is a `google.protobuf.Empty`. These messages, tuples and results have no names in WIT; they are nested
//! in the message whose field needs them and are called after the field: `…Value`, `…Tuple`, `…Result`.
//!
//! # Names
//! A package is `namespace.name.v<major>`, an interface a service, a function a method. Its only parameter is the request
//! where it is a record; otherwise there is a `…Request` with the parameters, numbered from 1. A result that is a record is
//! the response; any other is the field `value = 1` of a `…Response`, which is empty where there is no result.
//!
//! Functions of the host itself may take and answer a `stream`, of which each item is a message. An item that is a variant
//! is the message with the oneof itself.
//!
//! # Reading and writing
//! Requests go straight into component values and responses straight out of them. What is absent has the default of its
//! type: zero, false, empty, none; a change keeps. Messages that are no option must be there and a oneof must have a case,
//! an enum must not be 0: else the field error is `REQUIRED`. Fields are wrong with the same paths and codes as in JSON.
//! A field that occurs again replaces, merges or goes on as the specification of protobuf has it, and only the outcome is
//! judged. Unknown fields are skipped. Bytes that are no such message, a field of another wire type among them, are a
//! problem of kind malformed. Limits are those of JSON ([`super::json::MAX_VALUES`] and beside it), and messages nest at
//! most 100 levels deep. Answers leave defaults out; lists of numbers and of enums are packed, and read in both forms.

mod build;
mod decode;
mod descriptor;
mod encode;
pub(crate) mod form;
mod merge;
mod message;
mod reader;
mod scalar;
pub mod text;
mod walk;

pub use decode::{decode, decode_response};
pub use descriptor::{Files, Service};
pub use encode::{answer, encode_request};
pub use merge::Disagreement;

use super::names::camel;
use super::plan::PackageName;

/// The service that an interface is: `arcana.auth.v1.AuthService`.
#[must_use]
pub fn service_name(package: &PackageName, interface: &str) -> String {
    format!("{}.{}", package.proto(), camel(interface))
}

/// The method that a function is: `ValidateToken`.
#[must_use]
pub fn method_name(function: &str) -> String {
    camel(function)
}

#[cfg(test)]
mod tests;
