//! Who acts, and whom they may act on.

use std::fmt;

use arcana_identity::account::Column;
use arcana_identity::{Account, Role, STORE, Status, account_columns};
use arcana_sdk::context;
use arcana_sdk::database::Transaction;
use arcana_sdk::{Problem, Result, Uuid, params};

use crate::no_account;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Actor {
    /// The host (`arcana user create-admin`), which may do everything and has no account.
    System,
    /// An account, with the role that it has now, whatever its token says.
    Account(Uuid, Role),
}

/// As the log names it.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("host"),
            Self::Account(id, _) => id.fmt(f),
        }
    }
}

/// The caller as the database knows them now: their token may be older than their last demotion.
pub(crate) fn current(within: Option<&Transaction>) -> Result<Actor> {
    // The host says so of the call itself. No subject, session or role of a token means the host.
    if context::called_by_host() {
        return Ok(Actor::System);
    }
    let principal = context::require_principal()?;
    let gone = || Problem::unauthenticated("the account of this token may not sign in any more");
    let id: Uuid = principal.subject.parse().map_err(|_| gone())?;
    let sql = "SELECT role, status FROM users WHERE id = ?1";
    let found: Option<(Column<Role>, Column<Status>)> = match within {
        Some(tx) => tx.query_opt(sql, params![id])?,
        None => STORE.query_opt(sql, params![id])?,
    };
    match found {
        Some((role, status)) if status.0 == Status::Active => Ok(Actor::Account(id, role.0)),
        _ => Err(gone()),
    }
}

/// The account that is acted on, where the caller may act on it at all.
pub(crate) fn target(tx: &Transaction, actor: Actor, id: Uuid) -> Result<Account> {
    // Before looking, so that those who may act on nobody learn nothing of who is there.
    if !actor.is(id) {
        actor.require_admin()?;
    }
    let target: Option<Account> =
        tx.query_opt(concat!("SELECT ", account_columns!(), " FROM users u WHERE u.id = ?1"), params![id])?;
    let target = target.ok_or_else(no_account)?;
    actor.may_manage(id, target.role)?;
    Ok(target)
}

impl Actor {
    /// Whether this is the account with this id.
    pub(crate) fn is(self, id: Uuid) -> bool {
        matches!(self, Self::Account(own, _) if own == id)
    }

    const fn role(self) -> Role {
        match self {
            Self::System => Role::Superadmin,
            Self::Account(_, role) => role,
        }
    }

    /// Only administrators act on others.
    pub(crate) fn require_admin(self) -> Result<()> {
        if self.role() >= Role::Admin { Ok(()) } else { Err(Problem::forbidden("only administrators may do this")) }
    }

    /// Everybody manages themselves, administrators those below them, superadmins also each other.
    pub(crate) fn may_manage(self, id: Uuid, role: Role) -> Result<()> {
        if self.is(id) {
            return Ok(());
        }
        self.require_admin()?;
        if self.role() == Role::Superadmin || role < self.role() {
            Ok(())
        } else {
            Err(Problem::forbidden("the role of this account is not below your own"))
        }
    }

    /// Nobody gives a role above their own.
    pub(crate) fn may_grant(self, role: Role) -> Result<()> {
        if role <= self.role() { Ok(()) } else { Err(Problem::forbidden("this role is above your own")) }
    }

    /// Nobody changes what they may do themselves.
    pub(crate) fn not_oneself(self, id: Uuid, what: &str) -> Result<()> {
        if self.is(id) { Err(Problem::forbidden(format!("nobody may change their own {what}"))) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Admin, Moderator, Superadmin, User};

    const OWN: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);
    const ROLES: [Role; 4] = [User, Moderator, Admin, Superadmin];

    #[test]
    fn who_may_manage_whom() {
        for role in ROLES {
            let actor = Actor::Account(OWN, role);
            assert!(actor.may_manage(OWN, role).is_ok(), "{role:?} on themselves");
            let others: Vec<_> = ROLES.into_iter().filter(|of| actor.may_manage(OTHER, *of).is_ok()).collect();
            let expected: &[Role] = match role {
                User | Moderator => &[],
                Admin => &[User, Moderator],
                Superadmin => &ROLES,
            };
            assert_eq!(others, expected, "{role:?}");
        }
        assert!(ROLES.into_iter().all(|role| Actor::System.may_manage(OTHER, role).is_ok()));
    }

    #[test]
    fn nobody_grants_above_their_own_role() {
        assert!(Actor::Account(OWN, Admin).may_grant(Admin).is_ok());
        assert!(Actor::Account(OWN, Admin).may_grant(Superadmin).is_err());
        assert!(Actor::System.may_grant(Superadmin).is_ok());
    }

    #[test]
    fn nobody_promotes_themselves() {
        assert!(Actor::Account(OWN, Superadmin).not_oneself(OWN, "role").is_err());
        assert!(Actor::Account(OWN, Superadmin).not_oneself(OTHER, "role").is_ok());
        assert!(Actor::System.not_oneself(Uuid::NIL, "role").is_ok());
    }
}
