//! Rows of `users`.

use arcana_sdk::database::{Error, FromRow, FromValue, Row, ToValue, Transaction, Value};
use arcana_sdk::{Problem, Timestamp, Uuid, params};

use crate::{Profile, Role, STORE, Status, User};

/// The columns of an [`Account`], of `users` under the name `u`.
#[macro_export]
macro_rules! account_columns {
    () => {
        "u.id AS id, u.email AS email, u.username AS username, u.name AS name, u.first_name AS first_name, \
         u.last_name AS last_name, u.role AS role, u.status AS status, u.created_at AS created_at, \
         u.updated_at AS updated_at, u.last_login_at AS last_login_at"
    };
}

/// An account without its password.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The id.
    pub id: Uuid,
    /// All that its owner may say of it.
    pub profile: Profile,
    /// What it may do.
    pub role: Role,
    /// Whether it may sign in.
    pub status: Status,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it last signed in.
    pub last_login_at: Option<Timestamp>,
}

impl FromRow for Account {
    fn from_row(row: &mut Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: row.take("id")?,
            profile: Profile {
                email: row.take("email")?,
                username: row.take("username")?,
                name: row.take("name")?,
                first_name: row.take("first_name")?,
                last_name: row.take("last_name")?,
            },
            role: row.take::<Column<Role>>("role")?.0,
            status: row.take::<Column<Status>>("status")?.0,
            created_at: row.take("created_at")?,
            updated_at: row.take("updated_at")?,
            last_login_at: row.take("last_login_at")?,
        })
    }
}

/// An account with the hash of its password, which never leaves the plugin.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub account: Account,
    /// The hash, as the host made it.
    pub password_hash: String,
}

impl FromRow for Credentials {
    fn from_row(row: &mut Row<'_>) -> Result<Self, Error> {
        Ok(Self { account: Account::from_row(row)?, password_hash: row.take("password_hash")? })
    }
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let Profile { email, username, name, first_name, last_name } = account.profile;
        Self {
            id: account.id.to_string(),
            email,
            username,
            name,
            first_name,
            last_name,
            role: account.role,
            status: account.status,
            created_at: account.created_at.to_string(),
            updated_at: account.updated_at.to_string(),
            last_login_at: account.last_login_at.map(|at| at.to_string()),
        }
    }
}

/// How roles are written in tokens.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Moderator => "moderator",
        Role::Admin => "admin",
        Role::Superadmin => "superadmin",
    }
}

/// How statuses are written in the store and in the log.
#[must_use]
pub const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "inactive",
        Status::Locked => "locked",
    }
}

/// A role or a status as a column: roles by rank, so that they compare and sort in SQL; statuses by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column<T>(pub T);

impl FromValue for Column<Role> {
    const EXPECTED: &'static str = "role";
    fn from_value(value: Value) -> Option<Self> {
        [Role::User, Role::Moderator, Role::Admin, Role::Superadmin]
            .into_iter()
            .map(Self)
            .find(|role| role.to_value() == value)
    }
}

impl ToValue for Column<Role> {
    fn to_value(&self) -> Value {
        Value::Int64(match self.0 {
            Role::User => 0,
            Role::Moderator => 1,
            Role::Admin => 2,
            Role::Superadmin => 3,
        })
    }
}

impl FromValue for Column<Status> {
    const EXPECTED: &'static str = "status";
    fn from_value(value: Value) -> Option<Self> {
        [Status::Active, Status::Inactive, Status::Locked]
            .into_iter()
            .map(Self)
            .find(|status| matches!(&value, Value::Text(name) if name == status_name(status.0)))
    }
}

impl ToValue for Column<Status> {
    fn to_value(&self) -> Value {
        status_name(self.0).to_value()
    }
}

/// The account with this id, where there is one.
///
/// # Errors
/// Those of the store.
pub fn by_id(id: Uuid) -> Result<Option<Account>, Error> {
    STORE.query_opt(concat!("SELECT ", account_columns!(), " FROM users u WHERE u.id = ?1"), params![id])
}

