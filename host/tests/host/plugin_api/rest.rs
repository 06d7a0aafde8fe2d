//! The life of a plugin over REST.

use reqwest::Method;
use serde_json::{Value, json};

use super::{admin, token, upload};
use crate::small::{answer, answering, json_log, manifest_of, plugin, refused, signed, unreachable_module};
use crate::support::{Host, Setup};

/// One administrator with a host.
struct Root {
    host: Host,
    token: String,
}

impl Root {
    fn new(setup: Setup) -> Self {
        let host = setup.start();
        let token = admin(&host);
        Self { host, token }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.host.call(method, &format!("/api/v1/{path}"), Some(&self.token), body).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    async fn upload(&self, file: Vec<u8>) -> (u16, Value) {
        upload(&self.host, &self.token, "", file).await
    }
}

fn ids(listing: &Value) -> Vec<&str> {
    listing["plugins"].as_array().unwrap().iter().map(|plugin| plugin["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_plugin_comes_changes_and_goes() {
    let root = Root::new(Setup::new());
    assert_eq!(root.get("plugins").await, (200, json!({ "plugins": [], "refused": [] })));
    let (status, first) = root.upload(plugin("small", 1, 1)).await;
    assert_eq!((status, &first["changed"], &first["state"]), (201, &json!(true), &json!("active")), "{first}");
    assert_eq!((&first["id"], &first["seq"]), (&json!("test/small"), &json!(1)));
    assert_eq!(answer(&root.host, "/small").await, (200, json!(1)));
    assert_eq!(root.upload(plugin("other", 1, 7)).await.0, 201);

    let (_, listing) = root.get("plugins").await;
    assert_eq!(ids(&listing), ["test/other", "test/small"]);
    let (status, details) = root.get("plugins/test/small").await;
    assert_eq!((status, &details["plugin"]["version"]), (200, &json!("1.0.1")), "{details}");
    assert_eq!(details["plugin"]["digest"], first["digest"]);
    assert_eq!(details["methods"][0]["routes"], json!(["GET /small"]));
    assert_eq!(details["methods"][0]["allow"], json!(["public"]));
    assert_eq!(details["plugin"]["figures"]["calls"], 1);
    assert_eq!(details["changes"][0]["who"], "root");

    // A new version, and back.
    let (status, second) = root.upload(plugin("small", 2, 2)).await;
    assert_eq!((status, &second["comparison"]["from_version"]), (201, &json!("1.0.1")), "{second}");
    assert_eq!(answer(&root.host, "/small").await, (200, json!(2)));
    let (status, back) = root.post("plugins/test/small/rollback", None).await;
    assert_eq!((status, &back["plugin"]["seq"]), (200, &json!(1)), "{back}");
    assert_eq!(answer(&root.host, "/small").await, (200, json!(1)));
    for (body, seq) in [
        (json!({ "digest": second["digest"] }), 2),
        (json!({ "version": "1.0.1" }), 1),
        (json!({ "version": null, "digest": null }), 2),
    ] {
        let (status, details) = root.post("plugins/test/small/rollback", Some(body.clone())).await;
        assert_eq!((status, &details["plugin"]["seq"]), (200, &json!(seq)), "{body}: {details}");
        assert_eq!(answer(&root.host, "/small").await, (200, json!(seq)), "{body}");
    }

    let (status, details) = root.post("plugins/test/small/disable", None).await;
    assert_eq!((status, &details["plugin"]["state"]), (200, &json!("disabled")), "{details}");
    assert_eq!(answer(&root.host, "/small").await.0, 404);
    assert_eq!(ids(&root.get("plugins?state=disabled").await.1), ["test/small"]);
    assert_eq!(ids(&root.get("plugins?state=active").await.1), ["test/other"]);
    assert_eq!(root.post("plugins/test/small/enable", None).await.0, 200);
    assert_eq!(answer(&root.host, "/small").await, (200, json!(2)));

    let (status, changes) = root.get("plugin-changes?id=test/small&size=2").await;
    let actions: Value = changes.as_array().unwrap().iter().map(|change| change["action"].clone()).collect();
    assert_eq!((status, actions), (200, json!(["enable", "disable"])));
    let (_, everything) = root.get("plugin-changes").await;
    assert!(everything.as_array().unwrap().len() >= 8, "{everything}");
    assert!(everything.as_array().unwrap().iter().all(|change| change["outcome"] == "ok"), "{everything}");

    assert_eq!(root.call(Method::DELETE, "plugins/test/small", None).await, (204, Value::Null));
    assert_eq!(answer(&root.host, "/small").await.0, 404);
    assert_eq!(root.get("plugins/test/small").await.1["code"], "NOT_FOUND");
    assert_eq!(answer(&root.host, "/other").await, (200, json!(7)));
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_with_its_name() {
    let root = Root::new(Setup::new());
    for (path, field, code) in [
        ("plugins?state=asleep", "state", "UNKNOWN_VALUE"),
        ("plugins?state=active&state=failed", "state", "DUPLICATE_FIELD"),
        ("plugin-changes?size=0", "size", "OUT_OF_RANGE"),
        ("plugin-changes?size=501", "size", "OUT_OF_RANGE"),
        ("plugin-changes?size=many", "size", "WRONG_TYPE"),
        ("plugins/acme/none/logs?lines=-1", "lines", "OUT_OF_RANGE"),
        ("plugins/acme/none/logs?follow=yes", "follow", "WRONG_TYPE"),
    ] {
        let (status, error) = root.get(path).await;
        assert_eq!((status, &error["code"]), (422, &json!("VALIDATION_FAILED")), "{path}: {error}");
        assert_eq!(
            (&error["details"][0]["field"], &error["details"][0]["code"]),
            (&json!(field), &json!(code)),
            "{path}"
        );
    }
    let both = json!({ "digest": "aa", "version": "1.0.0" });
    let (status, error) = root.post("plugins/acme/none/rollback", Some(both)).await;
    assert_eq!((status, &error["details"][0]["field"]), (422, &json!("version")), "{error}");
    let (status, error) = root.call(Method::PUT, "plugins/acme/none", Some(json!({ "digest": 7 }))).await;
    let fields: Value = error["details"].as_array().unwrap().iter().map(|detail| detail["field"].clone()).collect();
    assert_eq!((status, fields), (422, json!(["digest", "capabilities"])), "{error}");

    // Nobody is there by this name, whatever is asked of it.
    for (method, path, body) in [
        (Method::GET, "", None),
        (Method::PUT, "", Some(json!({ "capabilities": [] }))),
        (Method::DELETE, "", None),
        (Method::POST, "/enable", None),
        (Method::POST, "/disable", None),
        (Method::POST, "/rollback", Some(json!({}))),
        (Method::GET, "/logs", None),
        (Method::GET, "/logs?follow=true", None),
    ] {
        for name in ["acme/none", "acme%2Fx/none", "acme/%00"] {
            let (status, error) = root.call(method.clone(), &format!("plugins/{name}{path}"), body.clone()).await;
            assert_eq!((status, &error["code"]), (404, &json!("NOT_FOUND")), "{method} {name}{path}: {error}");
        }
    }
    // A change that was not done is an error with the code of the refusal, and the plugin is as it was.
    assert_eq!(root.upload(plugin("small", 1, 1)).await.0, 201);
    let (status, error) = root.post("plugins/test/small/rollback", Some(json!({ "version": "9.9.9" }))).await;
    assert!((400..500).contains(&status), "{error}");
    assert!(error["request_id"].is_string() && error["message"].as_str().unwrap().contains("9.9.9"), "{error}");
    assert_eq!(answer(&root.host, "/small").await, (200, json!(1)));
}

#[tokio::test]
async fn nobody_takes_the_places_of_the_host() {
    for path in ["/api/v1/plugins", "/api/v1/plugins/a/b/more", "/api/v1/plugin-changes"] {
        let text = manifest_of("test/thief", 1, path);
        let refused = arcana::plugins::manifest::Manifest::parse(&text).unwrap_err().to_string();
        assert!(refused.contains("is the host's own"), "{path}: {refused}");
    }
    // With the name of the service it would be the service.
    let wit =
        "package arcana:plugin@1.2.0; interface plugin-service { more: func(); } world w { export plugin-service; }";
    let manifest = "[plugin]\nid = \"test/thief\"\nversion = \"1.0.0\"\nseq = 1\nhost = \"0.1\"\n\
                    [[methods]]\ncall = \"plugin-service.more\"\nallow = \"public\"\n";
    let thief = signed(&unreachable_module(wit), manifest);
    let shadow = signed(&answering("shadow", 1), &manifest_of("test/shadow", 1, "/api/v1/{anything}"));
    let host = json_log().plugin("thief", &thief).plugin("shadow", &shadow).start();
    let (code, reason) = &refused(&host)["thief"];
    assert_eq!(code, "CONTRACT", "{reason}");
    assert!(reason.contains("arcana:plugin/plugin-service@1.2.0"), "{reason}");
    // A parameter stands behind what is written out.
    assert_eq!(host.get("/api/v1/plugins").await.0, 401);
    let user = token(&host, "ada", "user");
    assert_eq!(host.call(Method::GET, "/api/v1/plugin-changes", Some(&user), None).await.0, 403);
}
