//! New accounts, by those who will own them.

use arcana_identity::{Profile, Role, STORE, Status, account, profile};
use arcana_sdk::crypto::passwords;
use arcana_sdk::{Result, Timestamp, Validation, log};

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
    // Hashing takes long: before the transaction, which holds the only writer.
    let hash = passwords::hash(&request.password)?;

    let now = Timestamp::now();
    let tx = STORE.begin()?;
    let account = account::insert(&tx, profile, &hash, Role::User, Status::Active, now, Some(now))?;
    let id = account.id;
    let response = sessions::open(&tx, account, &settings, now)?;
    tx.commit()?;
    log::info!("account registered"; account = id);
    Ok(response)
}
