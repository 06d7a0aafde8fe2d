//! Making, changing and deleting accounts. Every decision is taken inside the transaction that acts on it.

use arcana_identity::account::{self, Column};
use arcana_identity::attempts::Budget;
use arcana_identity::{Account, Profile, Role, STORE, Status, User, profile, sessions};
use arcana_sdk::crypto::passwords;
use arcana_sdk::database::Transaction;
use arcana_sdk::problem::ProblemKind;
use arcana_sdk::{Problem, Result, Timestamp, Uuid, Validation, log, params};

use crate::actor;
use crate::patch::Patch;
use crate::service::{CreateUserRequest, PatchUserRequest, UpdateUserRequest};

pub(crate) fn create(request: &CreateUserRequest) -> Result<User> {
    let mut errors = Validation::new();
    let profile = Profile::checked(
        &request.email,
        request.username.as_deref(),
        request.name.as_deref(),
        request.first_name.as_deref(),
        request.last_name.as_deref(),
        &mut errors,
    );
    profile::check_new_password("password", &request.password, &mut errors);
    errors.finish()?;
    // Hashing takes long: before the transaction, which holds the only writer.
    let hash = passwords::hash(&request.password)?;

    let (role, status) = (request.role.unwrap_or(Role::User), request.status.unwrap_or(Status::Active));
    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    actor.require_admin()?;
    actor.may_grant(role)?;
    let account = account::insert(&tx, profile, &hash, role, status, Timestamp::now(), None)?;
    tx.commit()?;
    log::info!("account made"; account = account.id, role = account::role_name(role), by = actor);
    Ok(account.into())
}

pub(crate) fn update(id: Uuid, request: &UpdateUserRequest) -> Result<User> {
    let mut errors = Validation::new();
    let profile = Profile::checked(
        &request.email,
        request.username.as_deref(),
        request.name.as_deref(),
        request.first_name.as_deref(),
        request.last_name.as_deref(),
        &mut errors,
    );
    errors.finish()?;
    change_profile(id, |_| profile)
}

pub(crate) fn patch(id: Uuid, request: &PatchUserRequest) -> Result<User> {
    let patch = Patch::checked(request)?;
    change_profile(id, |profile| patch.apply(profile))
}

fn change_profile(id: Uuid, change: impl FnOnce(Profile) -> Profile) -> Result<User> {
    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    let before = actor::target(&tx, actor, id)?;
    let profile = change(before.profile.clone());
    if profile == before.profile {
        return Ok(before.into());
    }
    // Those who may list accounts learn nothing by a name that is taken; others must not try many.
    let guesses = actor.require_admin().is_err().then(|| Budget::profile(id));
    if let Some(guesses) = &guesses {
        guesses.check(Timestamp::now())?;
    }
    let updated_at = Timestamp::now();
    if let Err(problem) = account::update_profile(&tx, id, &profile, updated_at) {
        drop(tx);
        if let (ProblemKind::Conflict, Some(guesses)) = (problem.kind, &guesses) {
            guesses.failed(updated_at)?;
        }
        return Err(problem);
    }
    tx.commit()?;
    Ok(Account { profile, updated_at, ..before }.into())
}

pub(crate) fn delete(id: Uuid) -> Result<()> {
    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    actor.require_admin()?;
    let target = actor::target(&tx, actor, id)?;
    keep_a_superadmin(&tx, &target)?;
    sessions::end_all(&tx, id)?;
    tx.execute("DELETE FROM users WHERE id = ?1", params![id])?;
    tx.commit()?;
    log::info!("account deleted"; account = id, by = actor);
    Ok(())
}

pub(crate) fn update_role(id: Uuid, role: Role) -> Result<User> {
    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    actor.require_admin()?;
    actor.not_oneself(id, "role")?;
    actor.may_grant(role)?;
    let target = actor::target(&tx, actor, id)?;
    if target.role == role {
        return Ok(target.into());
    }
    keep_a_superadmin(&tx, &target)?;
    let updated_at = Timestamp::now();
    tx.execute("UPDATE users SET role = ?2, updated_at = ?3 WHERE id = ?1", params![id, Column(role), updated_at])?;
    // The tokens out there still say the old role.
    sessions::end_all(&tx, id)?;
    tx.commit()?;
    log::info!("role changed"; account = id, role = account::role_name(role), by = actor);
    Ok(Account { role, updated_at, ..target }.into())
}

pub(crate) fn update_status(id: Uuid, status: Status) -> Result<User> {
    let tx = STORE.begin()?;
    let actor = actor::current(Some(&tx))?;
    actor.require_admin()?;
    actor.not_oneself(id, "status")?;
    let target = actor::target(&tx, actor, id)?;
    if target.status == status {
        return Ok(target.into());
    }
    if status != Status::Active {
        keep_a_superadmin(&tx, &target)?;
    }
    let updated_at = Timestamp::now();
    let set = "UPDATE users SET status = ?2, updated_at = ?3 WHERE id = ?1";
    tx.execute(set, params![id, Column(status), updated_at])?;
    sessions::end_all(&tx, id)?;
    tx.commit()?;
    log::info!("status changed"; account = id, status = account::status_name(status), by = actor);
    Ok(Account { status, updated_at, ..target }.into())
}

/// Refuses what would take the last superadmin that may sign in away.
fn keep_a_superadmin(tx: &Transaction, target: &Account) -> Result<()> {
    if target.role != Role::Superadmin || target.status != Status::Active {
        return Ok(());
    }
    let (others,): (i64,) = tx.query_one(
        "SELECT COUNT(*) FROM users WHERE role = ?1 AND status = ?2 AND id <> ?3",
        params![Column(Role::Superadmin), Column(Status::Active), target.id],
    )?;
    if others == 0 {
        return Err(Problem::conflict("this is the last superadmin who may sign in"));
    }
    Ok(())
}
