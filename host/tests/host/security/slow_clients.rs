//! Asking for answers and not taking them: over HTTP/1.1, HTTP/2, gRPC, gRPC-Web and by following a log.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use h2::Reason;
use reqwest::Method;
use serde_json::json;

use super::http2::{Connection, until_reset};
use crate::plugin_api::{admin, rejected};
use crate::support::{Host, Setup, guest, until};

/// Some 1.5 MB for those who do not take gzip, 400 kB for the others.
const LARGE: &str = "/api/docs/swagger-ui-bundle.js";

/// Server, method, path, headers and body of a request.
type Case<'a> = (&'a str, Method, &'a str, &'a [(&'a str, &'a str)], Option<&'a [u8]>);

fn impatient(settings: &str) -> Setup {
    Setup::new().settings(&format!("[server.clients]\nstall_timeout = \"1s\"\n{settings}"))
}

async fn ended(host: &Host, what: &str, reason: &str) -> f64 {
    host.metric(&format!(r#"arcana_{what}_total{{reason="{reason}"}}"#)).await
}

async fn unsent(host: &Host) -> f64 {
    host.metric("arcana_unsent_bytes").await
}

/// The resident memory of the host, in MiB.
async fn resident(host: &Host) -> f64 {
    host.metric("process_resident_memory_bytes").await / f64::from(1 << 20)
}

#[tokio::test]
async fn a_shut_window_has_its_stream_reset_and_no_other() {
    let host = impatient("").plugin("chaos", &guest("chaos")).start();
    let token = format!("Bearer {}", admin(&host));
    let follow = "/api/v1/plugins/test/chaos/logs?follow=true";
    let check = "/grpc.health.v1.Health/Check";
    let empty = [0_u8; 5];
    let authorized = [("authorization", token.as_str())];
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let web = [("content-type", "application/grpc-web+proto")];
    let cases: [Case<'_>; 6] = [
        (&host.url, Method::GET, LARGE, &[], None),
        (&host.url, Method::GET, LARGE, &[("accept-encoding", "zstd")], None),
        (&host.url, Method::GET, "/health", &[], None),
        (&host.url, Method::GET, follow, &authorized, None),
        (&host.grpc, Method::POST, check, &grpc, Some(&empty)),
        (&host.grpc, Method::POST, check, &web, Some(&empty)),
    ];
    let mut waiting = Vec::new();
    for (address, method, path, headers, body) in cases {
        let mut connection = Connection::open(address, 0).await;
        let (head, answer) = connection.send(method, path, headers, body).await.await.unwrap().into_parts();
        assert_eq!(head.status, 200, "{path}");
        let reset = tokio::spawn(until_reset(answer));
        waiting.push((connection, reset, path));
    }
    for (mut connection, mut reset, path) in waiting {
        // What the client takes from a stream beside it does not keep the other one.
        let reason = loop {
            tokio::select! {
                reason = &mut reset => break reason.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    let head = connection.send(Method::HEAD, "/health", &[], None).await.await;
                    assert!(head.is_ok(), "{path}");
                }
            }
        };
        assert_eq!(reason, Some(Reason::CANCEL), "{path}");
        let head = connection.send(Method::HEAD, "/health", &[], None).await.await;
        assert!(head.is_ok(), "{path}: the connection goes on");
    }
    assert_eq!(ended(&host, "streams_ended", "stalled").await, 6.0);
    until("nothing is held any more", async || unsent(&host).await == 0.0).await;
}

#[tokio::test]
async fn a_window_of_one_byte_has_its_connection_closed() {
    let host = impatient("").start();
    for (address, path) in [(&host.url, "/health"), (&host.url, LARGE), (&host.grpc, "/grpc.health.v1.Health/Check")] {
        let mut connection = Connection::open(address, 1).await;
        let (method, headers, body): (_, &[(&str, &str)], Option<&[u8]>) = match path.starts_with("/grpc") {
            true => (Method::POST, &[("content-type", "application/grpc"), ("te", "trailers")], Some(&[0; 5])),
            false => (Method::GET, &[], None),
        };
        let answer = connection.send(method, path, headers, body).await.await.unwrap().into_body();
        let reset = until_reset(answer).await;
        match path {
            // There is more to come: the stream is enough.
            LARGE => assert_eq!(reset, Some(Reason::CANCEL)),
            // HTTP/2 has all of the answer already.
            _ => drop(tokio::time::timeout(Duration::from_secs(60), connection.task).await.unwrap()),
        }
    }
    assert_eq!(ended(&host, "connections_closed", "stalled").await, 2.0);
    until("nothing is held any more", async || unsent(&host).await == 0.0).await;
}

#[tokio::test]
async fn a_socket_that_is_not_read_is_closed() {
    let host = impatient("[server.grpc]\nreflection = \"public\"").start();
    // More than the buffers of both systems take: many requests, or one that asks many questions.
    let get = format!("GET {LARGE} HTTP/1.1\r\nhost: h\r\n\r\n").repeat(100).into_bytes();
    let symbol = b"grpc.reflection.v1.ServerReflection";
    let mut question = vec![0, 0, 0, 0, 37, 0x22, 35];
    question.extend(symbol);
    let questions = question.repeat(20_000);
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/grpc-web+proto\r\n");
    let mut ask = format!("{head}content-length: {}\r\n\r\n", questions.len()).into_bytes();
    ask.extend(questions);
    for (address, requests) in [(&host.url, get), (&host.grpc, ask)] {
        let before = ended(&host, "connections_closed", "stalled").await;
        let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
        let mut writing = stream.try_clone().unwrap();
        // The host reads no further than it can answer.
        std::thread::spawn(move || writing.write_all(&requests));
        until("it is closed", async || ended(&host, "connections_closed", "stalled").await > before).await;
        // Whatever the buffers hold, and then the end or a reset.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.starts_with(b"HTTP/1.1 200"), "{} bytes", rest.len());
        assert!(rest.len() < 60 << 20, "{} bytes", rest.len());
    }
    until("nothing is held any more", async || unsent(&host).await == 0.0).await;
}

#[tokio::test]
async fn what_one_connection_does_not_take_is_bounded() {
    let host = Setup::new().settings("[server.clients]\nmax_unsent_per_connection = \"1MiB\"").start();
    let mut greedy = Connection::open(&host.url, 0).await;
    let mut bodies = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let (status, headers, body) = greedy.get(LARGE, &[]).await;
        assert_eq!(headers.contains_key("retry-after"), status == 503);
        statuses.push(status);
        bodies.push(body);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 39, "{statuses:?}");
    assert_eq!(rejected(&host, "unsent").await, 39.0);
    until("one answer is held", async || (1e6..2e6).contains(&unsent(&host).await)).await;
    assert_eq!(
        host.client.get(format!("{}{LARGE}", host.url)).send().await.unwrap().status(),
        200,
        "others are served"
    );
    drop((bodies, greedy));
    until("nothing is held any more", async || unsent(&host).await == 0.0).await;
}

