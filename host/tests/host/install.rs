//! What stays of an install: over restarts, after changes of the files by somebody else, and when the host is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arcana::backends::sqlite::{SqliteSettings, SqliteStore, Trust};
use arcana_signing::envelope;
use serde_json::{Value, json};

use crate::small::{
    answer, answering, answering_after, bare_manifest, codes, core_module, events, expect, health, json_log, manifest,
    manifest_of, plugin, refused, signed, stopped,
};
use crate::support::{KEY, Setup, guest, threads};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Changes the host's own database behind its back.
async fn in_database(setup: &Setup, sql: &str) {
    let settings = Arc::new(SqliteSettings::default());
    let (file, soon) = (setup.path("data/host.db"), Instant::now() + Duration::from_secs(60));
    let database = SqliteStore::open("host", &file, Trust::Host, &settings, &threads()).await.unwrap();
    database.execute(sql, Vec::new(), soon).await.unwrap();
    database.close(soon).await;
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[tokio::test]
async fn compiled_code_that_was_changed_is_compiled_anew() {
    let host = json_log().plugin("one", &plugin("one", 1, 1)).plugin("two", &plugin("two", 1, 2)).start();
    let mut setup = stopped(host);
    let files = files(&setup.path("data/cache/code"), "cwasm");
    let good: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(good.len(), 2);
    let warning = "compiled code is not believed; compiling anew";

    // A flipped bit in the code and one in the MAC, files that end early, and each with the code of the other.
    for hostile in [
        [flip(&good[0], good[0].len() / 2), flip(&good[1], 0)],
        [good[0][..10].to_vec(), Vec::new()],
        [good[1].clone(), good[0].clone()],
    ] {
        for (file, bytes) in files.iter().zip(&hostile) {
            fs::write(file, bytes).unwrap();
        }
        let host = setup.start();
        assert_eq!(answer(&host, "/one").await, (200, json!(1)));
        assert_eq!(answer(&host, "/two").await, (200, json!(2)));
        assert_eq!(events(&host, warning).len(), 2, "{}", host.log());
        setup = stopped(host);
        for (file, bytes) in files.iter().zip(&hostile) {
            assert!(fs::read(file).unwrap() != *bytes, "{} was not replaced", file.display());
        }
    }
    // What was made anew is believed, and what nobody needs any more is gone.
    let stale = setup.path("data/cache/code/stale.cwasm");
    fs::write(&stale, b"of a version that is gone").unwrap();
    let host = setup.start();
    assert!(!stale.exists() && files.iter().all(|file| file.exists()));
    assert_eq!(events(&host, warning), Vec::<Value>::new());
    assert_eq!(answer(&host, "/one").await, (200, json!(1)));
}

#[tokio::test]
async fn the_sequence_goes_forward_only() {
    let (first, second) = (plugin("app", 1, 1), plugin("app", 2, 2));
    let host = json_log().plugin("app", &first).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    // Newer replaces.
    let host = stopped(host).plugin("app", &second).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(2)), expect([])));
    // The same again is no install.
    let mut host = stopped(host).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(2)));
    let active = events(&host, "plugin is active");
    assert_eq!((active.len(), &active[0]["news"], &active[0]["seq"]), (1, &json!(false), &json!(2)));

    // Older, or the same number with other content, is refused, and what was installed serves.
    // The one that was here before is no offer at all.
    host = stopped(host).plugin("app", &first).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(2)), expect([])));
    for (file, code, words) in [
        (&plugin("app", 1, 11), "SEQ_TOO_LOW", "seq 1 is older than seq 2"),
        (&plugin("app", 2, 22), "SEQ_CONFLICT", "seq 2 is installed with other content"),
    ] {
        host = stopped(host).plugin("app", file).start();
        assert_eq!(answer(&host, "/app").await, (200, json!(2)), "{code}");
        let (found, reason) = &refused(&host)["app"];
        assert!(found == code && reason.contains(words), "{found}: {reason}");
        assert_eq!(health(&host).await, (1, 1));
    }

    // A newer one that does not start leaves what was installed in its place, now and later, and its number is still free.
    let trap = answering_after("app", 3, "(func $f unreachable) (start $f)");
    host = stopped(host).plugin("app", &signed(&trap, &manifest("app", 3))).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(2)));
    let (code, reason) = &refused(&host)["app"];
    assert!(code == "START_FAILED" && reason.contains("unreachable"), "{code}: {reason}");
    // The stack is for the log.
    assert!(!reason.contains("backtrace") && host.log().contains("wasm backtrace"), "{reason}");
    host = stopped(host).plugin("app", &plugin("app", 3, 33)).start();
    assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(33)), expect([])));

    // Two files of one plugin: the newer counts, whatever their names.
    let setup = stopped(host).plugin("z", &plugin("app", 4, 4)).plugin("a", &plugin("app", 5, 5));
    host = setup.start();
    assert_eq!((answer(&host, "/app").await, health(&host).await.0), ((200, json!(5)), 1));
    // With one number and other content it is not for the names to decide: what was installed serves.
    let setup = stopped(host).plugin("z", &plugin("app", 6, 6)).plugin("a", &plugin("app", 6, 66));
    host = setup.start();
    assert_eq!(answer(&host, "/app").await, (200, json!(5)));
    let refusals = refused(&host);
    let (code, reason) = &refusals["z"];
    assert!(code == "SEQ_CONFLICT" && reason.contains("a.wasm"), "{code}: {reason}");
    assert_eq!(refusals["a"].0, "SEQ_CONFLICT");
}

