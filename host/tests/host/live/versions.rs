//! One plugin through its life: installed, replaced, gone back to, switched off and on, taken away.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Admin, setup};
use crate::small::{answer, answering_after, manifest, plugin, signed};

#[tokio::test]
async fn a_plugin_lives_its_whole_life_without_a_restart() {
    let admin = Admin::start(setup()).await;
    let host = &admin.host;
    assert_eq!(answer(host, "/app").await.0, 404);

    let first = plugin("app", 1, 1);
    let installed = admin.install(&first).await;
    assert_eq!(
        (&installed["changed"], &installed["id"], &installed["version"]),
        (&json!(true), &json!("test/app"), &json!("1.0.1"))
    );
    assert_eq!(installed["comparison"]["routes_added"], json!(["GET /app"]));
    assert_eq!(answer(host, "/app").await, (200, json!(1)));
    // The same again changes nothing.
    let (status, again) = admin.upload(&first, "").await;
    assert_eq!((status, &again["changed"], &again["state"]), (200, &json!(false), &json!("active")));

    admin.install(&plugin("app", 2, 2)).await;
    assert_eq!(answer(host, "/app").await, (200, json!(2)));
    let details = admin.show("test/app").await;
    assert_eq!(details["plugin"]["state"], "active");
    assert_eq!(details["methods"][0]["grpc"], "/test.app.v1.Api/Answer");
    assert_eq!(details["exports"], json!(["test:app/api@1.0.0"]));
    let states: Vec<_> =
        details["versions"].as_array().unwrap().iter().map(|v| (v["seq"].clone(), v["state"].clone())).collect();
    assert_eq!(states, [(json!(2), json!("active")), (json!(1), json!("verified"))]);
    assert!(details["plugin"]["figures"]["calls"].as_u64().unwrap() >= 2, "{details}");

    // An older file is no way back; the kept version is.
    let reason = admin.refused(&first, 409, "SEQ_TOO_LOW").await;
    assert!(reason.contains("seq 1") && reason.contains("seq 2"), "{reason}");
    let (status, details) = admin.act("test/app", "rollback", json!({})).await;
    assert_eq!((status, &details["plugin"]["version"]), (200, &json!("1.0.1")), "{details}");
    assert_eq!(answer(host, "/app").await, (200, json!(1)));
    let (status, _) = admin.act("test/app", "rollback", json!({ "version": "1.0.2" })).await;
    assert_eq!((status, answer(host, "/app").await), (200, (200, json!(2))));
    let (status, refused) = admin.act("test/app", "rollback", json!({ "version": "9.9.9" })).await;
    assert_eq!((status, &refused["code"]), (404, &json!("NOT_KEPT")), "{refused}");
    let digest = installed["digest"].as_str().unwrap();
    let (status, _) = admin.act("test/app", "rollback", json!({ "digest": &digest[..12] })).await;
    assert_eq!((status, answer(host, "/app").await), (200, (200, json!(1))));

    // A file that was installed before and is let in on purpose.
    let (status, _) = admin.upload(&plugin("app", 2, 2), "?allow_downgrade=true").await;
    assert!(matches!(status, 200 | 201) && answer(host, "/app").await == (200, json!(2)));

    let (status, details) = admin.act("test/app", "disable", Value::Null).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("disabled")));
    assert_eq!(answer(host, "/app").await.0, 404);
    let setup = admin.host.kill();
    let admin = Admin::again(setup).await;
    assert_eq!(answer(&admin.host, "/app").await.0, 404);
    let (status, details) = admin.act("test/app", "enable", Value::Null).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("active")));
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(2)));

    // What was active is active after a restart, without any file in the folder.
    let admin = Admin::again(admin.host.kill()).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(2)));
    let changes = admin.changes("test/app").await;
    let expected = [
        "admin enable 1.0.2→1.0.2 ok",
        "admin disable 1.0.2→- ok",
        "admin install 1.0.1→1.0.2 ok",
        "admin rollback 1.0.2→1.0.1 ok",
        "admin rollback 1.0.1→1.0.2 ok",
        "admin rollback 1.0.2→1.0.1 ok",
        "admin install 1.0.2→1.0.1 SEQ_TOO_LOW",
        "admin install 1.0.1→1.0.2 ok",
        "admin install -→1.0.1 ok",
    ];
    assert_eq!(changes, expected);

    let (status, _) = admin.call(Method::DELETE, "/api/v1/plugins/test/app", None).await;
    assert_eq!((status, answer(&admin.host, "/app").await.0), (204, 404));
    let (status, refused) = admin.call(Method::GET, "/api/v1/plugins/test/app", None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("NOT_FOUND")));
    // No older release comes in after it.
    admin.refused(&first, 409, "SEQ_TOO_LOW").await;
    admin.install(&plugin("app", 3, 3)).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(3)));
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let admin = Admin::start(setup()).await;
    let (status, tried) = admin.upload(&plugin("app", 1, 1), "?dry_run=true").await;
    assert_eq!((status, &tried["changed"], &tried["state"]), (200, &json!(false), &json!("verified")), "{tried}");
    assert_eq!(answer(&admin.host, "/app").await.0, 404);
    admin.install(&plugin("app", 1, 1)).await;

    // Another route, and a function that is gone: clients of the present version would break.
    let other = manifest("app", 2).replace("GET /app", "GET /other");
    let file = signed(&crate::small::answering("app", 2), &other);
    let (status, tried) = admin.upload(&file, "?dry_run=true").await;
    assert_eq!((status, &tried["comparison"]["compatibility"]), (200, &json!("breaking")), "{tried}");
    assert_eq!(tried["comparison"]["routes_removed"], json!(["GET /app"]));
    assert_eq!(tried["comparison"]["routes_added"], json!(["GET /other"]));
    let reason = admin.refused(&file, 409, "WIRE_BREAKING").await;
    assert!(reason.contains("GET /app") && reason.contains("allow_breaking"), "{reason}");
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(1)));
    let (status, installed) = admin.upload(&file, "?allow_breaking=true").await;
    assert!(matches!(status, 200 | 201), "{installed}");
    assert_eq!((answer(&admin.host, "/app").await.0, answer(&admin.host, "/other").await), (404, (200, json!(2))));

    // A dry run goes as far as a first instance.
    let trap = answering_after("app", 3, "(func $f unreachable) (start $f)");
    let (status, tried) = admin.upload(&signed(&trap, &manifest("app", 3)), "?dry_run=true").await;
    assert_eq!((status, &tried["code"]), (422, &json!("START_FAILED")), "{tried}");
    assert_eq!(admin.show("test/app").await["plugin"]["last_error"], Value::Null);
}

