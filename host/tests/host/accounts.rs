//! What the tests of accounts, sessions and tokens share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Host, PASSWORD, Session};

/// The file of the store `identity`, from outside of the host.
pub fn database(host: &Host) -> rusqlite::Connection {
    rusqlite::Connection::open(host.path("data/stores/identity.db")).unwrap()
}

/// A count in the store `identity`.
pub async fn count(host: &Host, sql: &'static str) -> i64 {
    database(host).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// An account with [`PASSWORD`], made by an administrator and signed in.
pub async fn account(host: &Host, admin: &Session, email: &str, role: &str) -> Session {
    let body = json!({ "email": email, "password": PASSWORD, "role": role });
    let (status, answer) = host.call(Method::POST, "/api/v1/users", Some(&admin.access), Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = host.login(email, PASSWORD).await;
    assert_eq!(status, 200, "{answer}");
    Session::read(&answer)
}

/// Signs in again.
pub async fn again(host: &Host, email: &str) -> Session {
    let (status, answer) = host.login(email, PASSWORD).await;
    assert_eq!(status, 200, "{answer}");
    Session::read(&answer)
}

/// Who a token is taken for.
pub async fn me(host: &Host, access: &str) -> (u16, Value) {
    host.call(Method::GET, "/api/v1/auth/me", Some(access), None).await
}

/// Uses a refresh token.
pub async fn refresh(host: &Host, token: &str) -> (u16, Value) {
    host.post("/api/v1/auth/refresh", json!({ "refresh_token": token })).await
}

/// Status and code of an answer; the code of a success is empty.
pub fn code((status, answer): &(u16, Value)) -> (u16, &str) {
    (*status, answer["code"].as_str().unwrap_or_default())
}

/// The fields that an error names, each with its code, sorted: `email TAKEN`.
pub fn fields(answer: &Value) -> Vec<String> {
    let details = answer["details"].as_array().unwrap_or_else(|| panic!("no details in {answer}"));
    let text = |detail: &Value, key: &str| detail[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let mut fields: Vec<String> = details
        .iter()
        .map(|detail| {
            assert!(!text(detail, "message").is_empty(), "{answer}");
            format!("{} {}", text(detail, "field"), text(detail, "code"))
        })
        .collect();
    fields.sort();
    fields
}

/// The whole seconds of `Retry-After`.
pub fn retry_after(response: &Response) -> u64 {
    let value = response.headers().get("retry-after").unwrap_or_else(|| panic!("no Retry-After in {response:?}"));
    value.to_str().unwrap().parse().unwrap()
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Asserts that neither token of a session is taken any more.
pub async fn assert_ended(host: &Host, session: &Session) {
    // The access token first: the refresh token's use must not be what ends it.
    let answer = me(host, &session.access).await;
    assert_eq!(code(&answer), (401, "INVALID_TOKEN"), "{}", answer.1);
    let answer = refresh(host, &session.refresh).await;
    assert_eq!(code(&answer), (401, "INVALID_TOKEN"), "{}", answer.1);
}
