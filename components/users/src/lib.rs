//! The plugin `arcana/users`: accounts, and the rules on who may change whom. It owns the store `identity`.

mod actor;
mod list;
mod manage;
mod password;
mod patch;

arcana_sdk::bindings!({
    path: ["../../wit/types", "../../wit/user", "wit"],
    world: "arcana:users-plugin/users",
    with: {
        "arcana:types/types@1.0.0": arcana_sdk::types,
        "arcana:user/types@1.0.0": arcana_identity::types,
    },
});

use arcana_identity::{Role, Status, User, account};
use arcana_sdk::{Problem, Result, Uuid};
use bindings::exports::arcana::user::user_service as service;

struct Plugin;

impl service::Guest for Plugin {
    fn get(id: String) -> Result<User> {
        Ok(account::by_id(parse_id(&id)?)?.ok_or_else(no_account)?.into())
    }

    fn list(
        page: Option<u32>,
        size: Option<u32>,
        sort: Option<String>,
        order: Option<service::SortOrder>,
        role: Option<Role>,
        status: Option<Status>,
        search: Option<String>,
    ) -> Result<service::UserPage> {
        list::page(page, size, sort.as_deref(), order, role, status, search.as_deref())
    }

    fn create(user: service::CreateUserRequest) -> Result<User> {
        manage::create(&user)
    }

    fn update(id: String, user: service::UpdateUserRequest) -> Result<User> {
        manage::update(parse_id(&id)?, &user)
    }

    fn patch(id: String, user: service::PatchUserRequest) -> Result<User> {
        manage::patch(parse_id(&id)?, &user)
    }

    fn delete(id: String) -> Result<()> {
        manage::delete(parse_id(&id)?)
    }

    fn update_role(id: String, role: Role) -> Result<User> {
        manage::update_role(parse_id(&id)?, role)
    }

    fn update_status(id: String, status: Status) -> Result<User> {
        manage::update_status(parse_id(&id)?, status)
    }

    fn change_password(id: String, request: service::PasswordChange) -> Result<()> {
        password::change(parse_id(&id)?, &request)
    }
}

bindings::export!(Plugin with_types_in bindings);

/// A text that is no UUID is the id of no account.
fn parse_id(id: &str) -> Result<Uuid> {
    id.parse().map_err(|_| no_account())
}

fn no_account() -> Problem {
    Problem::not_found("there is no such account")
}
