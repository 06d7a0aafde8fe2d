//! The OpenAPI document and its page, as clients and browsers get them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Command;

use arcana::plugins::manifest::{Allow, Manifest};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Host, Setup, guest, guest_manifest};

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The routes of the host's plugin service.
const PLUGIN_ROUTES: [(&str, &str); 10] = [
    ("GET", "/api/v1/plugins"),
    ("POST", "/api/v1/plugins"),
    ("GET", "/api/v1/plugins/{namespace}/{name}"),
    ("PUT", "/api/v1/plugins/{namespace}/{name}"),
    ("DELETE", "/api/v1/plugins/{namespace}/{name}"),
    ("POST", "/api/v1/plugins/{namespace}/{name}/enable"),
    ("POST", "/api/v1/plugins/{namespace}/{name}/disable"),
    ("POST", "/api/v1/plugins/{namespace}/{name}/rollback"),
    ("GET", "/api/v1/plugins/{namespace}/{name}/logs"),
    ("GET", "/api/v1/plugin-changes"),
];

/// The operations of a document by verb and path.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        assert!(item.keys().all(|verb| VERBS.contains(&verb.as_str())), "{item:?}");
        item.iter().map(|(verb, operation)| ((verb.to_uppercase(), path.clone()), operation.clone()))
    });
    operations.collect()
}

/// What the manifests publish, with the rules of access.
fn published(manifests: &[&str]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let manifests: Vec<Manifest> = manifests.iter().map(|text| Manifest::parse(text).unwrap()).collect();
    let methods = manifests.iter().flat_map(|manifest| &manifest.methods);
    let routes = methods.flat_map(|method| {
        let rules: BTreeSet<String> = method.allow.iter().map(Allow::to_string).collect();
        method.http.iter().map(move |http| ((http.method.to_string(), http.path.clone()), rules.clone()))
    });
    routes.collect()
}

fn shipped_manifest(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../components/{name}/plugin.toml"));
    std::fs::read_to_string(path).unwrap()
}

