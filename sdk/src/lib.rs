//! What authors of Arcana plugins in Rust depend on: the host's capabilities as ordinary Rust.
//!
//! A plugin is a WIT interface and an `impl` of the trait that [`bindings!`] makes from it. `README.md` beside this
//! crate has a complete one. Only the host functions that a plugin calls become imports of its component, so that using
//! a module of this crate is what asks for a permission, and nothing else is.

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/, whose comments are the docs")]
mod generated;

pub mod cache;
pub mod config;
pub mod context;
pub mod crypto;
pub mod database;
pub mod log;
mod macros;
pub mod problem;
pub mod time;
pub mod tokens;
mod uuid;

pub use generated::arcana::types::types;
pub use problem::{Problem, ProblemKind, Validation};
pub use time::Timestamp;
pub use types::{FieldError, TextChange};
pub use uuid::Uuid;

#[doc(hidden)]
pub use wit_bindgen;

/// What a published function answers.
pub type Result<T, E = Problem> = core::result::Result<T, E>;
