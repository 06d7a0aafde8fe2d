//! `arcana dev`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{command, desk, edit, make};

/// Longest wait, builds on a busy machine included: a hang guard.
const PATIENCE: Duration = Duration::from_secs(400);

/// A running `arcana dev`.
struct Dev {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dev {
    /// Starts it and waits until it serves.
    fn start(mut command: Command) -> Self {
        for listener in ["REST", "GRPC"] {
            command.env(format!("ARCANA_SERVER__{listener}__PORT"), "0");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        // What the compiler and the log say goes to the other output.
        read(child.stdout.take().unwrap(), lines.clone());
        read(child.stderr.take().unwrap(), lines.clone());
        let mut dev = Self { child, lines, url: String::new() };
        let line = dev.wait_for("arcana is serving on ");
        dev.url = line.split_whitespace().nth(4).unwrap().to_owned();
        dev
    }

    /// Waits for a line with these words; answers the first one.
    fn wait_for(&mut self, words: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.lines.lock().unwrap().iter().find(|line| line.contains(words)).cloned();
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(Instant::now() < until && ended.is_none(), "no {words:?} ({ended:?}) in:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// From here on only what is said later is looked at.
    fn forget(&self) {
        self.lines.lock().unwrap().clear();
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = crate::support::client().get(format!("{}{path}", self.url)).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    /// Waits for this answer.
    async fn until(&mut self, path: &str, expected: (u16, Value)) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if answer == expected {
                return;
            }
            assert!(Instant::now() < until, "{path} answers {answer:?}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells it to stop, as Ctrl-C does, and waits for its end.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.said());
    }
}

fn read(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
}

fn dev(folder: &Path) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_arcana"), folder);
    command.arg("dev");
    command
}

/// A save is a swap; what is wrong with one is told, and the version before goes on.
#[tokio::test]
async fn a_save_changes_the_answer() {
    let desk = desk();
    let crate_ = make(desk.path(), "live-notes", &[]);
    let (source, manifest) = (crate_.join("src/lib.rs"), crate_.join("plugin.toml"));
    let count = "/api/v1/live-notes/count";
    let mut running = Dev::start(dev(&crate_));
    running.wait_for("shipped plugins: none");
    running.wait_for("local/live-notes 0.1.0 answers");
    running.wait_for("+ GET    /api/v1/live-notes/count  gRPC local.live_notes.v0.Notes/Count");
    running.wait_for("watching");
    assert_eq!(running.get(count).await, (200, 0.into()));

    let body = "fn count() -> Result<u64> {\n";
    edit(&source, body, "fn count() -> Result<u64> {\n        if true { return Ok(41); }\n");
    running.until(count, (200, 41.into())).await;

    running.forget();
    edit(&source, "return Ok(41);", "return Ok(\"41\");");
    running.wait_for("mismatched types");
    running.wait_for("live-notes: it does not build; the version before goes on");
    assert_eq!(running.get(count).await, (200, 41.into()));

    // What the host would refuse is told in terms of the manifest.
    edit(&source, "return Ok(\"41\");", "return Ok(42);");
    running.until(count, (200, 42.into())).await;
    running.forget();
    edit(&manifest, "call = \"notes.count\"", "call = \"notes.cuont\"");
    running.wait_for("notes.cuont");
    assert_eq!(running.get(count).await, (200, 42.into()));

    running.forget();
    edit(
        &manifest,
        "call = \"notes.cuont\"\nhttp = \"GET /api/v1/live-notes/count\"",
        "call = \"notes.count\"\nhttp = \"GET /api/v1/live-notes/number\"",
    );
    running.wait_for("- GET    /api/v1/live-notes/count");
    running.wait_for("+ GET    /api/v1/live-notes/number");
    assert_eq!(running.get("/api/v1/live-notes/number").await, (200, 42.into()));
    running.stop();

    // What ran is there again at once, and the first build finds that it is the newest.
    let mut running = Dev::start(dev(&crate_));
    assert_eq!(running.get("/api/v1/live-notes/number").await, (200, 42.into()));
    running.wait_for("watching");
    running.stop();
}

/// Beside a program that ships plugins these are served too, on the word of the keys that it came with.
#[tokio::test]
async fn shipped_plugins_are_served_beside_it() {
    let desk = desk();
    let dist = desk.path().join("dist");
    let given = std::env::var("ARCANA_TEST_DIST")
        .unwrap_or_else(|_| panic!("ARCANA_TEST_DIST is not set: run `cargo xtask test`"));
    for folder in ["plugins", "config"] {
        fs::create_dir_all(dist.join(folder)).unwrap();
    }
    fs::hard_link(env!("CARGO_BIN_EXE_arcana"), dist.join("arcana")).unwrap();
    for file in ["plugins/auth.wasm", "plugins/users.wasm", "config/trust.toml"] {
        fs::copy(Path::new(&given).join(file), dist.join(file)).unwrap();
    }
    let crate_ = make(desk.path(), "beside-notes", &[]);
    let mut dev = command(dist.join("arcana"), &crate_);
    dev.arg("dev")
        .env("ARCANA_SECURITY__PASSWORDS__MEMORY", "64KiB")
        .env("ARCANA_SECURITY__PASSWORDS__ITERATIONS", "1");
    let mut running = Dev::start(dev);
    running.wait_for("shipped plugins: auth, users");
    let line = running.wait_for("first administrator:");
    running.wait_for("local/beside-notes 0.1.0 answers");

    let client = crate::support::client();
    let words: Vec<&str> = line.split_whitespace().collect();
    let login = serde_json::json!({ "email": words[2], "password": words[5] });
    let answer: Value = client
        .post(format!("{}/api/v1/auth/login", running.url))
        .json(&login)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let note = serde_json::json!({ "text": "mine" });
    let url = format!("{}/api/v1/beside-notes", running.url);
    let made = client.post(&url).bearer_auth(token).json(&note).send().await.unwrap();
    assert_eq!(made.status().as_u16(), 201, "{}", running.said());
    running.stop();
}
