//! Staying on a stream when the right to it has ended: a followed log, reflection, an upload.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use prost::Message as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::accounts::account;
use crate::grpc::client::{Client, How};
use crate::grpc::forms::to_message;
use crate::plugin_api::{Events, admin, rejected, token, token_for};
use crate::small::plugin;
use crate::support::{Host, Session, Setup, first_admin, guest};

const LOGS: &str = "/api/v1/plugins/test/chaos/logs?lines=0&follow=true";
const TAIL: &str = "/arcana.plugin.v1.PluginService/TailLogs";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A message of `TailLogs` that follows the log of chaos.
fn following(client: &Client) -> Vec<u8> {
    let input = client.method("arcana.plugin.v1.PluginService.TailLogs").input();
    let json = json!({ "namespace": "test", "name": "chaos", "lines": 0, "follow": true });
    to_message(&input, &json).encode_to_vec()
}

/// The open streams of a caller, one of each kind.
struct Streams {
    events: Events,
    tail: Streaming<Vec<u8>>,
    reflection: Streaming<Vec<u8>>,
    web: Response,
}

impl Streams {
    async fn open(host: &Host, client: &Client, token: &str) -> Self {
        let how = How::caller(Some(token));
        let message = following(client);
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(&message);
        let web = host.client.post(format!("{}{TAIL}", host.grpc)).bearer_auth(token);
        let web = web.header("content-type", "application/grpc-web+proto").body(framed).send().await.unwrap();
        assert_eq!(web.headers().get("grpc-status"), None);
        // A client that goes on asking has the same end as one that waits.
        let questions = tokio_stream::iter([vec![0x3a, 0]]);
        let questions = tokio_stream::StreamExt::chain(questions, tokio_stream::pending());
        let mut reflection = client.stream(REFLECT, questions, &how).await.unwrap();
        assert!(reflection.message().await.unwrap().is_some());
        Self {
            events: Events::of(host.send(Method::GET, LOGS, Some(token), None).await),
            tail: client.stream(TAIL, tokio_stream::iter([message]), &how).await.unwrap(),
            reflection,
            web,
        }
    }

    /// Reads all of them to the end, and answers the code that each of them ends with.
    async fn ends(mut self) -> Vec<String> {
        let mut last = (String::new(), Value::Null);
        while let Some(event) = self.events.next().await {
            last = event;
        }
        assert_eq!((last.0.as_str(), &last.1["status"]), ("refused", &json!(401)), "{last:?}");
        let mut codes = vec![last.1["code"].as_str().unwrap().to_owned()];
        for stream in [&mut self.tail, &mut self.reflection] {
            let status = end(stream).await;
            assert_eq!(status.code(), Code::Unauthenticated, "{status}");
            codes.push(status.get_error_details().error_info().unwrap().reason.clone());
        }
        let trailers = self.web.bytes().await.unwrap();
        assert!(String::from_utf8_lossy(&trailers).contains("grpc-status:16"), "{trailers:?}");
        codes
    }
}

