//! Each function that is offered, with the largest arguments that it takes.

use std::collections::BTreeSet;

use super::super::allowed_functions::{DENIED, FUNCTIONS, TABLES};
use super::*;

/// Far beyond what any call takes on a busy machine; a call that nothing stops takes minutes.
const HANGS: Duration = Duration::from_secs(20);

const LARGE: usize = (2 << 20) - 64;

fn settings() -> SqliteSettings {
    SqliteSettings { statement_timeout: Duration::from_millis(500), ..Default::default() }
}

/// Runs a query on a thread of its own, so that one that nothing stops fails the test instead of holding it up.
fn in_time(fixture: &Arc<Fixture>, sql: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, SqlError> {
    let (answer, answered) = std::sync::mpsc::channel();
    let (fixture, text) = (Arc::clone(fixture), sql.to_owned());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = answer.send(runtime.block_on(fixture.query(&text, params)));
        // What was left behind may hang.
        runtime.shutdown_background();
    });
    answered.recv_timeout(HANGS).unwrap_or_else(|_| panic!("nothing stops {sql}"))
}

fn fixture() -> Arc<Fixture> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Arc::new(runtime.block_on(Fixture::with(settings())))
}

/// Arrays in arrays in SQLite's binary form.
fn deep(levels: usize) -> Vec<u8> {
    let mut heads = Vec::new();
    let mut length: usize = 0;
    for _ in 0..levels {
        let head = match length {
            0..=11 => vec![(u8::try_from(length).unwrap() << 4) | 11],
            12..=255 => vec![0xcb, u8::try_from(length).unwrap()],
            256..=65_535 => [&[0xdb][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
            _ => [&[0xeb][..], &u32::try_from(length).unwrap().to_be_bytes()].concat(),
        };
        length += head.len();
        heads.push(head);
    }
    heads.into_iter().rev().flatten().collect()
}

fn large_values() -> Vec<(&'static str, Value)> {
    let object: String = (0..LARGE / 16).map(|n| format!("\"k{n:07}\":1,")).collect();
    let object = format!("{{{}}}", object.get(..object.len() - 1).unwrap());
    let repeated = |part: &str| Value::Text(part.repeat(LARGE / part.len()));
    vec![
        ("a text", repeated("a")),
        ("digits", repeated("1")),
        ("wide characters", repeated("é😀")),
        ("a blob", Value::Bytes(vec![0xff; LARGE])),
        ("an array", Value::Text(format!("[{}1]", "1,".repeat(LARGE / 2 - 2)))),
        ("an object", Value::Text(object)),
        ("a deep array", Value::Text(format!("{}{}", "[".repeat(900), "]".repeat(900)))),
        ("a path", Value::Text(format!("${}", ".a".repeat(LARGE / 2 - 2)))),
        ("a format", repeated("%.1s%,d")),
        ("a time", repeated("%f%J")),
        ("a deep blob", Value::Bytes(deep(400_000))),
        ("a number", Value::Int64(i64::MAX)),
    ]
}

#[test]
fn each_function_that_is_offered_ends_in_time_with_the_largest_arguments() {
    let fixture = fixture();
    let values = large_values();
    for name in FUNCTIONS {
        // Some are keywords or operators.
        let calls: Vec<String> = match *name {
            "current_date" | "current_time" | "current_timestamp" => vec![(*name).to_owned()],
            "likelihood" => vec!["likelihood(?1, 0.5)".to_owned()],
            _ => (0..=4).map(|count| format!("\"{name}\"({})", vec!["?1"; count].join(", "))).collect(),
        };
        let mut ran = false;
        for call in &calls {
            for over in ["", " OVER ()"] {
                let sql = format!("SELECT octet_length({call}{over})");
                // Only whether it compiles.
                let there = in_time(&fixture, &sql, vec![Value::Int64(1); usize::from(call.contains('?'))]);
                if matches!(there, Err(SqlError::Syntax(_))) {
                    continue;
                }
                ran = true;
                for (what, value) in values.iter().filter(|_| call.contains('?')) {
                    // A value of another kind beside it, as the last of them.
                    let last = sql.replacen("?1)", "?2)", 1);
                    let runs = match last.contains("?1") {
                        true => vec![(&sql, vec![value.clone()]), (&last, vec![value.clone(), Value::Int64(1)])],
                        false => vec![(&sql, vec![value.clone()])],
                    };
                    for (sql, params) in runs {
                        let answer = in_time(&fixture, sql, params);
                        assert!(!matches!(answer, Err(SqlError::Other(_))), "{sql} with {what}: {answer:?}");
                    }
                }
            }
        }
        assert!(ran, "no call of {name} compiles: it has no case here, or SQLite does not have it");
    }
}

#[test]
fn what_grows_with_the_product_of_its_arguments_is_stopped() {
    let fixture = fixture();
    let text = |part: &str, count: usize| Value::Text(part.repeat(count));
    let object = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!("\"k{n}\":1")).collect();
        Value::Text(format!("{{{}}}", keys.join(",")))
    };
    let half = 1 << 20;
    let many = |name: &str| {
        let pairs: Vec<String> = (0..60).map(|n| format!("'$.n{n}.x', 1")).collect();
        format!("SELECT octet_length({name}(?1, {}))", pairs.join(", "))
    };
    for (sql, params) in [
        ("SELECT octet_length(unhex(?1, ?2))".to_owned(), vec![text("é", half), text("a", half)]),
        ("SELECT octet_length(json_patch(?1, ?2))".to_owned(), vec![object(100_000), object(100_000)]),
        ("SELECT octet_length(jsonb_patch('{}', ?1))".to_owned(), vec![object(100_000)]),
        (many("json_set"), vec![object(100_000)]),
        (many("jsonb_insert"), vec![object(100_000)]),
        (
            "SELECT octet_length(json_set('{}', ?1, 1))".to_owned(),
            vec![Value::Text(format!("${}", ".a".repeat(900_000)))],
        ),
        (
            "SELECT octet_length(json_insert('[]', ?1, 1))".to_owned(),
            vec![Value::Text(format!("${}", "[0]".repeat(600_000)))],
        ),
        ("SELECT octet_length(json_pretty(?1, ?2))".to_owned(), vec![text("[", 1), text(" ", half)]),
        (
            "SELECT octet_length(json_pretty(?1, ?2))".to_owned(),
            vec![Value::Text(format!("[{}1]", "1,".repeat(half / 2))), text(" ", half)],
        ),
        ("SELECT octet_length(json(?1))".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT octet_length(json_array(1, ?1))".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT octet_length(json_extract(?1, ?2))".to_owned(), vec![Value::Bytes(deep(400_000)), text("[0]", half)]),
        ("SELECT ?1 -> 0".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT json_group_array(?1)".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT json_group_object('a', ?1)".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT count(*), max(value), max(fullkey) FROM json_each(?1)".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT count(*), max(value), max(fullkey) FROM json_tree(?1)".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT count(*), max(atom) FROM jsonb_tree(?1)".to_owned(), vec![Value::Bytes(deep(400_000))]),
        ("SELECT max(json) FROM json_each(?1)".to_owned(), vec![Value::Text(format!("[{}1]", "1,".repeat(half / 2)))]),
        (
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
             SELECT json_group_array(?1) FROM n"
                .to_owned(),
            vec![text("a", 1_000)],
        ),
        (
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
             SELECT octet_length(group_concat(?1) OVER (ORDER BY x ROWS 500 PRECEDING)) FROM n"
                .to_owned(),
            vec![text("a", 4_000)],
        ),
        (
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
             SELECT octet_length(json_group_array(?1) OVER (ORDER BY x ROWS 500 PRECEDING)) FROM n"
                .to_owned(),
            vec![text("a", 4_000)],
        ),
        (
            "SELECT ?1 LIKE ?2".to_owned(),
            vec![text("a", 2 * half - 64), Value::Text(format!("%{}b%", "a_".repeat(100)))],
        ),
        (
            "SELECT ?1 GLOB ?2".to_owned(),
            vec![text("a", 2 * half - 64), Value::Text(format!("*{}b*", "a?".repeat(100)))],
        ),
        ("SELECT ?1 LIKE ?2".to_owned(), vec![text("a", 2 * half - 64), text("%a", 100)]),
        (
            "SELECT ?1 GLOB ?2".to_owned(),
            vec![text("a", 2 * half - 64), Value::Text(format!("*{}b", "[!b-z]*".repeat(30)))],
        ),
    ] {
        let answer = in_time(&fixture, &sql, params);
        assert!(!matches!(answer, Err(SqlError::Other(_))), "{sql}: {answer:?}");
    }
}

#[test]
fn the_functions_of_json_answer_as_sqlites_own_do() {
    let fixture = fixture();
    let own = |sql: &str| {
        let mut db = std::ptr::null_mut();
        own_answer(sql, &mut db)
    };
    for sql in [
        "SELECT json_set('{\"a\":[1,2]}', '$.a[#]', 3, '$.b', json('{\"c\":null}'), '$.d', '{\"e\":1}')",
        "SELECT json_array(1, 2.5, 'x\"y', NULL, json('[1, 2]'), json_object('a', json_array()))",
        "SELECT '{\"a\":{\"b\":[10,20]}}' -> '$.a' ->> 'b'",
        "SELECT '[\"x\",1.5,null]' ->> 0",
        "SELECT typeof('[1]' ->> 0) || typeof('[1]' -> 0) || coalesce('[1]' -> 7, 'none')",
        "SELECT json_extract('{\"a\":1,\"b\":[2]}', '$.a', '$.b', '$.c')",
        "SELECT json_patch('{\"a\":{\"x\":1,\"y\":2},\"b\":2}', '{\"a\":{\"x\":null},\"c\":[3]}')",
        "SELECT json_group_array(b) || json_group_object(b, a) || json_group_array(json_object(b, a)) FROM (SELECT 1 AS a, 'one' AS b UNION ALL SELECT 2, 'two')",
        "SELECT group_concat(j, ';') FROM (SELECT json_group_array(x) OVER (ORDER BY x ROWS 1 PRECEDING) AS j FROM (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 3))",
        "SELECT hex(jsonb_group_array(x)) FROM (SELECT 1 AS x UNION ALL SELECT 'b')",
        "SELECT json(jsonb('{\"a\":[1,{\"b\":2}]}')) || json_type(jsonb('[1]'), '$[0]') || json_array_length('[1,2,3]')",
        "SELECT group_concat(key || '=' || value || ':' || type || '@' || fullkey || '<' || path, ' ') FROM json_each('{\"a\":1,\"b\":[2,3],\"c\":null}') WHERE value IS NOT NULL",
        "SELECT group_concat(id || ':' || coalesce(parent, '-') || ':' || coalesce(atom, '*'), ' ') FROM json_tree('{\"a\":[1,{\"b\":2}]}', '$.a')",
        "SELECT count(*) FROM json_each(NULL)",
        "SELECT group_concat(a.value || b.value) FROM json_each('[1,2]') a, json_each(json_array(a.value, 9)) b",
        "SELECT json_pretty('[1,[2]]', '.') || json_valid('{') || json_quote('a\"') || json_error_position('[1,}')",
        "SELECT json_remove('{\"a\":1,\"b\":2}', '$.a') || json_insert('[1]', '$[#]', 2) || json_replace('[1]', '$[0]', 'x')",
    ] {
        let ours = in_time(&fixture, sql, vec![]);
        let ours = match ours.as_deref() {
            Ok([row]) => match &row[..] {
                [Value::Text(text)] => text.clone(),
                [Value::Int64(number)] => number.to_string(),
                other => panic!("{sql}: {other:?}"),
            },
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(Some(ours), own(sql), "{sql}");
    }
    for sql in [
        "SELECT json('{')",
        "SELECT json_set('{}', 'a', 1)",
        "SELECT json_extract('{}')",
        "SELECT json_array(x'01ff')",
        "SELECT json_group_array(x'01ff')",
        "SELECT * FROM json_each('{')",
        "SELECT * FROM json_each('{}', 'a')",
    ] {
        let answer = in_time(&fixture, sql, vec![]);
        let refused = matches!(answer, Ok(_) | Err(SqlError::InvalidParameter(_) | SqlError::Syntax(_)));
        assert!(refused, "{sql}: {answer:?}");
    }
}

/// What SQLite answers without any of our functions.
#[expect(unsafe_code, reason = "a plain connection, to compare with")]
fn own_answer(sql: &str, db: &mut *mut libsqlite3_sys::sqlite3) -> Option<String> {
    use libsqlite3_sys as ffi;
    let text = std::ffi::CString::new(sql).unwrap();
    // SAFETY: one thread opens, uses and closes the connection; the answer is copied before the statement is gone.
    unsafe {
        assert_eq!(ffi::sqlite3_open(c":memory:".as_ptr(), db), ffi::SQLITE_OK);
        let mut statement = std::ptr::null_mut();
        let code = ffi::sqlite3_prepare_v2(*db, text.as_ptr(), -1, &raw mut statement, std::ptr::null_mut());
        assert_eq!(code, ffi::SQLITE_OK, "{sql}");
        assert_eq!(ffi::sqlite3_step(statement), ffi::SQLITE_ROW, "{sql}");
        let start = ffi::sqlite3_column_text(statement, 0);
        let answer = (!start.is_null()).then(|| std::ffi::CStr::from_ptr(start.cast()).to_str().unwrap().to_owned());
        ffi::sqlite3_finalize(statement);
        ffi::sqlite3_close(*db);
        answer
    }
}

#[tokio::test]
async fn every_function_and_module_of_the_linked_sqlite_has_been_looked_at() {
    let fixture = Fixture::new().await;
    let list = |sql: &'static str| {
        let run = move |connection: &mut super::super::connection::Connection, until| {
            let limits = super::super::connection::Limits { rows: 10_000, bytes: u64::MAX };
            let rows = connection.query(super::super::walls::Mode::Host, sql, &[], limits, until);
            Ok(rows.map_err(super::super::prepared::Stop::into_error)?.rows)
        };
        fixture.store.with_writer(soon(), Duration::from_secs(60), run)
    };
    let names = |rows: Vec<Vec<Value>>| -> BTreeSet<String> {
        rows.into_iter()
            .map(|row| match &row[..] {
                [Value::Text(name)] => name.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let known = names(list("SELECT DISTINCT name FROM pragma_function_list").await.unwrap());
    let unseen: Vec<_> =
        known.iter().filter(|name| !FUNCTIONS.contains(&name.as_str()) && !DENIED.contains(&name.as_str())).collect();
    assert!(unseen.is_empty(), "look at these, then offer or deny them: {unseen:?}");
    let gone: Vec<_> = FUNCTIONS.iter().filter(|name| !known.contains(**name)).collect();
    assert!(gone.is_empty(), "these are offered and not there: {gone:?}");
    let modules = names(list("SELECT name FROM pragma_module_list").await.unwrap());
    let looked_at = ["dbstat", "fts3", "fts3tokenize", "fts4", "fts4aux", "fts5", "fts5vocab", "rtree", "rtree_i32"];
    let unseen: Vec<_> = modules
        .iter()
        .filter(|name| !name.starts_with("pragma_") && !TABLES.contains(&name.as_str()))
        .filter(|name| !looked_at.contains(&name.as_str()))
        .collect();
    assert!(unseen.is_empty(), "look at these modules: {unseen:?}");
    // What is denied is denied, whatever its case.
    for name in DENIED {
        for count in 0..3 {
            let sql = format!("SELECT {}({})", name.to_uppercase(), vec!["'a'"; count].join(", "));
            let answer = fixture.query(&sql, vec![]).await;
            assert!(matches!(answer, Err(SqlError::Denied(_) | SqlError::Syntax(_))), "{sql}: {answer:?}");
        }
    }
    for module in looked_at {
        let answer = fixture.query(&format!("SELECT * FROM {module}"), vec![]).await;
        assert!(matches!(answer, Err(SqlError::Denied(_) | SqlError::Syntax(_))), "{module}: {answer:?}");
    }
}
