//! Changing a password.

use arcana_identity::{Credentials, STORE, account_columns, profile, sessions};
use arcana_sdk::crypto::passwords::{self, Verdict};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, Validation, log, params};

use crate::service::PasswordChange;
use crate::{actor, no_account};

pub(crate) fn change(id: Uuid, request: &PasswordChange) -> Result<()> {
    // Looked at before the work of hashing, and once more in the transaction.
    let actor = actor::current(None)?;
    let mut errors = Validation::new();
    profile::check_new_password("new_password", &request.new_password, &mut errors);
    if actor.is(id) {
        let current = request.current_password.as_deref().unwrap_or_default();
        profile::check_given_password("current_password", current, &mut errors);
    } else {
        actor.require_admin()?;
    }
    errors.finish()?;
    let select =
        concat!("SELECT ", account_columns!(), ", u.password_hash AS password_hash FROM users u WHERE u.id = ?1");
    let found: Option<Credentials> = STORE.query_opt(select, params![id])?;
    let Credentials { account, password_hash } = found.ok_or_else(no_account)?;
    actor.may_manage(id, account.role)?;

    // Neither may happen inside the transaction: hashing takes long, and that holds the only writer.
    if actor.is(id) {
        let current = request.current_password.as_deref().unwrap_or_default();
        if passwords::verify(current, Some(&password_hash))? == Verdict::Wrong {
            return Err(Problem::unauthenticated("the current password is wrong").with_code("INVALID_CREDENTIALS"));
        }
    }
    let new_hash = passwords::hash(&request.new_password)?;

    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    actor::target(&tx, actor, id)?;
    let set = "UPDATE users SET password_hash = ?2, updated_at = ?3 WHERE id = ?1 AND password_hash = ?4";
    if tx.execute(set, params![id, new_hash, Timestamp::now(), password_hash])? == 0 {
        return Err(Problem::conflict("the password was changed by somebody else in between"));
    }
    sessions::end_all(&tx, id)?;
    tx.commit()?;
    log::info!("password changed"; account = id, by = actor);
    Ok(())
}
