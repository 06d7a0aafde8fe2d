//! Rows of `sessions`, as far as both plugins touch them.

use arcana_sdk::database::{Error, Transaction};
use arcana_sdk::{Uuid, params, tokens};

/// Ends every session of an account: its access tokens are refused from the commit on, and its refresh tokens go with
/// their sessions.
///
/// # Errors
/// Those of the store.
pub fn end_all(tx: &Transaction, user: Uuid) -> Result<(), Error> {
    tokens::revoke_subject(tx, &user.to_string())?;
    tx.execute("DELETE FROM sessions WHERE user_id = ?1", params![user])?;
    Ok(())
}
