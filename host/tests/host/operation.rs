//! What an operator sees: health, metrics, logs, and how a host ends, gently or not.

use std::net::TcpStream;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Host, PASSWORD, Setup, chaos_limits, guest, guest_with, until};

/// A host with a guest that may take a minute for a call.
fn patient(settings: &str) -> Host {
    let limits = chaos_limits("memory = \"16MiB\"\ncall_timeout = \"60s\"");
    Setup::new().settings(settings).plugin("chaos", &guest_with("chaos", &limits)).start()
}

/// A nap of the guest, begun: the answer comes when it is over.
async fn nap(host: &Host, ms: u64) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
    let request = host.client.post(format!("{}/test/chaos/nap", host.url)).json(&json!({ "ms": ms }));
    let call = tokio::spawn(request.send());
    // The request that asks is one of the two.
    until("it naps", async || host.metric("arcana_http_requests_in_flight").await == 2.0).await;
    call
}

#[tokio::test]
async fn health_tells_how_the_host_is() {
    let host = Setup::new().plugin("echo", &guest("echo")).plugin("broken", b"no plugin").start();
    let (status, health) = host.get("/health").await;
    let version = env!("CARGO_PKG_VERSION");
    let expected = json!({ "status": "ok", "mode": "production", "version": version, "plugins": 1, "failed": 1 });
    assert_eq!((status, health), (200, expected));
    for path in ["/health/live", "/health/ready", "/health/startup"] {
        let response = host.send(Method::GET, path, None, None).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["cache-control"]),
            (200, &"no-store".parse().unwrap())
        );
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "status": "ok" }), "{path}");
    }
    assert_eq!(Setup::new().dev().start().get("/health").await.1["mode"], "development");
}

