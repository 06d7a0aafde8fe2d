//! New accounts, by those who will own them. A name that is taken is told, because there is no mail by which only its owner
//! would learn of it; so that nobody goes through a list of addresses, each client may meet few of them.

use arcana_identity::attempts::Budget;
use arcana_identity::{Profile, Role, STORE, Status, account, profile};
use arcana_sdk::crypto::passwords;
use arcana_sdk::problem::ProblemKind;
use arcana_sdk::{Problem, Result, Timestamp, Validation, log};

use crate::addresses;
use crate::service::{AuthResponse, RegisterRequest};
use crate::sessions;
use crate::settings::Settings;

pub(crate) fn register(request: &RegisterRequest) -> Result<AuthResponse> {
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
    let settings = Settings::load()?;
    if !settings.registration_open {
        let message = "accounts are made by administrators only";
        return Err(Problem::forbidden(message).with_code("REGISTRATION_CLOSED"));
    }
    let budget =
        addresses::current().map(|here| Budget::registrations(&here, settings.conflicts, settings.lockout.window));
    if let Some(budget) = &budget {
        budget.check(Timestamp::now())?;
    }
    // Hashing takes long: before the transaction, which holds the only writer.
    let hash = passwords::hash(&request.password)?;

    let now = Timestamp::now();
    let tx = STORE.begin()?;
    let account = match account::insert(&tx, profile, &hash, Role::User, Status::Active, now, Some(now)) {
        Ok(account) => account,
        Err(problem) => {
            drop(tx);
            if let (ProblemKind::Conflict, Some(budget)) = (problem.kind, &budget) {
                budget.failed(Timestamp::now())?;
            }
            return Err(problem);
        }
    };
    let id = account.id;
    addresses::remember(&tx, id, &settings, now);
    let response = sessions::open(&tx, account, &settings, now)?;
    tx.commit()?;
    log::info!("account registered"; account = id);
    Ok(response)
}
