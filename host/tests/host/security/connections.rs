//! Taking the places of others: idle connections, many of one address, and all that there are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::Method;

use super::http2::{Connection, until_reset};
use crate::plugin_api::rejected;
use crate::support::{Host, Setup, until};

/// Sends one request and reads the head of the answer on a connection that is kept; empty where the host closes it.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The host may have closed it already.
    let _ = write!(stream, "HEAD {path} HTTP/1.1\r\nhost: h\r\n\r\n");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(host: &Host) -> TcpStream {
    TcpStream::connect(host.url.strip_prefix("http://").unwrap()).unwrap()
}

#[tokio::test]
async fn an_idle_http_2_connection_is_ended_whatever_it_pings() {
    let settings = "[server.rest]\nidle_timeout = \"1s\"\n[server.grpc]\nidle_timeout = \"1s\"";
    let host = Setup::new().settings(settings).start();
    for address in [&host.url, &host.grpc] {
        let stream = tokio::net::TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
        let (requests, mut connection) = h2::client::handshake(stream).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        let ended = tokio::spawn(connection);
        let mut requests = requests.ready().await.unwrap();
        let request = http::Request::head(format!("{address}/health")).body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        response.await.unwrap();
        while !ended.is_finished() {
            let _ = pings.ping(h2::Ping::opaque()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ended.await.unwrap().unwrap();
    }
    assert_eq!(host.metric(r#"arcana_connections_closed_total{reason="idle"}"#).await, 2.0);
}

#[tokio::test]
async fn idle_connections_make_room_when_every_place_is_taken() {
    let settings = "[server.rest]\nmax_connections = 3\nidle_timeout = \"10m\"\nheader_read_timeout = \"10m\"
        [server.clients]\nreserved_connections = 0";
    let host = Setup::new().settings(settings).start();
    let mut idle = [Connection::open(&host.url, 65_535).await, Connection::open(&host.url, 65_535).await];
    for connection in &mut idle {
        assert_eq!(connection.get("/health", &[]).await.0, 200);
    }
    let mut kept = connect(&host);
    assert!(ask(&mut kept, "/health").starts_with("HTTP/1.1 200"));
    // They are let alone for a second, and then one is closed for each newcomer.
    let (mut newcomers, end) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while newcomers.len() < 2 {
        assert!(Instant::now() < end, "there is no room");
        // The one that has a request again and again keeps its place.
        assert!(ask(&mut kept, "/health").starts_with("HTTP/1.1 200"));
        let mut newcomer = connect(&host);
        if ask(&mut newcomer, "/nowhere").starts_with("HTTP/1.1 404") {
            newcomers.push(newcomer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for connection in idle {
        drop(tokio::time::timeout(Duration::from_secs(60), connection.task).await.unwrap());
    }
}

#[tokio::test]
async fn connections_of_one_address_are_bounded_and_those_of_a_trusted_proxy_are_not() {
    let settings = "[server.clients]\nmax_connections_per_address = 8";
    let host = Setup::new().settings(settings).start();
    // One of the eight is this client's own.
    assert_eq!(host.get("/health").await.0, 200);
    let mut streams: Vec<TcpStream> = (0..20).map(|_| connect(&host)).collect();
    let answers: Vec<String> = streams.iter_mut().map(|stream| ask(stream, "/health")).collect();
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200")).count(), 7, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.is_empty()).count(), 13, "{answers:?}");
    assert_eq!(rejected(&host, "connections_per_address").await, 13.0);
    assert_eq!(host.metric("arcana_connections").await, 8.0);
    drop(streams);
    until("there is room again", async || ask(&mut connect(&host), "/health").starts_with("HTTP/1.1 200")).await;

    let host = Setup::new().settings(&format!("{settings}\n[server.rest]\ntrusted_proxies = [\"127.0.0.1\"]")).start();
    let mut streams: Vec<TcpStream> = (0..20).map(|_| connect(&host)).collect();
    for stream in &mut streams {
        assert!(ask(stream, "/health").starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn requests_of_one_address_are_bounded_over_all_its_connections() {
    let settings = "[server.clients]\nmax_requests_per_address = 6";
    let host = Setup::new().settings(settings).start();
    let (mut one, mut other) = (Connection::open(&host.url, 0).await, Connection::open(&host.url, 0).await);
    let mut bodies = Vec::new();
    for connection in [&mut one, &mut other] {
        for _ in 0..6 {
            let (status, headers, body) = connection.get("/health", &[]).await;
            bodies.push((status, headers.contains_key("retry-after"), body));
        }
    }
    let refused = bodies.iter().filter(|(status, retry, _)| *status == 429 && *retry).count();
    assert_eq!(refused, 6);
    // gRPC is told in its own words, and without a body that would have to be taken.
    let mut grpc = Connection::open(&host.grpc, 0).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let path = "/grpc.health.v1.Health/Check";
    let answer = grpc.send(Method::POST, path, &headers, Some(&[0; 5])).await.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"8".parse().unwrap()));
    drop((bodies, one, other));
    until("there is room again", async || {
        let client = reqwest::get(format!("{}/health", host.url)).await.unwrap();
        client.status() == 200
    })
    .await;
    assert!(rejected(&host, "requests_per_address").await >= 7.0);

    let host = Setup::new().settings(&format!("{settings}\n[server.rest]\ntrusted_proxies = [\"127.0.0.1\"]")).start();
    let mut proxy = Connection::open(&host.url, 0).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let (status, _, body) = proxy.get("/health", &[]).await;
        assert_eq!(status, 200);
        bodies.push(body);
    }
}

#[tokio::test]
async fn when_every_place_is_taken_loopback_and_health_have_a_few() {
    let settings = "[server.rest]\nmax_connections = 2\n[server.clients]\nreserved_connections = 1";
    let host = Setup::new().settings(settings).start();
    let mut streams: Vec<TcpStream> = (0..3).map(|_| connect(&host)).collect();
    for stream in &mut streams {
        assert!(ask(stream, "/nowhere").starts_with("HTTP/1.1 404"), "two places, and one that is kept for loopback");
    }
    // The next one may only ask for health, and once.
    let mut probe = connect(&host);
    let answer = ask(&mut probe, "/health/ready");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(ask(&mut probe, "/health/ready"), "");
    let stranger = async || ask(&mut connect(&host), "/nowhere").starts_with("HTTP/1.1 503");
    until("anything else is refused", stranger).await;
    let probe = async || {
        let mut probe = Connection::open(&host.url, 65_535).await;
        let Ok(response) = probe.send(Method::GET, "/health/live", &[], None).await.await else { return false };
        assert_eq!(response.status(), 200);
        assert_eq!(until_reset(response.into_body()).await, None);
        drop(tokio::time::timeout(Duration::from_secs(60), probe.task).await.unwrap());
        true
    };
    until("a probe over HTTP/2 is served, and its connection ends", probe).await;
    // One that asks for nothing is in the way for two seconds.
    let mut silent = connect(&host);
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap_or(0), 0);
    drop(streams);
    until("there are places again", async || ask(&mut connect(&host), "/nowhere").starts_with("HTTP/1.1 404")).await;
    assert!(rejected(&host, "connections").await >= 1.0);
}
