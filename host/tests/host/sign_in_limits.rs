//! Rate limits of the public methods, and a login storm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use reqwest::Response;
use serde_json::{Value, json};

use crate::accounts::{count, me, refresh, retry_after};
use crate::support::{Host, PASSWORD, Session, Setup, until};

/// The test is the proxy that tells the clients' addresses.
const LIMITS: &str = "[limits]\nrate_limits = true\n[server.rest]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";

async fn post_from(host: &Host, address: &str, path: &str, body: &Value) -> Response {
    let request = host.client.post(format!("{}/api/v1/auth/{path}", host.url)).json(body);
    request.header("x-forwarded-for", address).send().await.unwrap()
}

/// A limit: a burst, and one more every so many milliseconds.
struct Limit {
    burst: u64,
    every_ms: u64,
}

impl Limit {
    /// Sends requests, each made with its number and meant to be answered with one of `statuses`, until several are
    /// refused; asserts that no more pass than may, and answers how many were refused.
    async fn assert<F: Future<Output = Response>>(
        &self,
        what: &str,
        statuses: &[u16],
        request: impl Fn(u64) -> F,
    ) -> u64 {
        let start = Instant::now();
        let (mut passed, mut refused) = (0, 0);
        while refused < 3 {
            assert!(passed < 1000, "{what}: nothing is refused");
            let response = request(passed + refused).await;
            if response.status() != 429 {
                assert!(statuses.contains(&response.status().as_u16()), "{what}: {response:?}");
                passed += 1;
                continue;
            }
            refused += 1;
            let wait = retry_after(&response);
            assert!(wait >= 1 && wait <= self.every_ms.div_ceil(1000), "{what}: {wait} s");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["code"], "RATE_LIMIT_EXCEEDED", "{what}: {body}");
        }
        // What came back while this ran is more on a slow machine.
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap();
        let most = self.burst + elapsed / self.every_ms + 1;
        assert!(passed >= self.burst && passed <= most, "{what}: {passed} passed; {} to {most} may", self.burst);
        refused
    }
}

#[tokio::test]
async fn public_methods_are_limited_by_address_and_by_account() {
    let host = Setup::identity().settings(LIMITS).start();
    let session = host.register("ada@example.org").await;
    let host = &host;
    let mut refused = 0;
    let by_address = Limit { burst: 10, every_ms: 2000 };
    let login = |address: String, field: &'static str, name: String| async move {
        post_from(host, &address, "login", &json!({ field: name, "password": "wrong horse" })).await
    };
    let other_names = |n: u64| login("198.51.100.1".into(), "email", format!("nobody{n}@example.org"));
    refused += by_address.assert("login by address", &[401], other_names).await;
    let response = login("198.51.100.2".into(), "email", "nobody@example.org".into()).await;
    assert_eq!(response.status(), 401, "another address");

    let by_account = Limit { burst: 5, every_ms: 6000 };
    let other_addresses = |n: u64| {
        let name = if n.is_multiple_of(2) { "BOB@example.org" } else { " bob@example.org" };
        let field = if n.is_multiple_of(3) { "email" } else { "username_or_email" };
        login(format!("203.0.113.{n}"), field, name.into())
    };
    // By the plugin, which counts failures by account: see `security::lockout`.
    let lockout = Limit { burst: 5, every_ms: 30_000 };
    lockout.assert("login by account", &[401], other_addresses).await;
    let response = login("203.0.113.200".into(), "email", "carol@example.org".into()).await;
    assert_eq!(response.status(), 401, "another account");

    let register = |address: String, email: String| async move {
        post_from(host, &address, "register", &json!({ "email": email, "password": PASSWORD })).await
    };
    let other_names = |n: u64| register("198.51.100.1".into(), format!("new{n}@example.org"));
    refused += by_address.assert("register by address", &[201], other_names).await;
    let other_addresses = |n: u64| register(format!("203.0.113.{n}"), "dan@example.org".into());
    refused += by_account.assert("register by account", &[201, 409], other_addresses).await;

    let refresh =
        |_: u64| async { post_from(host, "198.51.100.1", "refresh", &json!({ "refresh_token": "none" })).await };
    refused += Limit { burst: 40, every_ms: 500 }.assert("refresh by address", &[401], refresh).await;

    let guess = json!({ "current_password": "wrong horse", "new_password": PASSWORD });
    let password = |n: u64| {
        let url = format!("{}/api/v1/users/{}/password", host.url, session.id);
        let request = host.client.put(url).bearer_auth(&session.access).json(&guess);
        async move { request.header("x-forwarded-for", format!("203.0.113.{n}")).send().await.unwrap() }
    };
    refused += by_account.assert("password by account", &[401], password).await;

    let counted = host.metric("arcana_limit_rejections_total{limit=\"rate\"}").await;
    assert_eq!(counted, f64::from(u32::try_from(refused).unwrap()));
    for _ in 0..50 {
        assert_eq!(me(host, &session.access).await.0, 200, "what is not public has no such limit");
    }
}

