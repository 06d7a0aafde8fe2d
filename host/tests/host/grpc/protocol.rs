//! What gRPC itself asks of a server: status and details, deadlines, sizes, compression, cancellation, ids, the web.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::client::{Client, How};
use super::forms::to_message;
use crate::support::{Host, Setup, guest, until};

const KITCHEN: &str = "test.echo.v1.Kitchen";
const CHAOS: &str = "test.chaos.v1.Chaos";

async fn echo(settings: &str) -> (Host, Client) {
    let host = Setup::new().settings(settings).plugin("echo", &guest("echo")).dev().start();
    let client = Client::new(&host, None).await;
    (host, client)
}

async fn chaos(settings: &str) -> (Host, Client) {
    let host = Setup::new().settings(settings).plugin("chaos", &guest("chaos")).dev().start();
    let client = Client::new(&host, None).await;
    (host, client)
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test]
async fn every_kind_of_problem_has_its_status_and_its_details() {
    let (_host, client) = echo("").await;
    let kinds = [
        ("malformed", Code::InvalidArgument, "INVALID_JSON"),
        ("validation", Code::InvalidArgument, "VALIDATION_FAILED"),
        ("unauthenticated", Code::Unauthenticated, "UNAUTHORIZED"),
        ("forbidden", Code::PermissionDenied, "FORBIDDEN"),
        ("not_found", Code::NotFound, "NOT_FOUND"),
        ("conflict", Code::AlreadyExists, "CONFLICT"),
        ("too_many_requests", Code::ResourceExhausted, "RATE_LIMIT_EXCEEDED"),
        ("unavailable", Code::Unavailable, "SERVICE_UNAVAILABLE"),
        ("timeout", Code::DeadlineExceeded, "TIMEOUT"),
        ("internal", Code::Internal, "INTERNAL_ERROR"),
    ];
    for (kind, code, reason_) in kinds {
        let how = How { request_id: Some("my-id-1"), ..How::default() };
        let status = client.call(&format!("{KITCHEN}.Fail"), &json!({ "kind": kind }), &how).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (code, reason_), "{kind}");
        assert_eq!(status.get_error_details().request_info().unwrap().request_id, "my-id-1");
        assert_eq!(status.metadata().get("x-request-id").unwrap(), "my-id-1");
    }
    let problem = json!({
        "kind": "conflict", "code": "NAME_TAKEN", "message": "schon vergeben: ü€\n100%",
        "details": [{ "field": "name", "message": "is taken", "code": "TAKEN" }], "retry_after_ms": 2500,
    });
    let status = client.call(&format!("{KITCHEN}.FailWith"), &problem, &How::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::AlreadyExists, "schon vergeben: ü€\n100%"));
    let details = status.get_error_details();
    assert_eq!((&*reason(&status), &*details.error_info().unwrap().domain), ("NAME_TAKEN", "arcana"));
    let violation = &details.bad_request().unwrap().field_violations[0];
    assert_eq!((&*violation.field, &*violation.description, &*violation.reason), ("name", "is taken", "TAKEN"));
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(2_500)));
}

