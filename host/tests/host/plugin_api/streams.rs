//! The methods with streams, `Install` and `TailLogs`, as a client of gRPC sees them.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::DynamicMessage;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{admin, rejected, token, upload};
use crate::grpc::client::{Client, How};
use crate::grpc::forms::{to_json, to_message};
use crate::small::{answer, plugin};
use crate::support::{Host, Setup, guest, until};

const INSTALL: &str = "/arcana.plugin.v1.PluginService/Install";
const TAIL: &str = "/arcana.plugin.v1.PluginService/TailLogs";

/// A host in development mode, an administrator's token and a client.
async fn start(setup: Setup) -> (Host, String, Client) {
    let host = setup.dev().start();
    let (token, client) = (admin(&host), Client::new(&host, None).await);
    (host, token, client)
}

/// A message of this method, by what the host reflects.
fn message(client: &Client, method: &str, json: &Value) -> Vec<u8> {
    let method = client.method(&format!("arcana.plugin.v1.PluginService.{method}"));
    to_message(&method.input(), json).encode_to_vec()
}

fn options(client: &Client, options: Value) -> Vec<u8> {
    message(client, "Install", &json!({ "options": options }))
}

/// A part of a file: field 2, as bytes.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(2, &bytes.to_vec(), &mut out);
    out
}

fn chunks(
    client: &Client,
    flags: Value,
    file: &[u8],
) -> impl tokio_stream::Stream<Item = Vec<u8>> + Send + 'static + use<> {
    let parts = file.chunks(1_000).map(chunk);
    tokio_stream::iter([options(client, flags)].into_iter().chain(parts).collect::<Vec<_>>())
}

/// The next answer as JSON; none at the end.
async fn next(client: &Client, method: &str, answers: &mut Streaming<Vec<u8>>) -> Result<Option<Value>, Status> {
    let output = client.method(&format!("arcana.plugin.v1.PluginService.{method}")).output();
    let answer = answers.message().await?;
    Ok(answer.map(|bytes| to_json(&DynamicMessage::decode(output, &*bytes).unwrap())))
}

/// All events of an upload, or what it was refused with.
async fn install(client: &Client, token: &str, flags: Value, file: &[u8]) -> Result<Vec<Value>, Status> {
    let parts = chunks(client, flags, file);
    let mut answers = client.stream(INSTALL, parts, &How::caller(Some(token))).await?;
    let mut events = Vec::new();
    while let Some(event) = next(client, "Install", &mut answers).await? {
        events.push(event);
    }
    Ok(events)
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_file_is_installed_stage_by_stage() {
    let (host, token, client) = start(Setup::new()).await;
    let methods = ["Install", "TailLogs", "List"];
    let streams = methods.map(|name| client.method(&format!("arcana.plugin.v1.PluginService.{name}")));
    let streams = streams.map(|method| (method.is_client_streaming(), method.is_server_streaming()));
    assert_eq!(streams, [(true, true), (false, true), (false, false)]);

    let dry = install(&client, &token, json!({ "dry_run": true }), &plugin("small", 1, 1)).await.unwrap();
    assert_eq!(dry.last().unwrap()["installed"]["changed"], false, "{dry:?}");
    assert_eq!(answer(&host, "/small").await.0, 404);
    let mut events = install(&client, &token, json!({}), &plugin("small", 1, 1)).await.unwrap();
    let last = events.pop().unwrap();
    assert_eq!((&last["installed"]["id"], &last["installed"]["state"]), (&json!("test/small"), &json!("active")));
    assert_eq!(events.first().unwrap(), &json!({ "stage": "verifying" }));
    assert_eq!(events.last().unwrap(), &json!({ "stage": "activating" }));
    assert_eq!(answer(&host, "/small").await, (200, json!(1)));

    // What REST says of the same file is the same.
    let (_, rest) = upload(&host, &token, "?dry_run=true", plugin("small", 2, 2)).await;
    let grpc = install(&client, &token, json!({ "dry_run": true }), &plugin("small", 2, 2)).await.unwrap();
    assert_eq!(grpc.last().unwrap()["installed"], rest);
}

#[tokio::test]
async fn what_is_refused_is_told_with_the_same_code_as_over_rest() {
    let (host, token, client) = start(Setup::new().settings("[plugins]\nmax_file_bytes = \"64KiB\"\n")).await;
    assert_eq!(upload(&host, &token, "", plugin("small", 2, 1)).await.0, 201);
    let mut flipped = plugin("small", 3, 2);
    *flipped.last_mut().unwrap() ^= 1;
    for (file, code) in [
        (Vec::new(), Code::InvalidArgument),
        (flipped, Code::InvalidArgument),
        (plugin("small", 1, 1), Code::AlreadyExists),
        (vec![0; (64 << 10) + 1], Code::ResourceExhausted),
    ] {
        let (_, error) = upload(&host, &token, "", file.clone()).await;
        let status = install(&client, &token, json!({}), &file).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).into()), (code, error["code"].clone()), "{error}");
        assert_eq!(status.message(), error["message"], "{error}");
        assert!(!status.get_error_details().request_info().unwrap().request_id.is_empty());
        assert_eq!(answer(&host, "/small").await, (200, json!(1)));
    }
    assert_eq!(rejected(&host, "upload").await, 2.0);
}

