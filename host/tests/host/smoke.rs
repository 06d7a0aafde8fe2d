//! The walk that README shows.

use reqwest::Method;
use serde_json::json;

use crate::support::{PASSWORD, Session, Setup, first_admin};

#[tokio::test]
async fn register_login_me_refresh_logout_and_an_admin_lists_users() {
    let host = Setup::identity().dev().start();
    let session = host.register("Ada@Example.org").await;
    let (status, me) = host.call(Method::GET, "/api/v1/auth/me", Some(&session.access), None).await;
    assert_eq!((status, me["email"].as_str()), (200, Some("Ada@Example.org")), "{me}");

    let (status, answer) = host.login("ada@example.ORG", PASSWORD).await;
    assert_eq!((status, answer["token_type"].as_str()), (200, Some("Bearer")), "{answer}");
    let (status, answer) = host.post("/api/v1/auth/refresh", json!({ "refresh_token": session.refresh })).await;
    assert_eq!(status, 200, "{answer}");
    let renewed = Session::read(&answer);

    let (status, _) = host.post("/api/v1/auth/logout", json!({ "refresh_token": renewed.refresh })).await;
    assert_eq!(status, 204);
    let (status, answer) = host.post("/api/v1/auth/refresh", json!({ "refresh_token": renewed.refresh })).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("INVALID_TOKEN")), "{answer}");
    let (status, answer) = host.call(Method::GET, "/api/v1/auth/me", Some(&renewed.access), None).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("INVALID_TOKEN")), "{answer}");

    let admin = first_admin(&host).await;
    let (status, page) = host.call(Method::GET, "/api/v1/users?size=1", Some(&admin.access), None).await;
    assert_eq!((status, page["total_elements"].as_u64()), (200, Some(2)), "{page}");
    let user = Session::read(&host.login("ada@example.org", PASSWORD).await.1);
    let (status, answer) = host.call(Method::GET, "/api/v1/users", Some(&user.access), None).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("FORBIDDEN")), "{answer}");
}
