//! The commands of administrators against a running host.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::accounts::account;
use crate::small::{answer, plugin};
use crate::support::{Host, PASSWORD, Session, Setup, until};

const ADMIN: &str = "admin@example.com";

/// A host with an administrator, and a folder of settings for whoever sits at the command line.
struct Desk {
    host: Host,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new(setup: Setup) -> Self {
        let mut child = setup
            .command(&["user", "create-admin", "--email", ADMIN, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        Self { host: setup.start(), folder: tempfile::tempdir().unwrap() }
    }

    /// Runs `arcana` and gives it this on standard input.
    fn run_with(&self, args: &[&str], input: &str, env: &[(&str, &str)]) -> Run {
        let mut command = self.host.setup().command(args);
        command.env("XDG_CONFIG_HOME", self.folder.path()).envs(env.iter().copied());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // It need not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::read(&child.wait_with_output().unwrap())
    }

    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "", &[])
    }

    /// Answers of a command that succeeds.
    fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.out
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    fn login(&self) {
        let run = self.run_with(&["login", &self.host.url, "--email", ADMIN, "--password-stdin"], PASSWORD, &[]);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(run.out, format!("signed in to {}/ as {ADMIN} (superadmin)\n", self.host.url));
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("arcana/credentials.json")
    }

    /// The session of this host as the file has it.
    fn session(&self) -> Value {
        let file: Value = serde_json::from_slice(&std::fs::read(self.credentials()).unwrap()).unwrap();
        file["servers"][format!("{}/", self.host.url)].clone()
    }

    /// Changes the session in the file.
    fn alter(&self, key: &str, value: Value) {
        let mut file: Value = serde_json::from_slice(&std::fs::read(self.credentials()).unwrap()).unwrap();
        file["servers"][format!("{}/", self.host.url)][key] = value;
        std::fs::write(self.credentials(), file.to_string()).unwrap();
    }

    /// A signed file in the home folder.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.host.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn read(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts how it ended and what it said.
    fn ends(&self, code: i32, words: &[&str]) {
        assert!(self.code == code && words.iter().all(|word| self.err.contains(word)), "{code}, {words:?}: {self:?}");
    }
}

#[tokio::test]
async fn a_session_is_made_renewed_and_ended() {
    let desk = Desk::new(Setup::identity());
    desk.run(&["plugin", "list", "--server", &desk.host.url])
        .ends(3, &["nobody is signed in", "arcana login http://127"]);
    let args = ["login", &desk.host.url, "--email", ADMIN, "--password-stdin"];
    desk.run_with(&args, "wrong", &[]).ends(1, &["INVALID_CREDENTIALS"]);
    assert!(!desk.credentials().exists());

    desk.login();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&desk.credentials()), mode(desk.credentials().parent().unwrap())), (0o600, 0o700));
    // From now on it is the host that commands speak with.
    assert_eq!(desk.json(&["plugin", "list"])["plugins"].as_array().unwrap().len(), 2);

    // A token that has run out is renewed by itself, and so is one that the host does not take.
    let first = desk.session();
    desk.alter("expires_at", json!(0));
    desk.ok(&["plugin", "list"]);
    let second = desk.session();
    assert!(first["refresh_token"] != second["refresh_token"] && first["access_token"] != second["access_token"]);
    desk.alter("access_token", json!("of another time"));
    desk.ok(&["plugin", "list"]);
    assert!(desk.session()["refresh_token"] != second["refresh_token"]);
    // One that is fine is used as it is.
    let third = desk.session();
    desk.ok(&["plugin", "list"]);
    assert_eq!(desk.session(), third);

    // Many at once: a refresh token that is used twice would end the session.
    desk.alter("expires_at", json!(0));
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| desk.run(&["plugin", "list"]).code)).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap() == 0));
    });
    desk.ok(&["plugin", "list"]);

    // No token is shown, whatever is asked.
    let session = desk.session();
    let shown = desk.run_with(&["plugin", "list", "--json"], "", &[("RUST_LOG", "trace")]);
    for token in ["access_token", "refresh_token"] {
        let token = session[token].as_str().unwrap();
        assert!(!shown.out.contains(token) && !shown.err.contains(token), "{shown:?}");
    }

    // A session that was ended elsewhere.
    let refresh = desk.session()["refresh_token"].clone();
    assert_eq!(desk.host.post("/api/v1/auth/logout", json!({ "refresh_token": refresh })).await.0, 204);
    desk.run(&["plugin", "list"]).ends(3, &["the session has ended", "arcana login"]);
    assert_eq!(desk.session(), Value::Null);

    desk.login();
    let session = desk.session();
    assert_eq!(desk.ok(&["logout"]), format!("signed out of {}/\n", desk.host.url));
    assert_eq!(desk.session(), Value::Null);
    let (status, _) =
        desk.host.post("/api/v1/auth/refresh", json!({ "refresh_token": session["refresh_token"] })).await;
    assert_eq!(status, 401, "the host still knows the session");
    assert_eq!(desk.ok(&["logout", &desk.host.url]), format!("nobody was signed in to {}/\n", desk.host.url));
}

