//! The rates: every target has its turn in every round, so that whatever else the machine does meets all of them.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prost::Message;
use serde_json::{Value, json};

use crate::Servers;
use crate::calls::Calls;
use crate::figures::median;
use crate::load::Load;
use crate::messages::{HELLO, HelloRequest, HelloResponse};
use crate::process::Server;
use crate::turn::Turn;
use crate::wire::request;

/// The accounts that sign in and ask who they are.
pub(crate) const ACCOUNTS: usize = 8;

/// The place of the bare axum server among the rows: the yardstick over REST.
pub(crate) const YARDSTICK: usize = 0;

/// The place of the host's `/health` among the rows.
pub(crate) const HEALTH: usize = 1;

/// The place of the bare tonic server among the rows: the yardstick over gRPC.
pub(crate) const GRPC_YARDSTICK: usize = 5;

/// What is measured of one target.
pub(crate) struct Row {
    /// What people read.
    pub(crate) name: &'static str,
    /// What programs read.
    pub(crate) key: &'static str,
    /// The place of the row that it is compared with.
    pub(crate) yardstick: usize,
    /// The part of the yardstick's rate that is aimed at.
    pub(crate) aim: Option<f64>,
    /// One for each round.
    pub(crate) turns: Vec<Turn>,
}

/// What is asked in a row.
enum Target {
    Rest(Load),
    Grpc(Calls),
}

/// A token to be looked at.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValidateTokenRequest {
    /// The access token.
    #[prost(string, tag = "1")]
    pub(crate) token: String,
}

/// What an access token says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TokenInfo {
    /// Whether the host accepts the token now.
    #[prost(bool, tag = "1")]
    pub(crate) valid: bool,
    /// The id of the account.
    #[prost(string, optional, tag = "2")]
    pub(crate) subject: Option<String>,
    /// The session.
    #[prost(string, optional, tag = "3")]
    pub(crate) session_id: Option<String>,
}

/// Lets every target have its turn in every round.
///
/// # Errors
/// A server cannot be asked at all, or an account cannot be made. Wrong answers are counted.
pub(crate) async fn measure(servers: &Servers, rounds: usize, turn: Duration, connections: usize) -> Result<Vec<Row>> {
    for account in 0..ACCOUNTS {
        let (status, answer) = servers.host.ask("POST", "/api/v1/auth/register", None, Some(&credentials(account)))?;
        if status != 201 {
            bail!("an account could not be made: {status} {answer}");
        }
    }
    let row = |name, key, yardstick, aim| Row { name, key, yardstick, aim, turns: Vec::new() };
    let mut rows = vec![
        row("REST: bare axum (the yardstick)", "yardstick", YARDSTICK, None),
        row("/health", "health", YARDSTICK, None),
        row("typed GET, warm component", "warm", YARDSTICK, Some(0.85)),
        row("typed GET, instance per call", "per_call", YARDSTICK, Some(0.35)),
        row("auth/me, token and one read", "me", YARDSTICK, Some(0.5)),
        row("gRPC: bare tonic (the yardstick)", "grpc_yardstick", GRPC_YARDSTICK, None),
        row("typed unary, warm component", "grpc_warm", GRPC_YARDSTICK, Some(0.85)),
        row("ValidateToken, a valid token", "grpc_validate", GRPC_YARDSTICK, Some(0.8)),
    ];
    for round in 0..rounds {
        eprintln!("round {} of {rounds} …", round + 1);
        // Tokens live for minutes, and rounds may be many.
        let targets = targets(servers, connections).await?;
        for place in 0..targets.len() {
            // Nobody always comes after the same one.
            let place = (place + round) % targets.len();
            if let (Some(target), Some(row)) = (targets.get(place), rows.get_mut(place)) {
                let turn = match target {
                    Target::Rest(load) => load.run(turn).await,
                    Target::Grpc(calls) => calls.run(turn).await,
                };
                row.turns.push(turn.context(row.name)?);
            }
        }
    }
    Ok(rows)
}

/// What is asked in the rows, with fresh tokens.
async fn targets(servers: &Servers, connections: usize) -> Result<[Target; 8]> {
    let tokens = (0..ACCOUNTS).map(|account| token(&servers.host, account)).collect::<Result<Vec<String>>>()?;
    let get = |server: &Server, path: &str, tokens: &[String], body: &'static str| {
        let asked = tokens.iter().map(|token| request("GET", path, Some(token), None));
        Target::Rest(Load {
            port: server.port,
            pid: server.pid(),
            requests: if tokens.is_empty() { Rc::new([request("GET", path, None, None)]) } else { asked.collect() },
            status: 200,
            refusable: false,
            body,
            connections,
        })
    };
    let greet = async |server: &Server| {
        let messages = [HelloRequest { name: "ada".to_owned() }];
        let right = |answer: &HelloResponse| answer.value == "Hello, ada!";
        Ok::<_, anyhow::Error>(Target::Grpc(Calls::new(server, HELLO, &messages, connections, right).await?))
    };
    let messages: Vec<ValidateTokenRequest> =
        tokens.iter().map(|token| ValidateTokenRequest { token: token.clone() }).collect();
    let path = "/arcana.auth.v1.AuthService/ValidateToken";
    let valid = |info: &TokenInfo| info.valid && info.session_id.is_some();
    let Servers { yardstick, host, fresh } = servers;
    Ok([
        get(yardstick, "/", &[], "hello"),
        get(host, "/health", &[], "\"ok\""),
        get(host, "/test/echo/hello/ada", &[], "Hello, ada!"),
        get(fresh, "/test/echo-per-call/hello/ada", &[], "Hello, ada!"),
        get(host, "/api/v1/auth/me", &tokens, "@example.com"),
        greet(yardstick).await?,
        greet(host).await?,
        Target::Grpc(Calls::new(host, path, &messages, connections, valid).await?),
    ])
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

/// A fresh access token of this account.
///
/// # Errors
/// It cannot sign in.
pub(crate) fn token(host: &Server, account: usize) -> Result<String> {
    let (status, answer) = host.ask("POST", "/api/v1/auth/login", None, Some(&credentials(account)))?;
    let session: Value = serde_json::from_str(&answer).unwrap_or_default();
    let token = session.get("access_token").and_then(Value::as_str);
    Ok(token.with_context(|| format!("no token: {status} {answer}"))?.to_owned())
}