async fn end(stream: &mut Streaming<Vec<u8>>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok(""),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn every_stream_ends_when_its_caller_is_removed_or_changed_or_leaves() {
    let settings = "[server.grpc]\nreflection = \"authenticated\"\n[plugins]\nmax_followers_per_account = 4";
    let host = Setup::identity().dev().settings(settings).plugin("chaos", &guest("chaos")).start();
    let first = first_admin(&host).await;
    let client = Client::new(&host, Some(&first.access)).await;
    let staying = Streams::open(&host, &client, &first.access).await;

    let of = |session: &Session, rest: &str| format!("/api/v1/users/{}{rest}", session.id);
    type Way = fn(&Session) -> (Method, &'static str, Value);
    let ways: [Way; 5] = [
        |_| (Method::DELETE, "", Value::Null),
        |_| (Method::PATCH, "/role", json!({ "role": "user" })),
        |_| (Method::PATCH, "/status", json!({ "status": "locked" })),
        |_| (Method::PUT, "/password", json!({ "new_password": "battery staple" })),
        |session| (Method::POST, "logout", json!({ "refresh_token": session.refresh })),
    ];
    for (n, way) in ways.iter().enumerate() {
        let caller = account(&host, &first, &format!("admin{n}@example.com"), "admin").await;
        let streams = Streams::open(&host, &client, &caller.access).await;
        let (method, path, body) = way(&caller);
        let path = if path == "logout" { "/api/v1/auth/logout".to_owned() } else { of(&caller, path) };
        let body = Some(body).filter(|body| !body.is_null());
        let (status, answer) = host.call(method, &path, Some(&first.access), body).await;
        assert!(status < 300, "{path}: {answer}");
        assert_eq!(streams.ends().await, ["INVALID_TOKEN"; 3], "{path}");
    }
    let revoked = r#"arcana_streams_ended_total{reason="revoked"}"#;
    assert_eq!(host.metric(revoked).await, 20.0);

    // Who has the right still is told of what happens.
    let Streams { mut events, mut tail, .. } = staying;
    let body = json!({ "lines": 1, "bytes": 3 });
    assert_eq!(host.call(Method::POST, "/test/chaos/flood-log", None, Some(body)).await.0, 200);
    assert_eq!(events.next().await.unwrap().1["message"], "xxx");
    assert!(tail.message().await.unwrap().is_some());

    // An upload that was allowed when it began, by an account that is gone when it has arrived.
    let caller = account(&host, &first, "uploader@example.com", "admin").await;
    let file = plugin("small", 1, 1);
    let mut stream = TcpStream::connect(host.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\ncontent-type: application/wasm\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        caller.access,
        file.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&file[..100]).unwrap();
    // The host has begun to read it: there is no second place for it to be told otherwise.
    crate::support::until("the upload has begun", async || host.metric("arcana_http_requests_in_flight").await >= 2.0)
        .await;
    assert_eq!(host.call(Method::DELETE, &of(&caller, ""), Some(&first.access), None).await.0, 204);
    stream.write_all(&file[100..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(host.call(Method::GET, "/api/v1/plugins/test/small", Some(&first.access), None).await.0, 404);
}

#[tokio::test]
async fn every_stream_ends_when_its_token_expires() {
    let settings = "[server.grpc]\nreflection = \"authenticated\"\n[security.tokens]\nleeway = \"0s\"";
    let host = Setup::new().settings(settings).plugin("chaos", &guest("chaos")).start();
    let client = Client::new(&host, Some(&admin(&host))).await;
    let short = token_for(&host, "root", "admin", Some(8));
    let streams = Streams::open(&host, &client, &short).await;
    assert_eq!(streams.ends().await, ["TOKEN_EXPIRED"; 3]);
    assert_eq!(host.metric(r#"arcana_streams_ended_total{reason="expired"}"#).await, 4.0);
}

#[tokio::test]
async fn one_account_does_not_take_the_places_of_other_followers() {
    let settings = "[plugins]\nmax_followers = 4\nmax_followers_per_account = 2";
    let host = Setup::new().settings(settings).plugin("chaos", &guest("chaos")).start();
    let (root, other) = (admin(&host), token(&host, "other", "admin"));
    let follow = async |token: &str| host.send(Method::GET, LOGS, Some(token), None).await;
    let (one, two) = (follow(&root).await, follow(&root).await);
    let refused = follow(&root).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["code"], "TOO_MANY_FOLLOWERS", "{error}");
    assert!(error["message"].as_str().unwrap().contains("plugins.max_followers_per_account"), "{error}");
    assert_eq!(rejected(&host, "followers_per_account").await, 1.0);
    assert_eq!((one.status().as_u16(), two.status().as_u16(), follow(&other).await.status().as_u16()), (200, 200, 200));
    drop(one);
    crate::support::until("there is a place again", async || follow(&root).await.status() == 200).await;
}