#[tokio::test]
async fn what_was_installed_is_verified_again_at_every_start() {
    let host = json_log().plugin("kept", &plugin("kept", 1, 1)).plugin("other", &plugin("other", 1, 2)).start();
    let digest = envelope::parse(&fs::read(host.path("plugins/kept.wasm")).unwrap()).unwrap().digest().to_string();
    let kept = host.path(&format!("data/plugins/{digest}.wasm"));
    let good = fs::read(&kept).unwrap();

    // The file is gone from the folder: what was installed serves on.
    fs::remove_file(host.path("plugins/kept.wasm")).unwrap();
    let host = stopped(host).start();
    assert_eq!((answer(&host, "/kept").await, health(&host).await), ((200, json!(1)), (2, 0)));

    // Somebody changes the installed file, puts another signed one in its place, or takes it away: the database has it.
    let mut setup = stopped(host);
    let damages: [&dyn Fn(&Path); 3] = [
        &|kept| fs::write(kept, flip(&good, good.len() / 2)).unwrap(),
        &|kept| fs::write(kept, plugin("kept", 9, 9)).unwrap(),
        &|kept| fs::remove_file(kept).unwrap(),
    ];
    for damage in damages {
        damage(&kept);
        let host = setup.start();
        assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([])));
        assert!(fs::read(&kept).unwrap() == good, "the file was not made good");
        setup = stopped(host);
    }
    // The database has lost it, and the disk has it.
    let lose = "DELETE FROM plugin_files";
    in_database(&setup, lose).await;
    let host = setup.start();
    assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([])));
    let setup = stopped(host);
    fs::remove_file(&kept).unwrap();
    let host = setup.start();
    assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([])));
    // Both are bad.
    let setup = stopped(host);
    fs::write(&kept, flip(&good, good.len() / 2)).unwrap();
    in_database(&setup, "UPDATE plugin_files SET bytes = zeroblob(length(bytes))").await;
    let host = setup.start();
    assert_eq!((answer(&host, "/kept").await.0, answer(&host, "/other").await), (404, (200, json!(2))));
    assert_eq!(codes(&host), expect([("test/kept", "NOT_COMPONENT")]));
    let setup = stopped(host);
    in_database(&setup, lose).await;
    let host = setup.start();
    assert_eq!((answer(&host, "/kept").await.0, codes(&host)), (404, expect([("test/kept", "DIGEST_MISMATCH")])));

    // The signed file heals it, for good.
    let host = stopped(host).plugin("kept", &good).start();
    assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([])));
    fs::remove_file(host.path("plugins/kept.wasm")).unwrap();
    let host = stopped(host).start();
    assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([])));

    // In development the folder is what there is; but a file that cannot be read takes nothing away.
    let host = stopped(host).dev().plugin("broken", b"half a file").start();
    assert_eq!((answer(&host, "/kept").await, codes(&host)), ((200, json!(1)), expect([("broken", "NOT_COMPONENT")])));
    fs::remove_file(host.path("plugins/broken.wasm")).unwrap();
    let host = stopped(host).start();
    assert_eq!((answer(&host, "/kept").await.0, answer(&host, "/other").await), (404, (200, json!(2))));
    assert_eq!(health(&host).await, (1, 0));
}

