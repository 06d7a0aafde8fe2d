//! Registering and signing in.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{account, claims, code, count, database, fields, me, retry_after};
use crate::support::{Host, PASSWORD, Session, Setup, first_admin};

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";

#[tokio::test]
async fn registering_makes_an_account_and_signs_it_in() {
    let host = Setup::identity().env("ARCANA_OBSERVABILITY__LOG__FILTER", "trace").start();
    let body = json!({
        "email": " Ada@Example.org ", "password": "12345678", "username": "Ada.L", "name": "Ada", "first_name": "Augusta",
        "role": "superadmin", "status": "locked", "id": "x", "unknown": [1],
    });
    let (status, answer) = host.post(REGISTER, body).await;
    assert_eq!(status, 201, "{answer}");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names(&answer), expected(&["access_token", "refresh_token", "token_type", "expires_in", "user"]));
    assert_eq!((answer["token_type"].as_str(), answer["expires_in"].as_u64()), (Some("Bearer"), Some(900)));

    let user = &answer["user"];
    let about = |name: &str| user[name].as_str();
    // Nobody makes themselves more than a user: what the contract does not have is ignored.
    assert_eq!((about("email"), about("username")), (Some("Ada@Example.org"), Some("Ada.L")), "{user}");
    assert_eq!((about("role"), about("status")), (Some("user"), Some("active")), "{user}");
    assert_eq!((about("name"), about("first_name"), about("last_name")), (Some("Ada"), Some("Augusta"), None));
    let id: uuid::Uuid = about("id").unwrap().parse().unwrap();
    for time in ["created_at", "updated_at", "last_login_at"] {
        let _: jiff::Timestamp = about(time).unwrap().parse().unwrap();
    }
    assert!(!answer.to_string().contains("password"), "{answer}");

    let session = Session::read(&answer);
    let token = claims(&session.access);
    let claimed = expected(&["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "session_id", "roles"]);
    assert_eq!(names(&token), claimed);
    assert_eq!((&token["sub"], &token["roles"]), (&json!(id.to_string()), &json!(["user"])));
    assert_eq!((&token["iss"], &token["aud"]), (&json!("arcana"), &json!("arcana")));
    assert_eq!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap(), 900);
    assert_eq!(me(&host, &session.access).await, (200, user.clone()));

    // The token and the password are in the database as hashes only.
    for file in ["identity.db", "identity.db-wal"] {
        let bytes = std::fs::read(host.path("data/stores").join(file)).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds(&session.refresh) && !holds("12345678"), "{file}");
    }
    // Not even the most talkative log has them.
    assert_eq!(host.login("ada.l@example.org", "87654321").await.0, 401);
    let log = host.log();
    assert!(log.contains("account registered"), "{log}");
    for secret in ["12345678", "87654321", &session.access, &session.refresh, "argon2id$"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_weaker_hash_is_renewed_at_the_next_sign_in() {
    let host = Setup::identity().start();
    host.register("ada@example.org").await;
    let hash = async |host: &Host| -> String {
        let sql = "SELECT password_hash FROM users";
        database(host).query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let weak = hash(&host).await;
    assert!(weak.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{weak}");
    let host = host.kill().env("ARCANA_SECURITY__PASSWORDS__MEMORY", "128KiB").start();
    assert_eq!(host.login("ada@example.org", "wrong horse").await.0, 401);
    assert_eq!(hash(&host).await, weak, "only its owner renews it");
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 200);
    let strong = hash(&host).await;
    assert!(strong.starts_with("$argon2id$v=19$m=128,t=1,p=1$"), "{strong}");
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 200);
    assert_eq!(hash(&host).await, strong);
}

#[tokio::test]
async fn a_registration_that_is_refused_or_fails_leaves_nothing() {
    let host = Setup::identity().start();
    let post = async |body: Value| host.post(REGISTER, body).await;
    for (body, expected) in [
        (json!({}), vec!["email REQUIRED", "password REQUIRED"]),
        (
            json!({ "email": 1, "password": null, "username": [], "name": {}, "first_name": true, "last_name": 0.5 }),
            vec![
                "email WRONG_TYPE",
                "first_name WRONG_TYPE",
                "last_name WRONG_TYPE",
                "name WRONG_TYPE",
                "password REQUIRED",
                "username WRONG_TYPE",
            ],
        ),
        (
            json!({
                "email": "nobody", "password": "1234567", "username": "é", "name": "x".repeat(129),
                "first_name": "a\u{7}b", "last_name": "y".repeat(129),
            }),
            vec![
                "email INVALID_FORMAT",
                "first_name INVALID_FORMAT",
                "last_name TOO_LONG",
                "name TOO_LONG",
                "password TOO_SHORT",
                "username INVALID_FORMAT",
                "username TOO_SHORT",
            ],
        ),
        (
            json!({ "email": "", "password": "x".repeat(1025), "username": "u".repeat(33) }),
            vec!["email REQUIRED", "password TOO_LONG", "username TOO_LONG"],
        ),
    ] {
        let answer = post(body.clone()).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{body}: {}", answer.1);
        assert_eq!(fields(&answer.1), expected, "{body}");
        for name in ["message", "request_id", "timestamp"] {
            assert!(answer.1[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", answer.1);
        }
    }
    let broken = host.client.post(format!("{}{REGISTER}", host.url)).header("content-type", "application/json");
    let response = broken.body(r#"{"email": "a@b.co", "#).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], "INVALID_JSON");

    let ada = json!({ "email": "ada@example.org", "password": PASSWORD, "username": "ada" });
    let (status, answer) = post(ada).await;
    assert_eq!(status, 201, "{answer}");
    for (email, username, expected) in [
        ("ADA@EXAMPLE.ORG", "other", &["email TAKEN"][..]),
        (" ada@example.org", "ada", &["email TAKEN", "username TAKEN"]),
        ("other@example.org", "ADA", &["username TAKEN"]),
    ] {
        let answer = post(json!({ "email": email, "password": PASSWORD, "username": username })).await;
        assert_eq!(code(&answer), (409, "CONFLICT"), "{email}: {}", answer.1);
        assert_eq!(fields(&answer.1), expected, "{email}");
    }

    // The last of the writes fails: the account and the session before it are taken back.
    let database = database(&host);
    let trigger =
        "CREATE TRIGGER fails BEFORE INSERT ON refresh_tokens BEGIN SELECT RAISE(ABORT, 'secret reason'); END";
    database.execute_batch(trigger).unwrap();
    let bob = json!({ "email": "bob@example.org", "password": PASSWORD, "username": "bob" });
    let answer = post(bob.clone()).await;
    assert_eq!(code(&answer), (500, "INTERNAL_ERROR"), "{}", answer.1);
    assert!(!answer.1.to_string().contains("secret reason"), "{}", answer.1);
    for table in ["SELECT COUNT(*) FROM users", "SELECT COUNT(*) FROM sessions"] {
        assert_eq!(count(&host, table).await, 1, "{table}");
    }
    assert_eq!(code(&host.login("bob@example.org", PASSWORD).await).0, 401);
    database.execute_batch("DROP TRIGGER fails").unwrap();
    let (status, answer) = post(bob).await;
    assert_eq!(status, 201, "nothing is held any more: {answer}");
}

#[tokio::test]
async fn many_at_once_register_one_address_and_one_gets_it() {
    let host = Setup::identity().start();
    let one = async |name: &str| host.post(REGISTER, json!({ "email": name, "password": PASSWORD })).await;
    let all = ["eve@example.org", "EVE@example.org", "eve@EXAMPLE.org", "Eve@example.org", "evE@example.org"];
    let answers = futures_util::future::join_all(all.map(one)).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((of(201), of(409)), (1, all.len() - 1), "{answers:?}");
    assert_eq!(count(&host, "SELECT COUNT(*) FROM users").await, 1);
}

#[tokio::test]
async fn signing_in_by_any_name_and_nobody_learns_who_has_an_account() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let ada = json!({ "email": "ada@example.org", "password": PASSWORD, "username": "Ada" });
    assert_eq!(host.post(REGISTER, ada).await.0, 201);

    for (field, name) in [
        ("email", "ADA@example.org"),
        ("username", "aDa"),
        ("username_or_email", "ada"),
        ("username_or_email", " Ada@Example.org "),
    ] {
        let (status, answer) = host.post(LOGIN, json!({ field: name, "password": PASSWORD })).await;
        assert_eq!((status, answer["user"]["username"].as_str()), (200, Some("Ada")), "{field} {name}: {answer}");
        assert_eq!(me(&host, &Session::read(&answer).access).await.0, 200);
    }
    for (body, expected) in [
        (json!({}), vec!["password REQUIRED"]),
        (json!({ "password": PASSWORD }), vec!["username_or_email REQUIRED"]),
        (json!({ "email": "a@b.co", "username": "ada", "password": PASSWORD }), vec!["username NOT_ALLOWED"]),
        (json!({ "email": "", "password": "" }), vec!["email REQUIRED", "password REQUIRED"]),
        (json!({ "email": 7, "password": true }), vec!["email WRONG_TYPE", "password WRONG_TYPE"]),
    ] {
        let answer = host.post(LOGIN, body.clone()).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{body}: {}", answer.1);
        assert_eq!(fields(&answer.1), expected, "{body}");
    }

    // Unknown, wrong password, locked, inactive: the same answer, for the same work.
    let locked = account(&host, &admin, "locked@example.org", "user").await;
    let inactive = account(&host, &admin, "inactive@example.org", "user").await;
    for (session, status) in [(&locked, "locked"), (&inactive, "inactive")] {
        let path = format!("/api/v1/users/{}/status", session.id);
        let body = json!({ "status": status });
        assert_eq!(host.call(Method::PATCH, &path, Some(&admin.access), Some(body)).await.0, 200);
    }
    let unknown = refused(&host, "nobody@example.org").await;
    assert_eq!((unknown.status, unknown.body["code"].as_str()), (401, Some("INVALID_CREDENTIALS")), "{unknown:?}");
    assert_eq!(unknown.hashes, 1.0, "{unknown:?}");
    for name in ["ada@example.org", "locked@example.org", "inactive@example.org"] {
        assert_eq!(refused(&host, name).await, unknown, "{name}");
    }
    // Who has shown that they own the account is told.
    for (name, expected) in [("locked@example.org", "ACCOUNT_LOCKED"), ("inactive@example.org", "ACCOUNT_INACTIVE")] {
        let answer = host.login(name, PASSWORD).await;
        assert_eq!(code(&answer), (403, expected), "{}", answer.1);
    }
}

/// All that a client sees of a refused sign-in, and how many passwords were hashed for it.
#[derive(Debug, PartialEq)]
struct Refused {
    status: u16,
    headers: BTreeSet<String>,
    body: Value,
    hashes: f64,
}

async fn refused(host: &Host, email: &str) -> Refused {
    let hashes = async || host.metric("arcana_password_hashes_total").await;
    let before = hashes().await;
    let body = json!({ "email": email, "password": "wrong horse" });
    let response = host.send(Method::POST, LOGIN, None, Some(body)).await;
    let status = response.status().as_u16();
    // The length changes with the digits of the time in the body.
    let changing = ["date", "x-request-id", "content-length"];
    let headers = response.headers().iter().filter(|(name, _)| !changing.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    let mut body: Value = response.json().await.unwrap();
    for name in ["request_id", "timestamp"] {
        assert!(body.as_object_mut().unwrap().remove(name).is_some(), "{body}");
    }
    Refused { status, headers, body, hashes: hashes().await - before }
}

const LOCKOUT: &str = "[plugins.settings.\"arcana/auth\"]\nlockout_threshold = 3\nlockout_base_seconds = 3600\n\
                       lockout_max_seconds = 10000\nlockout_window_seconds = 100000\n";

#[tokio::test]
async fn failures_lock_a_name_out_for_longer_and_longer() {
    let host = Setup::identity().settings(LOCKOUT).start();
    host.register("ada@example.org").await;
    host.register("bob@example.org").await;
    let wrong = async |host: &Host, name: &str| host.login(name, "wrong horse").await.0;
    // Whether there is such an account or not.
    for name in ["ada@example.org", "nobody@example.org"] {
        for _ in 0..3 {
            assert_eq!(wrong(&host, name).await, 401, "{name}");
        }
        assert_locked_out(&host, name, 3600).await;
        assert_locked_out(&host, &name.to_uppercase(), 3600).await;
    }
    assert_eq!(host.login("bob@example.org", PASSWORD).await.0, 200, "others do not notice");

    // Time goes by: each further failure doubles the delay, up to its limit. Right passwords help no earlier.
    for (wait, delay) in [(3600, 7200), (7200, 10_000)] {
        pass(&host, wait).await;
        assert_eq!(wrong(&host, "ada@example.org").await, 401);
        assert_locked_out(&host, "ada@example.org", delay).await;
    }
    let host = host.kill().start();
    assert_locked_out(&host, "ada@example.org", 10_000).await;
    pass(&host, 10_000).await;
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 200);
    // A success forgets the failures; so does the window.
    for _ in 0..3 {
        assert_eq!(wrong(&host, "ada@example.org").await, 401);
    }
    assert_locked_out(&host, "ada@example.org", 3600).await;
    pass(&host, 100_001).await;
    assert_eq!(wrong(&host, "ada@example.org").await, 401);
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 200);
}

/// Asserts that the right password is refused, for about so many seconds.
async fn assert_locked_out(host: &Host, name: &str, delay: u64) {
    let body = json!({ "email": name, "password": PASSWORD });
    let response = host.send(Method::POST, LOGIN, None, Some(body)).await;
    assert_eq!(response.status(), 429, "{name}");
    let wait = retry_after(&response);
    // Less than the delay by what the test took so far, which is less than the delays differ by.
    assert!(wait <= delay && wait + 2000 > delay, "{wait} of {delay}");
    assert_eq!(response.json::<Value>().await.unwrap()["code"], "RATE_LIMIT_EXCEEDED");
}

/// Makes every failure so many seconds older.
async fn pass(host: &Host, seconds: i64) {
    let sql = "UPDATE login_attempts SET last_failure_at = last_failure_at - ?1 * 1000000";
    database(host).execute(sql, [seconds]).unwrap();
}

#[tokio::test]
async fn many_guesses_at_once_are_all_counted() {
    let host = Setup::identity().settings(LOCKOUT).start();
    host.register("ada@example.org").await;
    let guesses = (0..24).map(|_| host.login("ada@example.org", "wrong horse"));
    let answers = futures_util::future::join_all(guesses).await;
    let wrong = answers.iter().filter(|answer| answer.0 == 401).count();
    let counted = count(&host, "SELECT failures FROM login_attempts").await;
    assert_eq!(i64::try_from(wrong).unwrap(), counted, "{answers:?}");
    let others = answers.iter().filter(|answer| !matches!(answer.0, 401 | 429 | 503)).count();
    assert_eq!(others, 0, "{answers:?}");
    // Also the right one, which came too late.
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 429);
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_refuses_the_plugin() {
    let setting = "[plugins.settings.\"arcana/auth\"]\nlockout_threshold = 0\n";
    let host = Setup::identity().settings(setting).start();
    let (status, answer) = host.login("ada@example.org", PASSWORD).await;
    assert_eq!((status, answer["code"].as_str()), (404, Some("NOT_FOUND")), "{answer}");
    let log = host.log();
    let line = log.lines().find(|line| line.contains("plugin refused")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("lockout_threshold") && line.contains("1 to 1000"), "{line}");
}
