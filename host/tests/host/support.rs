//! A real host for each test: the binary of this build, on a free port, in a folder of its own, with really signed plugins.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arcana::backends::sqlite::{SqliteSettings, SqliteThreads};
use arcana::telemetry::metrics::Metrics;
use arcana_signing::{SecretKey, envelope, trust};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for a host to serve, the compilation of its plugins on a busy machine included.
const START: Duration = Duration::from_secs(400);

/// The key that every test's plugins are signed with, and that its hosts trust for everything.
pub static KEY: LazyLock<SecretKey> = LazyLock::new(|| SecretKey::generate().unwrap());

/// Compiled code shared by every host of this run would need a shared key; each compiles what it uses.
fn from_env(name: &str) -> PathBuf {
    std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`"))
}

/// Threads for stores that a test opens itself.
pub fn threads() -> SqliteThreads {
    SqliteThreads::new(&SqliteSettings::default(), Metrics::new().unwrap().sqlite())
}

/// A shipped plugin (`auth`, `users`), signed by [`KEY`] as well.
pub fn shipped(name: &str) -> Vec<u8> {
    let path = from_env("ARCANA_TEST_DIST").join("plugins").join(format!("{name}.wasm"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    envelope::sign(&file, &[&KEY]).unwrap()
}

/// The component of a guest of `host/tests/guests`, as the compiler made it.
pub fn guest_component(name: &str) -> Vec<u8> {
    let path = from_env("ARCANA_TEST_GUESTS").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folder of a guest's source.
pub fn guest_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests").join(name)
}

/// The manifest of a guest.
pub fn guest_manifest(name: &str) -> String {
    std::fs::read_to_string(guest_dir(name).join("plugin.toml")).unwrap()
}

/// A guest packed with this manifest and signed by [`KEY`].
pub fn guest_with(name: &str, manifest: &str) -> Vec<u8> {
    let packed = arcana::plugins::pack::pack(&guest_component(name), manifest, &[], &guest_dir(name)).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

/// A guest packed with its own manifest and signed by [`KEY`].
pub fn guest(name: &str) -> Vec<u8> {
    guest_with(name, &guest_manifest(name))
}

/// The chaos guest under another name of five letters (its interface, its id and its routes), so that several can be active.
pub fn chaos_as(name: &str, manifest: &str) -> Vec<u8> {
    let (old, new) = (&b"test:chaos/"[..], format!("test:{name}/").into_bytes());
    assert_eq!(old.len(), new.len(), "the lengths in the component would not be right");
    let mut component = guest_component("chaos");
    let found: Vec<usize> = (0..component.len() - old.len()).filter(|at| component[*at..].starts_with(old)).collect();
    for at in found {
        component[at..at + old.len()].copy_from_slice(&new);
    }
    let manifest = manifest.replace("test/chaos", &format!("test/{name}"));
    let packed = arcana::plugins::pack::pack(&component, &manifest, &[], &guest_dir("chaos")).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

/// The manifest of the chaos guest with other `[limits]`.
pub fn chaos_limits(limits: &str) -> String {
    let manifest = guest_manifest("chaos");
    let (methods, _) = manifest.split_once("[limits]").unwrap();
    format!("{methods}[limits]\n{limits}\n")
}

/// The same with more keys in one of its methods.
pub fn with_method(manifest: &str, call: &str, keys: &str) -> String {
    let entry = format!("call = \"{call}\"\n");
    assert!(manifest.contains(&entry), "no method {call}");
    manifest.replace(&entry, &format!("{entry}{keys}\n"))
}

/// Waits until it is so; a hang guard ends the wait.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < end, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a host is started with.
pub struct Setup {
    home: TempDir,
    dev: bool,
    env: Vec<(String, String)>,
}

impl Setup {
    /// A fresh folder with a trust file for [`KEY`] and no plugins. Rate limits are off unless a test sets them.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in ["config", "plugins"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        let setup = Self { home, dev: false, env: Vec::new() };
        std::fs::write(setup.path("config/trust.toml"), trust::development(&KEY.public_key())).unwrap();
        setup.config(
            "[server.rest]\naddress = \"127.0.0.1\"\nport = 0\n[server.grpc]\naddress = \"127.0.0.1\"\nport = 0\n[observability.metrics]\nmax_age = \"0s\"\n[limits]\nrate_limits = false\n[limits.compile]\nmemory = \"4GiB\"\n",
        )
    }

    /// With auth and users, and cheap password hashes.
    pub fn identity() -> Self {
        Self::new()
            .env("ARCANA_SECURITY__PASSWORDS__MEMORY", "64KiB")
            .env("ARCANA_SECURITY__PASSWORDS__ITERATIONS", "1")
            .plugin("users", &shipped("users"))
            .plugin("auth", &shipped("auth"))
    }

    /// A path in the home folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes `config/local.toml`.
    pub fn config(self, toml: &str) -> Self {
        std::fs::write(self.path("config/local.toml"), toml).unwrap();
        self
    }

    /// Adds to `config/local.toml`, whose settings so far are those of [`Self::new`].
    pub fn settings(self, toml: &str) -> Self {
        let file = self.path("config/local.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut table: toml::Table = text.parse().unwrap();
        merge(&mut table, toml.parse().unwrap());
        self.config(&table.to_string())
    }

    /// Sets an environment variable of the host.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Puts a file into the plugin folder.
    pub fn plugin(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.path(&format!("plugins/{name}.wasm")), bytes).unwrap();
        self
    }

    /// Development mode.
    pub fn dev(mut self) -> Self {
        self.dev = true;
        self
    }

    /// The `arcana` binary with this environment, for other verbs than `serve`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arcana"));
        command.args(args).current_dir(self.home.path()).env("NO_COLOR", "1");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ARCANA_")) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the host and waits until it serves.
    pub fn start(self) -> Host {
        self.try_start().unwrap_or_else(|log| panic!("the host did not start:\n{log}"))
    }

    /// Starts the host; answers what it wrote where it ends instead of serving.
    pub fn try_start(self) -> Result<Host, String> {
        let log = self.path("host.log");
        let mut args = vec!["serve"];
        args.extend(self.dev.then_some("--dev"));
        let errors = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = self.command(&args).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                // Read to the end, so that the host never blocks on a full pipe.
                let _ = send.send(line);
            }
        });
        let mut host = Host {
            child,
            url: String::new(),
            grpc: String::new(),
            printed: Vec::new(),
            client: client(),
            setup: Some(self),
        };
        let until = Instant::now() + START;
        while let Ok(line) = receive.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if let Some(address) = line.strip_prefix("gRPC on ") {
                host.grpc = format!("http://{address}");
            }
            if let Some(rest) = line.strip_prefix("arcana is serving on ") {
                host.url = rest.split(' ').next().unwrap().to_owned();
            }
            host.printed.push(line);
            if !host.url.is_empty() {
                return Ok(host);
            }
        }
        let printed = host.printed.join("\n");
        // Its folder goes with it, and the log is in there.
        let _setup = host.kill();
        Err(format!("{printed}\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
    }
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// A client. What does TLS is the one that the host uses; no test needs it.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap()
}

/// A running host. Dropping it kills the process.
pub struct Host {
    child: Child,
    /// `http://127.0.0.1:port`
    pub url: String,
    /// The address of gRPC, `http://127.0.0.1:port`; empty where it is off.
    pub grpc: String,
    /// What it printed until it served.
    pub printed: Vec<String>,
    /// A client with connections of its own.
    pub client: reqwest::Client,
    setup: Option<Setup>,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Host {
    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was started with.
    pub fn setup(&self) -> &Setup {
        self.setup.as_ref().unwrap()
    }

    /// Its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.setup().path(name)
    }

    /// What it has logged so far. A thread of the host writes it: while that one has work it is waited for.
    pub fn log(&self) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until && self.is_writing_log() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::read_to_string(self.path("host.log")).unwrap_or_default()
    }

    /// Whether the thread that writes the log does anything but sleep.
    fn is_writing_log(&self) -> bool {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", self.pid())) else { return false };
        tasks.flatten().any(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.split_once("(arcana-output) ").is_some_and(|(_, state)| !state.starts_with('S'))
        })
    }

    /// Kills it with SIGKILL and gives back what it was started with, data and all.
    pub fn kill(mut self) -> Setup {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.setup.take().unwrap()
    }

    /// Tells it to stop with SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for the process to end.
    pub fn wait(mut self) -> (std::process::ExitStatus, Setup) {
        let status = self.child.wait().unwrap();
        (status, self.setup.take().unwrap())
    }

    /// Sends a request with an optional token and JSON body.
    pub async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    /// The same, answered as status and JSON (null for an empty body).
    pub async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let response = self.send(method, path, token, body).await;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        let value = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("{path}: {error}: {}", String::from_utf8_lossy(&bytes))),
        };
        (status, value)
    }

    /// GET without a token.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None, None).await
    }

    /// POST without a token.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, None, Some(body)).await
    }

    /// What it has logged with this id of a request, without the lines of the plugins themselves.
    pub fn logged(&self, request_id: &str) -> Vec<String> {
        let of_request =
            |line: &&str| line.contains(&format!("request_id={request_id}")) && !line.contains(" plugin: ");
        self.log().lines().filter(of_request).map(str::to_owned).collect()
    }

    /// The value of a metric whose line begins with `name` (labels included); 0 where there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.client.get(format!("{}/metrics", self.url)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or(0.0)
    }

    /// Registers an account with the password `correct horse` and answers its session.
    pub async fn register(&self, email: &str) -> Session {
        let body = json!({ "email": email, "password": PASSWORD });
        let (status, answer) = self.post("/api/v1/auth/register", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        Session::read(&answer)
    }

    /// Signs in.
    pub async fn login(&self, email: &str, password: &str) -> (u16, Value) {
        self.post("/api/v1/auth/login", json!({ "email": email, "password": password })).await
    }
}

/// The password of every account that tests make.
pub const PASSWORD: &str = "correct horse";

/// A signed-in account.
#[derive(Debug, Clone)]
pub struct Session {
    pub access: String,
    pub refresh: String,
    pub id: String,
}

impl Session {
    /// From the answer of register, login or refresh.
    pub fn read(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no session in {answer}")).to_owned();
        Self {
            access: text(&answer["access_token"]),
            refresh: text(&answer["refresh_token"]),
            id: text(&answer["user"]["id"]),
        }
    }
}

/// The first administrator of a host in development mode: what it printed once.
pub async fn first_admin(host: &Host) -> Session {
    let line =
        host.printed.iter().find(|line| line.starts_with("first administrator:")).expect("no first administrator");
    let words: Vec<&str> = line.split_whitespace().collect();
    let password = words[words.iter().position(|word| *word == "password").unwrap() + 1];
    let (status, answer) = host.login(words[2], password).await;
    assert_eq!(status, 200, "{answer}");
    Session::read(&answer)
}
