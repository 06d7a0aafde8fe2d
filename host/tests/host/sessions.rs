//! Sessions: refreshing, reuse, logging out, and what of it lasts.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::accounts::{account, again, assert_ended, claims, code, count, database, fields, me, refresh};
use crate::support::{Host, PASSWORD, Session, Setup, first_admin, until};

#[tokio::test]
async fn a_refresh_token_works_once_and_its_reuse_ends_the_family() {
    let host = Setup::identity().start();
    let first = host.register("ada@example.org").await;
    let other = again(&host, "ada@example.org").await;
    let mut family = vec![first];
    for _ in 0..3 {
        let (status, answer) = refresh(&host, &family.last().unwrap().refresh).await;
        assert_eq!(status, 200, "{answer}");
        family.push(Session::read(&answer));
    }
    let newest = family.last().unwrap();
    assert_eq!(claims(&family[0].access)["session_id"], claims(&newest.access)["session_id"]);
    assert_ne!(claims(&family[0].access)["session_id"], claims(&other.access)["session_id"]);
    for session in &family {
        assert_eq!(me(&host, &session.access).await.0, 200, "rotation alone ends nothing");
    }

    // The oldest token comes back: somebody has a copy.
    let answer = refresh(&host, &family[0].refresh).await;
    assert_eq!(code(&answer), (401, "INVALID_TOKEN"), "{}", answer.1);
    for session in &family {
        let answer = me(&host, &session.access).await;
        assert_eq!(code(&answer), (401, "INVALID_TOKEN"), "{}", answer.1);
    }
    assert_ended(&host, newest).await;
    assert_eq!(me(&host, &other.access).await.0, 200, "another session is not touched");
    assert_eq!(refresh(&host, &other.refresh).await.0, 200);
    assert!(host.log().contains("a spent refresh token was used again"), "{}", host.log());
}

