//! What the host remembers of uploads, however many there are and whatever they say.

use arcana_signing::envelope;
use serde_json::{Value, json};

use super::migrations::{bob, packed_unseen};
use crate::live::{Admin, setup};
use crate::small::{answering, manifest, manifest_of, plugin, signed_by, stopped};
use crate::support::{KEY, guest};

/// Numbers that databases keep as others: a lower one would have passed for a higher one later.
#[tokio::test]
async fn a_sequence_number_beyond_what_is_kept_is_refused() {
    let admin = Admin::start(setup()).await;
    let numbered = |seq: &str| {
        let manifest = manifest("app", 1).replace("seq = 1", &format!("seq = {seq}"));
        envelope::sign(&packed_unseen(&answering("app", 1), &manifest), &[&KEY]).unwrap()
    };
    for seq in ["9223372036854775808", "18446744073709551615", "18446744073709551616", "-1"] {
        let reason = admin.refused(&numbered(seq), 422, "MANIFEST_INVALID").await;
        assert!(reason.contains("seq") || reason.contains(seq), "{reason}");
    }
    let installed = admin.install(&numbered("9223372036854775807")).await;
    assert_eq!(installed["seq"], json!(i64::MAX));
    admin.refused(&numbered("9223372036854775806"), 409, "SEQ_TOO_LOW").await;
    // The largest that there is is kept as it is.
    let admin = Admin::again(stopped(admin.host)).await;
    assert_eq!(admin.show("test/app").await["plugin"]["seq"], json!(i64::MAX));
}

#[tokio::test]
async fn refused_uploads_are_remembered_up_to_the_setting_and_in_few_words() {
    let setup = setup()
        .settings("[plugins]\nkeep_changes = 5\n[plugins.settings.\"test/chaos\"]\nrefuse_to_start = \"LONG\"\n");
    let long = "no ".repeat(20_000);
    let text = std::fs::read_to_string(setup.path("config/local.toml")).unwrap();
    std::fs::write(setup.path("config/local.toml"), text.replace("LONG", &long)).unwrap();
    let admin = Admin::start(setup).await;
    admin.install(&plugin("app", 2, 2)).await;
    let old = plugin("app", 1, 1);
    for _ in 0..20 {
        admin.refused(&old, 409, "SEQ_TOO_LOW").await;
    }
    let (status, changes) = admin.call(reqwest::Method::GET, "/api/v1/plugin-changes?size=500", None).await;
    assert_eq!((status, changes.as_array().map(Vec::len)), (200, Some(5)), "{changes}");

    // A guest that says 60,000 bytes when it starts.
    let chaos = guest("chaos");
    let reason = admin.refused(&chaos, 422, "ON_ENABLE_FAILED").await;
    assert!(reason.len() < 5_000 && reason.contains("more bytes"), "{} bytes", reason.len());
    let (_, changes) = admin.call(reqwest::Method::GET, "/api/v1/plugin-changes?size=1", None).await;
    let message = changes[0]["message"].as_str().unwrap();
    assert!(changes[0]["outcome"] == "ON_ENABLE_FAILED" && message.len() < 5_000, "{} bytes", message.len());
    // Descriptions are told with every list.
    let described = manifest("app", 3).replace("host =", &format!("description = \"{}\"\nhost =", "a".repeat(1_001)));
    let file = envelope::sign(&packed_unseen(&answering("app", 1), &described), &[&KEY]).unwrap();
    let reason = admin.refused(&file, 422, "MANIFEST_INVALID").await;
    assert!(reason.contains("plugin.description"), "{reason}");
}

/// Versions that are only kept, and those that wait for an approval, do not pile up either.
#[tokio::test]
async fn versions_that_never_run_are_kept_up_to_the_setting() {
    let setup = setup().settings("[plugins]\nkeep_versions = 2\n");
    let bob = bob(&setup);
    let admin = Admin::start(setup).await;
    admin.install(&plugin("app", 1, 1)).await;
    for seq in 2..8 {
        let (status, answer) = admin.upload(&plugin("app", seq, 1), "?activate=false").await;
        assert_eq!((status, &answer["state"]), (201, &json!("verified")), "{answer}");
    }
    let kept = |shown: &Value| -> Vec<u64> {
        shown["versions"].as_array().unwrap().iter().map(|version| version["seq"].as_u64().unwrap()).collect()
    };
    // The one that runs, and the newest.
    assert_eq!(kept(&admin.show("test/app").await), [7, 1]);
    for seq in 1..8 {
        let manifest = manifest_of("bob/app", seq, "/bob/app") + "[capabilities]\ncache = true\n";
        let file = signed_by(&[&bob], &answering("bob", 1), &manifest);
        let (status, answer) = admin.upload(&file, "").await;
        assert_eq!((status, &answer["state"]), (202, &json!("pending_approval")), "{answer}");
    }
    let shown = admin.show("bob/app").await;
    assert!(kept(&shown).len() <= 3 && kept(&shown)[0] == 7, "{shown}");
    // The newest can still be approved.
    let body = json!({ "capabilities": ["cache"] });
    let (status, approved) = admin.call(reqwest::Method::PUT, "/api/v1/plugins/bob/app", Some(body)).await;
    assert_eq!((status, &approved["plugin"]["seq"]), (200, &json!(7)), "{approved}");
}
