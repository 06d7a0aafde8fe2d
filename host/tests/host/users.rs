//! Accounts: who may do what to whom, and what becomes of their sessions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{account, again, assert_ended, code, count, fields, me};
use crate::support::{Host, PASSWORD, Session, Setup, first_admin};

async fn call(host: &Host, by: &Session, method: Method, path: &str, body: Value) -> (u16, Value) {
    let body = (!body.is_null()).then_some(body);
    host.call(method, &format!("/api/v1/users{path}"), Some(&by.access), body).await
}

async fn patch(host: &Host, by: &Session, path: &str, body: Value) -> (u16, Value) {
    call(host, by, Method::PATCH, path, body).await
}

/// Every published function of the service, on this account.
fn requests(id: &str) -> Vec<(Method, String, Value)> {
    let profile = json!({ "email": "changed@example.org" });
    let password = json!({ "current_password": PASSWORD, "new_password": "battery staple" });
    vec![
        (Method::GET, String::new(), Value::Null),
        (Method::POST, String::new(), json!({ "email": "new@example.org", "password": PASSWORD })),
        (Method::PATCH, format!("/{id}/role"), json!({ "role": "superadmin" })),
        (Method::PATCH, format!("/{id}/status"), json!({ "status": "locked" })),
        (Method::DELETE, format!("/{id}"), Value::Null),
        (Method::GET, format!("/{id}"), Value::Null),
        (Method::PUT, format!("/{id}"), profile.clone()),
        (Method::PATCH, format!("/{id}"), profile),
        (Method::PUT, format!("/{id}/password"), password),
    ]
}

/// How many of [`requests`], from the first one on, only administrators may send even where the account is their own.
const ADMIN_ONLY: usize = 5;

#[tokio::test]
async fn who_is_nobody_gets_401_and_who_may_not_gets_403() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let ada = host.register("ada@example.org").await;
    let bob = account(&host, &admin, "bob@example.org", "moderator").await;
    let nobody = uuid::Uuid::now_v7().to_string();

    for (method, path, body) in requests(&bob.id) {
        for (token, expected) in [(None, "UNAUTHORIZED"), (Some("nonsense"), "INVALID_TOKEN")] {
            let body = (!body.is_null()).then(|| body.clone());
            let path = format!("/api/v1/users{path}");
            let response = host.send(method.clone(), &path, token, body).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{method} {path}");
            let answer = (response.status().as_u16(), response.json().await.unwrap());
            assert_eq!(code(&answer), (401, expected), "{method} {path}");
        }
    }
    // Users and moderators act on nobody else, and do not learn who there is.
    for by in [&ada, &bob] {
        let others = [&ada.id, &bob.id, &admin.id, &nobody].into_iter().filter(|id| **id != by.id);
        for (method, path, body) in others.flat_map(|id| requests(id)) {
            let answer = call(&host, by, method.clone(), &path, body).await;
            assert_eq!(code(&answer), (403, "FORBIDDEN"), "{method} {path}");
        }
        for (method, path, body) in requests(&by.id).into_iter().take(ADMIN_ONLY) {
            let answer = call(&host, by, method.clone(), &path, body).await;
            assert_eq!(code(&answer), (403, "FORBIDDEN"), "{method} {path}");
        }
    }
    for session in [&ada, &bob, &admin] {
        assert_eq!(me(&host, &session.access).await.0, 200, "nothing of this changed anything");
    }
    assert_eq!(count(&host, "SELECT COUNT(*) FROM users").await, 3);
    for id in [nobody.as_str(), "nonsense", "%20", "1%20OR%201=1"] {
        for (method, path, body) in requests(id).into_iter().skip(2) {
            let answer = call(&host, &admin, method.clone(), &path, body).await;
            assert_eq!(code(&answer), (404, "NOT_FOUND"), "{method} {path}: {}", answer.1);
        }
    }
}

