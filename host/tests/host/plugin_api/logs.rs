//! The log of a plugin, looked at and followed.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Events, admin, read, rejected, upload};
use crate::support::{Host, Setup, chaos_limits, guest, guest_manifest, guest_with, until};

const LOGS: &str = "/api/v1/plugins/test/chaos/logs";

/// The events of a log with this query.
async fn log(host: &Host, token: &str, query: &str) -> Events {
    Events::of(host.send(Method::GET, &format!("{LOGS}{query}"), Some(token), None).await)
}

/// Lets the guest write so many lines of so many letters.
async fn write(host: &Host, lines: u32, bytes: u32) {
    let body = json!({ "lines": lines, "bytes": bytes });
    assert_eq!(host.call(Method::POST, "/test/chaos/flood-log", None, Some(body)).await.0, 200);
}

/// The line of the event.
fn line((name, data): (String, Value)) -> Value {
    assert_eq!(name, "line");
    data
}

/// What the lines say.
fn messages(events: Vec<(String, Value)>) -> Vec<String> {
    events.into_iter().map(|event| line(event)["message"].as_str().unwrap().to_owned()).collect()
}

/// The chaos guest in another version.
fn version(seq: u32) -> Vec<u8> {
    let manifest = guest_manifest("chaos").replace("seq = 1\n", &format!("seq = {seq}\n"));
    guest_with("chaos", &manifest.replace("version = \"1.0.0\"", &format!("version = \"1.0.{seq}\"")))
}

#[tokio::test]
async fn the_last_lines_are_told_with_all_that_belongs_to_them() {
    let settings = "[plugins]\nlog_lines = 5\n[limits]\nlog_line_bytes = \"32B\"\nlog_lines_per_call = 6\n";
    let host = Setup::new().settings(settings).plugin("chaos", &guest("chaos")).start();
    let token = admin(&host);
    write(&host, 2, 3).await;
    let request = host.client.post(format!("{}/test/chaos/flood-log", host.url)).header("x-request-id", "my-id-1");
    assert_eq!(request.json(&json!({ "lines": 1, "bytes": 100 })).send().await.unwrap().status(), 200);
    let mut events = log(&host, &token, "?lines=1").await;
    let told = line(events.next().await.unwrap());
    assert_eq!(told["message"], "x".repeat(32), "a line is so long at most");
    assert_eq!((&told["level"], &told["request_id"], &told["missed"]), (&json!("info"), &json!("my-id-1"), &json!(0)));
    assert_eq!(told["fields"], json!([]));
    assert!(told["at"].as_str().unwrap().ends_with('Z'), "{told}");
    assert_eq!(events.next().await, None, "nobody follows");

    // Standard output is a line as well, and the host tells what it has dropped. The oldest make room.
    let body = json!({ "lines": 1, "bytes": 4 });
    assert_eq!(host.call(Method::POST, "/test/chaos/flood-stdout", None, Some(body)).await.0, 200);
    assert_eq!(messages(log(&host, &token, "").await.all().await).last().unwrap(), "xxxx");
    write(&host, 20, 1).await;
    let last = messages(log(&host, &token, "?lines=1000").await.all().await);
    assert_eq!(last.len(), 5, "{last:?}");
    assert!(last[4].starts_with("the call has used up"), "{last:?}");
    assert_eq!(messages(log(&host, &token, "?lines=0").await.all().await), Vec::<String>::new());
}

