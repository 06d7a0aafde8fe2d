//! Compilations that take long, one after the other, so that nobody else gets to compile.

use reqwest::Method;
use serde_json::json;

use crate::live::{Admin, setup};
use crate::plugin_api::uploading;
use crate::small::{answer, bare_manifest, laborious, plugin, signed};
use crate::support::until;

/// A slow file of this plugin; each has other content, so that none is compiled already.
fn slow(name: &str) -> Vec<u8> {
    signed(&laborious(), &bare_manifest(&format!("test/{name}"), 1))
}

#[tokio::test]
async fn slow_compilations_of_one_plugin_leave_a_place_for_others() {
    let admin = Admin::start(setup().settings("[plugins]\nmax_uploads = 16\n")).await;
    // The same plugin over and over: each file is another one, and each takes its time.
    let files: Vec<Vec<u8>> = (1..=4).map(|seq| signed(&laborious(), &bare_manifest("test/slow", seq))).collect();
    let uploads: Vec<_> = files
        .into_iter()
        .map(|file| tokio::spawn(uploading(&admin.host, &admin.token, "?dry_run=true", file).send()))
        .collect();
    until("they compile and wait", async || admin.host.metric("arcana_compiles_waiting ").await >= 3.0).await;
    // One plugin has one place at a time.
    assert_eq!(admin.host.metric("arcana_compiles_running ").await, 1.0);
    admin.install(&plugin("quick", 1, 5)).await;
    assert_eq!(answer(&admin.host, "/quick").await, (200, json!(5)));
    let waiting = admin.host.metric("arcana_compiles_waiting ").await;
    assert!(waiting >= 1.0, "the slow ones were through before: nothing was shown");
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_installation_that_waits_too_long_for_the_compiler_gets_503() {
    let admin =
        Admin::start(setup().settings("[limits.compile]\nwait = \"50ms\"\n[plugins]\nmax_uploads = 16\n")).await;
    let first = tokio::spawn(uploading(&admin.host, &admin.token, "?dry_run=true", slow("slow")).send());
    until("it compiles", async || admin.host.metric("arcana_compiles_running ").await >= 1.0).await;
    let again = signed(&laborious(), &bare_manifest("test/slow", 2));
    let reason = admin.refused(&again, 503, "COMPILER_BUSY").await;
    assert!(reason.contains("limits.compile.wait"), "{reason}");
    assert_eq!(admin.host.metric("arcana_compiles_refused_total ").await, 1.0);
    let (status, _) = admin.call(Method::GET, "/api/v1/plugins", None).await;
    assert_eq!(status, 200);
    first.abort();
}
