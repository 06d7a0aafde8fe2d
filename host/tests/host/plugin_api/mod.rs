//! Plugins on a running host, as administrators manage them over REST and gRPC.

use std::sync::Arc;
use std::time::Duration;

use arcana::principal::keys::{HostKeys, TokenAlgorithm};
use arcana::principal::revocation::RevocationTable;
use arcana::principal::tokens::{TokenRequest, TokenSettings, Tokens};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::support::Host;

mod access;
mod grpc;
mod logs;
mod rest;
mod streams;
mod upload;

/// A token of this host for `subject` with this role, made with the host's own key: no plugin is needed for it.
pub fn token(host: &Host, subject: &str, role: &str) -> String {
    token_for(host, subject, role, None)
}

/// The same with a life of so many seconds.
pub fn token_for(host: &Host, subject: &str, role: &str, life_seconds: Option<u64>) -> String {
    let settings = TokenSettings {
        issuer: "arcana".into(),
        audience: "arcana".into(),
        life: Duration::from_secs(600),
        leeway: Duration::ZERO,
        cache_entries: 1,
    };
    let keys = HostKeys::open(&host.path("data"), TokenAlgorithm::EdDsa).unwrap();
    let revocations = Arc::new(RevocationTable::new(Tokens::keep_ms(&settings)));
    let roles = [role.to_owned()];
    let request = TokenRequest { subject, session_id: "test", roles: &roles, life_seconds };
    Tokens::new(settings, keys.tokens, revocations).issue(&request).unwrap().token
}

/// The administrator of these tests.
pub fn admin(host: &Host) -> String {
    token(host, "root", "admin")
}

/// The request of an upload.
pub fn uploading(host: &Host, token: &str, query: &str, file: Vec<u8>) -> RequestBuilder {
    let request = host.client.post(format!("{}/api/v1/plugins{query}", host.url));
    request.bearer_auth(token).header("content-type", "application/wasm").body(file)
}

/// Uploads a file; the status and the JSON of the answer.
pub async fn upload(host: &Host, token: &str, query: &str, file: Vec<u8>) -> (u16, Value) {
    read(uploading(host, token, query, file).send().await.unwrap()).await
}

/// The status and the JSON of an answer; null where it has none.
pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
}

/// The count of what a limit has turned away.
pub async fn rejected(host: &Host, limit: &str) -> f64 {
    host.metric(&format!(r#"arcana_limit_rejections_total{{limit="{limit}"}}"#)).await
}

/// Server-sent events, as a client reads them.
pub struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// The events of an answer, which has to have some.
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self { response, text: String::new() }
    }

    /// The next event with the JSON of its data; none at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let found = field("event:").map(|name| {
                    let data = field("data:").unwrap_or_else(|| panic!("no data in {event}"));
                    (name.to_owned(), serde_json::from_str(data).unwrap())
                });
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                // A comment, which keeps the connection alive.
            }
            let bytes = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// All that come until the end.
    pub async fn all(mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
