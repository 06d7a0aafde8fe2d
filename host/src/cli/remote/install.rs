//! `arcana plugin install`: sends a signed file and tells what the host makes of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, Response};
use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::failure::{ErrorBody, Failure};
use super::progress::Progress;
use super::sse::Events;
use super::view::Installed;
use super::{Remote, output, text};

/// The longest that an upload and everything after it may take.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The bytes that are given to the connection at once.
const CHUNK: usize = 64 << 10;

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The signed file.
    file: PathBuf,
    /// Only tells what would change.
    #[arg(long)]
    dry_run: bool,
    /// Takes a version that breaks clients, or whose migrations leave older versions behind.
    #[arg(long)]
    allow_breaking: bool,
    /// Takes a version with a lower sequence number than the highest that was installed.
    #[arg(long)]
    allow_downgrade: bool,
    /// Keeps the version without running it.
    #[arg(long)]
    no_activate: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Deserialize)]
struct Stage {
    stage: String,
    #[serde(default)]
    plugin: Option<String>,
}

pub(super) async fn run(args: InstallArgs) -> Result<(), Failure> {
    let path = args.file.display();
    let bytes = std::fs::read(&args.file).map_err(|error| Failure::Use(format!("{path} cannot be read: {error}")))?;
    let bytes = Bytes::from(bytes);
    let client = Client::new(&args.remote)?;
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let progress = Arc::new(Progress::new(&name, length));
    let flags = [
        ("dry_run", args.dry_run),
        ("allow_breaking", args.allow_breaking),
        ("allow_downgrade", args.allow_downgrade),
        ("activate", !args.no_activate),
    ];
    let flags = flags.map(|(name, set)| (name, if set { "true" } else { "false" }));
    let request = || {
        client
            .request(Method::POST, &["plugins"], &flags)
            .header(CONTENT_TYPE, "application/wasm")
            .header(CONTENT_LENGTH, length)
            .header(ACCEPT, "text/event-stream")
            .timeout(LONGEST)
            .body(body(bytes.clone(), progress.clone()))
    };
    let outcome = match client.send(request).await {
        Ok(response) => outcome(&client, response, &progress).await,
        Err(failure) => Err(failure),
    };
    progress.end();
    let value = outcome?;
    if args.remote.json {
        output::json(&value);
        return Ok(());
    }
    let installed: Installed = serde_json::from_value(value).map_err(|error| {
        Failure::Unreachable(format!("{} answers what is none of a host's: {error}", client.server()))
    })?;
    output::line(&text::installed(&installed, args.dry_run));
    Ok(())
}

fn body(bytes: Bytes, progress: Arc<Progress>) -> Body {
    let chunks = futures_util::stream::unfold((bytes, 0), move |(mut left, sent)| {
        let progress = progress.clone();
        async move {
            if left.is_empty() {
                return None;
            }
            let chunk = left.split_to(left.len().min(CHUNK));
            let sent = sent + u64::try_from(chunk.len()).unwrap_or(0);
            progress.sent(sent);
            Some((Ok::<_, std::convert::Infallible>(chunk), (left, sent)))
        }
    });
    Body::wrap_stream(chunks)
}

/// What came of it, after the stages.
async fn outcome(client: &Client, response: Response, progress: &Progress) -> Result<Value, Failure> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let odd = |error: &dyn std::fmt::Display| {
        Failure::Unreachable(format!("{} answers what is none of a host's: {error}", client.server()))
    };
    if !kind.starts_with("text/event-stream") {
        return response.json().await.map_err(|error| client.unreachable(&error));
    }
    let mut events = Events::new(client, response);
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "stage" => {
                let Stage { stage, plugin } = serde_json::from_str(&event.data).map_err(|error| odd(&error))?;
                progress.stage(&plugin.map_or(stage.clone(), |plugin| format!("{stage} {plugin}")));
            }
            "installed" => return serde_json::from_str(&event.data).map_err(|error| odd(&error)),
            "refused" => {
                let body: ErrorBody = serde_json::from_str(&event.data).map_err(|error| odd(&error))?;
                return Err(Failure::Refused(Box::new(body)));
            }
            _ => {}
        }
    }
    Err(Failure::Unreachable(format!(
        "the connection to {} ended before it was told what came of it; see `arcana plugin list`",
        client.server()
    )))
}