#[tokio::test]
async fn the_exit_code_tells_whose_fault_it_is() {
    let desk = Desk::new(Setup::identity());
    desk.login();
    // 2: the command or a file of this machine.
    desk.run(&["plugin", "install", "nowhere.wasm"]).ends(2, &["nowhere.wasm cannot be read"]);
    desk.run(&["plugin", "show", "noslash"]).ends(2, &["noslash"]);
    desk.run(&["plugin", "show", "a/b", "--frobnicate"]).ends(2, &["--frobnicate"]);
    desk.run(&["plugin", "list", "--server", "example.com"]).ends(2, &["https://apps.example.com"]);
    desk.run(&["plugin", "remove", "arcana/users"]).ends(2, &["--yes"]);
    // 1: the host.
    let run = desk.run(&["plugin", "show", "test/none", "--json"]);
    run.ends(1, &["NOT_FOUND"]);
    let body: Value = serde_json::from_str(&run.out).unwrap();
    assert!(body["code"] == "NOT_FOUND" && body["message"].is_string(), "{body}");
    let bad = desk.file("bad.wasm", b"\0asm and nothing else");
    desk.run(&["plugin", "install", &bad]).ends(1, &["NOT_COMPONENT"]);
    // 3: no host, no session.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{closed}");
    desk.run(&["plugin", "list", "--server", &nowhere, "--token", "x"]).ends(3, &[&nowhere, "cannot be reached"]);
    desk.run(&["plugin", "list", "--token", "garbage"]).ends(3, &["does not take this token"]);
    let run = desk.run(&["plugin", "list", "--server", &nowhere, "--json"]);
    run.ends(3, &["nobody is signed in"]);
    assert_eq!(serde_json::from_str::<Value>(&run.out).unwrap()["code"], "SIGNED_OUT");

    // Whoever is no administrator is refused, not signed out.
    let admin = Session::read(&desk.host.login(ADMIN, PASSWORD).await.1);
    let user = account(&desk.host, &admin, "user@example.com", "user").await;
    let run = desk.run_with(
        &["plugin", "list"],
        "",
        &[("ARCANA_TOKEN", &user.access), ("ARCANA_SERVER_URL", &desk.host.url)],
    );
    run.ends(1, &["FORBIDDEN"]);
    let run = desk.run_with(
        &["plugin", "list", "--json"],
        "",
        &[("ARCANA_TOKEN", &admin.access), ("ARCANA_SERVER_URL", &desk.host.url)],
    );
    assert_eq!(run.code, 0, "{run:?}");
}