async fn get(host: &Host, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
    let request = host.client.get(format!("{}{path}", host.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).unwrap_or_else(|| panic!("no {name} in {headers:?}")).to_str().unwrap()
}

#[tokio::test]
async fn the_document_has_every_published_route_with_its_rule() {
    let host = Setup::identity().plugin("echo", &guest("echo")).start();
    let (status, document) = host.get("/api/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.1")));
    let manifests = [shipped_manifest("auth"), shipped_manifest("users"), guest_manifest("echo")];
    let mut expected = published(&manifests.each_ref().map(String::as_str));
    let of_plugins =
        PLUGIN_ROUTES.map(|(verb, path)| ((verb.to_owned(), path.to_owned()), ["role:admin".to_owned()].into()));
    expected.extend(of_plugins);
    let mut told = BTreeMap::new();
    let mut own = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (route, operation) in operations(&document) {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{} twice",
            operation["operationId"]
        );
        let public = operation["security"] == json!([]);
        let Some(rules) = operation["x-arcana-access"].as_array() else {
            assert!(public, "{route:?}");
            own.insert(route.1);
            continue;
        };
        let rules: BTreeSet<String> = rules.iter().map(|rule| rule.as_str().unwrap().to_owned()).collect();
        assert_eq!(public, rules.contains("public"), "{route:?}");
        assert!(public || operation["security"] == json!([{ "bearerAuth": [] }]), "{route:?}");
        assert!(operation["responses"].as_object().unwrap().contains_key("401") || public, "{route:?}");
        told.insert(route, rules);
    }
    assert_eq!(told, expected);
    assert!(own.iter().map(String::as_str).eq([
        "/.well-known/jwks.json",
        "/api/docs",
        "/api/openapi.json",
        "/health",
        "/health/live",
        "/health/ready",
        "/health/startup",
        "/metrics",
    ]));

    // The doc comments of the WIT are there.
    let get = &document["paths"]["/api/v1/users/{id}"]["get"];
    assert_eq!(get["summary"], "One account");
    assert!(get["description"].as_str().unwrap().contains("the role `admin` or a higher one; or the account itself"));
    assert_eq!(
        document["components"]["schemas"]["User"]["properties"]["last_login_at"]["type"],
        json!(["string", "null"])
    );
    assert_eq!(document["components"]["schemas"]["User"]["required"].as_array().unwrap().len(), 11);

    // What has streams is told as it is.
    let upload = &document["paths"]["/api/v1/plugins"]["post"];
    assert_eq!(upload["tags"], json!(["PluginService"]));
    assert_eq!(upload["x-arcana-grpc"], "arcana.plugin.v1.PluginService/Install");
    let content = upload["requestBody"]["content"].as_object().unwrap();
    assert!(content.keys().eq(["application/octet-stream", "application/wasm"]), "{content:?}");
    let flags: Vec<_> = upload["parameters"].as_array().unwrap().iter().map(|flag| &flag["name"]).collect();
    assert_eq!(flags, ["dry_run", "allow_breaking", "allow_downgrade", "activate"]);
    for status in ["200", "201", "202"] {
        let answer = &upload["responses"][status]["content"]["application/json"]["schema"];
        assert_eq!(answer["$ref"], "#/components/schemas/Installed", "{status}");
    }
    assert!(upload["responses"]["200"]["content"]["text/event-stream"].is_object());
    assert!(upload["responses"]["413"]["description"].as_str().unwrap().contains("33554432 bytes"));
    let logs = &document["paths"]["/api/v1/plugins/{namespace}/{name}/logs"]["get"]["responses"]["200"]["content"];
    assert!(logs.as_object().unwrap().keys().eq(["text/event-stream"]), "{logs}");

    // One plugin alone.
    let (status, one) = host.get("/api/openapi.json?plugin=arcana/auth").await;
    assert_eq!((status, &one["info"]["title"]), (200, &json!("arcana/auth")));
    let expected = published(&[&manifests[0]]);
    assert!(operations(&one).into_keys().eq(expected.into_keys()));
    assert!(one["components"]["schemas"].get("Shape").is_none());
    for query in ["plugin=no/such", "plugin=", "plugin=arcana/auth&plugin=arcana/users"] {
        let (status, error) = host.get(&format!("/api/openapi.json?{query}")).await;
        assert_eq!((status, &error["code"]), (404, &json!("NOT_FOUND")), "{query}");
        assert!(error["message"].as_str().unwrap().contains("no active plugin"), "{error}");
    }
}

/// Sends what the document gives as an example.
async fn send_example(host: &Host, path: &str, verb: &str, operation: &Value) -> (u16, Value) {
    let mut path = path.to_owned();
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let text = match &parameter["example"] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &text),
            _ => query.push(format!("{name}={text}")),
        }
    }
    let body = operation["requestBody"]["content"]["application/json"].get("example").cloned();
    host.call(verb.parse().unwrap(), &format!("{path}?{}", query.join("&")), None, body).await
}

