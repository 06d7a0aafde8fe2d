//! Access tokens of this host: issuing, verifying and revoking them, each a permission of its own.

use crate::Problem;
use crate::database::{Error, Transaction};
use crate::generated::arcana::host::{token_issuer as issuer, token_revoker as revoker, token_verifier as verifier};

pub use issuer::{IssuedToken, TokenRequest, issue};
pub use verifier::{InvalidToken, TokenClaims, verify};

/// Why no token was issued.
pub use issuer::Error as IssueError;

/// Refuses every token of this session from the commit of the transaction on.
///
/// # Errors
/// As a statement of the transaction.
pub fn revoke_session(within: &Transaction, session_id: &str) -> Result<(), Error> {
    Ok(revoker::revoke_session(within.raw(), session_id)?)
}

/// Refuses every token of this subject that was issued before the commit of the transaction.
///
/// # Errors
/// As a statement of the transaction.
pub fn revoke_subject(within: &Transaction, subject: &str) -> Result<(), Error> {
    Ok(revoker::revoke_subject(within.raw(), subject)?)
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        Self::internal(error.to_string())
    }
}
