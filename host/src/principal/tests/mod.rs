mod key_files;
mod password_hashes;
mod revoking;
mod token_rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys::{TokenKey, TokenKeys};
use super::passwords::{Asker, PasswordError, PasswordSettings, PasswordStats, Passwords, Verdict};
use super::revocation::{RevocationKind, RevocationTable};
use super::tokens::{IssueError, MAX_TOKEN_BYTES, TokenError, TokenRequest, TokenSettings, Tokens, now_ms};
use super::*;

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000;

fn settings() -> TokenSettings {
    TokenSettings {
        issuer: "arcana".to_owned(),
        audience: "arcana".to_owned(),
        life: Duration::from_secs(900),
        leeway: Duration::from_secs(2),
        cache_entries: 64,
    }
}

fn tokens_with(settings: TokenSettings, keys: Vec<TokenKey>) -> Tokens {
    let revocations = Arc::new(RevocationTable::new(Tokens::keep_ms(&settings)));
    Tokens::new(settings, TokenKeys::from_keys(keys), revocations)
}

fn issue(tokens: &Tokens, subject: &str, session: &str, now_ms: i64) -> String {
    let roles = ["user".to_owned(), "admin".to_owned()];
    let request = TokenRequest { subject, session_id: session, roles: &roles, life_seconds: None };
    tokens.issue_at(&request, now_ms).unwrap().token
}