#[tokio::test]
async fn every_metric_is_there_from_the_first_request_and_none_has_a_raw_path() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).plugin("echo", &guest("echo")).start();
    let text = async || host.send(Method::GET, "/metrics", None, None).await.text().await.unwrap();
    let first = text().await;
    for family in [
        "arcana_http_requests_total",
        "arcana_http_request_duration_seconds",
        "arcana_http_requests_in_flight",
        "arcana_plugin_calls_total",
        "arcana_plugin_call_duration_seconds",
        "arcana_plugin_traps_total",
        "arcana_plugin_instances",
        "arcana_plugin_memory_bytes",
        "arcana_plugin_queue_wait_seconds",
        "arcana_plugin_log_lines_dropped_total",
        "arcana_limit_rejections_total",
        "arcana_database_statement_duration_seconds",
    ] {
        assert!(
            first.contains(&format!("# HELP {family} ")) && first.contains(&format!("# TYPE {family} ")),
            "{family}"
        );
    }
    for limit in
        ["rate", "body", "body_time", "header", "connections", "queue", "concurrency", "instances", "memory", "rows"]
    {
        let line = format!("arcana_limit_rejections_total{{limit=\"{limit}\"}} 0\n");
        assert!(first.contains(&line), "{limit}");
    }
    for name in ["Ada", "Grace"] {
        assert_eq!(host.get(&format!("/test/echo/hello/{name}")).await.0, 200);
    }
    for path in ["/secret/of/a/scanner", "/test/echo/half/7"] {
        host.get(path).await;
    }
    let metric = async |labels: &str| host.metric(&format!("arcana_http_requests_total{labels}")).await;
    assert_eq!(metric(r#"{method="GET",route="/test/echo/hello/{name}",status="200"}"#).await, 2.0);
    assert_eq!(metric(r#"{method="GET",route="/test/echo/half/{number}",status="422"}"#).await, 1.0);
    assert_eq!(metric(r#"{method="",route="(host)",status="404"}"#).await, 1.0);
    let ok = r#"arcana_plugin_calls_total{function="kitchen.half",outcome="ok",plugin="test/echo"}"#;
    assert_eq!(host.metric(ok).await, 1.0, "a problem that a function answers is an answer");
    let last = text().await;
    for raw in ["Ada", "Grace", "scanner", "half/7"] {
        assert!(!last.contains(raw), "{raw}");
    }
    let off = Setup::new().settings("[observability.metrics]\nenabled = false").start();
    assert_eq!(off.get("/metrics").await.0, 404);
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_with_the_id_of_the_request() {
    let host = patient("[observability.log]\nformat = \"json\"\naccess = true");
    let call = async |id: &str, function: &str, body: Value| {
        let request =
            host.client.post(format!("{}/test/chaos/{function}?secret=1", host.url)).header("x-request-id", id);
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("trap-1", "stop", json!({ "how": "panic" })).await, 500);
    assert_eq!(call("log-1", "flood-log", json!({ "lines": 1, "bytes": 3 })).await, 200);
    let log = host.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str, target: &str| {
        let of = lines.iter().filter(|line| line["request_id"] == id && line["target"] == target);
        of.cloned().collect::<Vec<_>>()
    };
    let trap = of("trap-1", "arcana::runtime::plugin");
    assert_eq!((trap.len(), &trap[0]["level"], &trap[0]["plugin"]), (1, &json!("ERROR"), &json!("test/chaos")));
    assert!(trap[0]["cause"].as_str().unwrap().contains("unreachable"));
    let said = of("log-1", "plugin");
    assert_eq!((said.len(), &said[0]["message"], &said[0]["level"]), (1, &json!("xxx"), &json!("INFO")));
    let access = of("log-1", "access");
    assert_eq!((access.len(), &access[0]["method"], &access[0]["status"]), (1, &json!("POST"), &json!(200)));
    assert_eq!(access[0]["path"], "/test/chaos/flood-log");
    assert!(!log.contains("secret"), "a query is nobody's business");
}

#[tokio::test]
async fn told_to_stop_the_host_finishes_what_it_began() {
    let host = patient("");
    let call = nap(&host, 3_000).await;
    host.terminate();
    let address = host.url.strip_prefix("http://").unwrap().to_owned();
    until("nobody is let in", async || TcpStream::connect(&address).is_err()).await;
    assert!(!call.is_finished(), "the call was still in flight");
    let answer = call.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.json::<Value>().await.unwrap()), (200, json!(3_000)));
    let log_file = host.path("host.log");
    let (status, setup) = host.wait();
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(log_file).unwrap();
    assert!(log.contains("requests in flight are finished first") && log.contains("stopped"), "{log}");
    assert!(log.contains("chaos is over"), "on-disable was called: {log}");
    assert!(!log.contains("ERROR"), "{log}");
    setup.start();
}

#[tokio::test]
async fn what_is_in_flight_at_the_deadline_is_cut_off() {
    let host = patient("[server.rest]\nshutdown_deadline = \"200ms\"");
    let call = nap(&host, 50_000).await;
    host.terminate();
    let log_file = host.path("host.log");
    let (status, _setup) = host.wait();
    assert!(status.success(), "{status}");
    assert!(call.await.unwrap().is_err(), "there was no answer");
    let log = std::fs::read_to_string(log_file).unwrap();
    assert!(log.contains("still in flight at the deadline"), "{log}");
}

#[tokio::test]
async fn what_was_answered_survives_a_kill_at_any_moment() {
    let mut setup = Setup::identity();
    let mut answered: Vec<String> = Vec::new();
    for round in 0..3 {
        let host = setup.start();
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        for client in 0..4 {
            let (send, url, http) = (send.clone(), host.url.clone(), host.client.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let email = format!("u{round}-{client}-{number}@example.org");
                    let body = json!({ "email": email, "password": PASSWORD });
                    // The host is killed in the middle of this.
                    let Ok(answer) = http.post(format!("{url}/api/v1/auth/register")).json(&body).send().await else {
                        break;
                    };
                    assert_eq!(answer.status().as_u16(), 201);
                    send.send(email).unwrap();
                }
            });
        }
        drop(send);
        for _ in 0..20 {
            answered.push(receive.recv().await.unwrap());
        }
        setup = host.kill();
        while let Some(email) = receive.recv().await {
            answered.push(email);
        }
    }
    let host = setup.start();
    for email in &answered {
        let (status, answer) = host.login(email, PASSWORD).await;
        assert_eq!(status, 200, "{email}: {answer}");
    }
    assert!(!host.log().contains("ERROR"), "{}", host.log());
}
