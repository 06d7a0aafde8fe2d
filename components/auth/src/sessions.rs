//! Sessions: families of refresh tokens, of which one is good at a time.

use arcana_identity::{Account, role_name};
use arcana_sdk::database::{Error, Transaction};
use arcana_sdk::{Result, Timestamp, Uuid, crypto, params, tokens};
use core::time::Duration;

use crate::service::AuthResponse;
use crate::settings::Settings;

/// What refresh tokens begin with, so that scanners for leaked secrets find them.
const PREFIX: &str = "arcana_rt_";
const SECRET_BYTES: usize = 32;
/// How long an expired token is still told apart from an unknown one.
const KEPT_AFTER_END: Duration = Duration::from_secs(7 * 86_400);

/// The SHA-256 of a refresh token, which is all that is kept of it. None where it cannot be one.
pub(crate) fn digest(token: &str) -> Option<Vec<u8>> {
    let secret = token.strip_prefix(PREFIX)?;
    let well_formed = secret.len() == (SECRET_BYTES * 8).div_ceil(6)
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    well_formed.then(|| crypto::sha256(token.as_bytes()))
}

/// Opens a session for an account and signs it in.
pub(crate) fn open(tx: &Transaction, account: Account, settings: &Settings, now: Timestamp) -> Result<AuthResponse> {
    make_room(tx, account.id, settings.sessions_per_account)?;
    let session = Uuid::v7();
    tx.execute(
        "INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        params![session, account.id, now, now + settings.refresh_life],
    )?;
    grant(tx, session, account, settings, now)
}

/// Adds a new refresh token to a session that is there, and issues an access token. The access token is made inside
/// the transaction so that nothing is written where that fails.
pub(crate) fn grant(
    tx: &Transaction,
    session: Uuid,
    account: Account,
    settings: &Settings,
    now: Timestamp,
) -> Result<AuthResponse> {
    let refresh_token = format!("{PREFIX}{}", crypto::base64url(&crypto::random::<SECRET_BYTES>()));
    tx.execute(
        "INSERT INTO refresh_tokens (token_hash, session_id, expires_at, spent_at) VALUES (?1, ?2, ?3, NULL)",
        params![crypto::sha256(refresh_token.as_bytes()), session, now + settings.refresh_life],
    )?;
    prune(tx, now)?;
    let issued = tokens::issue(&tokens::TokenRequest {
        subject: account.id.to_string(),
        session_id: session.to_string(),
        roles: vec![role_name(account.role).to_owned()],
        life_seconds: settings.access_life_seconds,
    })?;
    Ok(AuthResponse {
        access_token: issued.token,
        refresh_token,
        token_type: "Bearer".to_owned(),
        expires_in: issued.expires_in,
        user: account.into(),
    })
}

/// Ends a session: its access tokens are refused from the commit on, its refresh tokens go with it.
pub(crate) fn end(tx: &Transaction, session: Uuid) -> Result<(), Error> {
    tokens::revoke_session(tx, &session.to_string())?;
    tx.execute("DELETE FROM sessions WHERE id = ?1", params![session])?;
    Ok(())
}

/// Ends the oldest sessions of an account that has as many as it may have.
fn make_room(tx: &Transaction, user: Uuid, at_most: u32) -> Result<(), Error> {
    let surplus: Vec<(Uuid,)> = tx.query_all(
        "SELECT id FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC LIMIT 8 OFFSET ?2",
        params![user, at_most.saturating_sub(1)],
    )?;
    surplus.into_iter().try_for_each(|(session,)| end(tx, session))
}

/// Forgets a few tokens and sessions that ended long ago. Every new token forgets up to sixteen, so that the tables do
/// not outgrow what is in use, and no single call pays for all.
fn prune(tx: &Transaction, now: Timestamp) -> Result<(), Error> {
    let before = now - KEPT_AFTER_END;
    let tokens: Vec<(Timestamp,)> = tx.query_all(
        "SELECT expires_at FROM refresh_tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT 16",
        params![before],
    )?;
    let Some((until,)) = tokens.last() else { return Ok(()) };
    tx.execute("DELETE FROM refresh_tokens WHERE expires_at <= ?1", params![until])?;
    // A session ends with its newest token, so that those that end up to here have none left.
    tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", params![until])?;
    Ok(())
}
