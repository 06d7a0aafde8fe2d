//! gRPC is no way around the access rules: over the whole catalog, as the manifests say them.

use std::collections::BTreeMap;

use tonic::Code;
use tonic_types::StatusExt as _;

use super::client::{Client, How, path};
use crate::support::{Setup, first_admin, guest, guest_manifest};

/// `allow` of every method, by the path of its gRPC request, from the manifests of these plugins and of the guest.
fn rules(client: &Client, manifests: &[String]) -> BTreeMap<String, Vec<String>> {
    let kebab = |name: &str| {
        let mut text = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !text.is_empty() {
                text.push('-');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    };
    let mut allowed = BTreeMap::new();
    for manifest in manifests {
        let manifest: toml::Table = manifest.parse().unwrap();
        for method in manifest["methods"].as_array().unwrap() {
            let allow = match &method["allow"] {
                toml::Value::String(one) => vec![one.clone()],
                many => many.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
            };
            allowed.insert(method["call"].as_str().unwrap().to_owned(), allow);
        }
    }
    let mut rules = BTreeMap::new();
    for method in client.methods() {
        let call = format!("{}.{}", kebab(method.parent_service().name()), kebab(method.name()));
        let rule = match method.full_name() {
            host if host.starts_with("arcana.health.") => vec!["public".into()],
            host if host.starts_with("arcana.plugin.") => vec!["role:admin".into()],
            _ => allowed.remove(&call).unwrap_or_else(|| panic!("{call}")),
        };
        rules.insert(path(&method), rule);
    }
    assert!(allowed.is_empty(), "published by a manifest and not by gRPC: {allowed:?}");
    rules
}

fn manifests() -> Vec<String> {
    let shipped = |name: &str| {
        let path = format!("{}/../components/{name}/plugin.toml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    vec![shipped("auth"), shipped("users"), guest_manifest("echo")]
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_where_a_method_is_not_public() {
    let host = Setup::identity().plugin("echo", &guest("echo")).dev().start();
    let client = Client::new(&host, None).await;
    let rules = rules(&client, &manifests());
    assert!(rules.len() > 35, "{rules:?}");
    let foreign = [None, Some("not a token"), Some("eyJhbGciOiJub25lIn0.e30.")];
    for (path, allow) in &rules {
        for token in foreign {
            let answer = client.raw(path, Vec::new(), &How::caller(token)).await;
            if allow.iter().any(|rule| rule == "public") {
                let denied = answer.err().is_some_and(|status| {
                    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
                    status.code() == Code::PermissionDenied || reason.as_deref() == Some("UNAUTHORIZED")
                });
                assert!(!denied, "{path} is public");
            } else {
                let status = answer.expect_err(path);
                assert_eq!(status.code(), Code::Unauthenticated, "{path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_user_gets_no_further_than_the_role_and_the_self_rule() {
    let host = Setup::identity().dev().start();
    let (admin, user) = (first_admin(&host).await, host.register("ada@example.org").await);
    let client = Client::new(&host, None).await;
    let rules = rules(&client, &manifests()[..2]);
    let other = client.method("arcana.user.v1.UserService.Get");
    let someone = super::forms::to_message(&other.input(), &serde_json::json!({ "id": admin.id }));
    let someone = prost::Message::encode_to_vec(&someone);
    let mut closed = 0;
    for (path, allow) in &rules {
        if allow.iter().any(|rule| matches!(&**rule, "public" | "authenticated")) {
            continue;
        }
        // The id is the first field of every request that has one.
        let status = client.raw(path, someone.clone(), &How::caller(Some(&user.access))).await.expect_err(path);
        // Where the rest of the request is missing, that may be told first.
        assert!(matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument), "{path}: {status}");
        closed += usize::from(status.code() == Code::PermissionDenied);
    }
    assert!(closed >= 5, "{closed}");
    let get = |id: &str, token: &str| {
        let (client, json, token) = (client.clone(), serde_json::json!({ "id": id }), token.to_owned());
        async move { client.call("arcana.user.v1.UserService.Get", &json, &How::caller(Some(&token))).await }
    };
    assert_eq!(get(&user.id, &user.access).await.unwrap()["email"], "ada@example.org");
    assert_eq!(get(&admin.id, &user.access).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(get(&user.id, &admin.access).await.unwrap()["email"], "ada@example.org");

    // A session that has ended is refused on the very next call.
    let me = "arcana.auth.v1.AuthService.GetCurrentUser";
    let none = serde_json::json!({});
    assert_eq!(client.call(me, &none, &How::caller(Some(&user.access))).await.unwrap()["id"], *user.id);
    let logout = serde_json::json!({ "refresh_token": user.refresh });
    client.call("arcana.auth.v1.AuthService.Logout", &logout, &How::default()).await.unwrap();
    let status = client.call(me, &none, &How::caller(Some(&user.access))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "INVALID_TOKEN");
}
