//! Calls that spend a plugin's resources, and sign-in.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::field::{Attacker, Field, in_words};
use crate::kitchen::{ACCOUNTS, address, email, sign_in};

/// The time limit of bystanders for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls one function from many attackers at once.
fn calls(field: &mut Field<'_>, at_once: usize, path: &'static str, body: Value) {
    field.attackers(at_once, move |me| call(me, path, &body));
}

fn call(me: &mut Attacker, path: &str, body: &Value) -> Result<String> {
    Ok(in_words(&me.call(path, body)?))
}

/// Adds bystanders that sign in, each from its own address.
fn signing_in(field: &mut Field<'_>, per_second: u32) {
    let port = field.port;
    field.other("sign-in", per_second, move |number| {
        sign_in(port, address(210, number), &email(number % ACCOUNTS), PATIENCE).map(drop)
    });
}

/// So many tenths of the attack's length, in milliseconds.
fn part_ms(field: &Field<'_>, of_10: u32) -> u64 {
    u64::try_from((field.time * of_10 / 10).as_millis()).unwrap_or(u64::MAX)
}

/// More sleeping calls than one plugin may have.
pub(super) fn sleepers(field: &mut Field<'_>) -> Result<()> {
    let body = json!({ "ms": part_ms(field, 4) });
    let at_once = field.kitchen.limits.concurrency + 44;
    calls(field, at_once, "/test/hostile/nap", body);
    signing_in(field, 1);
    let port = field.port;
    field.other("validate-token", 5, move |_| {
        let body = json!({ "token": "x" }).to_string();
        let mut client = Client::new(port, address(203, 0), PATIENCE);
        let answer = client.ask(&request("POST", "/api/v1/auth/validate-token", None, Some(&body)))?;
        ensure!(answer.status == 200, "{}", in_words(&answer));
        Ok(())
    });
    Ok(())
}

/// Instances that fill their memory and keep it, together more than the host allows.
pub(super) fn growth(field: &mut Field<'_>) -> Result<()> {
    let bytes: u32 = 230 << 20;
    // A short attack must be gentle to the machine that tests.
    let wanted = field.kitchen.limits.total_memory * 5 / 4 / u64::from(bytes) + 1;
    let at_once = if field.time < Duration::from_secs(5) { 8 } else { usize::try_from(wanted)?.min(128) };
    calls(field, at_once, "/test/hostile/grow", json!({ "bytes": bytes, "ms": part_ms(field, 3) }));
    Ok(())
}

/// Handles that many instances never drop.
pub(super) fn handles(field: &mut Field<'_>) -> Result<()> {
    calls(field, 40, "/test/handles", json!({ "count": 99_000, "turns": 1_000_000 }));
    Ok(())
}

/// Host functions over the largest input.
pub(super) fn digests(field: &mut Field<'_>) -> Result<()> {
    calls(field, 32, "/test/hostile/digest", json!({ "bytes": 30 << 20 }));
    Ok(())
}

/// Password hashes with the most expensive parameters.
pub(super) fn hashes(field: &mut Field<'_>) -> Result<()> {
    let hash = "$argon2id$v=19$m=262144,t=16,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    let body = json!({ "password": "x", "hash": hash });
    field.attackers(16, move |me| {
        let answer = me.call("/test/hostile/verify-password", &body)?;
        let text: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = text.as_str().filter(|_| answer.status == 200);
        Ok(said.map_or_else(|| in_words(&answer), |said| said.chars().take(40).collect()))
    });
    signing_in(field, 1);
    Ok(())
}

/// As many and as long log lines as a call may write.
pub(super) fn log_flood(field: &mut Field<'_>) -> Result<()> {
    calls(field, 8, "/test/hostile/flood-log", json!({ "lines": 100, "bytes": 4096 }));
    Ok(())
}

/// Password guesses for half of the accounts and for unknown names, from ever new addresses. The other accounts sign in, and
/// so does an attacked one, from an address where it has signed in before.
pub(super) fn guesses(field: &mut Field<'_>) -> Result<()> {
    let port = field.port;
    let (home, attacked) = (address(204, 0), email(0));
    sign_in(port, home, &attacked, PATIENCE)?;
    field.attackers(32, |me| {
        let turn = me.turn();
        me.come_from(address(100, turn));
        let name = if turn % 3 == 0 { format!("nobody{turn}@example.org") } else { email(turn % (ACCOUNTS / 2)) };
        call(me, "/api/v1/auth/login", &json!({ "email": name, "password": format!("guess {turn}") }))
    });
    field.other("sign-in of others", 1, move |number| {
        let account = ACCOUNTS / 2 + number % (ACCOUNTS / 2);
        sign_in(port, address(211, number), &email(account), PATIENCE).map(drop)
    });
    Ok(())
}