#[tokio::test]
async fn parts_come_in_their_order() {
    let (host, token, client) = start(Setup::new()).await;
    let first = || options(&client, json!({}));
    let file = plugin("small", 1, 1);
    for parts in [
        Vec::new(),
        vec![chunk(&file)],
        vec![chunk(&file), first()],
        vec![first(), first(), chunk(&file)],
        vec![first(), chunk(&file), first()],
        vec![first(), Vec::new()],
        vec![b"\xff\xff\xff".to_vec()],
    ] {
        let count = parts.len();
        let answers = client.stream(INSTALL, tokio_stream::iter(parts), &How::caller(Some(&token))).await;
        let status = answers.map(drop).unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::InvalidArgument, "BAD_REQUEST"), "{count}: {status}");
    }
    assert_eq!(answer(&host, "/small").await.0, 404);
    // Options that are absent are those that REST has without a query.
    let parts = tokio_stream::iter(vec![b"\x0a\x00".to_vec(), chunk(&file)]);
    let mut answers = client.stream(INSTALL, parts, &How::caller(Some(&token))).await.unwrap();
    while answers.message().await.unwrap().is_some() {}
    assert_eq!(answer(&host, "/small").await, (200, json!(1)));
}

#[tokio::test]
async fn an_upload_that_does_not_end_is_ended() {
    let settings = "[plugins]\nmax_uploads = 1\nupload_timeout = \"1s\"\n[server.grpc]\nmax_message = \"64KiB\"\n";
    let (host, token, client) = start(Setup::new().settings(settings)).await;
    let how = How::caller(Some(&token));
    let endless = || {
        let parts = vec![options(&client, json!({})), chunk(b"\0asm")];
        tokio_stream::StreamExt::chain(tokio_stream::iter(parts), tokio_stream::pending())
    };
    let (slow, refused) = tokio::join!(client.stream(INSTALL, endless(), &how), async {
        // Whoever comes second finds no place, until the first one has used up its time.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy = async || install(&client, &token, json!({}), &plugin("small", 1, 1)).await;
        let mut refused = None;
        until("there is no place", async || matches!(busy().await, Err(status) if status.code() == Code::Unavailable))
            .await;
        if let Err(status) = busy().await {
            refused = Some(reason(&status));
        }
        refused
    });
    let slow = slow.map(drop).unwrap_err();
    assert_eq!((slow.code(), &*reason(&slow)), (Code::DeadlineExceeded, "TIMEOUT"), "{slow}");
    assert!(refused.is_none_or(|reason| reason == "TOO_MANY_UPLOADS"));
    // A message that is too long is no part of anything.
    let long = tokio_stream::iter(vec![options(&client, json!({})), chunk(&vec![0; 65 << 10])]);
    let status = client.stream(INSTALL, long, &how).await.map(drop).unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"), "{status}");
    // Whoever says how much time there is gets no more.
    let short = How { timeout: Some(Duration::from_millis(100)), ..How::caller(Some(&token)) };
    let status = client.stream(INSTALL, endless(), &short).await.map(drop).unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    assert_eq!(host.call(Method::GET, "/api/v1/plugins/test/small", Some(&token), None).await.0, 404);
}

#[tokio::test]
async fn a_log_is_followed_over_grpc_too() {
    let (host, token, client) = start(Setup::new().plugin("chaos", &guest("chaos"))).await;
    let write = async |bytes: u32| {
        let body = json!({ "lines": 1, "bytes": bytes });
        assert_eq!(host.call(Method::POST, "/test/chaos/flood-log", None, Some(body)).await.0, 200);
    };
    let tail = async |input: Value, token: &str| {
        let request = tokio_stream::iter(vec![message(&client, "TailLogs", &input)]);
        client.stream(TAIL, request, &How::caller(Some(token))).await
    };
    let of_chaos = |more: Value| {
        let mut input = json!({ "namespace": "test", "name": "chaos" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    write(1).await;
    write(2).await;
    let mut lines = tail(of_chaos(json!({ "lines": 1 })), &token).await.unwrap();
    let line = next(&client, "TailLogs", &mut lines).await.unwrap().unwrap();
    assert_eq!(
        (&line["message"], &line["level"], &line["missed"]),
        (&json!("xx"), &json!("info"), &json!(0)),
        "{line}"
    );
    assert_eq!(line["request_id"].as_str().unwrap().len(), 32);
    assert_eq!(next(&client, "TailLogs", &mut lines).await.unwrap(), None);

    let mut lines = tail(of_chaos(json!({ "lines": 0, "follow": true })), &token).await.unwrap();
    write(3).await;
    assert_eq!(next(&client, "TailLogs", &mut lines).await.unwrap().unwrap()["message"], "xxx");
    let user = self::token(&host, "ada", "user");
    assert_eq!(tail(of_chaos(json!({})), &user).await.map(drop).unwrap_err().code(), Code::PermissionDenied);
    let status = tail(json!({ "namespace": "test", "name": "none" }), &token).await.map(drop).unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::NotFound, "NOT_FOUND"), "{status}");
    // The end of the host is the end of the stream, and no failure.
    host.terminate();
    while next(&client, "TailLogs", &mut lines).await.unwrap().is_some() {}
    let (status, _setup) = tokio::task::spawn_blocking(move || host.wait()).await.unwrap();
    assert!(status.success());
}