#[tokio::test]
async fn what_is_no_method_or_no_message_is_told_so() {
    let (host, client) = echo("").await;
    let call = |path: &'static str, message: Vec<u8>| {
        let client = client.clone();
        async move { client.raw(path, message, &How::default()).await.unwrap_err() }
    };
    let status = call("/test.echo.v1.Kitchen/Cook", Vec::new()).await;
    let said = (status.code(), status.message());
    assert_eq!(said, (Code::Unimplemented, "test.echo.v1.Kitchen has no method Cook"));
    let status = call("/test.echo.v1.Bathroom/Wash", Vec::new()).await;
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "there is no service test.echo.v1.Bathroom"));
    assert!(!status.get_error_details().request_info().unwrap().request_id.is_empty());

    for (what, message) in [
        ("a field that ends too early", vec![0x0a, 0x05, b'a']),
        ("a tag that never ends", vec![0xff; 12]),
        ("another wire type", vec![0x08, 0x01]),
        ("no UTF-8", vec![0x0a, 0x02, 0xc3, 0x28]),
    ] {
        let status = call("/test.echo.v1.Kitchen/Hello", message).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        assert!(!reason(&status).is_empty(), "{what}");
    }
    let odd = json!({ "number": 3 });
    let status = client.call(&format!("{KITCHEN}.Half"), &odd, &How::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    // In HTTP's own terms where it is no gRPC.
    for (method, content_type, status) in [
        (reqwest::Method::GET, None, 415),
        (reqwest::Method::POST, Some("application/json"), 415),
        (reqwest::Method::POST, Some("application/grpc"), 505),
    ] {
        let mut request = host.client.request(method, format!("{}/test.echo.v1.Kitchen/Hello", host.grpc));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{content_type:?}");
    }
    let counted = r#"arcana_grpc_requests_total{code="UNIMPLEMENTED",method="",service="(host)"}"#;
    assert_eq!(host.metric(counted).await, 2.0);
    let counted =
        r#"arcana_grpc_requests_total{code="INVALID_ARGUMENT",method="Hello",service="test.echo.v1.Kitchen"}"#;
    assert_eq!(host.metric(counted).await, 4.0);
}

#[tokio::test]
async fn a_deadline_is_the_hosts_own_to_keep() {
    let (host, client) = chaos("").await;
    let call = async |method: &str, input: Value, timeout: &str| {
        let input = to_message(&client.method(&format!("{CHAOS}.{method}")).input(), &input).encode_to_vec();
        // gRPC-Web by a plain HTTP client, because tonic's would give up first and tell its own status.
        let headers = [("grpc-timeout", timeout)];
        let (_, _, trailers) = web(&host, &host.grpc, &format!("/{CHAOS}/{method}"), &input, &headers, false).await;
        Status::from_header_map(&trailers).unwrap()
    };
    for timeout in ["50m", "1u", "0n"] {
        for (method, input) in [("Nap", json!({ "ms": 60_000 })), ("Spin", json!({}))] {
            let status = call(method, input, timeout).await;
            assert_eq!((status.code(), &*reason(&status)), (Code::DeadlineExceeded, "TIMEOUT"), "{method} {timeout}");
        }
    }
    // Without one that can be read the plugin's own time limit holds, and a generous one does not lengthen it.
    for timeout in ["99999999H", "soon"] {
        assert_eq!(call("Spin", json!({}), timeout).await.code(), Code::DeadlineExceeded, "{timeout}");
    }
    assert_eq!(call("Nap", json!({ "ms": 1 }), "30S").await.code(), Code::Ok);
    let counted = r#"arcana_plugin_calls_total{function="chaos.spin",outcome="timeout",plugin="test/chaos"}"#;
    until("the calls are counted", async || host.metric(counted).await >= 3.0).await;
}

#[tokio::test]
async fn a_client_that_cancels_stops_the_guest() {
    let (host, client) = chaos("").await;
    let calls = async |outcome: &str| {
        let line =
            format!(r#"arcana_plugin_calls_total{{function="chaos.nap",outcome="{outcome}",plugin="test/chaos"}}"#);
        host.metric(&line).await
    };
    let method = format!("{CHAOS}.Nap");
    let (input, how) = (json!({ "ms": 60_000 }), How::default());
    let call = client.call(&method, &input, &how);
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err());
    until("the call is cancelled", async || calls("cancelled").await >= 1.0).await;
    assert_eq!(client.call(&method, &json!({ "ms": 1 }), &how).await.unwrap()["value"], 1);
}

#[tokio::test]
async fn a_trap_is_internal_and_tells_nothing() {
    let (host, client) = chaos("").await;
    let status = client.call(&format!("{CHAOS}.Recurse"), &json!({}), &How::default()).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Internal, "PLUGIN_EXECUTION_ERROR"));
    let id = status.get_error_details().request_info().unwrap().request_id.clone();
    assert!(status.message().contains("request id"), "{status}");
    assert_eq!(host.logged(&id).len(), 1);
}