#[tokio::test]
async fn an_account_is_refreshed_so_often_from_wherever() {
    let setting = "[plugins.settings.\"arcana/auth\"]\nrefreshes_per_minute = 3\n";
    let host = Setup::identity().settings(setting).start();
    let mut session = host.register("ada@example.org").await;
    let other = host.register("bob@example.org").await;
    let start = Instant::now();
    let mut passed = 0;
    let refused = loop {
        assert!(passed < 1000, "nothing is refused");
        let response = post_from(&host, "198.51.100.1", "refresh", &json!({ "refresh_token": session.refresh })).await;
        if response.status() == 429 {
            break response;
        }
        assert_eq!(response.status(), 200);
        session = Session::read(&response.json().await.unwrap());
        passed += 1;
    };
    // Every minute of the clock that this has seen allows as many again.
    let most = 3 * (start.elapsed().as_secs() / 60 + 2);
    assert!(passed >= 3 && passed <= most, "{passed} of {most}");
    assert!((1..=60).contains(&retry_after(&refused)));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "RATE_LIMIT_EXCEEDED");
    // The token is not spent by that, and its session goes on; nobody else notices.
    assert_eq!(count(&host, "SELECT COUNT(*) FROM refresh_tokens WHERE spent_at IS NULL").await, 2);
    assert_eq!(me(&host, &session.access).await.0, 200);
    assert_eq!(refresh(&host, &other.refresh).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_storm_is_slow_for_those_who_log_in_only() {
    const CLIENTS: usize = 50;
    // The real cost of a password: the defaults.
    let setup = Setup::new().env("ARCANA_SECURITY__PASSWORDS__CONCURRENCY", "1");
    let users = crate::support::shipped("users");
    let host = Arc::new(setup.plugin("users", &users).plugin("auth", &crate::support::shipped("auth")).start());
    let session = host.register("ada@example.org").await;
    host.register("bob@example.org").await;
    let before = memory(&host);

    let (stop, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let storm: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (host, stop, failed) = (host.clone(), stop.clone(), failed.clone());
            tokio::spawn(async move {
                let mut statuses = BTreeMap::<u16, u64>::new();
                while !stop.load(Ordering::Relaxed) {
                    let (status, answer) = host.login("bob@example.org", PASSWORD).await;
                    // On a slow machine the time of a call may be over before its turn to hash.
                    if !matches!(status, 200 | 503 | 504) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        assert!(matches!(status, 200 | 503 | 504), "{status} {answer}");
                    }
                    *statuses.entry(status).or_default() += 1;
                }
                statuses
            })
        })
        .collect();
    until("passwords wait to be hashed", async || host.metric("arcana_password_hashes_queued").await >= 5.0).await;
    let mut under_storm = 0;
    while under_storm < 30 {
        let answer = me(&host, &session.access).await;
        assert_eq!((answer.0, answer.1["email"].as_str()), (200, Some("ada@example.org")), "{}", answer.1);
        assert_eq!(host.get("/health").await.0, 200);
        assert_eq!(failed.load(Ordering::Relaxed), 0);
        under_storm += u32::from(host.metric("arcana_password_hashes_queued").await > 0.0);
    }
    stop.store(true, Ordering::Relaxed);
    let mut statuses = BTreeMap::<u16, u64>::new();
    for client in storm {
        for (status, n) in client.await.unwrap() {
            *statuses.entry(status).or_default() += n;
        }
    }
    assert!(statuses.contains_key(&200), "somebody signed in: {statuses:?}");
    // Fifty hashes at once would take 950 MiB.
    let grown = memory(&host).saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB more at the peak; {statuses:?}");
}

/// The most memory that the host had so far, in KiB.
fn memory(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
