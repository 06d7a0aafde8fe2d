//! The plugin folder of a running host.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use super::{Admin, setup};
use crate::small::{answer, codes, health, json_log, plugin};
use crate::support::{Host, Setup, until};

const WATCH: &str = "[plugins]\nwatch = true\ndebounce = \"50ms\"\n";

async fn answers(host: &Host, path: &str, number: u32) {
    until(&format!("{path} answers {number}"), async || answer(host, path).await == (200, json!(number))).await;
}

async fn is_gone(host: &Host, path: &str) {
    until(&format!("{path} is gone"), async || answer(host, path).await.0 == 404).await;
}

/// As a careful program writes it.
fn place(host: &Host, name: &str, file: &[u8]) {
    let (new, path) = (host.path(&format!("plugins/{name}.new")), host.path(&format!("plugins/{name}.wasm")));
    fs::write(&new, file).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn files_that_nobody_has_seen_are_installed_and_the_folder_never_fights_a_rollback() {
    let admin = Admin::start(setup().settings(WATCH)).await;
    let host = &admin.host;
    place(host, "app", &plugin("app", 1, 1));
    answers(host, "/app", 1).await;
    place(host, "app", &plugin("app", 2, 2));
    answers(host, "/app", 2).await;
    assert_eq!(admin.changes("test/app").await[0], "directory install 1.0.1→1.0.2 ok");

    // An administrator goes back. The file is still there, is touched, is copied, and changes nothing.
    admin.act("test/app", "rollback", json!({})).await;
    place(host, "app", &plugin("app", 2, 2));
    place(host, "copy", &plugin("app", 2, 2));
    place(host, "other", &plugin("other", 1, 9));
    answers(host, "/other", 9).await;
    assert_eq!(answer(host, "/app").await, (200, json!(1)));
    // A replayed older file, too.
    let unseen = plugin("app", 1, 111);
    place(host, "old", &unseen);
    until("it is refused", async || codes(host).contains_key("old")).await;
    assert_eq!((codes(host)["old"].as_str(), answer(host, "/app").await), ("SEQ_TOO_LOW", (200, json!(1))));
    assert_eq!(health(host).await.1, 1);
    fs::remove_file(host.path("plugins/old.wasm")).unwrap();
    until("it is forgotten", async || health(host).await.1 == 0).await;

    // What an administrator has switched off stays off, and its next version is only kept.
    admin.act("test/app", "disable", Value::Null).await;
    place(host, "app", &plugin("app", 3, 3));
    until("it is kept", async || admin.show("test/app").await["versions"][0]["seq"] == 3).await;
    assert_eq!(answer(host, "/app").await.0, 404);
    // In production nothing is taken away with its file.
    fs::remove_file(host.path("plugins/other.wasm")).unwrap();
    place(host, "last", &plugin("last", 1, 5));
    answers(host, "/last", 5).await;
    assert_eq!(answer(host, "/other").await, (200, json!(9)));
}

#[tokio::test]
async fn a_file_that_is_half_written_is_left_until_it_is_whole() {
    let host = json_log().settings(WATCH).start();
    let whole = plugin("app", 1, 1);
    let path = host.path("plugins/app.wasm");
    let mut file = fs::File::create(&path).unwrap();
    for part in whole.chunks(whole.len() / 5) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
        // Longer than the folder is left alone.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert!(codes(&host).is_empty(), "{}", host.log());
    }
    drop(file);
    answers(&host, "/app", 1).await;
    assert!(codes(&host).is_empty(), "{}", host.log());

    // What stays broken is told in the end, and heals when it is written anew.
    fs::write(&path, &plugin("app", 2, 2)[..200]).unwrap();
    until("it is refused", async || codes(&host).contains_key("app")).await;
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    fs::write(&path, plugin("app", 2, 2)).unwrap();
    answers(&host, "/app", 2).await;
    assert_eq!(health(&host).await, (1, 0));
}

#[tokio::test]
async fn in_development_the_folder_is_what_there_is() {
    let host = json_log().dev().plugin("app", &plugin("app", 1, 1)).start();
    assert_eq!(answer(&host, "/app").await, (200, json!(1)));
    let file = fs::read(host.path("plugins/app.wasm")).unwrap();
    fs::remove_file(host.path("plugins/app.wasm")).unwrap();
    is_gone(&host, "/app").await;
    place(&host, "app", &file);
    answers(&host, "/app", 1).await;
    fs::remove_file(host.path("plugins/app.wasm")).unwrap();
    is_gone(&host, "/app").await;
    let host = crate::small::stopped(host).start();
    assert_eq!(answer(&host, "/app").await.0, 404);
    place(&host, "app", &plugin("app", 2, 2));
    answers(&host, "/app", 2).await;
}

#[tokio::test]
async fn a_file_that_was_refused_at_the_start_is_told_once_and_its_better_version_is_taken() {
    let host = json_log().settings(WATCH).plugin("app", b"nothing").start();
    assert_eq!(codes(&host)["app"], "NOT_COMPONENT");
    // Whoever watches has looked at it by the time that the next file is in.
    place(&host, "other", &plugin("other", 1, 9));
    answers(&host, "/other", 9).await;
    // `codes` fails where one file is refused twice.
    assert_eq!((codes(&host).len(), health(&host).await), (1, (1, 1)));
    place(&host, "app", &plugin("app", 1, 1));
    answers(&host, "/app", 1).await;
    until("nothing counts as failed", async || health(&host).await == (2, 0)).await;
}

#[tokio::test]
async fn without_the_setting_nobody_looks() {
    let admin = Admin::start(setup()).await;
    place(&admin.host, "app", &plugin("app", 1, 1));
    admin.install(&plugin("other", 1, 2)).await;
    assert_eq!((answer(&admin.host, "/other").await, answer(&admin.host, "/app").await.0), ((200, json!(2)), 404));
    let setup: Setup = admin.host.kill();
    let admin = Admin::again(setup).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));
}