#[tokio::test]
async fn only_so_many_versions_are_kept() {
    let admin = Admin::start(setup().settings("[plugins]\nkeep_versions = 3\n")).await;
    for seq in 1..=6 {
        admin.install(&plugin("app", seq, u32::try_from(seq).unwrap())).await;
    }
    let details = admin.show("test/app").await;
    let kept: Vec<_> = details["versions"].as_array().unwrap().iter().map(|version| version["seq"].clone()).collect();
    assert_eq!(kept, [json!(6), json!(5), json!(4)]);
    let files = std::fs::read_dir(admin.host.path("data/plugins")).unwrap().count();
    // Those three, and auth and users.
    assert_eq!(files, 5);
    let (status, refused) = admin.act("test/app", "rollback", json!({ "version": "1.0.2" })).await;
    assert_eq!((status, &refused["code"]), (404, &json!("NOT_KEPT")));
    assert!(refused["message"].as_str().unwrap().contains("1.0.4"), "{refused}");
    // A version that is only kept can be made to run later.
    let (_, kept) = admin.upload(&plugin("app", 7, 7), "?activate=false").await;
    assert_eq!((&kept["state"], answer(&admin.host, "/app").await), (&json!("verified"), (200, json!(6))), "{kept}");
    admin.act("test/app", "rollback", json!({ "version": "1.0.7" })).await;
    assert_eq!(answer(&admin.host, "/app").await, (200, json!(7)));
}

#[tokio::test]
async fn what_another_plugin_has_is_refused_and_taken_only_when_it_is_free() {
    let admin = Admin::start(setup().settings("[limits]\nmax_plugins = 4\n")).await;
    admin.install(&plugin("one", 1, 1)).await;
    let thief = signed(&crate::small::answering("two", 2), &manifest("two", 1).replace("GET /two", "GET /one"));
    let reason = admin.refused(&thief, 409, "CONFLICT").await;
    assert!(reason.contains("GET /one") && reason.contains("test/one"), "{reason}");
    assert_eq!(answer(&admin.host, "/one").await, (200, json!(1)));
    admin.act("test/one", "disable", Value::Null).await;
    admin.install(&thief).await;
    assert_eq!(answer(&admin.host, "/one").await, (200, json!(2)));
    // The first does not come back while the other has its route.
    let (status, refused) = admin.act("test/one", "enable", Value::Null).await;
    assert_eq!((status, &refused["code"]), (409, &json!("CONFLICT")));
    admin.install(&plugin("three", 1, 3)).await;
    let reason = admin.refused(&plugin("four", 1, 4), 409, "TOO_MANY_PLUGINS").await;
    assert!(reason.contains("limits.max_plugins"), "{reason}");
}