#[tokio::test]
async fn administrators_make_accounts_up_to_their_own_role() {
    let host = Setup::identity().dev().start();
    let root = first_admin(&host).await;
    let admin = account(&host, &root, "admin@example.org", "admin").await;
    let create = async |by: &Session, body: Value| call(&host, by, Method::POST, "", body).await;
    let body = json!({
        "email": "Bob@example.org", "password": PASSWORD, "username": "Bob", "name": "B", "first_name": "R",
        "last_name": "S", "role": "moderator", "status": "inactive",
    });
    let (status, bob) = create(&admin, body.clone()).await;
    assert_eq!(status, 201, "{bob}");
    for (name, value) in body.as_object().unwrap() {
        assert!(name == "password" || bob[name] == *value, "{name}: {bob}");
    }
    assert_eq!(bob["last_login_at"], Value::Null);
    let (status, found) =
        call(&host, &admin, Method::GET, &format!("/{}", bob["id"].as_str().unwrap()), Value::Null).await;
    assert_eq!((status, found), (200, bob));

    let with_role =
        |name: &str, role: &str| json!({ "email": format!("{name}@example.org"), "password": PASSWORD, "role": role });
    assert_eq!(create(&admin, with_role("equal", "admin")).await.0, 201);
    let above = create(&admin, with_role("above", "superadmin")).await;
    assert_eq!(code(&above), (403, "FORBIDDEN"), "{}", above.1);
    assert_eq!(create(&root, with_role("above", "superadmin")).await.0, 201);
    let taken = create(&admin, json!({ "email": "BOB@EXAMPLE.ORG", "password": PASSWORD })).await;
    assert_eq!((code(&taken), fields(&taken.1)), ((409, "CONFLICT"), vec!["email TAKEN".to_owned()]));
    let taken = create(&admin, json!({ "email": "other@example.org", "password": PASSWORD, "username": "bOB" })).await;
    assert_eq!((code(&taken), fields(&taken.1)), ((409, "CONFLICT"), vec!["username TAKEN".to_owned()]));
    for (body, expected) in [
        (json!({}), &["email REQUIRED", "password REQUIRED"][..]),
        (
            json!({ "email": "a@b.co", "password": PASSWORD, "role": "king", "status": "asleep" }),
            &["role UNKNOWN_VALUE", "status UNKNOWN_VALUE"],
        ),
        (
            json!({ "email": "a@b", "password": "short", "username": "a b", "last_name": "x".repeat(129) }),
            &["email INVALID_FORMAT", "last_name TOO_LONG", "password TOO_SHORT", "username INVALID_FORMAT"],
        ),
    ] {
        let answer = create(&admin, body.clone()).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{body}");
        assert_eq!(fields(&answer.1), expected, "{body}");
    }
    assert_eq!(count(&host, "SELECT COUNT(*) FROM users").await, 5);
}

