//! The size of what a plugin publishes, once its types are written out.

use std::collections::HashMap;

use super::manifest::Manifest;
use super::prepass::PrepassLimits;
use super::refusal::Refusal;
use crate::contract::Contract;
use crate::contract::size::{self, Size};

/// The code of a contract that is too large.
const CODE: &str = "CONTRACT_TOO_LARGE";

/// Refuses types that make documents, descriptors, comparisons or values large, before any of these is made. A function
/// counts once for each of its routes, as documents describe it once for each.
///
/// # Errors
/// `CONTRACT_TOO_LARGE`, naming the function that passed the limit and the setting.
pub(super) fn check(manifest: &Manifest, contract: &Contract, limits: &PrepassLimits) -> Result<(), Refusal> {
    let sizes = size::of(contract);
    let mut total = sizes.types;
    within(total, limits, "its types together are")?;
    let mut routes: HashMap<(&str, &str), u64> = HashMap::new();
    for method in &manifest.methods {
        // Where there is no such function the file is refused with the reason later.
        let Some((interface, function)) = method.call.rsplit_once('.') else { continue };
        let Ok(interface) = contract.interface(interface) else { continue };
        let count = u64::try_from(method.http.len()).unwrap_or(u64::MAX);
        routes.insert((interface.full_name.as_str(), function), count);
    }
    for measured in &sizes.functions {
        let times = routes.get(&(measured.interface, measured.function)).copied().unwrap_or(1).max(1);
        total += measured.size.times(times);
        let (function, interface) = (cut(measured.function), cut(measured.interface));
        within(total, limits, &format!("with the function `{function}` of `{interface}` its types are"))?;
    }
    Ok(())
}

fn within(total: Size, limits: &PrepassLimits, what: &str) -> Result<(), Refusal> {
    let refuse = |found: u64, max: u64, how: &str, setting: &str| {
        let found = if found == u64::MAX { "more than can be counted".to_owned() } else { found.to_string() };
        let message = format!(
            "{what} {found} parts large {how}, of at most {max} ({setting}): use fewer or smaller types, and name what is \
             used more than once"
        );
        Err(Refusal::new(CODE, 422, message))
    };
    if total.parts > limits.max_parts {
        return refuse(total.parts, limits.max_parts, "with each named type once", "limits.contract.parts");
    }
    if total.expanded > limits.max_expanded {
        return refuse(total.expanded, limits.max_expanded, "with every type written out", "limits.contract.expanded");
    }
    Ok(())
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(100)]
}
