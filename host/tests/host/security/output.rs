//! Standard output and standard error that nobody reads, that are gone, or that are full.

use std::io::{PipeReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Setup, client, guest, until};

/// More than any of this takes; only a hang is longer.
const HANG: Duration = Duration::from_secs(60);

/// A host with outputs of its own.
struct Serving {
    child: Child,
    url: String,
    client: reqwest::Client,
    _setup: Setup,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago: where nothing is printed nobody is told one.
fn on_a_port(setup: Setup) -> (Setup, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = setup.settings(&format!("[server.rest]\nport = {port}\n[server.grpc]\nenabled = false\n"));
    (setup, format!("http://127.0.0.1:{port}"))
}

impl Serving {
    async fn start(setup: Setup, args: &[&str], outputs: impl FnOnce(&mut Command)) -> Self {
        let (setup, url) = on_a_port(setup);
        let mut command = setup.command(args);
        outputs(&mut command);
        let child = command.spawn().unwrap();
        Self::of(child, setup, url).await
    }

    async fn of(child: Child, setup: Setup, url: String) -> Self {
        let mut host = Self { child, url, client: client(), _setup: setup };
        let end = Instant::now() + 4 * HANG;
        while host.client.get(format!("{}/health", host.url)).send().await.is_err() {
            assert!(Instant::now() < end, "it does not serve");
            assert_eq!(host.child.try_wait().unwrap(), None, "it has ended instead of serving");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        host
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.client.request(Method::POST, format!("{}{path}", self.url)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Many times the lines that one call may log, a trap, and a request of somebody else.
    async fn is_well_while_it_logs(&self) {
        for _ in 0..30 {
            let answer = self.post("/test/chaos/flood-log", json!({ "lines": 100, "bytes": 4096 })).await;
            assert_eq!(answer, (200, json!(100)));
            assert_eq!(self.client.get(format!("{}/health", self.url)).send().await.unwrap().status(), 200);
        }
        assert_eq!(self.post("/test/chaos/stop", json!({ "how": "panic" })).await.0, 500);
        assert_eq!(self.post("/test/chaos/calls-served", json!({})).await.0, 200);
    }

    async fn dropped(&self, reason: &str) -> f64 {
        let text = self.client.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        let name = format!("arcana_log_lines_dropped_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    }

    /// SIGTERM, as to a host whose log is read.
    fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let end = Instant::now() + HANG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "SIGTERM does not end it");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn chatty() -> Setup {
    let settings = "[limits]\nlog_lines_per_second = 1000000\n[observability.log]\naccess = true\nbuffer = \"64KiB\"\n";
    Setup::new().settings(settings).plugin("chaos", &guest("chaos"))
}

/// A pipe that takes nothing any more, because nobody reads it.
fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    // More than it holds: this thread sleeps until somebody reads.
    std::thread::spawn(move || filling.write_all(&vec![b'\n'; 1 << 20]));
    (reader, writer)
}

#[tokio::test]
async fn readers_that_sleep_from_the_start_to_the_end_stop_nobody() {
    let (_reader, pipe) = full_pipe();
    let host = Serving::start(chatty(), &["serve"], |command| {
        command.stdout(pipe.try_clone().unwrap()).stderr(pipe);
    })
    .await;
    host.is_well_while_it_logs().await;
    until("what is dropped is counted", async || host.dropped("full").await > 1000.0).await;
    assert!(tokio::task::spawn_blocking(|| host.stop()).await.unwrap().success());
}

#[tokio::test]
async fn a_reader_that_wakes_up_is_told_what_it_missed() {
    let (mut reader, pipe) = std::io::pipe().unwrap();
    let setup = chatty().settings("[observability.log]\nformat = \"json\"\n");
    let host = Serving::start(setup, &["serve"], |command| {
        command.stdout(Stdio::null()).stderr(pipe);
    })
    .await;
    host.is_well_while_it_logs().await;
    until("what is dropped is counted", async || host.dropped("full").await > 1000.0).await;
    let all = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    // Once what was queued is read there is room again, and nothing is dropped any more.
    until("lines are taken again", async || {
        let before = host.dropped("full").await;
        assert_eq!(host.post("/test/chaos/flood-log", json!({ "lines": 5, "bytes": 4 })).await.0, 200);
        host.dropped("full").await.total_cmp(&before).is_eq()
    })
    .await;
    assert!(tokio::task::spawn_blocking(|| host.stop()).await.unwrap().success());
    let text = all.join().unwrap().unwrap();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let note = lines.iter().position(|line| {
        line["message"].as_str().is_some_and(|text| text.contains("log lines before this one were dropped"))
    });
    let note = note.unwrap_or_else(|| panic!("nothing says that lines are missing: {text}"));
    assert_eq!(lines[note]["level"], "WARN");
    assert!(lines[note..].iter().any(|line| line["message"] == "stopped"), "{text}");
}

#[tokio::test]
async fn readers_that_are_gone_and_full_disks_stop_nobody() {
    for output in ["gone", "full", "closed"] {
        let host = match output {
            "closed" => {
                let (setup, url) = on_a_port(chatty());
                let plain = setup.command(&["serve"]);
                let mut command = Command::new("sh");
                command.args(["-c", "exec \"$0\" serve >&- 2>&-"]).arg(plain.get_program());
                command.current_dir(plain.get_current_dir().unwrap());
                for (name, value) in plain.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                let child = command.spawn().unwrap();
                Serving::of(child, setup, url).await
            }
            _ => {
                Serving::start(chatty(), &["serve"], |command| {
                    if output == "gone" {
                        let (reader, pipe) = std::io::pipe().unwrap();
                        drop(reader);
                        command.stdout(pipe.try_clone().unwrap()).stderr(pipe);
                    } else {
                        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
                        command.stdout(full.try_clone().unwrap()).stderr(full);
                    }
                })
                .await
            }
        };
        host.is_well_while_it_logs().await;
        if output != "closed" {
            until("what is dropped is counted", async || host.dropped("failed").await > 1000.0).await;
        }
        let status = tokio::task::spawn_blocking(|| host.stop()).await.unwrap();
        assert!(status.success(), "{output}: {status}");
    }
}

#[tokio::test]
async fn a_first_administrator_whose_password_nobody_reads_does_not_keep_the_host_from_serving() {
    let (_reader, pipe) = full_pipe();
    let host = Serving::start(Setup::identity(), &["serve", "--dev"], |command| {
        command.stdout(pipe.try_clone().unwrap()).stderr(pipe);
    })
    .await;
    assert!(tokio::task::spawn_blocking(|| host.stop()).await.unwrap().success());
}

#[test]
fn a_start_that_fails_ends_also_where_nobody_reads_why() {
    let (_reader, pipe) = full_pipe();
    let setup = Setup::new();
    std::fs::remove_file(setup.path("config/trust.toml")).unwrap();
    let mut command = setup.command(&["serve"]);
    let mut child = command.stdout(pipe.try_clone().unwrap()).stderr(pipe).spawn().unwrap();
    let end = Instant::now() + HANG;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("it waits for a reader");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
}
