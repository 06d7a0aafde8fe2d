//! Plugins of a running host: installed, swapped, rolled back and taken away over its API while requests are in flight.

mod approval;
mod broken;
mod elsewhere;
mod folder;
mod killed;
mod load;
mod probation;
mod versions;

use std::io::Write as _;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};

use crate::plugin_api::upload;
use crate::support::{Host, Setup, shipped};

/// A host with an administrator.
pub(super) struct Admin {
    pub(super) host: Host,
    pub(super) token: String,
}

/// Makes an administrator on the data of a host that does not run.
pub fn make_admin(setup: &Setup) {
    let mut command = setup.command(&["user", "create-admin", "--email", "root@example.org", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The usual settings, with accounts, and a log in JSON.
pub(super) fn setup() -> Setup {
    Setup::new()
        .env("ARCANA_OBSERVABILITY__LOG__FORMAT", "json")
        .env("ARCANA_SECURITY__PASSWORDS__MEMORY", "64KiB")
        .env("ARCANA_SECURITY__PASSWORDS__ITERATIONS", "1")
        .plugin("users", &shipped("users"))
        .plugin("auth", &shipped("auth"))
}

impl Admin {
    /// Starts a host of [`setup`], with its administrator.
    pub(super) async fn start(setup: Setup) -> Self {
        make_admin(&setup);
        Self::again(setup).await
    }

    /// Starts a host whose administrator was made before.
    pub(super) async fn again(setup: Setup) -> Self {
        let host = setup.start();
        let (status, answer) = host.login("root@example.org", "correct horse").await;
        assert_eq!(status, 200, "{answer}");
        Self { token: answer["access_token"].as_str().unwrap().to_owned(), host }
    }

    /// A request as the administrator.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.host.call(method, path, Some(&self.token), body).await
    }

    /// Uploads a file; `query` such as `?dry_run=true`.
    pub(super) async fn upload(&self, file: &[u8], query: &str) -> (u16, Value) {
        upload(&self.host, &self.token, query, file.to_vec()).await
    }

    /// Uploads a file that is taken.
    pub(super) async fn install(&self, file: &[u8]) -> Value {
        let (status, answer) = self.upload(file, "").await;
        assert!(matches!(status, 200 | 201), "{status}: {answer}");
        assert_eq!(answer["state"], "active", "{answer}");
        answer
    }

    /// Uploads a file that is refused with this status and code; answers the reason.
    pub(super) async fn refused(&self, file: &[u8], status: u16, code: &str) -> String {
        let (found, answer) = self.upload(file, "").await;
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    }

    /// All about a plugin.
    pub(super) async fn show(&self, id: &str) -> Value {
        let (status, answer) = self.call(Method::GET, &format!("/api/v1/plugins/{id}"), None).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Something done with a plugin, such as `enable`; answers status and body.
    pub(super) async fn act(&self, id: &str, action: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then_some(body);
        self.call(Method::POST, &format!("/api/v1/plugins/{id}/{action}"), body).await
    }

    /// The changes of a plugin, newest first, as `who action from→to outcome`.
    pub(super) async fn changes(&self, id: &str) -> Vec<String> {
        let details = self.show(id).await;
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = |change: &Value| {
            format!(
                "{} {} {}→{} {}",
                if change["who"].as_str().unwrap().len() == 36 { "admin".into() } else { text(&change["who"]) },
                text(&change["action"]),
                text(&change["from_version"]),
                text(&change["to_version"]),
                text(&change["outcome"])
            )
        };
        details["changes"].as_array().unwrap().iter().map(line).collect()
    }
}