#[tokio::test]
async fn a_trap_and_a_call_that_takes_too_long_are_told_by_the_host() {
    let manifest = chaos_limits("call_timeout = \"200ms\"");
    let host = Setup::new().plugin("chaos", &guest_with("chaos", &manifest)).start();
    let token = admin(&host);
    let mut events = log(&host, &token, "?lines=0&follow=true").await;
    assert_eq!(host.call(Method::POST, "/test/chaos/stop", None, Some(json!({ "how": "panic" }))).await.0, 500);
    let trap = loop {
        let told = line(events.next().await.unwrap());
        // What the guest itself says of its panic comes before.
        if told["message"] == "the plugin trapped" {
            break told;
        }
    };
    assert_eq!((&trap["level"], &trap["fields"][0]["value"]), (&json!("error"), &json!("chaos.stop")), "{trap}");
    assert_eq!(trap["fields"][1]["name"], "cause");
    assert_eq!(host.call(Method::POST, "/test/chaos/nap", None, Some(json!({ "ms": 60_000 }))).await.0, 504);
    let late = line(events.next().await.unwrap());
    assert_eq!((&late["level"], &late["fields"][0]["value"]), (&json!("warn"), &json!("chaos.nap")), "{late}");
}

#[tokio::test]
async fn who_follows_stays_over_a_swap_and_a_rollback() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).start();
    let token = admin(&host);
    write(&host, 1, 1).await;
    let mut events = log(&host, &token, "?lines=1&follow=true").await;
    let mut next = async |message: String| loop {
        let told = line(events.next().await.unwrap());
        if told["message"] == *message {
            break;
        }
    };
    next("x".to_owned()).await;
    write(&host, 1, 2).await;
    next("x".repeat(2)).await;
    let (status, answer) = upload(&host, &token, "", version(2)).await;
    assert_eq!(status, 201, "{answer}");
    write(&host, 1, 3).await;
    next("x".repeat(3)).await;
    let back = host.call(Method::POST, "/api/v1/plugins/test/chaos/rollback", Some(&token), None).await;
    assert_eq!(back.0, 200, "{}", back.1);
    write(&host, 1, 4).await;
    next("x".repeat(4)).await;
}

#[tokio::test]
async fn followers_are_counted_and_let_go() {
    let host = Setup::new().settings("[plugins]\nmax_followers = 1\n").plugin("chaos", &guest("chaos")).start();
    let token = admin(&host);
    write(&host, 1, 1).await;
    let mut first = log(&host, &token, "?follow=true").await;
    // The host has its say first: what answers from now on.
    assert!(line(first.next().await.unwrap())["message"].as_str().unwrap().contains("answers requests"));
    assert_eq!(line(first.next().await.unwrap())["message"], "x");
    let second = host.send(Method::GET, &format!("{LOGS}?follow=true"), Some(&token), None).await;
    assert!(second.headers().contains_key("retry-after"));
    let (status, error) = read(second).await;
    assert_eq!((status, &error["code"]), (503, &json!("TOO_MANY_FOLLOWERS")), "{error}");
    assert_eq!(rejected(&host, "followers").await, 1.0);
    // Whoever only looks needs no place, and a place is free when its follower has left.
    assert_eq!(messages(log(&host, &token, "").await.all().await).last().unwrap(), "x");
    drop(first);
    let free =
        async || host.send(Method::GET, &format!("{LOGS}?follow=true"), Some(&token), None).await.status() == 200;
    until("there is a place again", free).await;
}

#[tokio::test]
async fn the_end_of_the_host_and_of_the_plugin_are_the_end_of_the_log() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).start();
    let token = admin(&host);
    let mut events = log(&host, &token, "?follow=true").await;
    assert_eq!(host.call(Method::DELETE, "/api/v1/plugins/test/chaos", Some(&token), None).await.0, 204);
    while events.next().await.is_some() {}
    assert_eq!(host.call(Method::GET, LOGS, Some(&token), None).await.0, 404);

    assert_eq!(upload(&host, &token, "", version(2)).await.0, 201);
    let mut events = log(&host, &token, "?follow=true").await;
    write(&host, 1, 1).await;
    while line(events.next().await.unwrap())["message"] != "x" {}
    host.terminate();
    while events.next().await.is_some() {}
    let (status, setup) = tokio::task::spawn_blocking(move || host.wait()).await.unwrap();
    assert!(status.success());
    let log = std::fs::read_to_string(setup.path("host.log")).unwrap();
    assert!(!log.contains("in flight at the deadline"), "{log}");
}