#[tokio::test]
async fn every_example_is_taken_and_answered_as_the_document_says() {
    let host = Setup::new().plugin("echo", &guest("echo")).start();
    let (_, document) = host.get("/api/openapi.json?plugin=test/echo").await;
    let operations = operations(&document);
    assert!(operations.len() > 20);
    for ((verb, path), operation) in &operations {
        let (status, answer) = send_example(&host, path, verb, operation).await;
        let told = operation["responses"].as_object().unwrap();
        assert!(told.contains_key(&status.to_string()), "{verb} {path}: {status} {answer}");
        let success = told.keys().find(|status| status.starts_with('2')).unwrap();
        // Half of an odd number, and functions that only fail.
        let fails = ["/half/", "/fail"].iter().any(|part| path.contains(part));
        assert_eq!(fails, status.to_string() != *success, "{verb} {path}: {status} {answer}");
        assert_eq!(
            told[success].get("content").is_none(),
            status == 204 && !fails || path.ends_with("{kind}"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn clients_that_have_it_already_are_told_so() {
    let host = Setup::new().plugin("echo", &guest("echo")).start();
    let mut tags = BTreeSet::new();
    for path in [
        "/api/openapi.json",
        "/api/openapi.json?plugin=test/echo",
        "/api/docs",
        "/api/docs/page.js",
        "/api/docs/swagger-ui.css",
    ] {
        let (status, headers, body) = get(&host, path, &[("accept-encoding", "gzip")]).await;
        assert_eq!((status, body.is_empty()), (200, false), "{path}");
        assert_eq!(header(&headers, "cache-control"), "no-cache");
        let tag = header(&headers, "etag").to_owned();
        assert!(tags.insert(tag.clone()), "{path} has the tag of another");
        let opaque = tag.trim_start_matches("W/");
        for known in [tag.clone(), format!("\"a\", {opaque}"), format!("W/{opaque}"), "*".to_owned()] {
            let (status, headers, body) =
                get(&host, path, &[("if-none-match", &known), ("accept-encoding", "gzip")]).await;
            assert_eq!((status, header(&headers, "etag"), body.len()), (304, &*tag, 0), "{path} {known}");
        }
        let (status, ..) = get(&host, path, &[("if-none-match", "\"a\""), ("accept-encoding", "gzip")]).await;
        assert_eq!(status, 200, "{path}");
    }
    // The same of the next host, so that caches stay good.
    let again = host.kill().start();
    let (_, headers, _) = get(&again, "/api/openapi.json", &[]).await;
    assert!(tags.contains(header(&headers, "etag")));
}

#[tokio::test]
async fn the_page_and_its_files_come_from_the_host_alone() {
    let host = Setup::new().start();
    let (status, headers, page) = get(&host, "/api/docs", &[]).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "text/html; charset=utf-8"));
    let policy = header(&headers, "content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let page = String::from_utf8(page).unwrap();
    let linked: Vec<&str> = page.split(['"', '\'']).filter_map(|text| text.strip_prefix("docs/")).collect();
    assert_eq!(linked, ["favicon.png", "swagger-ui.css", "page.css", "swagger-ui-bundle.js", "page.js"]);
    let mut own = vec![page.clone()];
    for file in linked.into_iter().chain(["license.txt"]) {
        let path = format!("/api/docs/{file}");
        let (status, headers, body) = get(&host, &path, &[("accept-encoding", "br, gzip;q=0.5")]).await;
        let media_type = match file.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "png" => "image/png",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!((status, header(&headers, "content-type")), (200, media_type), "{file}");
        assert_eq!(header(&headers, "x-content-type-options"), "nosniff");
        assert_eq!(header(&headers, "vary").to_lowercase(), "accept-encoding", "{file}");
        if file.starts_with("page.") {
            let (_, _, plain) = get(&host, &path, &[]).await;
            own.push(String::from_utf8(plain).unwrap());
        } else {
            assert_eq!((header(&headers, "content-encoding"), &body[..2]), ("gzip", &b"\x1f\x8b"[..]), "{file}");
            for refusing in ["identity", "deflate, gzip;q=0"] {
                let (status, headers, body) = get(&host, &path, &[("accept-encoding", refusing)]).await;
                assert_eq!(status, 200, "{file}");
                assert!(!headers.contains_key("content-encoding") && !body.starts_with(b"\x1f\x8b"));
                let starts = match media_type {
                    "image/png" => &b"\x89PNG"[..],
                    "text/css; charset=utf-8" => b".swagger-ui{",
                    "text/javascript; charset=utf-8" => b"/*! For license",
                    _ => b"\n                                 Apache License",
                };
                assert!(body.starts_with(starts), "{file}");
                let tag = header(&headers, "etag");
                assert!(tag.ends_with("-plain\""), "{tag}");
                let asked = [("accept-encoding", refusing), ("if-none-match", tag)];
                assert_eq!(get(&host, &path, &asked).await.0, 304, "{file}");
            }
        }
    }
    for text in own {
        assert!(!text.contains("://"), "an address of somewhere else: {text}");
        assert!(!text.contains("<script>") && !text.contains("style="), "not allowed by the policy: {text}");
    }
    let (status, error) = host.get("/api/docs/nothing.js").await;
    assert_eq!((status, &error["code"]), (404, &json!("NOT_FOUND")));
    // What does TLS is there once any client was made.
    drop(crate::support::client());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = client.get(format!("{}/api/docs/", host.url)).send().await.unwrap();
    assert_eq!(
        (response.status(), header(response.headers(), "location")),
        (StatusCode::PERMANENT_REDIRECT, "../docs")
    );
    let followed = host.client.get(format!("{}/api/docs/", host.url)).send().await.unwrap();
    assert_eq!(followed.text().await.unwrap(), page);
}

#[tokio::test]
async fn documentation_can_be_switched_off() {
    let host = Setup::new().settings("[server.rest]\ndocs = false").start();
    for path in ["/api/docs", "/api/docs/page.js", "/api/openapi.json"] {
        let (status, error) = host.get(path).await;
        assert_eq!((status, &error["code"]), (404, &json!("NOT_FOUND")), "{path}");
    }
    assert_eq!(host.call(Method::GET, "/health", None, None).await.0, 200);
}

/// What says nothing says so: an answer without a body has no type of one.
#[tokio::test]
async fn an_answer_without_a_value_is_described_as_it_is() {
    let manifest = guest_manifest("echo");
    let manifest = crate::support::with_method(&manifest, "kitchen.nothing", "status = 202");
    let manifest = crate::support::with_method(&manifest, "kitchen.add", "status = 204");
    let host = Setup::new().plugin("echo", &crate::support::guest_with("echo", &manifest)).start();
    let (_, document) = host.get("/api/openapi.json").await;
    for (path, verb, status) in [("/test/echo/nothing", "post", 202), ("/test/echo/add", "get", 204)] {
        let told = &document["paths"][path][verb]["responses"][status.to_string()];
        assert!(told.is_object() && told.get("content").is_none(), "{told}");
        let request = format!("{}{path}?left=1&right=2", host.url);
        let response = host.client.request(verb.to_uppercase().parse().unwrap(), request).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().get("content-type")), (status, None), "{path}");
        assert!(response.bytes().await.unwrap().is_empty(), "{path}");
    }
}

/// A browser on this machine.
fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let found = Command::new(name).arg("--version").output();
        found.is_ok_and(|output| output.status.success())
    })
}

#[tokio::test]
async fn a_browser_shows_the_page_and_has_nothing_to_complain_of() {
    let Some(chromium) = chromium() else {
        // Past the harness, which shows nothing of what a test prints that does not fail. `cargo xtask test` counts it.
        let why = "there is no chromium here";
        let note = format!("\nskipped: openapi::a_browser_shows_the_page_and_has_nothing_to_complain_of: {why}\n");
        std::io::stdout().lock().write_all(note.as_bytes()).unwrap();
        return;
    };
    let host = Setup::identity().start();
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(chromium);
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    browser.args(["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.arg(format!("{}/api/docs#/AuthService/AuthService_Login", host.url));
    let output = tokio::task::spawn_blocking(move || browser.output()).await.unwrap().unwrap();
    let (page, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Every operation has its line, and the one of the address is open.
    assert_eq!(page.matches("opblock-summary-path\"").count(), 15 + 8 + PLUGIN_ROUTES.len(), "{log}");
    assert!(page.contains("The answer and its time are the same whether the account exists or not."), "{log}");
    assert!(page.contains("Who may call:") && page.contains("Try it out"), "{log}");
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        // What the page says of the form of its own addresses.
        .filter(|line| !line.contains("escaping deep link whitespace"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