#[tokio::test]
async fn a_plugin_is_installed_swapped_rolled_back_and_removed() {
    let desk = Desk::new(Setup::identity());
    desk.login();
    let one = desk.file("one.wasm", &plugin("app", 1, 1));
    let two = desk.file("two.wasm", &plugin("app", 2, 2));

    // What would happen, and nothing does.
    let tried = desk.json(&["plugin", "install", &one, "--dry-run"]);
    assert_eq!((&tried["changed"], &tried["id"]), (&json!(false), &json!("test/app")), "{tried}");
    assert_eq!(answer(&desk.host, "/app").await.0, 404);

    let run = desk.run(&["plugin", "install", &one]);
    assert!(run.code == 0 && run.out.starts_with("test/app 1.0.1 (seq 1) is active\n"), "{run:?}");
    // Nobody looks at a bar here: the stages are lines.
    for line in ["uploading one.wasm (", "compiling", "activating"] {
        assert!(run.err.lines().any(|found| found.starts_with(line)), "{line}: {run:?}");
    }
    assert_eq!(answer(&desk.host, "/app").await, (200, json!(1)));
    let again = desk.ok(&["plugin", "install", &one]);
    assert!(again.contains("is there already"), "{again}");

    let swapped = desk.json(&["plugin", "install", &two]);
    assert_eq!(
        (&swapped["state"], &swapped["comparison"]["from_version"]),
        (&json!("active"), &json!("1.0.1")),
        "{swapped}"
    );
    assert_eq!(answer(&desk.host, "/app").await, (200, json!(2)));
    desk.run(&["plugin", "install", &one]).ends(1, &["SEQ_TOO_LOW"]);

    let listed = desk.ok(&["plugin", "list"]);
    let row = listed.lines().find(|line| line.starts_with("test/app")).unwrap();
    assert!(row.contains("1.0.2") && row.contains("active"), "{listed}");
    let shown = desk.ok(&["plugin", "show", "test/app"]);
    for words in ["GET /app", "api.answer", "1.0.1", "1.0.2", "install"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    // Back by version, forth by the start of a digest, back without a word.
    assert_eq!(desk.ok(&["plugin", "rollback", "test/app", "--to", "1.0.1"]), "test/app 1.0.1 is active\n");
    assert_eq!(answer(&desk.host, "/app").await, (200, json!(1)));
    let digest = swapped["digest"].as_str().unwrap();
    assert_eq!(desk.ok(&["plugin", "rollback", "test/app", "--to", &digest[..16]]), "test/app 1.0.2 is active\n");
    assert_eq!(desk.json(&["plugin", "rollback", "test/app"])["plugin"]["version"], "1.0.1");
    desk.run(&["plugin", "rollback", "test/app", "--to", "9.9.9"]).ends(1, &["NOT_KEPT", "1.0.2 (2)"]);

    assert_eq!(desk.ok(&["plugin", "disable", "test/app"]), "test/app 1.0.1 is disabled\n");
    assert_eq!(answer(&desk.host, "/app").await.0, 404);
    assert_eq!(desk.ok(&["plugin", "enable", "test/app"]), "test/app 1.0.1 is active\n");
    desk.run(&["plugin", "approve", "test/app", "--yes"]).ends(2, &["waits for an approval"]);

    assert_eq!(desk.ok(&["plugin", "remove", "test/app", "--yes"]), "test/app is removed; its stores are kept\n");
    assert_eq!(answer(&desk.host, "/app").await.0, 404);
    desk.run(&["plugin", "show", "test/app"]).ends(1, &["NOT_FOUND"]);
}

#[tokio::test]
async fn the_lines_of_a_plugin_are_shown_and_followed() {
    let desk = Desk::new(Setup::identity().plugin("chaos", &crate::support::guest("chaos")));
    desk.login();
    let (status, _) = desk.host.post("/test/chaos/flood-log", json!({ "lines": 3, "bytes": 8 })).await;
    assert!(status < 300, "{status}");
    let lines = desk.ok(&["plugin", "logs", "test/chaos", "--lines", "2"]);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let json = desk.ok(&["plugin", "logs", "test/chaos", "-n", "1", "--json"]);
    assert!(serde_json::from_str::<Value>(json.trim()).unwrap()["message"].is_string(), "{json}");

    // Followed until somebody ends it.
    let out = desk.host.path("followed");
    let mut child = desk
        .host
        .setup()
        .command(&["plugin", "logs", "test/chaos", "--follow", "--lines", "0"])
        .env("XDG_CONFIG_HOME", desk.folder.path())
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    until("a new line is followed", async || {
        desk.host.post("/test/chaos/flood-log", json!({ "lines": 1, "bytes": 8 })).await;
        std::fs::read_to_string(&out).unwrap().lines().count() > 0
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// In front of a host: takes the encryption off, one request a connection.
fn encrypted(host: &str) -> std::net::SocketAddr {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/tls");
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, host) = (Arc::new(config), host.strip_prefix("http://").unwrap().to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut client = rustls::StreamOwned::new(connection, client.unwrap());
            // A client that does not trust it ends the handshake.
            let Some(request) = read_request(&mut client) else { continue };
            let mut server = TcpStream::connect(&host).unwrap();
            server.write_all(&request).unwrap();
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).unwrap();
            let _ = client.write_all(&answer);
            client.conn.send_close_notify();
            let _ = client.flush();
        }
    });
    address
}

/// A whole request, which is told to be the last of its connection.
fn read_request(from: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = from.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            return Some([head.as_bytes(), b"\r\nconnection: close", &bytes[end..]].concat());
        }
    }
}

#[tokio::test]
async fn https_is_spoken_with_those_whose_certificate_is_trusted() {
    let desk = Desk::new(Setup::identity());
    let address = encrypted(&desk.host.url);
    let url = format!("https://localhost:{}", address.port());
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/tls/authority.pem");
    let trusted = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let args = ["login", &url, "--email", ADMIN, "--password-stdin"];
    let run = desk.run_with(&args, PASSWORD, &trusted);
    assert!(run.code == 0 && !run.err.contains("not encrypted"), "{run:?}");
    let run = desk.run_with(&["plugin", "list", "--json"], "", &trusted);
    assert!(run.code == 0 && run.out.contains("arcana/users"), "{run:?}");
    // The password goes to nobody else.
    desk.run_with(&args, PASSWORD, &[]).ends(3, &["cannot be reached", "certificate"]);
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect() {
    let desk = Desk::new(Setup::identity());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (there, here) = (other.local_addr().unwrap(), listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if let Some(request) = read_request(&mut client) {
                counter.fetch_add(usize::from(request.windows(7).any(|seven| seven == b"hunter2")), Ordering::Relaxed);
                let answer =
                    format!("HTTP/1.1 307 \r\nlocation: http://{there}/api/v1/plugins\r\ncontent-length: 0\r\n\r\n");
                client.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    let here = format!("http://{here}");
    let run = desk.run(&["plugin", "list", "--server", &here, "--token", "hunter2"]);
    run.ends(3, &["sends to", &there.to_string()]);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was asked, with the token");
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "the token followed");
    // What is no host is told from one that refuses.
    let elsewhere = encrypted(&desk.host.url);
    desk.run(&["plugin", "list", "--server", &format!("http://{elsewhere}"), "--token", "x"])
        .ends(3, &["cannot be reached"]);
}
