//! Reading what the host says of itself, `/metrics` and the documentation, from where and as whom one may not.

use reqwest::Method;

use crate::plugin_api::token;
use crate::support::{Host, Setup};

const GUARDED: [&str; 4] = ["/metrics", "/api/openapi.json", "/api/docs", "/api/docs/swagger-ui.css"];

/// The status of each of the guarded routes for a request with this token and these headers, which is the same for all.
async fn read(host: &Host, token: Option<&str>, headers: &[(&str, &str)]) -> u16 {
    let mut statuses = Vec::new();
    for path in GUARDED {
        for method in [Method::GET, Method::HEAD] {
            let mut request = host.client.request(method.clone(), format!("{}{path}", host.url));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{path}");
            if status >= 400 && method == Method::GET {
                let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
                let error: serde_json::Value = response.json().await.unwrap();
                assert_eq!(error["request_id"], id, "{path}: {error}");
            }
            statuses.push(status);
        }
    }
    assert!(statuses.iter().all(|status| *status == statuses[0]), "{headers:?}: {statuses:?}");
    statuses[0]
}

#[tokio::test]
async fn a_client_behind_a_proxy_does_not_pass_for_loopback() {
    let host = Setup::new().start();
    let (user, admin) = (token(&host, "ada", "user"), token(&host, "root", "admin"));
    assert_eq!(read(&host, None, &[]).await, 200, "from loopback itself");
    // Nobody has said that the proxy at this address is trusted.
    for headers in [
        [("x-forwarded-for", "203.0.113.9")],
        [("x-forwarded-for", "127.0.0.1")],
        [("forwarded", "for=127.0.0.1")],
        [("x-real-ip", "127.0.0.1")],
        [("via", "1.1 cache")],
    ] {
        assert_eq!(read(&host, None, &headers).await, 401, "{headers:?}");
        assert_eq!(read(&host, Some("nonsense"), &headers).await, 401, "{headers:?}");
        assert_eq!(read(&host, Some(&user), &headers).await, 403, "{headers:?}");
        assert_eq!(read(&host, Some(&admin), &headers).await, 200, "{headers:?}");
    }
    assert_eq!(host.get("/health").await.0, 200);
    assert_eq!(host.get("/api/docs/nothing").await.0, 404);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_its_clients_are_not() {
    let host = Setup::new().settings("[server.rest]\ntrusted_proxies = [\"127.0.0.0/8\"]").start();
    for inside in ["10.1.2.3", "6.6.6.6, 192.168.7.7", "fd00::1"] {
        assert_eq!(read(&host, None, &[("x-forwarded-for", inside)]).await, 200, "{inside}");
    }
    for outside in ["203.0.113.9", "127.0.0.1, 203.0.113.9", "10.0.0.1,203.0.113.9", "203.0.113.9:4711", "unknown"] {
        assert_eq!(read(&host, None, &[("x-forwarded-for", outside)]).await, 401, "{outside}");
    }
    let two = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(read(&host, None, &two).await, 401, "the last of two headers is the proxy's");
    assert_eq!(read(&host, None, &[("via", "1.1 proxy")]).await, 401, "the proxy does not say for whom");
}

#[tokio::test]
async fn the_settings_say_who_may_read() {
    let public = Setup::new().dev().start();
    assert_eq!(read(&public, None, &[("x-forwarded-for", "203.0.113.9")]).await, 200, "in development mode");

    let settings =
        "[server.rest]\ndocs_allow = [\"authenticated\", \"203.0.113.0/24\"]\ntrusted_proxies = [\"127.0.0.1\"]
        [observability.metrics]\nallow = \"off\"";
    let host = Setup::new().settings(settings).start();
    let get = async |path: &str, client: &str, token: Option<&str>| {
        let request = host.client.get(format!("{}{path}", host.url)).header("x-forwarded-for", client);
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.unwrap().status().as_u16()
    };
    let user = token(&host, "ada", "user");
    assert_eq!(get("/api/docs", "203.0.113.9", None).await, 200);
    assert_eq!(get("/api/docs", "127.0.0.1", None).await, 401);
    assert_eq!(get("/api/docs", "127.0.0.1", Some(&user)).await, 200);
    for client in ["127.0.0.1", "203.0.113.9"] {
        assert_eq!(get("/metrics", client, Some(&token(&host, "root", "superadmin"))).await, 404);
    }

    let networks = Setup::new().settings("[observability.metrics]\nallow = [\"private\"]").start();
    let admin = token(&networks, "root", "admin");
    let (status, error) = networks.call(Method::GET, "/metrics", Some(&admin), None).await;
    assert_eq!((status, &error["code"]), (403, &"FORBIDDEN".into()), "no role is named: {error}");
}

#[tokio::test]
async fn metrics_are_rendered_once_for_many_readers() {
    let host = Setup::new().settings("[observability.metrics]\nmax_age = \"1m\"").start();
    assert_eq!(host.get("/nowhere").await.0, 404);
    let unknown = r#"arcana_http_requests_total{method="",route="(host)",status="404"}"#;
    assert_eq!(host.metric(unknown).await, 1.0);
    for _ in 0..20 {
        assert_eq!(host.get("/nowhere").await.0, 404);
        assert_eq!(host.metric(unknown).await, 1.0, "the text that is there already");
    }
}
