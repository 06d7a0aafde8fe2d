//! What a plugin keeps and what it is set to: migrations of its store, settings, secrets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arcana::backends::sql::Value as Sql;
use arcana::backends::sqlite::{SqliteStore, Trust};
use arcana_signing::envelope;
use serde_json::json;

use crate::small::{
    answer, answering, bare_manifest, codes, events, expect, json_log, manifest, refused, signed, stopped,
};
use crate::support::{Host, KEY, Setup, guest_component, guest_dir, guest_manifest, threads, until};

/// A plugin `test/app` with these migrations of its own store.
fn with_store(setup: &Setup, seq: u64, migrations: &[&str]) -> Vec<u8> {
    let folder = setup.path("sql/sqlite/own");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (sql, at) in migrations.iter().zip(1..) {
        fs::write(folder.join(format!("{at:04}_step.sql")), sql).unwrap();
    }
    let text = bare_manifest("test/app", seq)
        + "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"sql\"\n"
        + "[[methods]]\ncall = \"api.answer\"\nhttp = \"GET /app\"\nallow = \"public\"\n";
    let seq = u32::try_from(seq).unwrap();
    let packed = arcana::plugins::pack::pack(&answering("app", seq), &text, &[], &setup.path("")).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

/// The store of `test/app` in a folder of stores, as another process sees it.
async fn rows(stores: &Path, sql: &str) -> Vec<Vec<Sql>> {
    let file = stores.join("own.test.app.db");
    let store = SqliteStore::open("look", &file, Trust::Host, &Arc::default(), &threads()).await.unwrap();
    let found = store.query(sql, Vec::new(), Instant::now() + Duration::from_secs(60)).await.unwrap().rows;
    store.close(Instant::now() + Duration::from_secs(60)).await;
    found
}

async fn recorded(stores: &Path) -> Vec<i64> {
    let rows = rows(stores, "SELECT version FROM _arcana_migrations ORDER BY version").await;
    rows.into_iter()
        .map(|row| match row[..] {
            [Sql::Int64(version)] => version,
            _ => panic!("{row:?}"),
        })
        .collect()
}

const LOG: &str = "CREATE TABLE steps (at INTEGER); INSERT INTO steps VALUES (1);";

#[tokio::test]
async fn a_migration_that_takes_away_is_refused_and_the_older_version_serves() {
    let setup = json_log();
    let first = with_store(&setup, 1, &["CREATE TABLE notes (text TEXT)"]);
    let host = setup.plugin("app", &first).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    let setup = stopped(host);
    let less = with_store(&setup, 2, &["CREATE TABLE notes (text TEXT)", "DROP TABLE notes"]);
    let host = setup.plugin("app", &less).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    let (code, reason) = &refused(&host)["app"];
    assert_eq!(code, "MIGRATION_NOT_EXPANDING", "{reason}");
    for words in ["store \"own\"", "migration 2 (step)", "the table `notes` is gone", "docs/data.md"] {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(recorded(&host.path("data/stores")).await, [1]);

    // One that adds is taken.
    let setup = stopped(host);
    let more = ["CREATE TABLE notes (text TEXT)", "ALTER TABLE notes ADD COLUMN at INTEGER NOT NULL DEFAULT 0"];
    let more = with_store(&setup, 3, &more);
    let host = setup.plugin("app", &more).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(3)), expect([])));
}

#[tokio::test]
async fn a_run_of_migrations_that_fails_or_is_killed_goes_on_where_it_stopped() {
    let step = |at: u32| format!("INSERT INTO steps VALUES ({at});");
    let (two, four) = (step(2), step(4));
    let setup = json_log();
    let failing =
        with_store(&setup, 1, &[LOG, &two, "INSERT INTO steps VALUES (3); INSERT INTO nowhere VALUES (3);", &four]);
    let host = setup.plugin("app", &failing).start();
    let (code, reason) = &refused(&host)["app"];
    assert!(code == "MIGRATION_FAILED" && reason.contains("migration 3 (step)"), "{code}: {reason}");
    let stores = host.path("data/stores");
    assert_eq!(recorded(&stores).await, [1, 2]);
    assert_eq!(rows(&stores, "SELECT at FROM steps").await, [[Sql::Int64(1)], [Sql::Int64(2)]]);

    // The third now takes far longer than the moment until the host is killed in it.
    let setup = stopped(host);
    let endless = "INSERT INTO steps VALUES (3); INSERT INTO steps WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 \
                   FROM n) SELECT count(*) FROM n WHERE x < 0;";
    let file = with_store(&setup, 2, &[LOG, &two, endless, &four]);
    let setup = setup.plugin("app", &file);
    let log = fs::File::create(setup.path("host.log")).unwrap();
    let mut child = setup.command(&["serve"]).stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
    // It has the write lock while it is at work, so nobody else gets it.
    let store = SqliteStore::open("look", &stores.join("own.test.app.db"), Trust::Host, &Arc::default(), &threads())
        .await
        .unwrap();
    until("the third migration runs", async || {
        assert!(child.id() > 0);
        let soon = Instant::now() + Duration::from_millis(50);
        store.execute("UPDATE steps SET at = at", Vec::new(), soon).await.is_err()
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    store.close(Instant::now() + Duration::from_secs(60)).await;
    assert_eq!(recorded(&stores).await, [1, 2]);
    assert_eq!(rows(&stores, "SELECT at FROM steps").await, [[Sql::Int64(1)], [Sql::Int64(2)]]);

    // Corrected, it goes on with the third.
    fs::remove_file(setup.path("host.log")).unwrap();
    let file = with_store(&setup, 3, &[LOG, &two, &step(3), &four]);
    let host = setup.plugin("app", &file).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(3)), expect([])));
    assert_eq!(recorded(&stores).await, [1, 2, 3, 4]);
    let found = rows(&stores, "SELECT at FROM steps ORDER BY rowid").await;
    assert_eq!(found, [1, 2, 3, 4].map(|at| [Sql::Int64(at)]));
}

