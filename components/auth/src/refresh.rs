//! Using a refresh token: for a new pair, or to end its session.

use arcana_identity::{Account, STORE, account_columns};
use arcana_sdk::database::{Error, FromRow, Row};
use arcana_sdk::{Problem, Result, Timestamp, Uuid, cache, log, params};
use core::time::Duration;

use crate::addresses;
use crate::login::may_sign_in;
use crate::service::AuthResponse;
use crate::sessions;
use crate::settings::Settings;

/// A refresh token that was given out, spent or not, with whom it is for.
struct Token {
    session: Uuid,
    expires_at: Timestamp,
    spent: bool,
    account: Account,
}

impl FromRow for Token {
    fn from_row(row: &mut Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            session: row.take("session_id")?,
            expires_at: row.take("expires_at")?,
            spent: row.take::<Option<Timestamp>>("spent_at")?.is_some(),
            account: Account::from_row(row)?,
        })
    }
}

const SELECT: &str = concat!(
    "SELECT ",
    account_columns!(),
    ", t.session_id AS session_id, t.expires_at AS expires_at, t.spent_at AS spent_at \
     FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id \
     WHERE t.token_hash = ?1"
);

pub(crate) fn refresh(token: &str) -> Result<AuthResponse> {
    let hash = required(token)?.ok_or_else(invalid)?;
    let settings = Settings::load()?;
    let now = Timestamp::now();
    // Read first: what is no token never waits for the only writer.
    let found: Token = STORE.query_opt(SELECT, params![hash])?.ok_or_else(invalid)?;
    if found.spent {
        return Err(reused(found.session)?);
    }
    if found.expires_at <= now {
        return Err(Problem::unauthenticated("the refresh token has expired").with_code("TOKEN_EXPIRED"));
    }
    may_sign_in(&found.account)?;
    limit(found.account.id, settings.refreshes_per_minute, now)?;

    let tx = STORE.begin()?;
    // Of many that use the token at once, one changes the row. An account that was changed since the read above has
    // lost its sessions, and the row with them.
    let spend = "UPDATE refresh_tokens SET spent_at = ?2 WHERE token_hash = ?1 AND spent_at IS NULL";
    if tx.execute(spend, params![hash, now])? == 0 {
        let session: Option<(Uuid,)> =
            tx.query_opt("SELECT session_id FROM refresh_tokens WHERE token_hash = ?1", params![hash])?;
        drop(tx);
        return Err(match session {
            Some((session,)) => reused(session)?,
            None => invalid(),
        });
    }
    let extend = "UPDATE sessions SET expires_at = ?2 WHERE id = ?1";
    tx.execute(extend, params![found.session, now + settings.refresh_life])?;
    // Whoever has the account's token is known where they are now: a phone changes its address more often than it signs in.
    addresses::remember(&tx, found.account.id, &settings, now);
    let response = sessions::grant(&tx, found.session, found.account, &settings, now)?;
    tx.commit()?;
    Ok(response)
}

/// Refuses more refreshes than an account may have in a minute of the clock. The limits of the manifest cannot do that:
/// a token is used once, and only the store knows whose it is.
fn limit(account: Uuid, per_minute: i64, now: Timestamp) -> Result<()> {
    const MINUTE: Duration = Duration::from_secs(60);
    let seconds = now.unix_micros().max(0).unsigned_abs() / 1_000_000;
    let key = format!("refreshes:{account}:{}", seconds / 60);
    match cache::increment(&key, 1, Some(MINUTE)) {
        Ok(count) if count > per_minute => {
            let wait = MINUTE - Duration::from_secs(seconds % 60);
            Err(Problem::too_many_requests("too many refreshes for this account; try again later", wait))
        }
        Ok(_) => Ok(()),
        // A cache that is away must not sign everybody out.
        Err(error) => {
            log::warn!("refreshes are not counted"; cause = error);
            Ok(())
        }
    }
}

/// Ends the session of a refresh token. A token of no session is no error (as in RFC 7009): the session may have ended
/// already, and what the client asked for holds.
pub(crate) fn logout(token: &str) -> Result<()> {
    let Some(hash) = required(token)? else { return Ok(()) };
    let session: Option<(Uuid,)> =
        STORE.query_opt("SELECT session_id FROM refresh_tokens WHERE token_hash = ?1", params![hash])?;
    if let Some((session,)) = session {
        let tx = STORE.begin()?;
        sessions::end(&tx, session)?;
        tx.commit()?;
    }
    Ok(())
}

/// A spent token was used again: the client or a thief has an old copy, and nobody can tell which. The session ends.
fn reused(session: Uuid) -> Result<Problem> {
    let tx = STORE.begin()?;
    sessions::end(&tx, session)?;
    tx.commit()?;
    log::warn!("a spent refresh token was used again; its session is ended"; session = session);
    Ok(invalid())
}

fn required(token: &str) -> Result<Option<Vec<u8>>> {
    if token.is_empty() {
        return Err(Problem::invalid("refresh_token", "REQUIRED", "a refresh token is needed"));
    }
    Ok(sessions::digest(token))
}

/// The same for every token that gives nothing: unknown, spent, of an ended session.
fn invalid() -> Problem {
    Problem::unauthenticated("the refresh token is not valid").with_code("INVALID_TOKEN")
}
