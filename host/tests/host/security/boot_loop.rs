//! A version that takes the host down while it is brought up, so that every start would die with it.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};

use crate::live::{Admin, make_admin, setup};
use crate::small::{answer, codes, expect, health, json_log, plugin, stopped};
use crate::support::{Setup, chaos_as, chaos_limits, guest_with, until};

/// The chaos guest with time enough to be killed while its `on-enable` runs.
fn slow() -> Vec<u8> {
    guest_with("chaos", &chaos_limits("call_timeout = \"60s\""))
}

/// The host is set so that `on-enable` of these plugins does not come back, or does.
fn spinning(setup: Setup, ids: &[&str], spins: bool) -> Setup {
    let value = if spins { "refuse_to_start = \"spin\"\n" } else { "unused = \"x\"\n" };
    let tables: String = ids.iter().map(|id| format!("[plugins.settings.\"{id}\"]\n{value}")).collect();
    let text = fs::read_to_string(setup.path("config/local.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.remove("plugins");
    setup.config(&table.to_string()).settings(&tables)
}

/// The versions that are being brought up, as the host has written it down.
fn marks(setup: &Setup) -> Vec<Value> {
    let entries = fs::read_dir(setup.path("data/starting")).into_iter().flatten();
    // A file that is being written has another name, and nothing runs yet.
    let read = |path| fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).filter_map(read).collect()
}

/// Starts a host and kills it while `on-enable` of this plugin runs.
fn killed_in_on_enable(setup: &Setup, id: &str) {
    let log = fs::File::create(setup.path("host.log")).unwrap();
    let mut child: Child = setup.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(300);
    let is_there = |mark: &Value| mark["id"] == id && mark["doing"] == "its on-enable ran" && mark["left_off"] == false;
    while !marks(setup).iter().any(is_there) {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "{id} was never brought up");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(setup.path("host.log")).unwrap();
}

#[tokio::test]
async fn an_installed_version_that_kills_the_host_is_left_off_until_an_administrator_enables_it() {
    let setup =
        spinning(setup(), &["test/chaos"], false).plugin("chaos", &slow()).plugin("fine", &plugin("fine", 1, 7));
    let admin = Admin::start(setup).await;
    assert_eq!(admin.show("test/chaos").await["plugin"]["state"], "active");
    assert!(marks(admin.host.setup()).is_empty());
    let setup = spinning(stopped(admin.host), &["test/chaos"], true);
    killed_in_on_enable(&setup, "test/chaos");

    // Every start serves the others, also the one after the next, whatever it would do now.
    let mut setup = setup;
    for start in 0..2 {
        let admin = Admin::again(setup).await;
        assert_eq!(answer(&admin.host, "/fine").await, (200, json!(7)));
        assert_eq!(admin.host.post("/test/chaos/random", json!({ "len": 5 })).await.0, 404);
        assert_eq!((codes(&admin.host), health(&admin.host).await.1), (expect([("test/chaos", "START_DIED")]), 1));
        let shown = admin.show("test/chaos").await;
        assert_eq!(shown["plugin"]["state"], "failed", "{shown}");
        let error = &shown["plugin"]["last_error"];
        assert_eq!((&error["code"], &error["version"]), (&json!("START_DIED"), &json!("1.0.0")), "{shown}");
        let message = error["message"].as_str().unwrap();
        assert!(
            ["its on-enable ran", "arcana plugin enable test/chaos"].iter().all(|word| message.contains(word)),
            "{message}"
        );
        // It is recorded once.
        let recorded = admin.changes("test/chaos").await.iter().filter(|line| line.contains("START_DIED")).count();
        assert_eq!(recorded, 1, "start {start}");
        setup = stopped(admin.host);
    }

    // Enabled, it runs again, and nothing is held against it at the start after that.
    let admin = Admin::again(spinning(setup, &["test/chaos"], false)).await;
    assert_eq!(codes(&admin.host), expect([("test/chaos", "START_DIED")]));
    let (status, details) = admin.act("test/chaos", "enable", Value::Null).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("active")), "{details}");
    assert_eq!(admin.host.post("/test/chaos/random", json!({ "len": 5 })).await, (200, json!(5)));
    assert_eq!(health(&admin.host).await.1, 0);
    let admin = Admin::again(stopped(admin.host)).await;
    assert_eq!((codes(&admin.host), health(&admin.host).await.1), (expect([]), 0));
    assert!(marks(admin.host.setup()).is_empty());
}