#[tokio::test]
async fn everybody_edits_their_profile_and_only_that() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    let ada = host.register("ada@example.org").await;
    host.register("bob@example.org").await;
    let path = format!("/{}", ada.id);
    let full =
        json!({ "email": "ada@example.org", "username": "ada", "name": "Ada", "first_name": "A", "last_name": "L" });
    let (status, before) = call(&host, &ada, Method::PUT, &path, full.clone()).await;
    assert_eq!(status, 200, "{before}");
    let profile = |user: &Value| {
        ["email", "username", "name", "first_name", "last_name"].map(|name| user[name].as_str().map(str::to_owned))
    };
    let is = |email: &str, rest: [Option<&str>; 4]| {
        let [username, name, first, last] = rest.map(|text| text.map(str::to_owned));
        [Some(email.to_owned()), username, name, first, last]
    };
    assert_eq!(profile(&before), is("ada@example.org", [Some("ada"), Some("Ada"), Some("A"), Some("L")]));

    // A merge patch: absent keeps, null clears, a value sets. Role and status are no part of it, nor of PUT.
    let change =
        json!({ "name": null, "last_name": " Lovelace ", "role": "superadmin", "status": "locked", "id": "x" });
    let (status, after) = patch(&host, &ada, &path, change).await;
    assert_eq!(status, 200, "{after}");
    assert_eq!(profile(&after), is("ada@example.org", [Some("ada"), None, Some("A"), Some("Lovelace")]));
    assert_eq!((&after["role"], &after["status"], &after["id"]), (&json!("user"), &json!("active"), &json!(ada.id)));
    let time = |user: &Value, name: &str| user[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&after, "updated_at") > time(&before, "updated_at"));
    assert_eq!(after["created_at"], before["created_at"]);
    assert_eq!(patch(&host, &ada, &path, json!({})).await, (200, after.clone()), "nothing changes, not even the time");
    assert_eq!(me(&host, &ada.access).await, (200, after), "a new profile ends no session");

    // PUT replaces: what is absent becomes empty.
    let only = json!({ "email": "Lovelace@example.org", "username": null, "role": "admin" });
    let (status, replaced) = call(&host, &ada, Method::PUT, &path, only).await;
    assert_eq!((status, profile(&replaced)), (200, is("Lovelace@example.org", [None; 4])), "{replaced}");
    assert_eq!(replaced["role"], "user");
    assert_eq!(host.login("lovelace@example.org", PASSWORD).await.0, 200);
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 401, "the old address is nobody's");

    for (method, body, expected) in [
        (Method::PATCH, json!({ "email": null, "username": "a" }), &["email REQUIRED", "username TOO_SHORT"][..]),
        (Method::PATCH, json!({ "email": 1, "name": [] }), &["email WRONG_TYPE", "name WRONG_TYPE"]),
        (Method::PUT, json!({ "name": "x" }), &["email REQUIRED"]),
        (Method::PUT, json!({ "email": "x", "name": "x".repeat(129) }), &["email INVALID_FORMAT", "name TOO_LONG"]),
    ] {
        let answer = call(&host, &ada, method.clone(), &path, body.clone()).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{method} {body}: {}", answer.1);
        assert_eq!(fields(&answer.1), expected, "{method} {body}");
    }
    for method in [Method::PATCH, Method::PUT] {
        let taken = call(&host, &ada, method, &path, json!({ "email": "BOB@example.org" })).await;
        assert_eq!((code(&taken), fields(&taken.1)), ((409, "CONFLICT"), vec!["email TAKEN".to_owned()]));
    }
    // An administrator may do it too, and the address is unique without regard to case, one's own excepted.
    let (status, answer) = patch(&host, &admin, &path, json!({ "email": "LOVELACE@example.org" })).await;
    assert_eq!((status, answer["email"].as_str()), (200, Some("LOVELACE@example.org")), "{answer}");
}