#[tokio::test]
async fn a_message_may_be_so_long_and_no_longer() {
    let (host, client) = echo("[server.grpc]\nmax_message = \"64KiB\"\nmessage_timeout = \"1s\"").await;
    let method = format!("{KITCHEN}.Hello");
    let name = |bytes: usize| json!({ "name": "a".repeat(bytes) });
    assert!(client.call(&method, &name(60_000), &How::default()).await.is_ok());
    for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        // Compressed it is small: what counts is what it becomes.
        let how = How { compression, ..How::default() };
        let status = client.call(&method, &name(1 << 20), &how).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"), "{how:?}");
        assert!(status.message().contains("server.grpc.max_message"), "{status}");
    }
    assert_eq!(host.metric(r#"arcana_limit_rejections_total{limit="body"}"#).await, 3.0);

    // A head without its message.
    let never = tokio_stream::pending::<Result<http_body::Frame<bytes::Bytes>, Status>>();
    let body = tonic::body::Body::new(http_body_util::StreamBody::new(never));
    let request = http::Request::post(format!("{}/{KITCHEN}/Hello", host.grpc))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let mut channel = client.channel.clone();
    std::future::poll_fn(|cx| tower::Service::poll_ready(&mut channel, cx)).await.unwrap();
    let response = tower::Service::call(&mut channel, request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(host.metric(r#"arcana_limit_rejections_total{limit="body_time"}"#).await, 1.0);
}

#[tokio::test]
async fn answers_come_compressed_where_it_pays_and_is_wanted() {
    let (_host, client) = echo("").await;
    let path = format!("/{KITCHEN}/Hello");
    let input = client.method(&format!("{KITCHEN}.Hello")).input();
    let message = |bytes: usize| to_message(&input, &json!({ "name": "a".repeat(bytes) })).encode_to_vec();
    let encoding = |response: &tonic::Response<Vec<u8>>| {
        response.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned())
    };
    for (compression, name) in [(CompressionEncoding::Gzip, "gzip"), (CompressionEncoding::Zstd, "zstd")] {
        let how = How { compression: Some(compression), ..How::default() };
        let large = client.raw(&path, message(10_000), &how).await.unwrap();
        assert_eq!((encoding(&large).as_deref(), large.get_ref().len() > 10_000), (Some(name), true));
        assert!(client.raw(&path, message(3), &how).await.unwrap().get_ref().len() < 100);
    }
    let plain = client.raw(&path, message(10_000), &How::default()).await.unwrap();
    assert_eq!(encoding(&plain), None);

    let (_host, client) = echo("[server.grpc]\ncompression = false").await;
    let how = How { compression: Some(CompressionEncoding::Gzip), ..How::default() };
    let status = client.raw(&path, message(10_000), &how).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
}

#[tokio::test]
async fn rate_limits_count_both_protocols_together() {
    let setup = Setup::identity().settings("[limits]\nrate_limits = true").dev();
    let host = setup.start();
    let client = Client::new(&host, None).await;
    let login = json!({ "email": "nobody@example.org", "password": "wrong password" });
    let (method, how) = ("arcana.auth.v1.AuthService.Login", How::default());
    let mut last: Option<Status> = None;
    for turn in 0..40 {
        if turn % 2 == 0 {
            let (status, _) = host.post("/api/v1/auth/login", login.clone()).await;
            assert!(status == 401 || status == 429, "{status}");
        } else {
            let status = client.call(method, &login, &how).await.unwrap_err();
            if status.code() == Code::ResourceExhausted {
                last = Some(status);
                break;
            }
            assert_eq!(status.code(), Code::Unauthenticated);
        }
    }
    let status = last.expect("the limit was reached");
    assert_eq!(reason(&status), "RATE_LIMIT_EXCEEDED");
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    assert_eq!(host.post("/api/v1/auth/login", login).await.0, 429);
}

/// The HTTP status of a gRPC-Web answer, its first message, and its trailers.
pub async fn web(
    host: &Host,
    address: &str,
    path: &str,
    message: &[u8],
    headers: &[(&str, &str)],
    text: bool,
) -> (u16, Vec<u8>, HeaderMap) {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let (kind, body) = match text {
        true => ("application/grpc-web-text+proto", engine.encode(&frame).into_bytes()),
        false => ("application/grpc-web+proto", frame),
    };
    let mut request = host.client.post(format!("{address}{path}")).header("content-type", kind).header("accept", kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.header("x-grpc-web", "1").body(body).send().await.unwrap();
    let status = response.status().as_u16();
    // Where there is no message the trailers are the head.
    let mut trailers = response.headers().clone();
    let mut bytes = response.bytes().await.unwrap().to_vec();
    if text {
        bytes = decode_parts(&engine, &bytes);
    }
    let mut first = Vec::new();
    let mut rest = &bytes[..];
    while rest.len() >= 5 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let (frame, after) = rest[5..].split_at(length);
        match rest[0] & 0x80 {
            0 => first = frame.to_vec(),
            _ => {
                for line in std::str::from_utf8(frame).unwrap().split("\r\n").filter(|line| !line.is_empty()) {
                    let (name, value) = line.split_once(':').unwrap();
                    let name: HeaderName = name.parse().unwrap();
                    trailers.insert(name, value.trim().parse().unwrap());
                }
            }
        }
        rest = after;
    }
    (status, first, trailers)
}

/// Each part is padded for itself.
fn decode_parts(engine: &base64::engine::GeneralPurpose, text: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == b'=')
            .map_or(rest.len(), |at| at + rest[at..].iter().take_while(|byte| **byte == b'=').count());
        let (part, after) = rest.split_at(end);
        bytes.extend(engine.decode(part).unwrap());
        rest = after;
    }
    bytes
}

#[tokio::test]
async fn browsers_call_by_grpc_web() {
    let cors = "[server.rest.cors]\norigins = [\"https://app.example.com\"]";
    let (host, client) = echo(cors).await;
    let method = client.method(&format!("{KITCHEN}.Hello"));
    let path = format!("/{KITCHEN}/Hello");
    let message = to_message(&method.input(), &json!({ "name": "Ada" })).encode_to_vec();
    for text in [false, true] {
        let (status, first, trailers) = web(&host, &host.grpc, &path, &message, &[], text).await;
        assert_eq!((status, trailers["grpc-status"].as_bytes()), (200, &b"0"[..]));
        let answer = prost_reflect::DynamicMessage::decode(method.output(), &*first).unwrap();
        assert!(super::forms::to_json(&answer)["value"].as_str().unwrap().contains("Ada"));
        let half = format!("/{KITCHEN}/Half");
        let (status, _, trailers) = web(&host, &host.grpc, &half, &[0x08, 0x03], &[], text).await;
        assert_eq!((status, trailers["grpc-status"].as_bytes()), (200, &b"3"[..]));
    }
    let preflight = host
        .client
        .request(reqwest::Method::OPTIONS, format!("{}{path}", host.grpc))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-grpc-web")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("x-grpc-web"));

    let (host, _) = echo("[server.grpc]\nweb = false").await;
    assert_eq!(web(&host, &host.grpc, &path, &message, &[], false).await.0, 415);
}

#[tokio::test]
async fn the_rest_port_answers_grpc_where_the_settings_say_so() {
    let (host, _) = echo("[server.grpc]\nmultiplexed = true").await;
    let client = Client::at(&host.url, None).await;
    let method = format!("{KITCHEN}.Hello");
    let answer = client.call(&method, &json!({ "name": "Ada" }), &How::default()).await.unwrap();
    let rest: Value = host.get("/test/echo/hello/Ada").await.1;
    assert_eq!(answer["value"], rest);
    let message = to_message(&client.method(&method).input(), &json!({ "name": "Ada" })).encode_to_vec();
    assert_eq!(web(&host, &host.url, &format!("/{KITCHEN}/Hello"), &message, &[], false).await.0, 200);

    let (host, _) = echo("").await;
    let request = host.client.post(format!("{}/{KITCHEN}/Hello", host.url)).header("content-type", "application/grpc");
    assert_eq!(request.send().await.unwrap().status(), 404);

    let host = Setup::new().settings("[server.grpc]\nenabled = false").plugin("echo", &guest("echo")).start();
    assert!(host.grpc.is_empty());
    assert_eq!(host.get("/test/echo/hello/Ada").await.0, 200);
}
