//! Access tokens: what is taken, what is not, and who else can check them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{again, claims, code, fields, me, refresh};
use crate::support::{Host, PASSWORD, Session, Setup, until};

/// The tokens that the tests make themselves, as whoever has a key could.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    // The order of members is that of the host, whatever the map makes of it.
    let ordered = ["typ", "alg", "kid"].map(|name| format!("\"{name}\":{}", header[name])).join(",");
    let header = match header.as_object().unwrap().len() {
        3 => URL_SAFE_NO_PAD.encode(format!("{{{ordered}}}")),
        _ => part(header),
    };
    let signed = format!("{header}.{}", part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
}

fn hs256(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    move |message| {
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
}

fn header(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn with(value: &Value, name: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[name] = new;
    value
}

async fn jwks(host: &Host) -> JwkSet {
    serde_json::from_value(host.get("/.well-known/jwks.json").await.1).unwrap()
}

async fn assert_refused(host: &Host, what: &str, token: &str, expected: &str) {
    let answer = me(host, token).await;
    assert_eq!(code(&answer), (401, expected), "{what}: {}", answer.1);
    let (status, info) = host.post("/api/v1/auth/validate-token", json!({ "token": token })).await;
    let nothing = json!({ "valid": false, "subject": null, "session_id": null, "roles": [], "expires_at": null });
    assert_eq!((status, &info), (200, &nothing), "{what}");
}

#[tokio::test]
async fn only_tokens_of_this_host_are_taken() {
    let host = Setup::identity().start();
    let session = host.register("ada@example.org").await;
    let (head, body) = (header(&session.access), claims(&session.access));
    assert_eq!((&head["typ"], &head["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let pem = std::fs::read_to_string(host.path("data/keys/token-1.pem")).unwrap();
    let own = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let by = |key: &SigningKey| {
        let key = key.clone();
        move |message: &[u8]| key.sign(message).to_vec()
    };
    // Made like this and with the host's key a token is taken: what follows is refused for what is said of it.
    assert_eq!(me(&host, &token(&head, &body, by(&own))).await.0, 200);

    let public = own.verifying_key();
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    let key_file = host.get("/.well-known/jwks.json").await.1["keys"][0].to_string();
    let hs = with(&head, "alg", json!("HS256"));
    let other = SigningKey::from_bytes(&[7; 32]);
    let mut forged = vec![
        ("alg none, unsigned", token(&with(&head, "alg", json!("none")), &body, |_| Vec::new())),
        ("alg None", token(&with(&head, "alg", json!("None")), &body, |_| Vec::new())),
        ("no signature", token(&head, &body, |_| Vec::new())),
        ("zeros for a signature", token(&head, &body, |_| vec![0; 64])),
        ("HS256 with the public key", token(&hs, &body, hs256(public.as_bytes()))),
        ("HS256 with its text", token(&hs, &body, hs256(x.as_bytes()))),
        ("HS256 with the JWK", token(&hs, &body, hs256(key_file.as_bytes()))),
        ("HS256 in EdDSA's clothes", token(&head, &body, hs256(public.as_bytes()))),
        ("another key by the same name", token(&head, &body, by(&other))),
        ("another key by its own name", token(&with(&head, "kid", json!("other")), &body, by(&other))),
        ("a kid that is a path", token(&with(&head, "kid", json!("../../keys/token-1.pem")), &body, by(&own))),
        ("another kind of JWT", token(&with(&head, "typ", json!("JWT")), &body, by(&own))),
        ("a header with jku", token(&with(&head, "jku", json!("https://example.org/")), &body, by(&own))),
        ("another issuer", token(&head, &with(&body, "iss", json!("other")), by(&own))),
        ("another audience", token(&head, &with(&body, "aud", json!("other")), by(&own))),
        ("an empty subject", token(&head, &with(&body, "sub", json!("")), by(&own))),
        (
            "not before tomorrow",
            token(&head, &with(&body, "nbf", json!(body["nbf"].as_i64().unwrap() + 86_400)), by(&own)),
        ),
        ("a further claim", token(&head, &with(&body, "admin", json!(true)), by(&own))),
        ("the refresh token", session.refresh.clone()),
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("too long", format!("{}{}", session.access, "A".repeat(5000))),
    ];
    // Every part of a good token matters: a superadmin's roles under an old signature, and every place of the text.
    let parts: Vec<&str> = session.access.split('.').collect();
    let raised = URL_SAFE_NO_PAD.encode(with(&body, "roles", json!(["superadmin"])).to_string());
    forged.push(("other claims", format!("{}.{raised}.{}", parts[0], parts[2])));
    for at in (0..session.access.len()).step_by(23) {
        let mut bytes = session.access.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        forged.push(("one letter", String::from_utf8(bytes).unwrap()));
    }
    for (what, token) in &forged {
        assert_refused(&host, what, token, "INVALID_TOKEN").await;
    }
    let past = with(&with(&with(&body, "iat", json!(1000)), "nbf", json!(1000)), "exp", json!(1900));
    assert_refused(&host, "long ago", &token(&head, &past, by(&own)), "TOKEN_EXPIRED").await;
    let eternal = with(&past, "exp", json!(body["exp"].as_i64().unwrap() + 1_000_000));
    assert_refused(&host, "longer than a life", &token(&head, &eternal, by(&own)), "TOKEN_EXPIRED").await;
    assert_eq!(me(&host, &session.access).await.0, 200, "none of this hurt the real one");

    // How a token is brought.
    let url = format!("{}/api/v1/auth/me", host.url);
    for (value, expected) in [
        (None, (401, "UNAUTHORIZED")),
        (Some(format!("Basic {}", session.access)), (401, "INVALID_TOKEN")),
        (Some(session.access.clone()), (401, "INVALID_TOKEN")),
        (Some("Bearer".to_owned()), (401, "INVALID_TOKEN")),
        (Some(format!("bearer {}", session.access)), (200, "")),
    ] {
        let request = host.client.get(&url);
        let request = value.iter().fold(request, |request, value| request.header("authorization", value));
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate").cloned();
        let answer = (response.status().as_u16(), response.json().await.unwrap());
        assert_eq!(code(&answer), expected, "{value:?}");
        assert_eq!(challenge.is_some_and(|value| value == "Bearer"), expected.0 == 401, "{value:?}");
    }
}

#[tokio::test]
async fn others_verify_tokens_by_the_public_keys() {
    let host = Setup::identity().start();
    let session = host.register("ada@example.org").await;
    let response = host.send(Method::GET, "/.well-known/jwks.json", None, None).await;
    let cache = response.headers()["cache-control"].to_str().unwrap().to_owned();
    assert!(cache.starts_with("public, max-age="), "{cache}");
    let text = response.text().await.unwrap();
    let names = |key: &Value| key.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let raw: Value = serde_json::from_str(&text).unwrap();
    assert!(!names(&raw["keys"][0]).contains(&"d".to_owned()), "the private key is shown");

    let keys: JwkSet = serde_json::from_value(raw).unwrap();
    let kid = jsonwebtoken::decode_header(&session.access).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&["arcana"]);
    rules.set_audience(&["arcana"]);
    rules.validate_nbf = true;
    let token = jsonwebtoken::decode::<Value>(&session.access, &key, &rules).unwrap();
    assert_eq!(token.claims["sub"], json!(session.id));
    let other = Setup::identity().start();
    let stranger = other.register("ada@example.org").await;
    assert!(jsonwebtoken::decode::<Value>(&stranger.access, &key, &rules).is_err(), "each host has its own key");
    assert_refused(&host, "another host's token", &stranger.access, "INVALID_TOKEN").await;

    // And the host tells whoever asks.
    let (status, info) = host.post("/api/v1/auth/validate-token", json!({ "token": session.access })).await;
    let expected = json!({
        "valid": true, "subject": session.id, "session_id": token.claims["session_id"], "roles": ["user"],
        "expires_at": token.claims["exp"],
    });
    assert_eq!((status, info), (200, expected));
    let answer = host.post("/api/v1/auth/validate-token", json!({})).await;
    assert_eq!((code(&answer), fields(&answer.1)), ((422, "VALIDATION_FAILED"), vec!["token REQUIRED".to_owned()]));
    assert_eq!(host.post("/api/v1/auth/logout", json!({ "refresh_token": session.refresh })).await.0, 204);
    assert_refused(&host, "logged out", &session.access, "INVALID_TOKEN").await;

    // A new key signs from the next start on; tokens of the old one stay good while its file is there.
    let before = again(&host, "ada@example.org").await;
    let setup = host.kill();
    let key = setup.path("data/keys/token-2.pem");
    std::fs::copy(other.path("data/keys/token-1.pem"), &key).unwrap();
    let host = setup.start();
    let after = again(&host, "ada@example.org").await;
    assert_ne!(header(&before.access)["kid"], header(&after.access)["kid"]);
    assert_eq!(jwks(&host).await.keys.len(), 2);
    for session in [&before, &after] {
        assert_eq!(me(&host, &session.access).await.0, 200);
    }
}

#[tokio::test]
async fn an_access_token_runs_out_and_its_session_goes_on() {
    let setting = "[security.tokens]\nleeway = \"0s\"\n[plugins.settings.\"arcana/auth\"]\naccess_token_seconds = 1\n";
    let host = Setup::identity().settings(setting).start();
    let session = host.register("ada@example.org").await;
    let times = claims(&session.access);
    assert_eq!(times["exp"].as_i64().unwrap() - times["iat"].as_i64().unwrap(), 1);
    until("the token has expired", async || me(&host, &session.access).await.0 == 401).await;
    assert_refused(&host, "expired", &session.access, "TOKEN_EXPIRED").await;
    // Public methods do not mind, or nobody could sign in again with the header still set.
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let answer = host.call(Method::POST, "/api/v1/auth/login", Some(&session.access), Some(body)).await;
    assert_eq!((answer.0, answer.1["expires_in"].as_u64()), (200, Some(1)), "{}", answer.1);
    let body = json!({ "refresh_token": session.refresh });
    let answer = host.call(Method::POST, "/api/v1/auth/refresh", Some(&session.access), Some(body)).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    assert_ne!(Session::read(&answer.1).access, session.access);
}

#[tokio::test]
async fn a_shared_secret_signs_where_it_is_set() {
    let setting = "[security.tokens]\nalgorithm = \"HS256\"\nissuer = \"https://id.example.org\"\naudience = \"shop\"\n\
                   life = \"1m\"\n[plugins.settings.\"arcana/auth\"]\naccess_token_seconds = 3600\n";
    let host = Setup::identity().settings(setting).start();
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let (status, answer) = host.post("/api/v1/auth/register", body).await;
    // The host's longest life bounds what the plugin asks for.
    assert_eq!((status, answer["expires_in"].as_u64()), (201, Some(60)), "{answer}");
    let session = Session::read(&answer);
    assert_eq!(header(&session.access)["alg"], "HS256");
    assert_eq!(host.get("/.well-known/jwks.json").await, (200, json!({ "keys": [] })), "a secret is not shown");
    assert_eq!(me(&host, &session.access).await.0, 200);

    let secret = std::fs::read(host.path("data/keys/token-1.key")).unwrap();
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_issuer(&["https://id.example.org"]);
    rules.set_audience(&["shop"]);
    let key = DecodingKey::from_secret(&secret);
    assert_eq!(jsonwebtoken::decode::<Value>(&session.access, &key, &rules).unwrap().claims["sub"], json!(session.id));

    let (head, body) = (header(&session.access), claims(&session.access));
    assert_eq!(me(&host, &token(&head, &body, hs256(&secret))).await.0, 200);
    for (what, token) in [
        ("no secret", token(&head, &body, hs256(&[]))),
        ("another secret", token(&head, &body, hs256(&[0; 32]))),
        ("alg none", token(&with(&head, "alg", json!("none")), &body, |_| Vec::new())),
        ("a signature cut short", session.access[..session.access.len() - 4].to_owned()),
    ] {
        assert_refused(&host, what, &token, "INVALID_TOKEN").await;
    }
    let (status, answer) = refresh(&host, &session.refresh).await;
    assert_eq!(status, 200, "{answer}");
    let renewed = Session::read(&answer);
    assert_eq!(host.post("/api/v1/auth/logout", json!({ "refresh_token": renewed.refresh })).await.0, 204);
    assert_refused(&host, "logged out", &renewed.access, "INVALID_TOKEN").await;
}