#[tokio::test]
async fn nobody_acts_on_an_account_that_is_not_below_their_own() {
    let host = Setup::identity().dev().start();
    let root = first_admin(&host).await;
    let admin = account(&host, &root, "admin@example.org", "admin").await;
    let equal = account(&host, &root, "equal@example.org", "admin").await;
    let user = account(&host, &root, "user@example.org", "user").await;

    for above in [&equal, &root] {
        let path = format!("/{}", above.id);
        assert_eq!(call(&host, &admin, Method::GET, &path, Value::Null).await.0, 200, "reading changes nothing");
        let changes = requests(&above.id).into_iter().skip(2).filter(|(method, ..)| method != Method::GET);
        for (method, path, body) in changes {
            let answer = call(&host, &admin, method.clone(), &path, body).await;
            assert_eq!(code(&answer), (403, "FORBIDDEN"), "{method} {path}: {}", answer.1);
        }
        assert_eq!(me(&host, &above.access).await.0, 200);
    }
    // Nobody gives more than they have, or anything to themselves.
    let role = async |by: &Session, of: &Session, role: &str| {
        patch(&host, by, &format!("/{}/role", of.id), json!({ "role": role })).await
    };
    let status = async |by: &Session, of: &Session, status: &str| {
        patch(&host, by, &format!("/{}/status", of.id), json!({ "status": status })).await
    };
    assert_eq!(code(&role(&admin, &user, "superadmin").await), (403, "FORBIDDEN"));
    for own in [&admin, &root] {
        for name in ["user", "admin", "superadmin"] {
            assert_eq!(code(&role(own, own, name).await), (403, "FORBIDDEN"), "{name}");
        }
        for name in ["inactive", "active"] {
            assert_eq!(code(&status(own, own, name).await), (403, "FORBIDDEN"), "{name}");
        }
    }
    let answer = role(&admin, &user, "king").await;
    assert_eq!((code(&answer), fields(&answer.1)), ((422, "VALIDATION_FAILED"), vec!["role UNKNOWN_VALUE".to_owned()]));
    let answer = status(&admin, &user, "").await;
    assert_eq!(
        (code(&answer), fields(&answer.1)),
        ((422, "VALIDATION_FAILED"), vec!["status UNKNOWN_VALUE".to_owned()])
    );

    // The last superadmin stays; of two each may manage the other.
    let delete =
        async |by: &Session, of: &Session| call(&host, by, Method::DELETE, &format!("/{}", of.id), Value::Null).await;
    assert_eq!(code(&delete(&root, &root).await), (409, "CONFLICT"));
    let second = account(&host, &root, "second@example.org", "superadmin").await;
    assert_eq!(status(&second, &root, "locked").await.0, 200);
    assert_eq!(code(&delete(&second, &second).await), (409, "CONFLICT"), "a locked one does not count");
    assert_eq!(status(&second, &root, "active").await.0, 200);
    let (code, answer) = delete(&second, &second).await;
    assert_eq!((code, answer), (204, Value::Null), "oneself may go while another stays");
    assert_ended(&host, &second).await;
}

#[tokio::test]
async fn two_superadmins_cannot_take_each_other_away_at_once() {
    let host = Setup::identity().dev().start();
    let root = first_admin(&host).await;
    for round in 0..5 {
        let pair = [0, 1].map(|n| format!("pair{round}.{n}@example.org"));
        let one = account(&host, &root, &pair[0], "superadmin").await;
        let two = account(&host, &root, &pair[1], "superadmin").await;
        let demote = async |by: &Session, of: &Session| {
            patch(&host, by, &format!("/{}/role", of.id), json!({ "role": "user" })).await.0
        };
        let (first, second) = tokio::join!(demote(&one, &two), demote(&two, &one));
        let mut answers = [first, second];
        answers.sort_unstable();
        // The second has lost its token or its role by then.
        assert!(matches!(answers, [200, 401 | 403]), "{answers:?}");
    }
    assert_eq!(count(&host, "SELECT COUNT(*) FROM users WHERE role = 3").await, 6);
}

