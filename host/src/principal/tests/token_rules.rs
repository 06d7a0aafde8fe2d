use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::keys::hmac;
use super::key_files::rfc8037_key;
use super::*;

fn ed_tokens() -> Tokens {
    let key = rfc8037_key();
    tokens_with(settings(), vec![TokenKey::ed25519(key.verifying_key(), Some(key))])
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn signed(header: &str, claims: &str, key: &SigningKey) -> String {
    let message = format!("{header}.{claims}");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).to_bytes()))
}

#[test]
fn a_token_says_what_was_asked() {
    for tokens in [ed_tokens(), tokens_with(settings(), vec![TokenKey::hs256(Zeroizing::new([3; 32]))])] {
        let token = issue(&tokens, "alice", "s1", NOW + 7);
        let principal = tokens.verify_at(&token, NOW + 7).unwrap();
        assert_eq!(&*principal.subject, "alice");
        assert_eq!(&*principal.session_id, "s1");
        assert_eq!(principal.roles, ["user", "admin"]);
        assert_eq!(principal.role, Role::Admin);
        assert_eq!(principal.issued_at_ms, NOW + 7);
        assert_eq!(principal.expires_at, NOW / 1000 + 900);
        assert_eq!(tokens.cache_stats(), (0, 1));
        assert!(Arc::ptr_eq(&principal, &tokens.verify_at(&token, NOW + 8).unwrap()));
        assert_eq!(tokens.cache_stats(), (1, 1));
    }
}

#[test]
fn another_implementation_accepts_the_token_by_the_published_key() {
    let tokens = ed_tokens();
    let token = issue(&tokens, "alice", "s1", now_ms());
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(tokens.jwks()).unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(jwks.find(&kid).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["arcana"]);
    validation.set_issuer(&["arcana"]);
    let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
    let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "roles", "session_id", "sub"]);
}

#[test]
fn time_is_judged_on_every_use() {
    let tokens = ed_tokens();
    let token = issue(&tokens, "alice", "s1", NOW);
    let at = |seconds: i64| tokens.verify_at(&token, NOW + seconds * 1000).map(|_| ());
    assert_eq!(at(-3), Err(TokenError::Invalid));
    assert_eq!(at(-2), Ok(()));
    assert_eq!(at(901), Ok(()));
    assert_eq!(at(902), Err(TokenError::Expired));
    // The same without the cache.
    assert_eq!(ed_tokens().verify_at(&token, NOW + 902_000).map(|_| ()), Err(TokenError::Expired));
    // A host that was restarted with a shorter life.
    let key = rfc8037_key();
    let short = TokenSettings { life: Duration::from_secs(60), ..settings() };
    let short = tokens_with(short, vec![TokenKey::ed25519(key.verifying_key(), Some(key))]);
    assert_eq!(short.verify_at(&token, NOW + 62_000).map(|_| ()), Err(TokenError::Expired));
}

#[test]
fn the_life_is_bounded() {
    let tokens = ed_tokens();
    let roles = ["user".to_owned()];
    let life = |seconds| {
        let request = TokenRequest { subject: "a", session_id: "s", roles: &roles, life_seconds: seconds };
        tokens.issue_at(&request, NOW).map(|token| token.expires_in)
    };
    assert_eq!(life(None), Ok(900));
    assert_eq!(life(Some(10)), Ok(10));
    assert_eq!(life(Some(901)), Ok(900));
    assert_eq!(life(Some(u64::MAX)), Ok(900));
    assert!(matches!(life(Some(0)), Err(IssueError::Invalid(_))));
}

#[test]
fn unusable_requests_are_refused() {
    let tokens = ed_tokens();
    let user = vec!["user".to_owned()];
    let long = "x".repeat(257);
    let many = vec!["user".to_owned(); 17];
    for (subject, session_id, roles) in [
        ("", "s", &user),
        ("a", "", &user),
        (long.as_str(), "s", &user),
        ("a", long.as_str(), &user),
        ("a", "s", &Vec::new()),
        ("a", "s", &many),
        ("a", "s", &vec!["root".to_owned()]),
    ] {
        let request = TokenRequest { subject, session_id, roles, life_seconds: None };
        assert!(matches!(tokens.issue_at(&request, NOW), Err(IssueError::Invalid(_))));
    }
}

