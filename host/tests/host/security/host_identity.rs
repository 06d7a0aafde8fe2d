//! Passing for the host itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{claims, me};
use crate::support::{Host, Setup, first_admin};

/// A token with the header of a real one, other claims and a right signature, as the holder of the host's key makes it.
fn forged(host: &Host, real: &str, subject: &str, session: &str) -> String {
    let mut claims = claims(real);
    (claims["sub"], claims["session_id"]) = (json!(subject), json!(session));
    claims["roles"] = json!(["superadmin"]);
    let pem = std::fs::read_to_string(host.path("data/keys/token-1.pem")).unwrap();
    let key = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let header = real.split('.').next().unwrap();
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes()))
}

#[tokio::test]
async fn no_token_makes_its_bearer_the_host() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let ada = host.register("ada@example.org").await;
    assert_eq!(
        me(&host, &forged(&host, &ada.access, &ada.id, "another")).await.0,
        200,
        "such a token of an account is good"
    );

    let nil = "00000000-0000-0000-0000-000000000000";
    for (subject, session) in [
        (nil, "system"),
        (nil, "another"),
        ("{00000000-0000-0000-0000-000000000000}", "system"),
        ("00000000000000000000000000000000", "another"),
        (ada.id.as_str(), "system"),
        (ada.id.as_str(), "SYSTEM"),
        ("system", "another"),
    ] {
        let token = forged(&host, &ada.access, subject, session);
        let as_host = async |method: Method, path: &str, body: Value| {
            let (status, answer) = host.call(method, path, Some(&token), Some(body)).await;
            (status, answer["code"].as_str().unwrap_or_default().to_owned())
        };
        let refused = (401, "INVALID_TOKEN".to_owned());
        let role = format!("/api/v1/users/{}/role", ada.id);
        assert_eq!(
            as_host(Method::PATCH, &role, json!({ "role": "superadmin" })).await,
            refused,
            "{subject} {session}"
        );
        let new = json!({ "email": "eve@example.org", "password": "correct horse", "role": "superadmin" });
        assert_eq!(as_host(Method::POST, "/api/v1/users", new).await, refused, "{subject} {session}");
        let path = format!("/api/v1/users/{nil}");
        assert_eq!(host.call(Method::GET, &path, Some(&token), None).await.0, 401, "{subject} {session}");
        let (_, info) = host.post("/api/v1/auth/validate-token", json!({ "token": token })).await;
        assert_eq!(info["valid"], json!(false), "{subject} {session}: {info}");
    }
    // Headers do no more than tokens.
    let request = host.client.get(format!("{}/api/v1/users", host.url)).bearer_auth(&ada.access);
    let request = request.header("x-arcana-host", "1").header("x-forwarded-for", "127.0.0.1");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 403);

    let (_, page) = host.call(Method::GET, "/api/v1/users?role=superadmin", Some(&admin.access), None).await;
    assert_eq!(page["total_elements"], json!(1), "the one that the host itself has made: {page}");
}