#[tokio::test]
async fn who_was_there_first_keeps_a_route() {
    let newcomer = |seq| signed(&answering("newcomer", 2), &manifest_of("test/newcomer", seq, "/first"));
    let host = json_log().plugin("first", &plugin("first", 1, 1)).start();
    assert_eq!(answer(&host, "/first").await, (200, json!(1)));
    // Its file's name sorts before the other's.
    let host = stopped(host).plugin("a", &newcomer(1)).start();
    assert_eq!(answer(&host, "/first").await, (200, json!(1)));
    let (code, reason) = &refused(&host)["a"];
    assert_eq!(code, "CONFLICT");
    assert!(["GET /first", "test/first", "test/newcomer"].iter().all(|word| reason.contains(word)), "{reason}");

    // Also when only the installed copy of the first is left.
    fs::remove_file(host.path("plugins/first.wasm")).unwrap();
    let host = stopped(host).start();
    assert_eq!((answer(&host, "/first").await, codes(&host)), ((200, json!(1)), expect([("a", "CONFLICT")])));

    // What was refused was not installed: without its file nothing of it is left.
    fs::remove_file(host.path("plugins/a.wasm")).unwrap();
    let host = stopped(host).start();
    assert_eq!((codes(&host), health(&host).await), (expect([]), (1, 0)));

    // A new version that wants another's route leaves the old one serving.
    let host = stopped(host).plugin("a", &signed(&answering("newcomer", 3), &manifest("newcomer", 1))).start();
    assert_eq!((answer(&host, "/newcomer").await, health(&host).await), ((200, json!(3)), (2, 0)));
    let both = manifest("newcomer", 2).replace("\"GET /newcomer\"", "[\"GET /newcomer\", \"GET /first\"]");
    let host = stopped(host).plugin("a", &signed(&answering("newcomer", 2), &both)).start();
    assert_eq!((answer(&host, "/newcomer").await, answer(&host, "/first").await), ((200, json!(3)), (200, json!(1))));
    assert_eq!(codes(&host), expect([("a", "CONFLICT")]));
}

#[tokio::test]
async fn one_interface_has_one_provider() {
    let second = signed(&answering("one", 2), &manifest_of("test/second", 1, "/second"));
    let host = json_log().plugin("a", &plugin("one", 1, 1)).plugin("b", &second).start();
    assert_eq!((answer(&host, "/one").await, answer(&host, "/second").await.0), ((200, json!(1)), 404));
    let (code, reason) = &refused(&host)["b"];
    assert!(code == "CONFLICT" && reason.contains("test:one/api@1.0.0"), "{code}: {reason}");
}

#[tokio::test]
async fn a_plugin_that_refuses_to_start_is_left_out() {
    let setup = json_log().plugin("chaos", &guest("chaos")).plugin("fine", &plugin("fine", 1, 1));
    let setting = |value: &str| {
        format!(
            "[server.rest]\naddress = \"127.0.0.1\"\nport = 0\n[server.grpc]\nenabled = false\n[limits.compile]\nmemory = \"4GiB\"\n[plugins.settings.\"test/chaos\"]\nrefuse_to_start = \"{value}\"\n"
        )
    };
    let mut host = setup.config(&setting("no licence")).start();
    for (value, words) in [("no licence", "no licence"), ("panic", "unreachable")] {
        if value != "no licence" {
            host = stopped(host).config(&setting(value)).start();
        }
        assert_eq!((answer(&host, "/fine").await, host.get("/test/chaos/random").await.0), ((200, json!(1)), 404));
        let (code, reason) = &refused(&host)["chaos"];
        assert!(
            code == "ON_ENABLE_FAILED" && reason.contains("on-enable") && reason.contains(words),
            "{code}: {reason}"
        );
        if value == "panic" {
            // What the guest itself said of it; the stack is for the log.
            assert!(reason.contains("panicked at") && reason.contains("as you wished"), "{reason}");
            assert!(!reason.contains("backtrace") && host.log().contains("wasm backtrace"), "{reason}");
        }
        assert_eq!(health(&host).await, (1, 1));
    }
    let host = stopped(host)
        .config("[server.rest]\naddress = \"127.0.0.1\"\nport = 0\n[server.grpc]\nenabled = false\n")
        .start();
    let (status, answer) = host.post("/test/chaos/random", json!({ "len": 5 })).await;
    assert_eq!((status, answer, codes(&host)), (200, json!(5), expect([])));
}

