//! From WIT to the wire: what a component exports, as plans that the protocols encode and decode by.
//!
//! [`Contract::decode`] reads a component's type once, at load. Every request after that only walks the plans: JSON goes
//! straight into component values and back, without a tree in between. The module knows nothing of HTTP but the words
//! "path", "query" and "body".
//!
//! # JSON
//! | WIT | JSON |
//! |---|---|
//! | bool, integers, f32, f64 | `true`, a number; NaN and the infinities are `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | char, string | a string; a char is one Unicode scalar |
//! | `list<u8>` | base64, at most 1 MiB of bytes; read in the standard or the URL alphabet, padded or not |
//! | `list<T>`, tuple | an array |
//! | `option<T>` | the value, or `null`; a field that is absent is none. Answers always write the `null` |
//! | `option<option<T>>` | `null`, or `{"value": …}` around the inner option, so that none and some(none) stay apart |
//! | record | an object with snake_case names |
//! | enum, flags | a snake_case string, an array of them |
//! | variant | `"case"` without a payload, `{"case": payload}` with one |
//! | result | `{"ok": …}` or `{"err": …}`, `null` where there is no payload |
//!
//! A variant with exactly the cases `keep`, `clear` and `set(T)`, T not an option, is a *change*. As a field of a record
//! and as a parameter it is a member of a JSON merge patch (RFC 7396): absent keeps, `null` clears, a value sets.
//! Anywhere else it is written as every variant.

pub mod bind;
mod compare;
pub mod compat;
pub mod docs;
mod error;
mod fit;
mod input;
pub mod json;
mod locate;
pub mod names;
pub mod openapi;
mod outcome;
pub mod plan;
mod planner;
pub mod proto;
pub mod size;
mod text;
pub mod types;

pub use bind::Binding;
pub use error::ContractError;
pub use fit::{Misfits, nearest};
pub use locate::Locator;
pub use plan::{Contract, FunctionPlan, Import, Interface, PackageName, Streams};
pub use types::Type;

#[cfg(test)]
mod tests;
