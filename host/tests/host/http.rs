//! HTTP itself: what the host answers where no plugin does, and what a client can ask of any answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Host, Setup, guest, until};

fn echo(setup: Setup) -> Host {
    setup.plugin("echo", &guest("echo")).start()
}

/// A connection without a client's help. Reading gives up after a minute.
fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(host.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Everything that comes until the host closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // What the host did not read makes the end of the connection a reset.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&bytes)),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn rejected(host: &Host, limit: &str) -> f64 {
    host.metric(&format!(r#"arcana_limit_rejections_total{{limit="{limit}"}}"#)).await
}

/// The status, the headers and the JSON of an answer to this body.
async fn send(
    host: &Host,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, HeaderMap, Value) {
    let mut request = host.client.request(method, format!("{}{path}", host.url)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    (status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn every_mistake_of_a_client_has_the_one_error_body() {
    let host = echo(Setup::new());
    let json = [("content-type", "application/json")];
    let text = [("content-type", "text/plain")];
    for (method, path, headers, body, status, code) in [
        (Method::GET, "/nowhere", &json, "", 404, "NOT_FOUND"),
        (Method::GET, "/test/echo/hello", &json, "", 404, "NOT_FOUND"),
        (Method::GET, "/test/echo/hello/Ada/", &json, "", 404, "NOT_FOUND"),
        (Method::GET, "/api/v1/plugins", &json, "", 401, "UNAUTHORIZED"),
        (Method::DELETE, "/test/echo/several/1", &json, "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/health", &json, "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/test/echo/scalars", &text, "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/test/echo/scalars", &json, "{", 400, "INVALID_JSON"),
        (Method::POST, "/test/echo/scalars", &json, "{} {}", 400, "INVALID_JSON"),
        (Method::POST, "/test/echo/scalars", &json, "{\"s8\": 01}", 400, "INVALID_JSON"),
        (Method::POST, "/test/echo/scalars", &json, "[]", 422, "VALIDATION_FAILED"),
        (Method::POST, "/test/echo/scalars", &json, "", 422, "VALIDATION_FAILED"),
        (Method::POST, "/test/echo/scalars", &json, "null", 422, "VALIDATION_FAILED"),
    ] {
        let (got, headers, answer) = send(&host, method.clone(), path, headers, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{method} {path} {body}: {answer}");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(answer["request_id"], headers["x-request-id"].to_str().unwrap());
        assert!(!answer["message"].as_str().unwrap().is_empty());
        answer["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(answer["details"].as_array().unwrap().is_empty(), status != 422, "{answer}");
        assert_eq!(headers.contains_key("allow"), status == 405);
    }
    let (_, headers, _) = send(&host, Method::DELETE, "/test/echo/several/1", &[], "").await;
    assert_eq!(headers["allow"], "GET, PUT, HEAD, OPTIONS");
    let (_, headers, _) = send(&host, Method::POST, "/health", &[], "").await;
    assert!(headers["allow"].to_str().unwrap().contains("GET"));
    // Where in the body it is.
    let (_, _, answer) = send(&host, Method::POST, "/test/echo/scalars", &json, "{\n  \"s8\": 1,\n  oops\n}").await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("line 3") && message.contains("column 3"), "{message}");
    // Every mistake above was one of the client's.
    assert!(!host.log().contains("ERROR"), "{}", host.log());
}

#[tokio::test]
async fn bodies_have_a_type_and_an_end() {
    let host = echo(Setup::new().settings("[server.rest]\nmax_body = \"1kB\"\nbody_timeout = \"1s\""));
    let shape = format!(r#"{{"shape":{{"label":"{}"}}}}"#, "x".repeat(900));
    for media in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        let (status, _, _) = send(&host, Method::POST, "/test/echo/shape", &[("content-type", media)], &shape).await;
        assert_eq!(status, 200, "{media}");
    }
    // Who does not say what it is means JSON.
    assert_eq!(send(&host, Method::POST, "/test/echo/shape", &[], &shape).await.0, 200);

    let too_long = "x".repeat(1_001);
    let (status, _, answer) = send(&host, Method::POST, "/test/echo/shape", &[], &too_long).await;
    assert_eq!((status, answer["code"].as_str()), (413, Some("PAYLOAD_TOO_LARGE")));
    assert!(answer["message"].as_str().unwrap().contains("1000 bytes"), "{answer}");
    assert_eq!(rejected(&host, "body").await, 1.0);
    let head = "POST /test/echo/shape HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    // Refused by what it says, before a byte of it is sent.
    let mut stream = connect(&host);
    write!(stream, "{head}content-length: 1000000000000\r\nconnection: close\r\n\r\n").unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 413 "));
    // It does not say, and goes on and on.
    let mut stream = connect(&host);
    write!(stream, "{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n").unwrap();
    for _ in 0..3 {
        write!(stream, "190\r\n{}\r\n", " ".repeat(0x190)).unwrap();
    }
    assert!(rest(stream).starts_with("HTTP/1.1 413 "));
    assert_eq!(rejected(&host, "body").await, 3.0);
    // It begins and never ends.
    let mut stream = connect(&host);
    write!(stream, "{head}content-length: 100\r\n\r\n{{").unwrap();
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
    assert_eq!(rejected(&host, "body_time").await, 1.0);
    // A body that is no chunk: hyper may end the connection before there is an answer.
    let mut stream = connect(&host);
    write!(stream, "{head}transfer-encoding: chunked\r\n\r\nno chunk\r\n").unwrap();
    let answer = rest(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(host.get("/test/echo/hello/Ada").await.0, 200);
}

#[tokio::test]
async fn heads_and_connections_are_bounded() {
    let settings = "[server.rest]\nmax_header_bytes = \"8KiB\"\nheader_read_timeout = \"2s\"\nmax_connections = 8
        [server.clients]\nreserved_connections = 0";
    let host = echo(Setup::new().settings(settings));
    let mut stream = connect(&host);
    // The host may answer before all of it is written.
    let _ = write!(stream, "GET /health HTTP/1.1\r\nhost: h\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    let answer = rest(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    until("it is counted", async || rejected(&host, "header").await == 1.0).await;
    let mut stream = connect(&host);
    write!(stream, "GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-long: {}\r\n\r\n", "x".repeat(4_000))
        .unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 200 "));

    // Heads that never end, a preface that might become one of HTTP/2, and nothing at all: more than there are places.
    let beginnings = ["GET /health HTTP/1.1\r\nx-slow: ", "PRI * HTTP/2.0\r\n", "P", ""];
    let slow: Vec<TcpStream> = (0..12)
        .map(|at| {
            let mut stream = connect(&host);
            // Those for whom there is no place may find the connection closed already.
            let _ = stream.write_all(beginnings[at % beginnings.len()].as_bytes());
            stream
        })
        .collect();
    // Who comes too late finds the connection closed, and a place when the slow ones have had their time.
    let newcomer = async || {
        let answer = reqwest::get(format!("{}/test/echo/hello/Ada", host.url)).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    };
    until("the places come free by themselves", newcomer).await;
    for stream in slow {
        assert_eq!(rest(stream), "", "the connection was closed");
    }
    // Not before: every place may be taken until then.
    assert!(rejected(&host, "connections").await >= 1.0);
}

#[tokio::test]
async fn head_options_and_request_ids() {
    let host = echo(Setup::new());
    let response = host.client.head(format!("{}/test/echo/hello/Ada", host.url)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-length"]), (200, &"13".parse().unwrap()));
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.bytes().await.unwrap().is_empty());
    assert_eq!(host.client.head(format!("{}/health", host.url)).send().await.unwrap().status(), StatusCode::OK);
    let (status, headers, _) = send(&host, Method::OPTIONS, "/test/echo/several/1", &[], "").await;
    assert_eq!((status, &headers["allow"]), (204, &"GET, PUT, HEAD, OPTIONS".parse().unwrap()));
    // Without CORS nobody is told that he may.
    assert!(!headers.contains_key("access-control-allow-origin"));

    let long = "x".repeat(65);
    for (sent, kept) in [("mine-1.2:3_4", true), ("two words", false), ("a\"b", false), (long.as_str(), false)] {
        for path in ["/test/echo/hello/Ada", "/nowhere", "/health"] {
            let (_, headers, _) = send(&host, Method::GET, path, &[("x-request-id", sent)], "").await;
            assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
            let id = headers["x-request-id"].to_str().unwrap();
            assert_eq!(id == sent, kept, "{path} {sent}: {id}");
            assert!(kept || id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
    let (_, headers, _) = send(&host, Method::GET, "/test/echo/hello/Ada", &[], "").await;
    assert_eq!(
        (&headers["cache-control"], &headers["x-content-type-options"]),
        (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
    );
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let host = echo(Setup::new());
    let body = json!({ "shape": { "label": "x".repeat(5_000) } }).to_string();
    for (asked, encoding, magic) in [("gzip", "gzip", &b"\x1f\x8b"[..]), ("zstd", "zstd", b"\x28\xb5\x2f\xfd")] {
        let request = host.client.post(format!("{}/test/echo/shape", host.url)).header("accept-encoding", asked);
        let response = request.body(body.clone()).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-encoding"]),
            (200, &encoding.parse().unwrap())
        );
        assert!(response.headers()["vary"].to_str().unwrap().eq_ignore_ascii_case("accept-encoding"));
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.starts_with(magic) && bytes.len() < 500, "{encoding}: {} bytes", bytes.len());
    }
    let (_, headers, _) = send(&host, Method::POST, "/test/echo/shape", &[], &body).await;
    assert!(!headers.contains_key("content-encoding"));
    let plain = echo(Setup::new().settings("[server.rest]\ncompression = false"));
    let (_, headers, answer) =
        send(&plain, Method::POST, "/test/echo/shape", &[("accept-encoding", "gzip")], &body).await;
    assert!(!headers.contains_key("content-encoding"));
    assert_eq!(answer["label"].as_str().unwrap().len(), 5_000);
}

#[tokio::test]
async fn other_origins_may_do_what_the_settings_say() {
    let settings = "[server.rest.cors]\norigins = [\"https://app.example.com\"]\nmethods = [\"GET\", \"PUT\"]
        headers = [\"authorization\"]\ncredentials = true\nmax_age = \"10m\"";
    let host = echo(Setup::new().settings(settings));
    let origin = ("origin", "https://app.example.com");
    let ask = [origin, ("access-control-request-method", "PUT"), ("access-control-request-headers", "authorization")];
    let (status, headers, _) = send(&host, Method::OPTIONS, "/test/echo/several/1", &ask, "").await;
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(status, 200);
    assert_eq!(header("access-control-allow-origin").as_deref(), Some("https://app.example.com"));
    assert_eq!(header("access-control-allow-methods").as_deref(), Some("GET,PUT"));
    assert_eq!(header("access-control-allow-headers").as_deref(), Some("authorization"));
    assert_eq!(header("access-control-allow-credentials").as_deref(), Some("true"));
    assert_eq!(header("access-control-max-age").as_deref(), Some("600"));

    // Errors carry it too, or a page could not read why.
    for (path, status) in [("/test/echo/hello/Ada", 200), ("/nowhere", 404), ("/test/echo/half/x", 422)] {
        let (got, headers, _) = send(&host, Method::GET, path, &[origin], "").await;
        assert_eq!(
            (got, &headers["access-control-allow-origin"]),
            (status, &"https://app.example.com".parse().unwrap())
        );
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
        let (_, headers, _) = send(&host, Method::GET, path, &[("origin", "https://evil.example")], "").await;
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_without_being_asked_and_its_streams_are_bounded() {
    let host = echo(Setup::new().settings("[server.rest]\nmax_streams_per_connection = 7"));
    let mut stream = connect(&host);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    // Empty SETTINGS; then GET http://h/health/live on stream 1: three fields of the static table, two spelled out.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    let mut head = vec![0x82, 0x86, 0x04, 12];
    head.extend(b"/health/live");
    head.extend([0x01, 1, b'h']);
    let length = u8::try_from(head.len()).unwrap();
    stream.write_all(&[0, 0, length, 1, 0x5, 0, 0, 0, 1]).unwrap();
    stream.write_all(&head).unwrap();

    let (mut streams, mut status, mut body) = (None, None, Vec::new());
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, frame[0], frame[1], frame[2]]).try_into().unwrap()];
        stream.read_exact(&mut payload).unwrap();
        match frame[3] {
            // SETTINGS_MAX_CONCURRENT_STREAMS is 3.
            4 => streams = streams.or(payload.chunks(6).find(|pair| pair[..2] == [0, 3]).map(|pair| pair[5])),
            1 => status = payload.first().copied(),
            0 => body.extend(payload),
            _ => {}
        }
        // The end of the stream.
        if frame[3] <= 1 && frame[4] & 1 == 1 {
            break;
        }
    }
    // 0x88 is `:status: 200` of the static table.
    assert_eq!((streams, status, body.as_slice()), (Some(7), Some(0x88), &br#"{"status":"ok"}"#[..]));
}