/// A guest that does not come back from `on-enable` is stopped; one that answers an error says why, one that is fine serves.
#[tokio::test]
async fn on_enable_has_the_time_of_a_call() {
    let with = |name: &str, body: &str| {
        let wit = format!(
            "package test:{name}@1.0.0;\ninterface api {{ answer: func() -> u32; }}\n\
             world w {{ export arcana:plugin/lifecycle@0.1.0; export api; }}\n\
             package arcana:plugin@0.1.0 {{ interface lifecycle {{\n\
             on-enable: func() -> result<_, string>; on-disable: func() -> result<_, string>; }} }}"
        );
        let text = format!(
            r#"(module (memory (export "memory") 1) (data (i32.const 16) "\01\00\00\00\20\00\00\00\09\00\00\00") (data (i32.const 32) "no coffee")
                 (func (export "arcana:plugin/lifecycle@0.1.0#on-enable") (result i32) {body})
                 (func (export "arcana:plugin/lifecycle@0.1.0#on-disable") (result i32) i32.const 64)
                 (func (export "test:{name}/api@1.0.0#answer") (result i32) i32.const 4))"#
        );
        signed(&core_module(&wit, &text), &(manifest(name, 1) + "[limits]\ncall_timeout = \"300ms\"\n"))
    };
    let host = json_log()
        .plugin("spins", &with("spins", "(loop (br 0)) unreachable"))
        .plugin("refuses", &with("refuses", "i32.const 16"))
        .plugin("serves", &with("serves", "i32.const 64"))
        .start();
    assert_eq!(answer(&host, "/serves").await, (200, json!(4)), "{}", host.log());
    for (name, words) in [("spins", "it took longer than it may"), ("refuses", "on-enable refused: no coffee")] {
        let (code, reason) = &refused(&host)[name];
        assert!(code == "ON_ENABLE_FAILED" && reason.contains(words), "{name}: {code}: {reason}");
        assert_eq!(answer(&host, &format!("/{name}")).await.0, 404);
    }
    assert_eq!(health(&host).await, (1, 2));
}

/// The limit keeps out what is new, not what is installed.
#[tokio::test]
async fn one_plugin_too_many_is_not_an_installed_one() {
    let host = json_log().env("ARCANA_LIMITS__MAX_PLUGINS", "1").plugin("z", &plugin("first", 1, 1)).start();
    let host = stopped(host).plugin("a", &plugin("second", 1, 2)).start();
    assert_eq!((answer(&host, "/first").await, answer(&host, "/second").await.0), ((200, json!(1)), 404));
    let (code, reason) = &refused(&host)["a"];
    assert!(code == "TOO_MANY_PLUGINS" && reason.contains("limits.max_plugins"), "{code}: {reason}");
}

/// A plugin with a store of its own, so that its install takes every step there is.
fn with_store(setup: &Setup) -> Vec<u8> {
    let folder = setup.path("sql/sqlite/own");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("0001_notes.sql"), "CREATE TABLE notes (text TEXT NOT NULL) STRICT;").unwrap();
    let text = bare_manifest("test/app", 1)
        + "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"sql\"\n"
        + "[[methods]]\ncall = \"api.answer\"\nhttp = \"GET /app\"\nallow = \"public\"\n";
    let packed = arcana::plugins::pack::pack(&answering("app", 1), &text, &[], &setup.path("")).unwrap();
    envelope::sign(&packed, &[&KEY]).unwrap()
}

/// Killed at the moment when something is there for the first time, a start is made again and serves.
#[tokio::test]
async fn a_first_start_that_is_killed_at_any_step_is_made_good_by_the_next() {
    type Reached = fn(&Setup) -> bool;
    let steps: [(&str, Reached); 7] = [
        ("the lock", |setup| setup.path("data/lock").exists()),
        ("a key", |setup| setup.path("data/keys").read_dir().is_ok_and(|mut entries| entries.next().is_some())),
        ("the host's database", |setup| setup.path("data/host.db").exists()),
        ("compiled code", |setup| !files(&setup.path("data/cache/code"), "cwasm").is_empty()),
        ("the store", |setup| !files(&setup.path("data/stores"), "db").is_empty()),
        ("the kept file", |setup| !files(&setup.path("data/plugins"), "wasm").is_empty()),
        ("the end of the install", |setup| {
            fs::read_to_string(setup.path("host.log")).is_ok_and(|log| log.contains("plugin is active"))
        }),
    ];
    for (step, reached) in steps {
        let setup = json_log();
        let file = with_store(&setup);
        let setup = setup.plugin("app", &file);
        let log = fs::File::create(setup.path("host.log")).unwrap();
        let mut child = setup.command(&["serve"]).stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(120);
        while !reached(&setup) {
            assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "{step} was never reached");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        fs::remove_file(setup.path("host.log")).unwrap();
        let host = setup.start();
        assert_eq!(answer(&host, "/app").await, (200, json!(1)), "killed at {step}");
        assert_eq!((codes(&host), health(&host).await), (expect([]), (1, 0)), "killed at {step}");
        // And what is installed then is whole: it needs the folder no longer.
        fs::remove_file(host.path("plugins/app.wasm")).unwrap();
        let host = stopped(host).start();
        assert_eq!((answer(&host, "/app").await, codes(&host)), ((200, json!(1)), expect([])), "killed at {step}");
    }
}
