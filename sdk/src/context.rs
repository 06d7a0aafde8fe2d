//! The call that is being served: who calls, and how long is left.

use core::time::Duration;

use crate::Problem;
use crate::generated::arcana::host::context as host;

pub use host::{
    Principal, TraceContext, called_by_host, client_address, get_trace_context as trace_context, request_id,
};

/// The caller, or none where nobody is signed in.
#[must_use]
pub fn principal() -> Option<Principal> {
    host::get_principal()
}

/// The caller.
///
/// # Errors
/// 401 where nobody is signed in.
pub fn require_principal() -> Result<Principal, Problem> {
    principal().ok_or_else(|| Problem::unauthenticated("sign in first"))
}

/// How long until the call is stopped.
#[must_use]
pub fn remaining() -> Duration {
    Duration::from_millis(host::remaining_ms())
}

impl Principal {
    /// Whether the token carries this role, by its exact name.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}
