//! `arcana plugin logs`: what a plugin has written, and what it writes.

use clap::Args;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde_json::Value;

use super::client::Client;
use super::failure::{ErrorBody, Failure};
use super::sse::Events;
use super::text::clean;
use super::{Remote, output, plugin_id};

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The plugin: `namespace/name`.
    id: String,
    /// Goes on with what is written from now on, until it is interrupted.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines are shown first.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: u32,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Deserialize)]
struct Line {
    at: String,
    level: String,
    message: String,
    #[serde(default)]
    fields: Value,
    #[serde(default)]
    request_id: Option<String>,
}

pub(super) async fn run(args: LogsArgs) -> Result<(), Failure> {
    let (namespace, name) = plugin_id(&args.id)?;
    let client = Client::new(&args.remote)?;
    let follow = args.follow.to_string();
    let open = async |lines: &str| {
        let query = [("lines", lines), ("follow", follow.as_str())];
        let request = || {
            client
                .request(Method::GET, &["plugins", namespace, name, "logs"], &query)
                .header(ACCEPT, "text/event-stream")
        };
        Ok::<_, Failure>(Events::new(&client, client.send(request).await?))
    };
    let mut events = open(&args.lines.to_string()).await?;
    while let Some(event) = events.next().await? {
        match (event.name.as_str(), args.remote.json) {
            ("refused", _) => {
                let odd = |error| {
                    Failure::Unreachable(format!("{} refuses, and not as a host does: {error}", client.server()))
                };
                let body: ErrorBody = serde_json::from_str(&event.data).map_err(odd)?;
                if body.code != "TOKEN_EXPIRED" {
                    return Err(Failure::Refused(Box::new(body)));
                }
                // A stream ends with its token. The client signs in anew with the session, as for any other request.
                events = open("0").await?;
            }
            (_, true) => output::data(&event.data),
            ("line", false) => output::line(&shown(&event.data)),
            // Such as how many lines were lost on the way.
            (other, false) => eprintln!("{}: {}", clean(other), clean(&event.data)),
        }
    }
    if args.follow {
        return Err(Failure::Unreachable(format!("{} has ended the stream", client.server())));
    }
    Ok(())
}

fn shown(data: &str) -> String {
    let Ok(line) = serde_json::from_str::<Line>(data) else { return clean(data) };
    let mut text = format!("{} {:5} {}", clean(&line.at), clean(&line.level).to_uppercase(), clean(&line.message));
    for (key, value) in fields(&line.fields) {
        text += &format!(" {}={}", clean(&key), clean(&value));
    }
    if let Some(request) = line.request_id {
        text += &format!(" request_id={}", clean(&request));
    }
    text
}

/// Fields may come as an object, as pairs, or written out.
fn fields(value: &Value) -> Vec<(String, String)> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        Value::Array(pairs) => pairs
            .iter()
            .filter_map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([key, value]) => Some((plain(key), plain(value))),
                _ => None,
            })
            .collect(),
        Value::String(text) if !text.is_empty() => vec![("fields".to_owned(), text.clone())],
        _ => Vec::new(),
    }
}