/// Writes a new account. `hash` is that of its password.
///
/// # Errors
/// A `conflict` that names the field where the e-mail address or the username is taken.
pub fn insert(
    tx: &Transaction,
    profile: Profile,
    hash: &str,
    role: Role,
    status: Status,
    now: Timestamp,
    last_login_at: Option<Timestamp>,
) -> Result<Account, Problem> {
    let account = Account { id: Uuid::v7(), profile, role, status, created_at: now, updated_at: now, last_login_at };
    let Profile { email, username, name, first_name, last_name } = &account.profile;
    tx.execute(
        "INSERT INTO users (id, email, email_key, username, username_key, name, first_name, last_name, search_key, \
         password_hash, role, status, created_at, updated_at, last_login_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14)",
        params![
            account.id,
            email,
            account.profile.email_key(),
            username,
            account.profile.username_key(),
            name,
            first_name,
            last_name,
            account.profile.search_key(),
            hash,
            Column(role),
            Column(status),
            now,
            last_login_at,
        ],
    )
    .map_err(|error| taken(error, account.id, &account.profile))?;
    Ok(account)
}

/// Writes the profile of an account that is there.
///
/// # Errors
/// A `conflict` that names the field where the e-mail address or the username is taken.
pub fn update_profile(tx: &Transaction, id: Uuid, profile: &Profile, now: Timestamp) -> Result<(), Problem> {
    tx.execute(
        "UPDATE users SET email = ?2, email_key = ?3, username = ?4, username_key = ?5, name = ?6, first_name = ?7, \
         last_name = ?8, search_key = ?9, updated_at = ?10 WHERE id = ?1",
        params![
            id,
            profile.email,
            profile.email_key(),
            profile.username,
            profile.username_key(),
            profile.name,
            profile.first_name,
            profile.last_name,
            profile.search_key(),
            now,
        ],
    )
    .map_err(|error| taken(error, id, profile))?;
    Ok(())
}

/// A unique key that is taken, in terms of the fields that the client wrote. The database names the one that it met
/// first; the client learns of both.
fn taken(error: Error, id: Uuid, profile: &Profile) -> Problem {
    let Some(key) = error.unique_violation() else { return error.into() };
    let (email_key, username_key) = (profile.email_key(), profile.username_key());
    // Not by the transaction, which some databases refuse to go on with after an error.
    let others: Vec<(String, Option<String>)> = STORE
        .query_all(
            "SELECT email_key, username_key FROM users WHERE (email_key = ?1 OR username_key = ?2) AND id <> ?3",
            params![email_key, username_key, id],
        )
        .unwrap_or_default();
    let by_username = key.contains("username");
    let email = !by_username || others.iter().any(|(email, _)| *email == email_key);
    let username = by_username || others.iter().any(|(_, name)| name.is_some() && *name == username_key);

    let (of_email, of_username) = ("there is an account with this e-mail address already", "this username is taken");
    let mut problem = Problem::conflict(if email { of_email } else { of_username });
    if email {
        problem = problem.with_detail("email", "TAKEN", of_email);
    }
    if username {
        problem = problem.with_detail("username", "TAKEN", of_username);
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_statuses_survive_their_columns() {
        for role in [Role::User, Role::Moderator, Role::Admin, Role::Superadmin] {
            assert_eq!(Column::<Role>::from_value(Column(role).to_value()), Some(Column(role)));
        }
        for status in [Status::Active, Status::Inactive, Status::Locked] {
            assert_eq!(Column::<Status>::from_value(Column(status).to_value()), Some(Column(status)));
        }
        assert_eq!(Column::<Role>::from_value(Value::Int64(4)), None);
        assert_eq!(Column::<Status>::from_value(Value::Text("asleep".into())), None);
    }
}
