//! Settings as an operator meets them: where they come from, and what is said when they are wrong.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::json;
use toml::{Table, Value};

use crate::small::{answer, plugin};
use crate::support::Setup;

fn run(setup: &Setup, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = setup.command(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_mistake_is_told_at_once_with_its_key_and_place() {
    let local = "[server.rest]\nprot = 1\nport = \"eighty\"\n[limits]\nmemory = \"1GiB\"\ndrain_deadline = \"1s\"\n[jobs]\nworkers = 3\n";
    let setup =
        Setup::new().config(local).env("ARCANA_CACHE__MAX_TTL", "forever").env("ARCANA_SECURITY__TOKENS__LIVE", "1m");
    let expected = [
        "config/local.toml:2: server.rest.prot: there is no such key; did you mean `server.rest.port`?",
        "config/local.toml:3: server.rest.port: invalid type: string \"eighty\", expected u16",
        "config/local.toml:5: limits.memory: 1GiB is more than `limits.max_memory`, which is 256MiB",
        "config/local.toml:6: limits.drain_deadline: there is no such key",
        "config/local.toml:7: jobs: `jobs` is not available in this version",
        "ARCANA_CACHE__MAX_TTL: cache.max_ttl: ",
        "ARCANA_SECURITY__TOKENS__LIVE: security.tokens.live: there is no such key; did you mean `security.tokens.life`?",
    ];
    for args in
        [&["config", "check"][..], &["config", "show"], &["serve"], &["user", "create-admin", "--email", "a@b.example"]]
    {
        let (code, stdout, stderr) = run(&setup, args);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(stderr.contains("the configuration has 7 mistakes:"), "{args:?}: {stderr}");
        for line in expected {
            assert!(stderr.contains(line), "{args:?}: {line}\nis not in\n{stderr}");
        }
    }
    assert!(!setup.path("data").exists(), "nothing is made by a host that does not start");
}

#[test]
fn check_and_show_tell_what_is_in_effect_and_hide_secrets() {
    let local = "[server.rest]\nport = 1234\n[limits]\nqueue = 9\n[plugins.settings.\"acme/mail\"]\npassword = \"hunter2\"\nhosts = [\"hunter3\"]\nretries = 3\n";
    let setup =
        Setup::new().config(local).env("ARCANA_SERVER__REST__PORT", "4321").env("ARCANA_APP__ENVIRONMENT", "staging");
    fs::write(setup.path("config/staging.toml"), "[limits]\nqueue = 8\nqueue_wait = \"3s\"\n").unwrap();
    assert_eq!(run(&setup, &["config", "check"]), (Some(0), "the configuration is good\n".into(), String::new()));
    let (code, shown, stderr) = run(&setup, &["config", "show"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let line = |key: &str| {
        let mut lines = shown.lines().filter(|line| line.split(" = ").next() == Some(key));
        let found = lines.next().unwrap_or_else(|| panic!("no {key} in\n{shown}")).to_owned();
        assert_eq!(lines.next(), None, "{key} is there twice");
        found
    };
    for (key, value, source) in [
        ("server.rest.port", "4321", "# ARCANA_SERVER__REST__PORT"),
        ("app.environment", "\"staging\"", "# ARCANA_APP__ENVIRONMENT"),
        ("limits.queue", "9", "config/local.toml:4"),
        ("limits.queue_wait", "\"3s\"", "config/staging.toml:3"),
        ("limits.max_plugins", "64", "# default"),
        ("plugins.settings.\"acme/mail\".password", "\"[redacted]\"", "config/local.toml:6"),
        ("plugins.settings.\"acme/mail\".hosts", "\"[redacted]\"", "config/local.toml:7"),
        ("plugins.settings.\"acme/mail\".retries", "3", "config/local.toml:8"),
    ] {
        let line = line(key);
        assert!(line.starts_with(&format!("{key} = {value} ")) && line.contains(source), "{line}");
    }
    assert!(!shown.contains("hunter"), "{shown}");

    // Nor does a mistake beside a secret show it.
    let local = "[plugins.settings.\"acme/mail\"]\npassword = [\"hunter2\", 5]\nkey = { inner = \"hunter3\" }\n";
    let (code, _, stderr) = run(&setup.config(local), &["config", "check"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("acme/mail") && !stderr.contains("hunter"), "{stderr}");

    let (code, _, stderr) = run(&Setup::new(), &["config", "check", "--config", "nowhere"]);
    assert!(code == Some(1) && stderr.contains("nowhere"), "{code:?}: {stderr}");
    assert_eq!(run(&Setup::new(), &["config", "chekc"]).0, Some(2));
}

#[test]
fn a_taken_port_is_named_and_nothing_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup::new().env("ARCANA_SERVER__REST__PORT", &address.port().to_string());
    let (code, stdout, stderr) = run(&setup, &["serve"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&address.to_string()) && stderr.contains("server.rest.port"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line, no trace: {stderr}");
    assert!(!setup.path("data").exists());
}

#[tokio::test]
async fn a_data_folder_has_one_host() {
    let host = Setup::new().plugin("one", &plugin("one", 1, 1)).start();
    let data = host.path("data");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700, "what is in there is nobody else's");
    let other = Setup::new().env("ARCANA_APP__DATA_DIR", data.to_str().unwrap());
    for args in [&["serve"][..], &["user", "create-admin", "--email", "a@b.example"]] {
        let (code, _, stderr) = run(&other, args);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("another host is using the data folder"), "{stderr}");
        assert!(stderr.contains(data.to_str().unwrap()) && stderr.contains("app.data_dir"), "{stderr}");
    }
    assert_eq!(answer(&host, "/one").await, (200, json!(1)));
    // A host that is gone, however it went, holds nothing.
    drop(host.kill().start());
}

#[tokio::test]
async fn development_mode_stays_on_loopback_and_shows() {
    let (code, _, stderr) = run(&Setup::new().env("ARCANA_SERVER__REST__ADDRESS", "192.0.2.1"), &["serve", "--dev"]);
    assert_eq!(code, Some(1));
    assert!(["server.rest.address", "192.0.2.1", "loopback"].iter().all(|word| stderr.contains(word)), "{stderr}");

    let host = Setup::identity().env("ARCANA_SERVER__REST__ADDRESS", "0.0.0.0").dev().start();
    assert!(host.url.starts_with("http://127.0.0.1:"), "{}", host.url);
    assert_eq!(host.get("/health").await.1["mode"], "development");
    assert!(host.printed.last().unwrap().ends_with("(development mode)"), "{:?}", host.printed);

    // In production every address is what was asked for, and nobody is made an administrator.
    let host = Setup::identity().env("ARCANA_SERVER__REST__ADDRESS", "0.0.0.0").start();
    assert!(host.url.starts_with("http://0.0.0.0:"), "{}", host.url);
    assert_eq!(host.get("/health").await.1["mode"], "production");
    assert!(!host.printed.iter().any(|line| line.contains("administrator") || line.contains("development")));
}

/// Where nothing outside of the settings' own module reads a key, setting it has no effect.
#[test]
fn every_key_has_a_reader() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut text = String::new();
    let mut waiting = vec![source.clone()];
    while let Some(path) = waiting.pop() {
        if path == source.join("config") || path.file_name().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    // These two choose files of settings, which is the loader's own work.
    let loader = fs::read_to_string(source.join("config/mod.rs")).unwrap();
    let mut unread = Vec::new();
    for path in keys(&arcana::config::DEFAULTS.parse().unwrap()) {
        let key = path.rsplit('.').next().unwrap();
        let read = match path.as_str() {
            "app.environment" | "deployment.mode" => {
                loader.contains(&format!("\"{}\", \"{key}\"", path.split('.').next().unwrap()))
            }
            _ => {
                let field = format!(".{key}");
                let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '(');
                text.match_indices(&field).any(|(at, _)| ends(&text[at + field.len()..]))
            }
        };
        if !read {
            unread.push(path);
        }
    }
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}

fn keys(table: &Table) -> Vec<String> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => keys(inner).into_iter().map(|rest| format!("{key}.{rest}")).collect(),
        _ => vec![key.clone()],
    };
    table.iter().flat_map(below).collect()
}