#[tokio::test]
async fn when_all_together_hold_too_much_the_greediest_is_closed() {
    let settings = "[server.clients]\nmax_unsent_per_connection = \"1MiB\"\nmax_unsent = \"1MiB\"";
    let host = Setup::new().settings(settings).start();
    let mut greedy = Connection::open(&host.url, 0).await;
    let (status, _, body) = greedy.get(LARGE, &[]).await;
    assert_eq!(status, 200);
    // Small answers are always sent, and large ones as soon as there is room.
    assert_eq!(host.get("/health").await.0, 200);
    let large = async || host.client.get(format!("{}{LARGE}", host.url)).send().await.unwrap().status() == 200;
    until("there is room", large).await;
    assert_eq!(until_reset(body).await, None);
    drop(tokio::time::timeout(Duration::from_secs(60), greedy.task).await.unwrap());
    assert_eq!(ended(&host, "connections_closed", "unsent").await, 1.0);
}

#[tokio::test]
async fn hundreds_of_answers_behind_a_shut_window_cost_little_memory() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).start();
    for path in [LARGE, "/api/openapi.json"] {
        // Made once, and shared from then on.
        assert_eq!(host.client.get(format!("{}{path}", host.url)).send().await.unwrap().status(), 200);
    }
    let before = resident(&host).await;
    let mut held = Vec::new();
    for encoding in ["identity", "gzip", "zstd"] {
        for path in [LARGE, "/api/openapi.json", "/metrics"] {
            let mut connection = Connection::open(&host.url, 0).await;
            for _ in 0..100 {
                let answer = connection.try_get(path, &[("accept-encoding", encoding)]).await;
                // Where all together hold too much a connection may be closed.
                let Some((status, body)) = answer else { break };
                assert!([200, 503].contains(&status), "{path}: {status}");
                held.push(body);
            }
            tokio::spawn(async move {
                let _connection = connection;
                std::future::pending::<()>().await;
            });
        }
    }
    let grown = resident(&host).await - before;
    assert!(grown < 200.0, "{grown} MiB for {} answers", held.len());
    let (status, answer) = host.post("/test/chaos/calls-served", json!({})).await;
    assert_eq!(status, 200, "{answer}");
}
