//! The same answers in both encodings: how many bytes their bodies have.

use anyhow::{Result, ensure};
use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

use crate::grpc;
use crate::process::Server;
use crate::rounds::{TokenInfo, ValidateTokenRequest, token};

/// One answer.
pub(crate) struct Size {
    /// What people read.
    pub(crate) name: &'static str,
    /// What programs read.
    pub(crate) key: &'static str,
    /// Bytes of the JSON.
    pub(crate) json: usize,
    /// Bytes of the message, without the five of gRPC's prefix.
    pub(crate) grpc: usize,
}

/// The parameters of the guest's `several`, and the record that it makes of them: they have the same fields.
#[derive(Clone, PartialEq, Message)]
struct Several {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(uint32, tag = "2")]
    count: u32,
    #[prost(int32, optional, tag = "3")]
    color: Option<i32>,
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
    #[prost(bool, optional, tag = "5")]
    flag: Option<bool>,
}

/// Asks for the same three answers on both ways. One account must be there.
///
/// # Errors
/// An answer is wrong, or differs between the two.
pub(crate) async fn measure(host: &Server) -> Result<Vec<Size>> {
    let token = token(host, 0)?;
    let me = rest(host, "GET", "/api/v1/auth/me", Some(&token), None)?;
    let user =
        grpc::ask(host.grpc_port, "/arcana.auth.v1.AuthService/GetCurrentUser", Some(&token), Bytes::new()).await?;
    let email = me.1.get("email").and_then(Value::as_str).unwrap_or("an e-mail address");
    ensure!(user.windows(email.len()).any(|part| part == email.as_bytes()), "the account over gRPC is another one");

    let request = ValidateTokenRequest { token: token.clone() };
    let text = json!({ "token": token }).to_string();
    let valid = rest(host, "POST", "/api/v1/auth/validate-token", None, Some(&text))?;
    let path = "/arcana.auth.v1.AuthService/ValidateToken";
    let info = grpc::ask(host.grpc_port, path, None, request.encode_to_vec().into()).await?;
    let read = TokenInfo::decode(info.clone())?;
    ensure!(
        read.valid && read.session_id.as_deref() == valid.1.get("session_id").and_then(Value::as_str),
        "the token over gRPC is another one: {read:?} and {}",
        valid.1
    );

    let several = Several {
        id: "b5c0".to_owned(),
        count: 12,
        color: Some(2),
        tags: ["read", "later"].map(str::to_owned).to_vec(),
        flag: Some(true),
    };
    let text = json!({ "count": 12, "color": "dark_blue", "tags": ["read", "later"], "flag": true }).to_string();
    let collected = rest(host, "PUT", "/test/echo/several/b5c0", None, Some(&text))?;
    ensure!(
        collected.1
            == json!({ "id": "b5c0", "count": 12, "color": "dark_blue", "tags": ["read", "later"], "flag": true }),
        "the record is {}",
        collected.1
    );
    let path = "/test.echo.v1.Kitchen/Several";
    let record = grpc::ask(host.grpc_port, path, None, several.encode_to_vec().into()).await?;
    ensure!(Several::decode(record.clone())? == several, "the record over gRPC is another one: {record:?}");

    Ok(vec![
        Size { name: "auth/me", key: "me", json: me.0, grpc: user.len() },
        Size { name: "validate-token", key: "validate_token", json: valid.0, grpc: info.len() },
        Size { name: "a record of five fields", key: "record", json: collected.0, grpc: record.len() },
    ])
}

/// The length of an answer over REST, and the answer.
fn rest(host: &Server, verb: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Result<(usize, Value)> {
    let (status, answer) = host.ask(verb, path, token, body)?;
    ensure!(status == 200, "{path}: {status} {answer}");
    Ok((answer.len(), serde_json::from_str(&answer)?))
}