/// A token that stands for the host is not issued, and not accepted with a right signature either.
#[test]
fn no_token_stands_for_the_host() {
    let tokens = ed_tokens();
    let (key, roles) = (rfc8037_key(), ["superadmin".to_owned()]);
    let good = issue(&tokens, "alice", "s1", NOW);
    let (header, body) = (good.split('.').next().unwrap(), decode(good.split('.').nth(1).unwrap()));
    let nil = "00000000-0000-0000-0000-000000000000";
    for (subject, session_id) in [
        (nil, "system"),
        (nil, "s1"),
        ("alice", "system"),
        ("alice", "System"),
        ("{00000000-0000-0000-0000-000000000000}", "s1"),
        ("urn:uuid:00000000-0000-0000-0000-000000000000", "s1"),
        ("00000000000000000000000000000000", "s1"),
        ("system", "s1"),
        ("host", "s1"),
    ] {
        let request = TokenRequest { subject, session_id, roles: &roles, life_seconds: None };
        assert!(matches!(tokens.issue_at(&request, NOW), Err(IssueError::Invalid(_))), "{subject} {session_id}");
        let mut claims = body.clone();
        (claims["sub"], claims["session_id"]) = (json!(subject), json!(session_id));
        let token = signed(header, &encode(&claims), &key);
        for _ in 0..2 {
            assert_eq!(tokens.verify_at(&token, NOW), Err(TokenError::Invalid), "{subject} {session_id}");
        }
    }
    assert!(tokens.verify_at(&signed(header, &encode(&body), &key), NOW).is_ok(), "the same, for an account");
}

#[test]
fn a_previous_key_stays_trusted_until_it_is_removed() {
    let old = rfc8037_key();
    let new = SigningKey::from_bytes(&[9; 32]);
    let token = issue(&ed_tokens(), "alice", "s1", NOW);
    let new = || TokenKey::ed25519(new.verifying_key(), Some(new.clone()));
    let both = tokens_with(settings(), vec![new(), TokenKey::ed25519(old.verifying_key(), None)]);
    assert!(both.verify_at(&token, NOW).is_ok());
    assert!(both.verify_at(&issue(&both, "alice", "s1", NOW), NOW).is_ok());
    let only_new = tokens_with(settings(), vec![new()]);
    assert_eq!(only_new.verify_at(&token, NOW), Err(TokenError::Invalid));
}