#[tokio::test]
async fn what_an_account_may_do_changes_at_once() {
    let host = Setup::identity().dev().start();
    let root = first_admin(&host).await;
    let ada = account(&host, &root, "ada@example.org", "user").await;
    let other = again(&host, "ada@example.org").await;
    let role = async |role: &str| patch(&host, &root, &format!("/{}/role", ada.id), json!({ "role": role })).await;
    let status =
        async |status: &str| patch(&host, &root, &format!("/{}/status", ada.id), json!({ "status": status })).await;
    let may_list = async |session: &Session| call(&host, session, Method::GET, "", Value::Null).await.0;

    assert_eq!(may_list(&ada).await, 403);
    let (code_, answer) = role("admin").await;
    assert_eq!((code_, answer["role"].as_str()), (200, Some("admin")), "{answer}");
    // Every session, since its tokens say the old role.
    assert_ended(&host, &ada).await;
    assert_ended(&host, &other).await;
    let admin = again(&host, "ada@example.org").await;
    assert_eq!(may_list(&admin).await, 200);
    assert_eq!(role("admin").await.0, 200);
    assert_eq!(may_list(&admin).await, 200, "the same role again ends nothing");
    assert_eq!(role("user").await.0, 200);
    assert_ended(&host, &admin).await;

    for (name, refused) in [("locked", "ACCOUNT_LOCKED"), ("inactive", "ACCOUNT_INACTIVE")] {
        let session = again(&host, "ada@example.org").await;
        let (code_, answer) = status(name).await;
        assert_eq!((code_, answer["status"].as_str()), (200, Some(name)), "{answer}");
        assert_ended(&host, &session).await;
        assert_eq!(code(&host.login("ada@example.org", PASSWORD).await), (403, refused));
        assert_eq!(status("active").await.0, 200);
        let session = again(&host, "ada@example.org").await;
        assert_eq!(me(&host, &session.access).await.0, 200);
    }

    let session = again(&host, "ada@example.org").await;
    let (code_, answer) = call(&host, &root, Method::DELETE, &format!("/{}", ada.id), Value::Null).await;
    assert_eq!((code_, answer), (204, Value::Null));
    assert_ended(&host, &session).await;
    assert_eq!(code(&host.login("ada@example.org", PASSWORD).await), (401, "INVALID_CREDENTIALS"));
    assert_eq!(call(&host, &root, Method::GET, &format!("/{}", ada.id), Value::Null).await.0, 404);
    assert_eq!(call(&host, &root, Method::DELETE, &format!("/{}", ada.id), Value::Null).await.0, 404);
    let left = "SELECT COUNT(*) FROM sessions WHERE user_id NOT IN (SELECT id FROM users)";
    assert_eq!(count(&host, left).await, 0);
    host.register("ada@example.org").await;
}

#[tokio::test]
async fn a_new_password_ends_the_sessions() {
    let host = Setup::identity().dev().start();
    let root = first_admin(&host).await;
    let ada = host.register("ada@example.org").await;
    let other = again(&host, "ada@example.org").await;
    let change = async |by: &Session, of: &Session, body: Value| {
        call(&host, by, Method::PUT, &format!("/{}/password", of.id), body).await
    };
    for (body, expected) in [
        (json!({}), &["new_password REQUIRED"][..]),
        (json!({ "new_password": "battery staple" }), &["current_password REQUIRED"]),
        (json!({ "new_password": "short" }), &["current_password REQUIRED", "new_password TOO_SHORT"]),
        (
            json!({ "current_password": 1, "new_password": [] }),
            &["current_password WRONG_TYPE", "new_password WRONG_TYPE"],
        ),
    ] {
        let answer = change(&ada, &ada, body.clone()).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{body}");
        assert_eq!(fields(&answer.1), expected, "{body}");
    }
    let new = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let wrong = change(&ada, &ada, new("wrong horse", "battery staple")).await;
    assert_eq!(code(&wrong), (401, "INVALID_CREDENTIALS"), "{}", wrong.1);
    // Also of those who may set anybody else's.
    let wrong = change(&root, &root, json!({ "new_password": "battery staple" })).await;
    assert_eq!(fields(&wrong.1), ["current_password REQUIRED"]);
    assert_eq!(me(&host, &ada.access).await.0, 200);

    assert_eq!(change(&ada, &ada, new(PASSWORD, "battery staple")).await, (204, Value::Null));
    assert_ended(&host, &ada).await;
    assert_ended(&host, &other).await;
    assert_eq!(host.login("ada@example.org", PASSWORD).await.0, 401);
    let (status, answer) = host.login("ada@example.org", "battery staple").await;
    assert_eq!(status, 200, "{answer}");
    let renewed = Session::read(&answer);

    assert_eq!(change(&root, &ada, json!({ "new_password": "set by root" })).await, (204, Value::Null));
    assert_ended(&host, &renewed).await;
    assert_eq!(host.login("ada@example.org", "battery staple").await.0, 401);
    assert_eq!(host.login("ada@example.org", "set by root").await.0, 200);
    assert_eq!(me(&host, &root.access).await.0, 200, "who set it stays signed in");
}
