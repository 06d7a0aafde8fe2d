//! What a call came to: the value of a success, or the plugin's problem.

use wasmtime::component::Val;

use super::plan::FunctionPlan;
use crate::problem::{FieldError, Kind, Problem};

impl FunctionPlan {
    /// The value of a success, where the function has one.
    ///
    /// # Errors
    /// The problem that the plugin answered; one of kind internal where the results are not those of this function.
    pub fn outcome<'v>(&self, results: &'v [Val]) -> Result<Option<&'v Val>, Problem> {
        match (self.result.fallible, &self.result.ok, results) {
            (false, None, []) => Ok(None),
            (false, Some(_), [value]) => Ok(Some(value)),
            (true, _, [Val::Result(Ok(value))]) => Ok(value.as_deref()),
            (true, _, [Val::Result(Err(Some(value)))]) => Err(problem(value).unwrap_or_else(mismatch)),
            _ => Err(mismatch()),
        }
    }
}

/// The answer where a value is not of the planned type: the host's fault.
pub(super) fn mismatch() -> Problem {
    Problem::new(Kind::Internal, "the plugin's answer does not have the type of its interface")
}

/// A `problem` record as the host's problem; none where it is no such record.
#[must_use]
pub(super) fn problem(value: &Val) -> Option<Problem> {
    let Val::Record(fields) = value else { return None };
    let [(_, Val::Enum(kind)), (_, Val::Option(code)), (_, Val::String(message)), (_, Val::List(details)), (_, retry)] =
        fields.as_slice()
    else {
        return None;
    };
    let code = match code.as_deref() {
        None => None,
        Some(Val::String(code)) => Some(code.clone().into()),
        Some(_) => return None,
    };
    let retry_after_ms = match retry {
        Val::Option(None) => None,
        Val::Option(Some(ms)) => match **ms {
            Val::U64(ms) => Some(ms),
            _ => return None,
        },
        _ => return None,
    };
    Some(Problem {
        kind: Kind::from_wit(kind)?,
        code,
        message: message.clone().into(),
        details: details.iter().map(field_error).collect::<Option<_>>()?,
        retry_after_ms,
    })
}

fn field_error(value: &Val) -> Option<FieldError> {
    let Val::Record(fields) = value else { return None };
    let [(_, Val::String(field)), (_, Val::String(message)), (_, Val::String(code))] = fields.as_slice() else {
        return None;
    };
    Some(FieldError { field: field.clone(), message: message.clone(), code: code.clone().into() })
}
