//! The addresses from which an account was used with success. Failures by others lock an account for addresses that it does
//! not know; a known one has a budget of its own, so that nobody can keep the owner out from elsewhere.

use core::net::IpAddr;
use core::time::Duration;

use arcana_identity::STORE;
use arcana_sdk::database::{Error, Transaction};
use arcana_sdk::{Timestamp, Uuid, context, crypto, log, params};

use crate::settings::Settings;

/// An address that was seen is written again after this long at the earliest.
const RENEWED: Duration = Duration::from_secs(86_400);

/// The client's address as one client has it: an IPv6 client is its /64, which is what one subscriber gets. None where the host
/// does not know it.
pub(crate) fn current() -> Option<Vec<u8>> {
    parse(&context::client_address()?)
}

fn parse(address: &str) -> Option<Vec<u8>> {
    Some(match address.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().into_iter().take(8).collect(),
    })
}

/// How an account knows the client's address.
pub(crate) fn hash(account: Uuid) -> Option<Vec<u8>> {
    Some(crypto::hmac_sha256(account.to_string().as_bytes(), &current()?))
}

/// Whether the account knows the address. With an id that no account has it is as much work.
pub(crate) fn is_known(account: Uuid, hash: &[u8], settings: &Settings, now: Timestamp) -> bool {
    if settings.known_addresses == 0 {
        return false;
    }
    match seen(account, hash, |sql, params| STORE.query_opt(sql, params)) {
        Ok(seen) => seen.is_some_and(|at| at > now - settings.known_address_life),
        // The table is there once the plugin that owns the store has brought it; until then every address is a new one.
        Err(error) => {
            log::warn!("known addresses cannot be read"; cause = error);
            false
        }
    }
}

fn seen(
    account: Uuid,
    hash: &[u8],
    query: impl FnOnce(&str, &[arcana_sdk::database::Value]) -> Result<Option<(Timestamp,)>, Error>,
) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT last_success_at FROM known_addresses WHERE user_id = ?1 AND address_hash = ?2";
    Ok(query(sql, params![account, hash.to_vec()])?.map(|(at,)| at))
}

/// The account was used with success from here: the address is known from the commit on.
pub(crate) fn remember(tx: &Transaction, account: Uuid, settings: &Settings, now: Timestamp) {
    let Some(hash) = hash(account) else { return };
    if settings.known_addresses > 0
        && let Err(error) = write(tx, account, &hash, settings, now)
    {
        log::warn!("the address is not remembered"; cause = error);
    }
}

fn write(tx: &Transaction, account: Uuid, hash: &[u8], settings: &Settings, now: Timestamp) -> Result<(), Error> {
    match seen(account, hash, |sql, params| tx.query_opt(sql, params))? {
        Some(at) if at > now - RENEWED => return Ok(()),
        Some(_) => {
            let update = "UPDATE known_addresses SET last_success_at = ?3 WHERE user_id = ?1 AND address_hash = ?2";
            tx.execute(update, params![account, hash.to_vec(), now])?;
        }
        None => {
            let insert = "INSERT INTO known_addresses (user_id, address_hash, last_success_at) VALUES (?1, ?2, ?3)";
            tx.execute(insert, params![account, hash.to_vec(), now])?;
        }
    }
    let old = "DELETE FROM known_addresses WHERE user_id = ?1 AND last_success_at <= ?2";
    tx.execute(old, params![account, now - settings.known_address_life])?;
    let surplus: Vec<(Vec<u8>,)> = tx.query_all(
        "SELECT address_hash FROM known_addresses WHERE user_id = ?1 ORDER BY last_success_at DESC LIMIT 100 OFFSET ?2",
        params![account, settings.known_addresses],
    )?;
    for (hash,) in surplus {
        tx.execute("DELETE FROM known_addresses WHERE user_id = ?1 AND address_hash = ?2", params![account, hash])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn one_subscriber_is_one_address() {
        assert_eq!(parse("192.0.2.1"), Some(vec![192, 0, 2, 1]));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_eq!(parse("2001:db8:1:1::1"), parse("2001:db8:1:1::2"));
        assert_ne!(parse("2001:db8:1:1::1"), parse("2001:db8:1:2::1"));
        assert_eq!(parse("nowhere"), None);
    }
}