/// The attacks of RFC 8725 and its kin, each with everything right but the one thing.
#[test]
fn rfc_8725_attacks_are_refused() {
    let tokens = ed_tokens();
    let key = rfc8037_key();
    let good = issue(&tokens, "alice", "s1", NOW);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims) = (parts[0], parts[1]);
    let base = decode(header);
    let kid = base["kid"].as_str().unwrap();
    let public = key.verifying_key();
    let mut attacks: Vec<(String, String)> = Vec::new();

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(&json!({"typ": "at+jwt", "alg": alg, "kid": kid}));
        attacks.push((format!("alg {alg:?} unsigned"), format!("{header}.{claims}.")));
        attacks.push((format!("alg {alg:?} without a third part"), format!("{header}.{claims}")));
        attacks.push((format!("alg {alg:?} signed"), signed(&header, claims, &key)));
    }
    let pem = ed25519_dalek::pkcs8::EncodePublicKey::to_public_key_pem(
        &public,
        ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF,
    )
    .unwrap();
    let jwk = tokens.jwks().to_owned();
    for secret in [public.as_bytes().as_slice(), pem.as_bytes(), jwk.as_bytes(), kid.as_bytes(), b""] {
        for header in [encode(&json!({"typ": "at+jwt", "alg": "HS256", "kid": kid})), header.to_owned()] {
            let message = format!("{header}.{claims}");
            let mac = URL_SAFE_NO_PAD.encode(hmac(secret, &[message.as_bytes()]));
            attacks.push(("HS256 keyed with what is public".to_owned(), format!("{message}.{mac}")));
        }
    }
    let attacker = SigningKey::from_bytes(&[66; 32]);
    let own_jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(attacker.verifying_key().as_bytes())});
    let headers = [
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("token-1.pem' OR '1'='1")),
        ("kid", Value::Null),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/x.pem")),
        ("x5c", json!(["MIIB"])),
        ("jwk", own_jwk.clone()),
        ("crit", json!(["exp"])),
        ("crit", json!(["http://example.invalid/unknown"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("typ", json!("JWT")),
        ("typ", json!("secevent+jwt")),
        ("typ", Value::Null),
        ("alg", json!("Ed25519")),
        ("alg", json!("RS256")),
    ];
    for (name, value) in headers {
        let mut changed = base.clone();
        changed[name] = value.clone();
        for signer in [&key, &attacker] {
            attacks.push((format!("header {name} = {value}"), signed(&encode(&changed), claims, signer)));
        }
    }
    attacks.push(("another key".to_owned(), signed(header, claims, &attacker)));

    let body = decode(claims);
    let now = NOW / 1000;
    let changes = [
        ("iss", json!("mallory")),
        ("iss", json!(["arcana"])),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", json!(["arcana", "another"])),
        ("aud", Value::Null),
        ("sub", json!("")),
        ("sub", Value::Null),
        ("nbf", json!(now + 3)),
        ("iat", json!(now + 3)),
        ("nbf", json!("0")),
        ("exp", Value::Null),
        ("exp", json!("9999999999")),
        ("exp", json!(1e99)),
        ("exp", json!(now - 1)),
        ("jti", json!("c0a4b1b6-6f0e-4d4e-9f5a-0d7b1f0a2b3c")),
        ("jti", json!("")),
        ("roles", json!("admin")),
        ("extra", json!(1)),
    ];
    for (name, value) in changes {
        let mut changed = body.clone();
        changed[name] = value.clone();
        attacks.push((format!("claim {name} = {value}"), signed(header, &encode(&changed), &key)));
        changed.as_object_mut().unwrap().remove(name);
        if name != "extra" {
            attacks.push((format!("no claim {name}"), signed(header, &encode(&changed), &key)));
        }
    }
    let twice = URL_SAFE_NO_PAD.encode(body.to_string().replacen('{', r#"{"sub":"mallory","#, 1));
    attacks.push(("a claim twice".to_owned(), signed(header, &twice, &key)));
    attacks.push(("claims that are no object".to_owned(), signed(header, &URL_SAFE_NO_PAD.encode("[]"), &key)));

    attacks.push(("no signature".to_owned(), format!("{header}.{claims}.")));
    attacks.push(("two parts".to_owned(), format!("{header}.{claims}")));
    attacks.push(("four parts".to_owned(), format!("{good}.{}", parts[2])));
    attacks.push(("padding".to_owned(), format!("{good}==")));
    attacks.push(("space around".to_owned(), format!(" {good}")));
    attacks.push(("newline after".to_owned(), format!("{good}\n")));
    attacks.push(("JSON serialization".to_owned(), json!({"payload": claims, "protected": header}).to_string()));
    attacks.push(("oversize".to_owned(), format!("{good}{}", "A".repeat(MAX_TOKEN_BYTES))));
    attacks.push(("empty".to_owned(), String::new()));
    attacks.push(("dots".to_owned(), "..".to_owned()));

    assert!(tokens.verify_at(&good, NOW).is_ok(), "the untouched token must pass, or this shows nothing");
    assert!(ed_tokens().verify_at(&signed(header, claims, &key), NOW).is_ok(), "and so must one put together here");
    for (what, token) in attacks {
        // Twice: the second time must not find it among the verified ones.
        for _ in 0..2 {
            assert_eq!(tokens.verify_at(&token, NOW), Err(TokenError::Invalid), "{what}: {token}");
        }
    }
    // Every bit of the signature and every character of the rest matters.
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).unwrap();
        assert_eq!(tokens.verify_at(&token, NOW), Err(TokenError::Invalid), "changed at {at}");
    }
}

#[test]
fn the_cache_is_bounded_and_forgets_in_turn() {
    let tokens =
        tokens_with(TokenSettings { cache_entries: 4, ..settings() }, vec![TokenKey::hs256(Zeroizing::new([3; 32]))]);
    let all: Vec<String> = (0..5).map(|n| issue(&tokens, &format!("user-{n}"), "s", NOW)).collect();
    for token in &all {
        tokens.verify_at(token, NOW).unwrap();
    }
    for token in &all[1..] {
        tokens.verify_at(token, NOW).unwrap();
    }
    assert_eq!(tokens.cache_stats(), (4, 5));
}