/// Two hosts with data folders of their own and one folder of stores.
#[tokio::test]
async fn two_hosts_that_migrate_one_file_run_every_step_once() {
    let steps: Vec<String> = (2..=24)
        .map(|at| format!("INSERT INTO steps (at) VALUES ({at}); ALTER TABLE steps ADD COLUMN c{at} TEXT;"))
        .collect();
    let list: Vec<&str> = std::iter::once(LOG).chain(steps.iter().map(String::as_str)).collect();
    let setups = [json_log(), json_log()];
    let shared = tempfile::tempdir().unwrap();
    let mut hosts = Vec::new();
    for setup in setups {
        fs::create_dir(setup.path("data")).unwrap();
        std::os::unix::fs::symlink(shared.path(), setup.path("data/stores")).unwrap();
        let file = with_store(&setup, 1, &list);
        let setup = setup.plugin("app", &file);
        hosts.push(std::thread::spawn(move || setup.start()));
    }
    let hosts: Vec<Host> = hosts.into_iter().map(|host| host.join().unwrap()).collect();
    for host in &hosts {
        assert_eq!((answer(host, "/app").await, refused(host)), ((200, json!(1)), BTreeMap::new()));
    }
    let found = rows(shared.path(), "SELECT at FROM steps ORDER BY rowid").await;
    let expected: Vec<[Sql; 1]> = (1..=24).map(|at| [Sql::Int64(at)]).collect();
    assert_eq!(found, expected);
}

