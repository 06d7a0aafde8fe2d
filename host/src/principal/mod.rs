//! Who calls: the authenticated caller, and what makes one believable (tokens, keys, revocation, passwords).

mod cache;
mod fair_queue;
pub mod keys;
pub mod passwords;
pub mod reserved;
pub mod revocation;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::fmt;
use std::sync::Arc;

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// May use the application.
    User,
    /// May moderate it.
    Moderator,
    /// May manage what is below its own role.
    Admin,
    /// May do everything.
    Superadmin,
}

impl Role {
    /// Every role, lowest first.
    pub const ALL: [Self; 4] = [Self::User, Self::Moderator, Self::Admin, Self::Superadmin];

    /// The role with this name, exactly as [`Role::as_str`] writes it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// The name in tokens, manifests and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Superadmin => "superadmin",
        }
    }

    /// The highest of these role names; [`Role::User`] where none is known, since whoever is signed in is at least that.
    pub fn highest<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        names.into_iter().filter_map(|name| Self::parse(name.as_ref())).max().unwrap_or(Self::User)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The caller of a request, from a token that the host has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The id of the account.
    pub subject: Arc<str>,
    /// The session of the token.
    pub session_id: Arc<str>,
    /// The roles of the account when the token was issued, as the token names them.
    pub roles: Vec<String>,
    /// The highest of `roles`.
    pub role: Role,
    /// When the token was issued, in milliseconds since 1970-01-01T00:00:00Z.
    pub issued_at_ms: i64,
    /// When the token ends, in seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
}

impl Principal {
    /// The caller of what the host does for itself, with every right. It marks nothing: see `Call::is_by_host`.
    #[must_use]
    pub fn host() -> Self {
        Self {
            subject: reserved::HOST_SUBJECT.into(),
            session_id: reserved::HOST_SESSION.into(),
            roles: vec![Role::Superadmin.as_str().into()],
            role: Role::Superadmin,
            issued_at_ms: 0,
            expires_at: i64::MAX,
        }
    }
}
