//! The rates: every target has its turn in every round, so that whatever else the machine does meets all of them.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Servers;
use crate::figures::median;
use crate::load::{Load, Turn};
use crate::process::Server;
use crate::wire::request;

/// The accounts that sign in and ask who they are.
pub(crate) const ACCOUNTS: usize = 8;

/// The place of the yardstick among the rows.
pub(crate) const YARDSTICK: usize = 0;

/// The place of the host's `/health` among the rows.
pub(crate) const HEALTH: usize = 1;

/// What is measured of one target.
pub(crate) struct Row {
    /// What people read.
    pub(crate) name: &'static str,
    /// What programs read.
    pub(crate) key: &'static str,
    /// The part of the yardstick's rate that is aimed at.
    pub(crate) aim: Option<f64>,
    /// One for each round.
    pub(crate) turns: Vec<Turn>,
}

/// Lets every target have its turn in every round.
///
/// # Errors
/// A server cannot be asked at all, or an account cannot be made. Wrong answers are counted.
pub(crate) async fn measure(servers: &Servers, rounds: usize, turn: Duration, connections: usize) -> Result<Vec<Row>> {
    for account in 0..ACCOUNTS {
        let (status, answer) = servers.host.ask("POST", "/api/v1/auth/register", Some(&credentials(account)))?;
        if status != 201 {
            bail!("an account could not be made: {status} {answer}");
        }
    }
    let get = |server: &Server, path: &str, body: &'static str| Load {
        port: server.port,
        pid: server.pid(),
        requests: Rc::new([request("GET", path, None, None)]),
        status: 200,
        refusable: false,
        body,
        connections,
    };
    let mut loads = [
        get(&servers.yardstick, "/", "hello"),
        get(&servers.host, "/health", "\"ok\""),
        get(&servers.host, "/test/echo/hello/ada", "Hello, ada!"),
        get(&servers.fresh, "/test/echo-per-call/hello/ada", "Hello, ada!"),
        get(&servers.host, "/api/v1/auth/me", "@example.com"),
    ];
    let row = |name, key, aim| Row { name, key, aim, turns: Vec::new() };
    let mut rows = vec![
        row("bare axum (the yardstick)", "yardstick", None),
        row("/health", "health", None),
        row("typed GET, warm component", "warm", Some(0.85)),
        row("typed GET, instance per call", "per_call", Some(0.35)),
        row("auth/me, token and one read", "me", Some(0.5)),
    ];
    for round in 0..rounds {
        eprintln!("round {} of {rounds} …", round + 1);
        if let Some(me) = loads.last_mut() {
            // Tokens live for minutes, and rounds may be many.
            me.requests = signed_in(&servers.host)?;
        }
        for place in 0..loads.len() {
            // Nobody always comes after the same one.
            let place = (place + round) % loads.len();
            if let (Some(load), Some(row)) = (loads.get(place), rows.get_mut(place)) {
                row.turns.push(load.run(turn).await.with_context(|| row.name)?);
            }
        }
    }
    Ok(rows)
}

impl Row {
    /// The median of what the rounds gave.
    pub(crate) fn median(&self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of))
    }

    /// The median of the rounds' ratios of these figures.
    pub(crate) fn ratio(&self, to: &Self, of: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().zip(&to.turns).map(|(own, other)| of(own) / of(other)))
    }
}

/// The JSON that an account is made and signed in with.
pub(crate) fn credentials(account: usize) -> String {
    json!({ "email": format!("ada{account}@example.com"), "password": "correct horse" }).to_string()
}

/// One request for each account, with a fresh token.
fn signed_in(host: &Server) -> Result<Rc<[Vec<u8>]>> {
    (0..ACCOUNTS)
        .map(|account| {
            let (status, answer) = host.ask("POST", "/api/v1/auth/login", Some(&credentials(account)))?;
            let session: Value = serde_json::from_str(&answer).unwrap_or_default();
            let token = session.get("access_token").and_then(Value::as_str);
            let token = token.with_context(|| format!("no token: {status} {answer}"))?;
            Ok(request("GET", "/api/v1/auth/me", Some(token), None))
        })
        .collect()
}