/// The chaos guest, which tells its settings, with this declared; and a host's settings for it.
fn chaos(settings: &str) -> Vec<u8> {
    let manifest = guest_manifest("chaos").replacen("[[methods]]", &format!("{settings}\n[[methods]]"), 1);
    let packed = arcana::plugins::pack::pack(&guest_component("chaos"), &manifest, &[], &guest_dir("chaos")).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

fn set(setup: Setup, settings: &str) -> Setup {
    let base = "[server.rest]\naddress = \"127.0.0.1\"\nport = 0\n[server.grpc]\nenabled = false\n[limits]\nrate_limits = false\n\
                [limits.compile]\nmemory = \"4GiB\"\n[plugins.settings.\"test/chaos\"]\n";
    setup.config(&format!("{base}{settings}"))
}

async fn setting(host: &Host, key: &str) -> serde_json::Value {
    let (status, value) = host.post("/test/chaos/setting", json!({ "key": key })).await;
    assert_eq!(status, 200, "{value}");
    value
}

#[tokio::test]
async fn secrets_are_read_where_they_are_kept_and_shown_nowhere() {
    let setup = json_log().plugin("chaos", &chaos("")).env("APP_TOKEN", "hunter-env");
    fs::create_dir(setup.path("secrets")).unwrap();
    fs::write(setup.path("secrets/real"), "hunter-file\n").unwrap();
    // As orchestrators mount them.
    std::os::unix::fs::symlink("real", setup.path("secrets/token")).unwrap();
    let setup = set(setup, "a = { env = \"APP_TOKEN\" }\nb = { file = \"secrets/token\" }\nc = \"plain\"\n");
    let shown = setup.command(&["config", "show"]).output().unwrap();
    let host = setup.start();
    assert_eq!(setting(&host, "a").await, json!("hunter-env"));
    assert_eq!(setting(&host, "b").await, json!("hunter-file"));
    assert_eq!(setting(&host, "c").await, json!("plain"));
    assert_eq!(setting(&host, "d").await, json!(null));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("{ env = \"APP_TOKEN\" }") && shown.contains("{ file = \"secrets/token\" }"), "{shown}");
    assert!(!shown.contains("hunter") && !host.log().contains("hunter"), "{shown}{}", host.log());

    // A new start reads them anew; only one line break belongs to the file.
    fs::write(host.path("secrets/real"), "hunter two \n\r\n").unwrap();
    let host = stopped(host).start();
    assert_eq!(setting(&host, "b").await, json!("hunter two \n"));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_refuses_the_plugin() {
    let mut setup = json_log().plugin("chaos", &chaos(""));
    fs::write(setup.path("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
    fs::write(setup.path("fits"), vec![b'x'; 64 << 10]).unwrap();
    fs::write(setup.path("binary"), b"hunter\xff").unwrap();
    for (value, words) in [
        ("{ env = \"NOBODY_SET_THIS\" }", &["{ env = \"NOBODY_SET_THIS\" }", "not set"][..]),
        ("{ file = \"none\" }", &["{ file = \"none\" }", "cannot be read"]),
        ("{ file = \"large\" }", &["64 KiB"]),
        ("{ file = \"binary\" }", &["not UTF-8"]),
        ("{ file = \"config\" }", &["it is no file"]),
    ] {
        let host = set(setup, &format!("key = {value}\n")).start();
        let (code, reason) = &refused(&host)["chaos"];
        assert_eq!(code, "SETTING_UNAVAILABLE", "{reason}");
        assert!(reason.contains("plugins.settings.\"test/chaos\".key") && !reason.contains("hunter"), "{reason}");
        assert!(words.iter().all(|word| reason.contains(word)), "{value}: {reason}");
        setup = stopped(host);
    }
    let host = set(setup, "key = { file = \"fits\" }\n").start();
    assert_eq!(setting(&host, "key").await.as_str().map(str::len), Some(64 << 10));
}

const DECLARED: &str = "[settings]
name = { type = \"text\", default = \"nobody\" }
count = { type = \"integer\", required = true, description = \"how many\" }
half = { type = \"decimal\" }
on = { type = \"boolean\", default = true }
list = { type = \"texts\", default = [\"x\", \"y\"] }
token = { type = \"text\", secret = true }
refuse_to_start = { type = \"text\" }";

#[tokio::test]
async fn a_manifest_that_says_what_it_reads_is_held_to_it() {
    let mut setup = json_log().plugin("chaos", &chaos(DECLARED)).env("COUNT", " 12\n");
    for (settings, code, words) in [
        (
            "cuont = 1\n",
            "SETTING_UNKNOWN",
            &["test/chaos\".cuont", "did you mean `count`?", "it reads count, half"][..],
        ),
        ("", "SETTING_MISSING", &["test/chaos\".count", "(how many)", "an integer"]),
        ("count = \"1\"\n", "SETTING_INVALID", &["test/chaos\".count: must be an integer"]),
        ("count = 1\nlist = \"x\"\n", "SETTING_INVALID", &["must be a list of texts"]),
        ("count = { env = \"HOME\" }\n", "SETTING_INVALID", &["{ env = \"HOME\" }", "an integer"]),
        ("count = 1\nlist = { env = \"HOME\" }\n", "SETTING_INVALID", &["which a reference cannot be"]),
        ("list = 1\nother = 2\n", "SETTING_INVALID", &["list: must be", "other: the plugin does not read", "count"]),
    ] {
        let host = set(setup, settings).start();
        let (found, reason) = &refused(&host)["chaos"];
        assert_eq!(found, code, "{reason}");
        assert!(words.iter().all(|word| reason.contains(word)), "{settings}: {reason}");
        setup = stopped(host);
    }
    let host = set(setup, "count = { env = \"COUNT\" }\nhalf = 2\ntoken = \"hunter\"\n").start();
    let told = ["name", "count", "half", "on", "list", "refuse_to_start"].map(async |key| setting(&host, key).await);
    let mut values = Vec::new();
    for value in told {
        values.push(value.await);
    }
    assert_eq!(values, [json!("nobody"), json!("12"), json!("2"), json!("true"), json!("x,y"), json!(null)]);
    // A secret in plain sight is taken, and said.
    let warnings = events(
        &host,
        "a secret stands in a file of settings as it is; give it by reference: { env = \"NAME\" } or { file = \"/run/secrets/name\" }",
    );
    assert_eq!(warnings.len(), 1, "{}", host.log());
    assert_eq!(warnings[0]["setting"], "plugins.settings.\"test/chaos\".token");
    assert!(!host.log().contains("hunter"), "{}", host.log());

    // The secret where it belongs.
    let host = set(stopped(host).env("TOKEN", "hunter"), "count = 1\ntoken = { env = \"TOKEN\" }\n").start();
    assert_eq!(setting(&host, "token").await, json!("hunter"));
    assert!(!host.log().contains("stands in a file of settings"), "{}", host.log());
}

/// One that declares nothing but an empty table reads none; what belongs to nobody else is not touched.
#[tokio::test]
async fn an_empty_table_of_settings_takes_none() {
    let text = manifest("app", 1) + "[settings]\n";
    let setup = json_log().plugin("app", &signed(&answering("app", 1), &text));
    let host = setup.settings("[plugins.settings.\"test/app\"]\nx = 1\n").start();
    let (code, reason) = &refused(&host)["app"];
    assert!(code == "SETTING_UNKNOWN" && reason.contains("it reads none"), "{code}: {reason}");
    let setup = stopped(host).settings("[plugins.settings.\"test/nobody\"]\nx = 1\n");
    let mut text: toml::Table = fs::read_to_string(setup.path("config/local.toml")).unwrap().parse().unwrap();
    text["plugins"]["settings"].as_table_mut().unwrap().remove("test/app");
    let host = setup.config(&text.to_string()).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(1)), expect([])));
}
