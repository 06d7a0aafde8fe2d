//! Guessing passwords, keeping owners out by guessing, and finding out who has an account.

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{account, code, count, database, retry_after};
use crate::support::{Host, PASSWORD, Session, Setup, first_admin};

/// The test is the proxy that tells the clients' addresses.
const PROXY: &str = "[server.rest]\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
    [plugins.settings.\"arcana/auth\"]\nlockout_base_seconds = 3600\nlockout_max_seconds = 10000\n";
const HOME: &str = "192.0.2.1";
const LOCKED_OUT: (u16, &str) = (429, "RATE_LIMIT_EXCEEDED");
const WRONG: (u16, &str) = (401, "INVALID_CREDENTIALS");

fn elsewhere(n: usize) -> String {
    format!("198.51.100.{n}")
}

async fn post(host: &Host, address: &str, path: &str, body: Value) -> (u16, Value) {
    let request = host.client.post(format!("{}/api/v1/auth/{path}", host.url)).json(&body);
    let answer = request.header("x-forwarded-for", address).send().await.unwrap();
    if answer.status() == 429 {
        assert!(retry_after(&answer) >= 1, "{answer:?}");
    }
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn login(host: &Host, address: &str, field: &str, name: &str, password: &str) -> (u16, Value) {
    post(host, address, "login", json!({ field: name, "password": password })).await
}

async fn guess(host: &Host, address: &str, field: &str, name: &str) -> (u16, Value) {
    login(host, address, field, name, "wrong horse").await
}

async fn register(host: &Host, address: &str, email: &str, username: Option<&str>) -> (u16, Value) {
    post(host, address, "register", json!({ "email": email, "username": username, "password": PASSWORD })).await
}

/// With the limits of a host in production: an attacker may be stopped by any of them, the owner by none.
fn setup() -> Setup {
    Setup::identity().settings(PROXY)
}

#[tokio::test]
async fn wrong_guesses_by_anybody_lock_the_account_by_all_its_names_and_not_for_its_owner() {
    let host = setup().settings("[limits]\nrate_limits = true\n").start();
    assert_eq!(register(&host, HOME, "ada@example.org", Some("ada")).await.0, 201);
    // From many addresses, by each name in turn: together they have the guesses of one.
    let names = [("email", "ADA@example.org"), ("username", "Ada"), ("username_or_email", " ada@example.org ")];
    for n in 0..5 {
        let (field, name) = names[n % names.len()];
        assert_eq!(code(&guess(&host, &elsewhere(n), field, name).await), WRONG, "{n}");
    }
    for (n, (field, name)) in (5..).zip(names) {
        let answer = login(&host, &elsewhere(n), field, name, PASSWORD).await;
        assert_eq!(code(&answer), LOCKED_OUT, "the right password, from an address that is new: {}", answer.1);
    }
    // The attack goes on, faster than any limit by name would allow.
    for n in 8..40 {
        let answer = guess(&host, &elsewhere(n), "email", "ada@example.org").await;
        assert_eq!(code(&answer), LOCKED_OUT);
        if n % 16 == 0 {
            for (field, name) in names {
                let (status, answer) = login(&host, HOME, field, name, PASSWORD).await;
                assert_eq!(status, 200, "the owner gets in at home: {answer}");
            }
        }
    }
    // That the owner got in gives the attacker no new guesses.
    assert_eq!(code(&guess(&host, &elsewhere(41), "username", "ada").await), LOCKED_OUT);
    assert_eq!(count(&host, "SELECT MAX(failures) FROM login_attempts").await, 5);
}

#[tokio::test]
async fn guesses_from_a_known_address_have_a_small_budget_of_their_own() {
    let host = setup().start();
    assert_eq!(register(&host, HOME, "ada@example.org", Some("ada")).await.0, 201);
    for n in 0..5 {
        let field = if n % 2 == 0 { ("email", "ada@example.org") } else { ("username", "ada") };
        assert_eq!(code(&guess(&host, HOME, field.0, field.1).await), WRONG);
    }
    assert_eq!(code(&login(&host, HOME, "email", "ada@example.org", PASSWORD).await), LOCKED_OUT);
    // Others do not pay for it: a new address signs in, and is known from then on.
    let (status, answer) = login(&host, &elsewhere(1), "email", "ada@example.org", PASSWORD).await;
    assert_eq!(status, 200, "{answer}");
    for n in 2..7 {
        assert_eq!(code(&guess(&host, &elsewhere(n), "username", "ada").await), WRONG);
    }
    assert_eq!(code(&login(&host, &elsewhere(7), "username", "ada", PASSWORD).await), LOCKED_OUT);
    assert_eq!(login(&host, &elsewhere(1), "username", "ada", PASSWORD).await.0, 200);
    // Known to one account is not known to another.
    assert_eq!(register(&host, &elsewhere(9), "bob@example.org", None).await.0, 201);
    for n in 10..15 {
        assert_eq!(code(&guess(&host, &elsewhere(n), "email", "bob@example.org").await), WRONG);
    }
    assert_eq!(code(&login(&host, &elsewhere(1), "email", "bob@example.org", PASSWORD).await), LOCKED_OUT);
}

#[tokio::test]
async fn a_session_that_goes_on_makes_its_address_known_and_old_addresses_are_forgotten() {
    let settings = "[plugins.settings.\"arcana/auth\"]\nknown_addresses = 2\nknown_address_days = 30\n";
    let host = setup().settings(settings).start();
    let (_, answer) = register(&host, HOME, "ada@example.org", None).await;
    let mut session = Session::read(&answer);
    for n in 1..=2 {
        let (status, answer) = post(&host, &elsewhere(n), "refresh", json!({ "refresh_token": session.refresh })).await;
        assert_eq!(status, 200, "{answer}");
        session = Session::read(&answer);
    }
    assert_eq!(count(&host, "SELECT COUNT(*) FROM known_addresses").await, 2, "no more than two are kept");
    for n in 10..15 {
        assert_eq!(code(&guess(&host, &elsewhere(n), "email", "ada@example.org").await), WRONG);
    }
    assert_eq!(login(&host, &elsewhere(2), "email", "ada@example.org", PASSWORD).await.0, 200);
    assert_eq!(code(&login(&host, HOME, "email", "ada@example.org", PASSWORD).await), LOCKED_OUT);
    // A month later.
    let sql = "UPDATE known_addresses SET last_success_at = last_success_at - 31 * 86400000000";
    database(&host).execute(sql, []).unwrap();
    assert_eq!(code(&login(&host, &elsewhere(2), "email", "ada@example.org", PASSWORD).await), LOCKED_OUT);
}

#[tokio::test]
async fn known_and_unknown_names_answer_the_same_all_the_way_through_a_lockout() {
    let host = setup().dev().start();
    let admin = first_admin(&host).await;
    account(&host, &admin, "ada@example.org", "user").await;
    assert_eq!(register(&host, HOME, "eve@example.org", Some("eve")).await.0, 201);
    let hashes = async || host.metric("arcana_password_hashes_total").await;
    // For each name the answers to seven guesses, and then to the same name in the other field.
    let mut seen = Vec::new();
    for (field, name, other) in [
        ("email", "ada@example.org", "username"),
        ("email", "nobody@example.org", "username"),
        ("username", "eve", "email"),
        ("username", "nobody", "email"),
    ] {
        let before = hashes().await;
        let mut answers = Vec::new();
        for field in [field, field, field, field, field, field, field, other] {
            let (status, mut answer) = guess(&host, &elsewhere(1), field, name).await;
            for changing in ["request_id", "timestamp"] {
                answer.as_object_mut().unwrap().remove(changing);
            }
            answers.push((status, answer));
        }
        assert_eq!(hashes().await - before, 6.0, "each guess that is judged is hashed once");
        seen.push(answers);
    }
    assert_eq!(seen[0].iter().map(|(status, _)| *status).collect::<Vec<_>>(), [401, 401, 401, 401, 401, 429, 429, 401]);
    for others in &seen[1..] {
        assert_eq!(others, &seen[0]);
    }
}

#[tokio::test]
async fn a_client_that_goes_through_a_list_of_addresses_by_registering_is_stopped() {
    let settings = "[plugins.settings.\"arcana/auth\"]\nregister_conflicts = 3\n";
    let host = setup().settings(settings).start();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(register(&host, HOME, &format!("{name}@example.org"), None).await.0, 201);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(register(&host, &elsewhere(1), &format!("{name}@example.org"), None).await.0, 409);
    }
    for name in ["d", "free"] {
        let answer = register(&host, &elsewhere(1), &format!("{name}@example.org"), None).await;
        assert_eq!(code(&answer), LOCKED_OUT, "taken or not: {}", answer.1);
    }
    // Sign-ins from there and registrations from elsewhere go on.
    assert_eq!(login(&host, &elsewhere(1), "email", "a@example.org", PASSWORD).await.0, 200);
    assert_eq!(register(&host, &elsewhere(2), "d@example.org", None).await.0, 409);
    assert_eq!(register(&host, &elsewhere(2), "free@example.org", None).await.0, 201);
}

#[tokio::test]
async fn an_account_that_goes_through_a_list_of_addresses_by_renaming_itself_is_stopped() {
    let host = setup().start();
    let bob = Session::read(&register(&host, HOME, "bob@example.org", None).await.1);
    assert_eq!(register(&host, HOME, "ada@example.org", None).await.0, 201);
    let rename = async |email: &str| {
        let path = format!("/api/v1/users/{}", bob.id);
        host.call(Method::PATCH, &path, Some(&bob.access), Some(json!({ "email": email }))).await
    };
    for _ in 0..20 {
        assert_eq!(rename("ada@example.org").await.0, 409);
    }
    for email in ["ada@example.org", "free@example.org"] {
        assert_eq!(code(&rename(email).await), LOCKED_OUT);
    }
}

#[tokio::test]
async fn where_registration_is_closed_nothing_is_told_of_who_has_an_account() {
    let settings = "[plugins.settings.\"arcana/auth\"]\nregistration = \"closed\"\n";
    let host = setup().settings(settings).dev().start();
    let admin = first_admin(&host).await;
    account(&host, &admin, "ada@example.org", "user").await;
    for email in ["ada@example.org", "free@example.org"] {
        let answer = register(&host, HOME, email, None).await;
        assert_eq!(code(&answer), (403, "REGISTRATION_CLOSED"), "{}", answer.1);
    }
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 200);
}