#[tokio::test]
async fn an_enable_that_kills_the_host_leaves_that_version_off_and_another_version_is_taken() {
    let setup = spinning(setup(), &["test/chaos"], false).plugin("chaos", &slow());
    let admin = Admin::start(setup).await;
    let (status, _) = admin.act("test/chaos", "disable", Value::Null).await;
    assert_eq!(status, 200);
    let admin = Admin::again(spinning(stopped(admin.host), &["test/chaos"], true)).await;
    // While the host serves: the administrator's request never comes back.
    let request = admin.host.client.post(format!("{}/api/v1/plugins/test/chaos/enable", admin.host.url));
    let pending = tokio::spawn(request.bearer_auth(&admin.token).send());
    until("on-enable runs", async || marks(admin.host.setup()).iter().any(|mark| mark["id"] == "test/chaos")).await;
    let setup = stopped(admin.host);
    let _ = pending.await;

    // It was never said to run, so the start has nothing to leave off; but nothing brings it up by itself either.
    let admin = Admin::again(setup).await;
    assert_eq!(admin.show("test/chaos").await["plugin"]["state"], "disabled");
    let newer = guest_with(
        "chaos",
        &chaos_limits("call_timeout = \"60s\"").replace("seq = 1\n", "seq = 2\n").replace("\"1.0.0\"", "\"1.0.1\""),
    );
    let admin = Admin::again(spinning(stopped(admin.host), &["test/chaos"], false)).await;
    admin.install(&newer).await;
    assert_eq!(admin.host.post("/test/chaos/random", json!({ "len": 5 })).await, (200, json!(5)));
    // The one that died may be gone back to: an administrator says so.
    let (status, details) = admin.act("test/chaos", "rollback", json!({ "version": "1.0.0" })).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("active")), "{details}");
    assert!(marks(admin.host.setup()).is_empty());
}

#[tokio::test]
async fn a_file_of_the_folder_that_kills_the_first_start_is_left_off_until_it_is_touched() {
    let other = chaos_as("other", &chaos_limits("call_timeout = \"60s\""));
    let setup = json_log().plugin("a-fine", &plugin("fine", 1, 7)).plugin("bad", &slow()).plugin("c-other", &other);
    let setup = spinning(setup, &["test/chaos"], true);
    killed_in_on_enable(&setup, "test/chaos");
    let mut host = setup.start();
    for _ in 0..2 {
        assert_eq!(answer(&host, "/fine").await, (200, json!(7)));
        // A twin of it that waited behind it is none of its business.
        assert_eq!(host.get("/health").await.1["plugins"], 2);
        assert_eq!((codes(&host), health(&host).await.1), (expect([("bad", "START_DIED")]), 1));
        host = stopped(host).start();
    }
    // Both at once: each has its own mark, and one that is made good does not clear the other.
    let setup = spinning(stopped(host), &["test/chaos"], false);
    let file = fs::File::options().append(true).open(setup.path("plugins/bad.wasm")).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
    let host = setup.start();
    assert_eq!((codes(&host), health(&host).await), (expect([]), (3, 0)));
    assert!(marks(host.setup()).is_empty());
}

/// When the machine goes down it is no word about the version that happened to start: it has one attempt more.
#[tokio::test]
async fn a_power_cut_does_not_leave_a_version_off() {
    let setup = spinning(json_log(), &["test/chaos"], true).plugin("chaos", &slow());
    killed_in_on_enable(&setup, "test/chaos");
    let path = fs::read_dir(setup.path("data/starting")).unwrap().next().unwrap().unwrap().path();
    let mut mark: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    mark["boot"] = json!("another");
    fs::write(&path, mark.to_string()).unwrap();
    let host = spinning(setup, &["test/chaos"], false).start();
    assert_eq!((codes(&host), health(&host).await), (expect([]), (1, 0)));
    assert_eq!(host.post("/test/chaos/random", json!({ "len": 5 })).await, (200, json!(5)));
}

/// The plugin that signs people in may be the one that is left off: its file brings it back without an account.
#[tokio::test]
async fn a_host_without_sign_in_is_helped_by_touching_the_file_of_that_plugin() {
    let setup = setup();
    make_admin(&setup);
    let admin = Admin::again(setup).await;
    let digest = admin.show("arcana/auth").await["plugin"]["digest"].as_str().unwrap().to_owned();
    let setup = stopped(admin.host);
    let mark = json!({
        "id": "arcana/auth", "version": "1.0.0", "digest": digest, "doing": "its stores were migrated",
        "at": "2026-01-01T00:00:00Z", "boot": fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
    });
    fs::create_dir_all(setup.path("data/starting")).unwrap();
    // The file is older than the death.
    let file = fs::File::options().append(true).open(setup.path("plugins/auth.wasm")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::write(setup.path(&format!("data/starting/{digest}.json")), mark.to_string()).unwrap();
    let host = setup.start();
    assert_eq!(codes(&host), expect([("arcana/auth", "START_DIED")]));
    assert_eq!(host.login("root@example.org", "correct horse").await.0, 404);
    let setup = stopped(host);
    file.set_modified(SystemTime::now()).unwrap();
    let admin = Admin::again(setup).await;
    let (status, _) = admin.call(Method::GET, "/api/v1/plugins", None).await;
    assert_eq!((status, codes(&admin.host)), (200, expect([])));
}
