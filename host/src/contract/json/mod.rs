//! JSON straight into component values and back, by plan.

mod decode;
mod encode;
mod parts;
mod scalar;

use wasmtime::component::Val;

pub(super) use decode::fields;
pub(super) use scalar::{base64_bytes, described, float_word, integer, label, one_char, real, unknown};

pub use super::input::{MAX_BYTES, MAX_ERRORS, MAX_VALUES};
pub use decode::decode;
pub use encode::encode;

use super::plan::FunctionPlan;
use crate::problem::Problem;

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
