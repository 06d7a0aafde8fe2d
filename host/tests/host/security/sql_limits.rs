//! SQL that takes SQLite's compiler, its stack or one of its functions for ever.

use serde_json::{Value, json};

use crate::small::{answering, bare_manifest};
use crate::support::{Host, KEY, Setup, guest, until};

/// The name of the error that the guest got for a statement, or `ok`.
async fn sql(host: &Host, sql: &str, mode: &str) -> Value {
    let (status, answer) = host.post("/test/chaos/sql", json!({ "store": "own", "sql": sql, "mode": mode })).await;
    assert!(status == 200 || answer["code"] == "TIMEOUT", "{status} {answer}: {}", sql.get(..80).unwrap_or(sql));
    answer
}

async fn is_well(host: &Host) {
    let (status, health) = host.get("/health").await;
    assert_eq!((status, health["status"].as_str()), (200, Some("ok")));
    assert_eq!(host.get("/test/echo/hello/Ada").await, (200, json!("Hello, Ada!")));
    until("the store answers", async || sql(host, "SELECT 1", "query").await == "ok").await;
}

fn steps(count: usize, step: impl Fn(usize, usize) -> String) -> String {
    (1..count).map(|at| format!(", {}", step(at, at - 1))).collect()
}

#[tokio::test]
async fn a_statement_that_explodes_in_the_compiler_is_refused_and_counted() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).plugin("echo", &guest("echo")).start();
    let joined = steps(17, |at, last| format!("a{at} AS (SELECT p.x FROM a{last} p, a{last} q)"));
    let quoted = steps(25, |at, last| {
        format!("\"A{at}\" AS MATERIALIZED (SELECT 1 AS x FROM [a{last}] p JOIN main.notes ON 1 IN `a{last}`)")
    });
    let grown = steps(30, |at, last| format!("a{at} AS (SELECT x || x AS x FROM a{last})"));
    let nested =
        |open: &str, inner: &str, levels: usize| format!("{}{inner}{}", open.repeat(levels), ")".repeat(levels));
    let attacks = [
        (format!("WITH a0 AS (SELECT 1 x){joined} SELECT * FROM a16"), "sources"),
        (format!("WITH a0 AS (SELECT 1 x){quoted} SELECT * FROM a24"), "sources"),
        (format!("WITH a0 AS (SELECT note AS x FROM notes){grown} SELECT * FROM a29"), "references"),
        (nested("SELECT*FROM(", "SELECT 1", 3_000), "nesting"),
        (format!("SELECT {}", nested("(", "1", 30_000)), "nesting"),
        (format!("SELECT 1 FROM {}", nested("(", "notes", 20_000)), "nesting"),
        (nested("SELECT 1 WHERE EXISTS(", "SELECT 1", 2_000), "nesting"),
        (format!("SELECT {}", vec!["sum(1) OVER (ORDER BY note)"; 500].join(",")), "sources"),
        (format!("WITH {} SELECT 1", vec!["a AS (SELECT 1)"; 500].join(",")), "common_tables"),
    ];
    let metric = |limit: &str| format!(r#"arcana_limit_rejections_total{{limit="sql_{limit}"}}"#);
    for (attack, limit) in &attacks {
        let before = host.metric(&metric(limit)).await;
        for mode in ["query", "execute", "batch", "transaction_query", "transaction_execute"] {
            assert_eq!(sql(&host, attack, mode).await, "denied", "{}", attack.get(..80).unwrap_or(attack));
        }
        assert_eq!(host.metric(&metric(limit)).await, before + 5.0, "{limit}");
    }
    is_well(&host).await;
}

#[tokio::test]
async fn a_function_that_nothing_stops_is_not_there() {
    let host = Setup::new().plugin("chaos", &guest("chaos")).plugin("echo", &guest("echo")).start();
    let large = "replace(hex(zeroblob(450000)), '00', ";
    for attack in [
        format!("SELECT length(unhex({large}'é'), {large}'a')))"),
        format!("SELECT length(json_patch('{{}}', '{{' || rtrim({large}'\"a\":1,'), ',') || '}}'))"),
        format!("SELECT length(json_set('{{}}', '$' || {large}'.a'), 1))"),
        format!("SELECT length(jsonb_insert('[]', '$' || {large}'[0]'), 1))"),
        format!("SELECT length(json_pretty('[' || {large}'1,') || '1]', {large}'  ')))"),
        format!("SELECT length(json(unhex({large}'eb001dffff'))))"),
        format!("SELECT json_group_array(unhex({large}'eb001dffff')))"),
        format!("SELECT max(value) FROM json_tree(unhex({large}'eb001dffff')))"),
        format!("SELECT max(value) FROM json_each(CAST({large}'[]') AS BLOB))"),
    ] {
        let answer = sql(&host, &attack, "query").await;
        assert_ne!(answer, "other", "{attack}");
    }
    is_well(&host).await;
}

/// A plugin with one migration of its own store.
fn with_migration(name: &str, script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("sql/sqlite/own");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("0001_tables.sql"), script).unwrap();
    let text = bare_manifest(&format!("test/{name}"), 1)
        + "[capabilities]\nstores = [\"own\"]\n[stores.own]\nowner = true\nmigrations = \"sql\"\n"
        + &format!("[[methods]]\ncall = \"api.answer\"\nhttp = \"GET /{name}\"\nallow = \"public\"\n");
    let packed = arcana::plugins::pack::pack(&answering(name, 1), &text, &[], folder.path()).unwrap();
    arcana_signing::envelope::sign(&packed, &[&KEY]).unwrap()
}

#[tokio::test]
async fn a_migration_that_overflows_or_explodes_is_refused_by_the_name_of_its_object() {
    let repeat = |count: usize, item: &dyn Fn(usize) -> String| (1..=count).map(item).collect::<String>();
    let chained = "CREATE TABLE t0 (a);".to_owned()
        + &repeat(3_000, &|n| {
            let last = n - 1;
            format!(
                "CREATE TABLE t{n} (a); CREATE TRIGGER g{n} AFTER INSERT ON t{last} BEGIN INSERT INTO t{n} VALUES (1); END;"
            )
        })
        + "INSERT INTO t0 VALUES (1);";
    let doubled = "CREATE TABLE t (a); CREATE VIEW v0 AS SELECT a AS x FROM t;".to_owned()
        + &repeat(30, &|n| format!("CREATE VIEW v{n} AS SELECT p.x FROM v{0} p, v{0} q;", n - 1))
        + "SELECT * FROM v30;";
    let setup = Setup::new().plugin("echo", &guest("echo")).plugin("chaos", &guest("chaos"));
    let host = setup
        .plugin("chain", &with_migration("chain", &chained))
        .plugin("views", &with_migration("views", &doubled))
        .start();
    let log = host.log();
    for (code, object, limit) in [
        ("MIGRATION_FAILED", "`t", "database.sqlite.limits.trigger_chain"),
        ("MIGRATION_FAILED", "the view `v10`", "database.sqlite.limits.sources"),
    ] {
        let told = log.lines().any(|line| line.contains(code) && line.contains(object) && line.contains(limit));
        assert!(told, "{object} {limit} in\n{log}");
    }
    is_well(&host).await;
}