#[tokio::test]
async fn what_is_no_refresh_token_gives_nothing() {
    let host = Setup::identity().start();
    let session = host.register("ada@example.org").await;
    let unknown = format!("arcana_rt_{}", "A".repeat(43));
    for token in ["nonsense", &session.access, &unknown, &format!("{} ", session.refresh), "' OR 1=1 --"] {
        let answer = refresh(&host, token).await;
        assert_eq!(code(&answer), (401, "INVALID_TOKEN"), "{token}: {}", answer.1);
    }
    for path in ["/api/v1/auth/refresh", "/api/v1/auth/logout"] {
        for (body, expected) in [
            (json!({}), "refresh_token REQUIRED"),
            (json!({ "refresh_token": "" }), "refresh_token REQUIRED"),
            (json!({ "refresh_token": 5 }), "refresh_token WRONG_TYPE"),
        ] {
            let answer = host.post(path, body.clone()).await;
            assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{path} {body}: {}", answer.1);
            assert_eq!(fields(&answer.1), [expected], "{path} {body}");
        }
    }
    database(&host).execute_batch("UPDATE refresh_tokens SET expires_at = 1000000").unwrap();
    let answer = refresh(&host, &session.refresh).await;
    assert_eq!(code(&answer), (401, "TOKEN_EXPIRED"), "{}", answer.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_use_one_refresh_token_at_once_one_wins() {
    const AT_ONCE: usize = 4;
    let host = Arc::new(Setup::identity().start());
    for round in 0..10 {
        let session = host.register(&format!("ada{round}@example.org")).await;
        let barrier = Arc::new(Barrier::new(AT_ONCE));
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (host, barrier, token) = (host.clone(), barrier.clone(), session.refresh.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    refresh(&host, &token).await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let won: Vec<&Value> = answers.iter().filter(|answer| answer.0 == 200).map(|answer| &answer.1).collect();
        let lost = answers.iter().filter(|answer| code(answer) == (401, "INVALID_TOKEN")).count();
        assert_eq!((won.len(), lost), (1, AT_ONCE - 1), "{answers:?}");
        // The others used a spent token, and nobody can tell who of them is the thief.
        assert_ended(&host, &Session::read(won[0])).await;
        assert_ended(&host, &session).await;
    }
}

#[tokio::test]
async fn no_session_slips_past_a_change_of_its_account() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let ada = account(&host, &admin, "ada@example.org", "user").await;
    let path = |what: &str| format!("/api/v1/users/{}/{what}", ada.id);
    let change = async |what: &str, body: Value| {
        let (status, answer) = host.call(Method::PATCH, &path(what), Some(&admin.access), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    for round in 0..12 {
        let session = again(&host, "ada@example.org").await;
        let (what, body) = match round % 3 {
            0 => ("role", json!({ "role": "moderator" })),
            1 => ("role", json!({ "role": "user" })),
            _ => ("status", json!({ "status": "locked" })),
        };
        let (signed_in, refreshed, ()) = tokio::join!(
            host.login("ada@example.org", PASSWORD),
            refresh(&host, &session.refresh),
            change(what, body.clone())
        );
        // What was opened before the change is ended by it; what comes after knows the new role.
        for (status, answer) in [signed_in, refreshed] {
            if status != 200 {
                assert!(matches!(status, 401 | 403), "{status} {answer}");
                continue;
            }
            let session = Session::read(&answer);
            let answer = me(&host, &session.access).await;
            match answer.0 {
                200 => assert_eq!(claims(&session.access)["roles"], json!([body["role"]]), "{body}"),
                _ => assert_ended(&host, &session).await,
            }
        }
        assert_ended(&host, &session).await;
        if what == "status" {
            change("status", json!({ "status": "active" })).await;
        }
    }
}

#[tokio::test]
async fn an_account_has_so_many_sessions_and_the_oldest_makes_room() {
    let setting = "[plugins.settings.\"arcana/auth\"]\nsessions_per_account = 2\n";
    let host = Setup::identity().settings(setting).start();
    let oldest = host.register("ada@example.org").await;
    let middle = again(&host, "ada@example.org").await;
    assert_eq!(me(&host, &oldest.access).await.0, 200);
    let newest = again(&host, "ada@example.org").await;
    assert_ended(&host, &oldest).await;
    for session in [middle, newest] {
        assert_eq!(me(&host, &session.access).await.0, 200);
    }
    assert_eq!(count(&host, "SELECT COUNT(*) FROM sessions").await, 2);
}

#[tokio::test]
async fn what_was_ended_stays_ended_when_the_host_is_killed() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let gone = host.register("gone@example.org").await;
    let stays = again(&host, "gone@example.org").await;
    let demoted = account(&host, &admin, "demoted@example.org", "moderator").await;
    let path = format!("/api/v1/users/{}/role", demoted.id);
    let role = host.call(Method::PATCH, &path, Some(&admin.access), Some(json!({ "role": "user" }))).await;
    assert_eq!(role.0, 200, "{}", role.1);
    let renewed = again(&host, "demoted@example.org").await;
    let reused = host.register("reused@example.org").await;
    assert_eq!(refresh(&host, &reused.refresh).await.0, 200);
    assert_eq!(refresh(&host, &reused.refresh).await.0, 401);

    let logout = json!({ "refresh_token": gone.refresh });
    let response = host.send(Method::POST, "/api/v1/auth/logout", None, Some(logout.clone())).await;
    assert_eq!(response.status(), 204);
    assert!(response.bytes().await.unwrap().is_empty());
    assert_ended(&host, &gone).await;
    assert_eq!(host.post("/api/v1/auth/logout", logout).await.0, 204, "what was asked for holds already");
    assert_eq!(host.post("/api/v1/auth/logout", json!({ "refresh_token": "nonsense" })).await.0, 204);

    let host = host.kill().start();
    for ended in [&gone, &demoted, &reused] {
        assert_ended(&host, ended).await;
    }
    for session in [&stays, &renewed, &admin] {
        assert_eq!(me(&host, &session.access).await.0, 200);
        assert_eq!(refresh(&host, &session.refresh).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_loses_no_answered_registration_and_leaves_no_half_of_one() {
    let host = Arc::new(Setup::identity().start());
    let answered = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let (host, answered) = (host.clone(), answered.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let email = format!("user{n}@writer{writer}.example.org");
                    let body = json!({ "email": email, "password": PASSWORD });
                    let request = host.client.post(format!("{}/api/v1/auth/register", host.url)).json(&body);
                    // The kill breaks the connection off.
                    let Ok(response) = request.send().await else { return };
                    let status = response.status();
                    let Ok(answer) = response.json::<Value>().await else { return };
                    if status == 201 {
                        answered.lock().push((email, Session::read(&answer)));
                    }
                }
            })
        })
        .collect();
    until("30 accounts", async || answered.lock().len() >= 30).await;
    let pid = rustix::process::Pid::from_raw(host.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let host: Host = Arc::into_inner(host).unwrap().kill().start();
    let answered = answered.lock().clone();
    for (email, session) in &answered {
        assert_eq!(me(&host, &session.access).await.0, 200, "{email}");
        assert_eq!(refresh(&host, &session.refresh).await.0, 200, "{email}");
    }
    let halves = "SELECT COUNT(*) FROM users WHERE id NOT IN (SELECT user_id FROM sessions)";
    assert_eq!(count(&host, halves).await, 0);
    let accounts = usize::try_from(count(&host, "SELECT COUNT(*) FROM users").await).unwrap();
    assert!(accounts >= answered.len() && accounts <= answered.len() + 6, "{accounts} for {}", answered.len());
}
