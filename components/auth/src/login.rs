//! Signing in. An unknown name, a wrong password and a lockout look and last the same whether there is such an account or not;
//! only the right password learns that its account may not sign in.
//!
//! Failures count for the account, by whichever name they come, or for a name that no account has. An address that the account
//! knows has a budget of its own: failures elsewhere do not lock it, and its own do not lock others.

use arcana_identity::attempts::Budget;
use arcana_identity::profile::{self, EMAIL_MAX};
use arcana_identity::{Account, Credentials, STORE, Status, account::Column, account_columns};
use arcana_sdk::crypto::passwords::{self, Verdict};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, Validation, log, params};

use crate::addresses;
use crate::service::{AuthResponse, LoginRequest};
use crate::sessions;
use crate::settings::Settings;

pub(crate) fn login(request: &LoginRequest) -> Result<AuthResponse> {
    let Lookup { key, by } = lookup(request)?;
    let settings = Settings::load()?;
    let now = Timestamp::now();
    let found: Option<Credentials> = STORE.query_opt(by.sql(), params![key])?;
    let budget = budget(found.as_ref().map(|found| found.account.id), &key, by, &settings, now);
    budget.check(now)?;
    // Outside any transaction: hashing takes long. Without an account it takes as long.
    let hash = found.as_ref().map(|found| found.password_hash.as_str());
    let verdict = passwords::verify(&request.password, hash)?;
    let (Some(Credentials { account, password_hash }), Verdict::Correct | Verdict::CorrectRehash) = (found, verdict)
    else {
        budget.failed(Timestamp::now())?;
        return Err(wrong());
    };
    may_sign_in(&account)?;
    // A hash that cannot be made now is made at the next sign-in.
    let new_hash = match verdict {
        Verdict::CorrectRehash => passwords::hash(&request.password).ok(),
        Verdict::Wrong | Verdict::Correct => None,
    };

    let now = Timestamp::now();
    let tx = STORE.begin()?;
    budget.succeeded(&tx, now)?;
    // What was decided on must still hold: the password, the role that goes into the token, and that it may sign in.
    let unchanged = tx.execute(
        "UPDATE users SET last_login_at = ?2, password_hash = ?3 \
         WHERE id = ?1 AND password_hash = ?4 AND role = ?5 AND status = ?6",
        params![
            account.id,
            now,
            new_hash.as_deref().unwrap_or(&password_hash),
            password_hash,
            Column(account.role),
            Column(Status::Active),
        ],
    )?;
    if unchanged == 0 {
        return Err(wrong());
    }
    let id = account.id;
    addresses::remember(&tx, id, &settings, now);
    let response = sessions::open(&tx, Account { last_login_at: Some(now), ..account }, &settings, now)?;
    tx.commit()?;
    log::debug!("signed in"; account = id);
    Ok(response)
}

/// What a failure counts for. Without an account it is as much work.
fn budget(account: Option<Uuid>, key: &str, by: By, settings: &Settings, now: Timestamp) -> Budget {
    let asked = account.unwrap_or(Uuid::NIL);
    let known = addresses::hash(asked).filter(|hash| addresses::is_known(asked, hash, settings, now));
    match (account, known) {
        (Some(_), Some(hash)) => Budget::known_address(&hash, settings.lockout),
        (Some(id), None) => Budget::account(id, settings.lockout),
        (None, _) => Budget::name(by.kind(), key, settings.lockout),
    }
}

/// 403 for an account that may not sign in. Only for those who have shown that they own it.
pub(crate) fn may_sign_in(account: &Account) -> Result<()> {
    match account.status {
        Status::Active => Ok(()),
        Status::Inactive => Err(Problem::forbidden("this account is not active").with_code("ACCOUNT_INACTIVE")),
        Status::Locked => Err(Problem::forbidden("this account is locked").with_code("ACCOUNT_LOCKED")),
    }
}

fn wrong() -> Problem {
    Problem::unauthenticated("the name or the password is wrong").with_code("INVALID_CREDENTIALS")
}

/// How an account is found.
struct Lookup {
    key: String,
    by: By,
}

/// The field in which a name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Email,
    Username,
}

impl By {
    const fn sql(self) -> &'static str {
        match self {
            Self::Email => BY_EMAIL,
            Self::Username => BY_USERNAME,
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
    }
}

const BY_EMAIL: &str =
    concat!("SELECT ", account_columns!(), ", u.password_hash AS password_hash FROM users u WHERE u.email_key = ?1");
const BY_USERNAME: &str =
    concat!("SELECT ", account_columns!(), ", u.password_hash AS password_hash FROM users u WHERE u.username_key = ?1");

fn lookup(request: &LoginRequest) -> Result<Lookup> {
    let mut errors = Validation::new();
    let names =
        [("email", &request.email), ("username", &request.username), ("username_or_email", &request.username_or_email)];
    let mut given = names.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?)));
    let (field, name) = given.next().unwrap_or(("username_or_email", ""));
    for (surplus, _) in given {
        errors.add(surplus, "NOT_ALLOWED", "give exactly one of email, username and username_or_email");
    }
    let key = profile::key(name);
    errors.check(!key.is_empty(), field, "REQUIRED", "give one of email, username and username_or_email");
    errors.check(name.len() <= EMAIL_MAX, field, "TOO_LONG", "no name is longer than 254 bytes");
    profile::check_given_password("password", &request.password, &mut errors);
    errors.finish()?;
    // Usernames hold no `@`, so that nobody can take another one's address for a username.
    let by = match field {
        "email" => By::Email,
        "username" => By::Username,
        _ if key.contains('@') => By::Email,
        _ => By::Username,
    };
    Ok(Lookup { key, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(email: Option<&str>, username: Option<&str>, either: Option<&str>) -> LoginRequest {
        let own = |text: Option<&str>| text.map(str::to_owned);
        LoginRequest {
            email: own(email),
            username: own(username),
            username_or_email: own(either),
            password: "secret".to_owned(),
        }
    }

    #[test]
    fn a_name_is_looked_up_where_it_belongs() {
        for (request, key, by) in [
            (request(Some(" Ada@Example.com "), None, None), "ada@example.com", By::Email),
            (request(None, Some("Ada"), None), "ada", By::Username),
            (request(None, None, Some("ADA@example.com")), "ada@example.com", By::Email),
            (request(None, None, Some("ada")), "ada", By::Username),
        ] {
            let lookup = lookup(&request).unwrap();
            assert_eq!((lookup.key.as_str(), lookup.by), (key, by));
        }
    }

    #[test]
    fn exactly_one_name() {
        let codes = |request: LoginRequest| {
            let details = lookup(&request).err().unwrap().details;
            details.into_iter().map(|detail| (detail.field, detail.code)).collect::<Vec<_>>()
        };
        let pair = |field: &str, code: &str| (field.to_owned(), code.to_owned());
        assert_eq!(codes(request(None, None, None)), [pair("username_or_email", "REQUIRED")]);
        assert_eq!(codes(request(None, Some(" "), None)), [pair("username", "REQUIRED")]);
        assert_eq!(codes(request(Some("a@b.co"), Some("a"), None)), [pair("username", "NOT_ALLOWED")]);
    }
}
