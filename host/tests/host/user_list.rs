//! The list of accounts: pages, sorting, filters, search.

use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::{code, fields};
use crate::support::{Host, PASSWORD, Session, Setup, first_admin};

/// The names in the order of the page.
fn names(page: &Value) -> Vec<&str> {
    let users = page["users"].as_array().unwrap_or_else(|| panic!("no users in {page}"));
    users.iter().map(|user| user["username"].as_str().unwrap()).collect()
}

async fn list(host: &Host, admin: &Session, query: &str) -> (u16, Value) {
    host.call(Method::GET, &format!("/api/v1/users{query}"), Some(&admin.access), None).await
}

#[tokio::test]
async fn accounts_are_listed_by_page_sorted_filtered_and_searched() {
    let host = Setup::identity().dev().start();
    let admin = first_admin(&host).await;
    for (username, email, name, role, status) in [
        ("dora", "100%@example.org", Some("Émile"), "user", "active"),
        ("anna", "under_score@example.org", Some("Zoe"), "moderator", "active"),
        ("carl", "underxscore@example.org", None, "user", "locked"),
        ("bert", "zz!@example.com", Some("Anna-Lena"), "admin", "inactive"),
    ] {
        let body = json!({
            "username": username, "email": email, "name": name, "password": PASSWORD, "role": role, "status": status,
        });
        let (status, answer) = host.call(Method::POST, "/api/v1/users", Some(&admin.access), Some(body)).await;
        assert_eq!(status, 201, "{answer}");
    }

    let (status, page) = list(&host, &admin, "").await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(names(&page), ["admin", "dora", "anna", "carl", "bert"], "in the order in which they were made");
    let figures =
        |page: &Value| ["page", "size", "total_elements", "total_pages"].map(|name| page[name].as_u64().unwrap());
    assert_eq!(figures(&page), [0, 20, 5, 1]);
    assert!(!page.to_string().contains("password") && !page.to_string().contains("argon2"), "{page}");

    for (query, expected, [at, size, elements, pages]) in [
        ("?size=2", &["admin", "dora"][..], [0, 2, 5, 3]),
        ("?size=2&page=1", &["anna", "carl"], [1, 2, 5, 3]),
        ("?page=2&size=2", &["bert"], [2, 2, 5, 3]),
        ("?page=3&size=2", &[], [3, 2, 5, 3]),
        ("?page=4294967295&size=100", &[], [4_294_967_295, 100, 5, 1]),
        ("?role=user&size=1", &["dora"], [0, 1, 2, 2]),
        ("?role=user&size=1&page=1", &["carl"], [1, 1, 2, 2]),
        ("?search=nowhere", &[], [0, 20, 0, 0]),
    ] {
        let (status, page) = list(&host, &admin, query).await;
        assert_eq!(
            (status, names(&page).as_slice(), figures(&page)),
            (200, expected, [at, size, elements, pages]),
            "{query}"
        );
    }
    for (query, expected) in [
        ("?sort=created_at&order=desc", &["bert", "carl", "anna", "dora", "admin"][..]),
        ("?sort=updated_at", &["admin", "dora", "anna", "carl", "bert"]),
        ("?sort=username", &["admin", "anna", "bert", "carl", "dora"]),
        ("?sort=username&order=desc", &["dora", "carl", "bert", "anna", "admin"]),
        ("?sort=email", &["dora", "admin", "anna", "carl", "bert"]),
        // Without a name last, whichever way.
        ("?sort=name&search=example", &["bert", "anna", "dora", "carl"]),
        ("?sort=name&order=desc&search=example", &["dora", "anna", "bert", "carl"]),
        ("?sort=role&order=desc", &["admin", "bert", "anna", "carl", "dora"]),
        ("?sort=status&search=example&order=asc", &["dora", "anna", "bert", "carl"]),
        // Only one has ever signed in.
        ("?sort=last_login_at&size=1", &["admin"]),
        ("?sort=last_login_at&order=desc&size=1", &["admin"]),
        ("?role=user", &["dora", "carl"]),
        ("?status=inactive", &["bert"]),
        ("?role=user&status=active", &["dora"]),
        ("?role=superadmin", &["admin"]),
        ("?search=ANNA", &["anna", "bert"]),
        ("?search=%C3%89MILE", &["dora"]),
        ("?search=%20anna-lena+", &["bert"]),
        // What means something to LIKE is an ordinary letter.
        ("?search=%25", &["dora"]),
        ("?search=under_score", &["anna"]),
        ("?search=zz!", &["bert"]),
        ("?search='%20OR%201=1%20--", &[]),
        ("?search=", &["admin", "dora", "anna", "carl", "bert"]),
        ("?unknown=1&search=zoe", &["anna"]),
    ] {
        let (status, page) = list(&host, &admin, query).await;
        assert_eq!((status, names(&page).as_slice()), (200, expected), "{query}");
    }

    for (query, expected) in [
        ("?size=0", &["size TOO_SMALL"][..]),
        ("?size=101&sort=password_hash", &["size TOO_LARGE", "sort INVALID_VALUE"]),
        ("?sort=id;DROP%20TABLE%20users", &["sort INVALID_VALUE"]),
        ("?page=-1&size=4294967296", &["page OUT_OF_RANGE", "size OUT_OF_RANGE"]),
        (
            "?page=one&size=1.5&order=up&role=king&status=ACTIVE",
            &[
                "order UNKNOWN_VALUE",
                "page WRONG_TYPE",
                "role UNKNOWN_VALUE",
                "size WRONG_TYPE",
                "status UNKNOWN_VALUE",
            ],
        ),
        ("?page=1&page=2", &["page DUPLICATE_FIELD"]),
    ] {
        let answer = list(&host, &admin, query).await;
        assert_eq!(code(&answer), (422, "VALIDATION_FAILED"), "{query}: {}", answer.1);
        assert_eq!(fields(&answer.1), expected, "{query}");
    }
    let long = format!("?search={}", "x".repeat(129));
    assert_eq!(fields(&list(&host, &admin, &long).await.1), ["search TOO_LONG"]);
}
