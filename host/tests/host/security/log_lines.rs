//! Text that would forge lines of the log, and floods of lines.

use std::time::Instant;

use arcana::telemetry::escape::is_escaped;
use reqwest::Method;
use serde_json::{Value, json};

use crate::plugin_api::admin;
use crate::support::{Host, Setup, chaos_as, guest, guest_manifest, until};

/// A line within a line, by everything that ends lines somewhere, and commands to a terminal.
const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR arcana::plugins: plugin refused plugin=\"arcana/auth\"";
const ENDS: [&str; 10] =
    ["\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}", "\u{1b}[2K\u{1b}[1G", "\u{9b}2K\u{202e}"];

fn forgeries() -> Vec<String> {
    ENDS.iter().map(|end| format!("hello{end}{FORGED}{end}")).collect()
}

/// What the host logged, where no line is forged.
fn honest_log(host: &Host) -> String {
    let log = host.log();
    for line in log.lines() {
        assert!(!line.contains(is_escaped), "{line:?}");
        assert!(!line.trim_start().starts_with("2026-01-01"), "{line}");
    }
    log
}

async fn say_all(host: &Host) {
    for text in forgeries() {
        let body = json!({ "message": text, "value": text });
        let (status, answer) = host.call(Method::POST, "/test/chaos/say", None, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    }
    // What clients send is logged too.
    for path in ["/nowhere%0a2026-01-01%1b[2K", "/nowhere%E2%80%A8x", "/nowhere\u{85}\u{2028}x"] {
        let request = host.client.get(format!("{}{path}", host.url));
        let request = request.header("user-agent", "a\tb").header("x-request-id", "id \u{80}");
        assert_eq!(request.send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_plugin_or_a_client_that_forges_lines_for_people_gets_one_line_an_event() {
    let setup = Setup::new().settings("[observability.log]\naccess = true\n").plugin("chaos", &guest("chaos"));
    let host = setup.start();
    say_all(&host).await;
    let log = honest_log(&host);
    // Each is there, as a part of its own line: logged and printed, with the field.
    let of_plugin: Vec<&str> = log.lines().filter(|line| line.contains(" plugin: hello")).collect();
    assert!(of_plugin.len() >= 2 * ENDS.len(), "{log}");
    assert!(of_plugin.iter().all(|line| line.contains("plugin=test/chaos")), "{log}");
    assert!(of_plugin.iter().any(|line| line.contains(r"hello\n2026-01-01")), "{log}");

    // What administrators read of it holds no line ends either.
    let token = admin(&host);
    let answer = host.send(Method::GET, "/api/v1/plugins/test/chaos/logs?lines=500", Some(&token), None).await;
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| serde_json::from_str(data.trim()).unwrap())
        .collect();
    let said: Vec<&Value> =
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("hello"))).collect();
    assert!(said.len() >= 2 * ENDS.len(), "{text}");
    for line in said {
        let field = line["fields"][0]["value"].as_str().unwrap_or_default();
        assert!(!line["message"].as_str().unwrap().contains(is_escaped) && !field.contains(is_escaped), "{line}");
    }
}

#[tokio::test]
async fn a_plugin_or_a_client_that_forges_lines_for_machines_gets_one_object_an_event() {
    let setup = Setup::new().settings("[observability.log]\nformat = \"json\"\naccess = true\n");
    let host = setup.plugin("chaos", &guest("chaos")).start();
    say_all(&host).await;
    let log = honest_log(&host);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for text in forgeries() {
        assert!(texts.contains(&text.as_str()), "the text as it was written, once it is parsed: {text:?}");
    }
}

#[tokio::test]
async fn a_plugin_that_forges_a_line_by_its_reason_not_to_start_gets_one_line() {
    for format in ["pretty", "json"] {
        let reason = format!("{:?}", format!("no\n{FORGED}\r\u{1b}[2J"));
        let reason = reason.replace("\\u{1b}", "\\u001b");
        let settings = format!(
            "[observability.log]\nformat = \"{format}\"\n[plugins.settings.\"test/chaos\"]\nrefuse_to_start = {reason}\n"
        );
        let host = Setup::new().settings(&settings).plugin("chaos", &guest("chaos")).start();
        let log = honest_log(&host);
        assert!(log.contains("2026-01-01"), "the reason is told: {log}");
    }
}

#[tokio::test]
async fn a_plugin_that_floods_the_log_by_many_calls_is_cut_by_the_second_and_others_are_not() {
    let settings = "[limits]\nlog_lines_per_call = 50\nlog_lines_per_second = 50\n";
    let setup = Setup::new().settings(settings).plugin("chaos", &guest("chaos"));
    let host = setup.plugin("other", &chaos_as("other", &guest_manifest("chaos"))).start();
    let flood = async |plugin: &str, lines: u32| {
        let body = json!({ "lines": lines, "bytes": 20 });
        let path = format!("/test/{plugin}/flood-log");
        assert_eq!(host.call(Method::POST, &path, None, Some(body)).await.0, 200);
    };
    let start = Instant::now();
    for _ in 0..40 {
        flood("chaos", 50).await;
    }
    let seconds = start.elapsed().as_secs() + 1;
    let log = host.log();
    let written = log.lines().filter(|line| line.contains("xxxx") && line.contains("test/chaos")).count();
    let most = usize::try_from(50 + 50 * seconds).unwrap();
    assert!((50..=most).contains(&written), "{written} lines in {seconds} s");
    let dropped = async || host.metric(r#"arcana_plugin_log_lines_dropped_total{plugin="test/chaos"}"#).await;
    until("what is dropped is counted", async || dropped().await > 0.0).await;
    flood("other", 1).await;
    assert!(host.log().lines().any(|line| line.contains("xxxx") && line.contains("test/other")));
    // Once it writes less, a line says that some are missing.
    until("it is said that lines are missing", async || {
        flood("chaos", 1).await;
        host.log().contains("lines before this one were dropped: limits.log_lines_per_second")
    })
    .await;
}
