//! JSON straight into component values and back, by plan.

mod collect;
mod decode;
mod encode;
mod parts;
mod scalar;

use wasmtime::component::Val;

pub(super) use collect::{Bad, Errors, Path, code};
pub(super) use decode::{NOTHING, fields};
pub(super) use parts::{Seen, absent};
pub(super) use scalar::{base64_bytes, described, float_word, integer, label, one_char, real};

pub use decode::decode;
pub use encode::encode;

use super::plan::FunctionPlan;
use crate::problem::Problem;

/// Most field errors a problem lists.
pub const MAX_ERRORS: usize = 100;
/// Most values one request may hold, every field of every record counted: small bodies must not become large memory.
pub const MAX_VALUES: usize = 1 << 18;
/// Most bytes that all `list<u8>` of a request may hold together: each travels as one dynamic value.
pub const MAX_BYTES: usize = 1 << 20;

/// Appends the answer of a call to `out`; true where there is one, false where a success has no value.
///
/// # Errors
/// The problem that the plugin answered; one of kind internal where the results are not those of this function. `out`
/// may then hold half a value.
pub fn answer(plan: &FunctionPlan, results: &[Val], out: &mut Vec<u8>) -> Result<bool, Problem> {
    match (plan.outcome(results)?, &plan.result.ok) {
        (Some(value), Some(ty)) => encode(ty, value, out).map(|()| true),
        (None, None) => Ok(false),
        _ => Err(super::outcome::mismatch()),
    }
}
