//! Only administrators get in: every method, over every protocol.

use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{admin, read, token};
use crate::grpc::client::{Client, How, path};
use crate::grpc::forms::to_message;
use crate::small::plugin;
use crate::support::{Host, Setup, first_admin};

/// Every route with a plugin that is not there.
const ROUTES: [(Method, &str); 10] = [
    (Method::GET, "/api/v1/plugins"),
    (Method::POST, "/api/v1/plugins"),
    (Method::GET, "/api/v1/plugins/acme/none"),
    (Method::PUT, "/api/v1/plugins/acme/none"),
    (Method::DELETE, "/api/v1/plugins/acme/none"),
    (Method::POST, "/api/v1/plugins/acme/none/enable"),
    (Method::POST, "/api/v1/plugins/acme/none/disable"),
    (Method::POST, "/api/v1/plugins/acme/none/rollback"),
    (Method::GET, "/api/v1/plugins/acme/none/logs"),
    (Method::GET, "/api/v1/plugin-changes"),
];

async fn send(host: &Host, (method, path): &(Method, &str), token: Option<&str>) -> (u16, Value) {
    let mut request = host.client.request(method.clone(), format!("{}{path}", host.url));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if *method == Method::PUT {
        request = request.json(&json!({ "capabilities": [] }));
    }
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_route_needs_the_role() {
    let host = Setup::new().start();
    let (user, moderator) = (token(&host, "ada", "user"), token(&host, "mo", "moderator"));
    let (admin, above) = (admin(&host), token(&host, "sue", "superadmin"));
    for route in &ROUTES {
        for (caller, status, code) in [
            (None, 401, "UNAUTHORIZED"),
            (Some("no token"), 401, "INVALID_TOKEN"),
            (Some(&*user), 403, "FORBIDDEN"),
            (Some(&*moderator), 403, "FORBIDDEN"),
        ] {
            let (got, error) = send(&host, route, caller).await;
            assert_eq!((got, error["code"].as_str()), (status, Some(code)), "{route:?}: {error}");
        }
        for caller in [&admin, &above] {
            let (got, answer) = send(&host, route, Some(caller)).await;
            let expected = match (&route.0, route.1) {
                (&Method::GET, "/api/v1/plugins" | "/api/v1/plugin-changes") => 200,
                (&Method::POST, "/api/v1/plugins") => 415,
                _ => 404,
            };
            assert_eq!(got, expected, "{route:?}: {answer}");
        }
    }
    // What else there is of these paths is said to everybody.
    let response = host.send(Method::OPTIONS, "/api/v1/plugins/acme/none", None, None).await;
    assert_eq!(response.headers()["allow"], "GET, PUT, DELETE, HEAD, OPTIONS");
    assert_eq!(host.call(Method::PATCH, "/api/v1/plugins/acme/none", Some(&admin), None).await.0, 405);
}

#[tokio::test]
async fn the_role_is_a_setting() {
    let host = Setup::new().settings("[plugins]\nadmin_role = \"superadmin\"\n").start();
    for (role, status) in [("admin", 403), ("superadmin", 200)] {
        let token = token(&host, "root", role);
        assert_eq!(host.call(Method::GET, "/api/v1/plugins", Some(&token), None).await.0, status, "{role}");
    }
    let log = Setup::new().settings("[plugins]\nadmin_role = \"root\"\n").try_start().err().unwrap();
    assert!(log.contains("plugins.admin_role") && log.contains("a role: user, moderator, admin"), "{log}");
}

#[tokio::test]
async fn every_method_of_grpc_needs_it_too() {
    let host = Setup::new().dev().start();
    let (user, admin) = (token(&host, "ada", "user"), admin(&host));
    let client = Client::new(&host, None).await;
    let methods = client.methods().into_iter().filter(|method| method.full_name().starts_with("arcana.plugin.v1."));
    let methods: Vec<_> = methods.collect();
    assert_eq!(methods.len(), ROUTES.len());
    for method in &methods {
        // The first message of an installation is a choice; who may not is told before it is read.
        let message = match method.name() {
            "Install" => Vec::new(),
            _ => to_message(&method.input(), &json!({ "namespace": "acme", "name": "none" })).encode_to_vec(),
        };
        for (caller, code, reason) in [
            (None, Code::Unauthenticated, "UNAUTHORIZED"),
            (Some("no token"), Code::Unauthenticated, "INVALID_TOKEN"),
            (Some(&*user), Code::PermissionDenied, "FORBIDDEN"),
        ] {
            let answer = client.raw(&path(method), message.clone(), &How::caller(caller)).await;
            let status = answer.expect_err(method.full_name());
            let details = status.get_error_details();
            assert_eq!((status.code(), &*details.error_info().unwrap().reason), (code, reason), "{method:?}");
        }
        let answer = client.raw(&path(method), message.clone(), &How::caller(Some(&admin))).await;
        let expected = match method.name() {
            "List" | "Changes" => Code::Ok,
            "Install" => Code::InvalidArgument,
            _ => Code::NotFound,
        };
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        assert_eq!(code, expected, "{}", method.full_name());
    }
}

#[tokio::test]
async fn the_accounts_of_the_shipped_plugins_are_judged_alike() {
    let host = Setup::identity().dev().start();
    let (admin, user) = (first_admin(&host).await, host.register("ada@example.org").await);
    let list = |token: String| {
        let host = &host;
        async move { host.call(Method::GET, "/api/v1/plugins", Some(&token), None).await }
    };
    let (status, listing) = list(admin.access.clone()).await;
    let ids: Vec<_> = listing["plugins"].as_array().unwrap().iter().map(|plugin| plugin["id"].clone()).collect();
    assert_eq!((status, ids), (200, vec![json!("arcana/auth"), json!("arcana/users")]));
    assert_eq!(list(user.access).await.0, 403);
    // Whoever has signed out is out on the very next request, in the midst of an upload as well as here.
    let body = json!({ "refresh_token": admin.refresh });
    assert_eq!(host.post("/api/v1/auth/logout", body).await.0, 204);
    assert_eq!(list(admin.access).await.1["code"], "INVALID_TOKEN");
    let small = plugin("small", 1, 1);
    let (status, error) = super::upload(&host, "no token", "", small).await;
    assert_eq!((status, &error["code"]), (401, &json!("INVALID_TOKEN")));
}
