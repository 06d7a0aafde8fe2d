//! What is refused before it is compiled, what is not, and that the rest compiles in time.

use super::super::MigrationError;
use super::*;

/// Far beyond what compiling takes below the limits on a busy machine.
const HANGS: Duration = Duration::from_secs(20);

fn limit<T: std::fmt::Debug>(result: Result<T, SqlError>) -> String {
    match result {
        Err(SqlError::Limit { limit, sentence }) => {
            assert!(sentence.contains(&format!("(database.sqlite.limits.{limit})")), "{sentence}");
            limit.to_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn doubled(steps: usize) -> String {
    let steps: String = (1..steps).map(|n| format!(", a{n} AS (SELECT p.x FROM a{} p, a{} q)", n - 1, n - 1)).collect();
    format!("WITH a0 AS (SELECT 1 AS x){steps} SELECT * FROM a{} LIMIT 0", steps.matches("AS (").count())
}

#[tokio::test]
async fn what_takes_the_compiler_long_is_refused_in_each_way_to_run_it() {
    let fixture = Fixture::new().await;
    let nested = format!("{}SELECT 1{}", "SELECT*FROM(".repeat(3_000), ")".repeat(3_000));
    let grows: String = (1..30).map(|n| format!(", a{n} AS (SELECT x + x AS x FROM a{})", n - 1)).collect();
    let grows = format!("WITH a0 AS (SELECT a AS x FROM plain){grows} SELECT * FROM a29");
    for (sql, name) in [(doubled(17), "sources"), (nested, "nesting"), (grows, "references")] {
        assert_eq!(limit(fixture.query(&sql, vec![]).await), name);
        assert_eq!(limit(fixture.execute(&format!("INSERT INTO plain {sql}"), vec![]).await), name);
        let mut transaction = fixture.store.begin(soon()).await.unwrap();
        assert_eq!(limit(transaction.query(&sql, vec![]).await), name);
        drop(transaction);
        // What comes after a first statement is not compiled at all.
        assert!(matches!(fixture.query(&format!("SELECT 1; {sql}"), vec![]).await, Err(SqlError::Limit { .. })));
        assert_eq!(fixture.query("SELECT 1", vec![]).await.unwrap(), [[Value::Int64(1)]]);
    }
}

#[tokio::test]
async fn what_is_just_below_the_limits_compiles_in_time() {
    let fixture = Fixture::new().await;
    let list =
        |count: usize, item: &dyn Fn(usize) -> String, by: &str| (0..count).map(item).collect::<Vec<_>>().join(by);
    let joins = list(64, &|n| format!("plain t{n}"), ", ");
    let on = list(63, &|n| format!("t{n}.a = t{}.b", n + 1), " AND ");
    for sql in [
        doubled(6),
        format!("{}SELECT 1{}", "SELECT*FROM(".repeat(60), ")".repeat(60)),
        format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60)),
        format!("SELECT 1 FROM {joins} WHERE {on} LIMIT 0"),
        format!("SELECT * FROM plain WHERE a IN ({})", list(10_000, &|n| n.to_string(), ",")),
        format!("SELECT count(*) FROM (VALUES {})", list(8_000, &|n| format!("({n})"), ",")),
        format!("SELECT {} FROM plain", list(100, &|n| format!("sum(a) OVER (ORDER BY b, {n})"), ",")),
        format!("SELECT a FROM plain ORDER BY {}", list(500, &|_| "a".to_owned(), ",")),
        format!("SELECT a {} FROM plain", "COLLATE binary ".repeat(4_000)),
        format!("SELECT a FROM plain WHERE {}", list(200, &|n| format!("a = {n}"), " OR ")),
        list(60, &|n| format!("SELECT {n}"), " UNION "),
    ] {
        let started = Instant::now();
        let answer = fixture.query(&sql, vec![]).await;
        assert!(answer.is_ok(), "{}: {answer:?}", sql.get(..60).unwrap_or(&sql));
        assert!(started.elapsed() < HANGS, "{}", sql.get(..60).unwrap_or(&sql));
    }
}

/// A migration with this script, and what is said of it.
async fn refused(fixture: &Fixture, script: &str) -> String {
    let list = [migration(1, USERS), migration(2, script)];
    match fixture.store.migrate(&list, Policy::Any).await {
        Err(MigrationError::Failed { version: 2, error: SqlError::Limit { sentence, .. }, .. }) => sentence,
        other => panic!("{other:?}: {}", script.get(..80).unwrap_or(script)),
    }
}

#[tokio::test]
async fn a_schema_that_sqlite_would_recurse_or_multiply_over_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let repeat = |count: usize, item: &dyn Fn(usize) -> String| (1..=count).map(item).collect::<String>();
    let chained = "CREATE TABLE t0 (a);".to_owned()
        + &repeat(3_000, &|n| {
            format!(
                "CREATE TABLE t{n} (a); CREATE TRIGGER g{n} AFTER INSERT ON t{} BEGIN INSERT INTO t{n} VALUES (1); END;",
                n - 1
            )
        })
        + "INSERT INTO t0 VALUES (1);";
    let views = "CREATE VIEW v0 AS SELECT a AS x FROM plain;".to_owned();
    let doubling =
        views.clone() + &repeat(30, &|n| format!("CREATE VIEW v{n} AS SELECT p.x FROM v{0} p, v{0} q;", n - 1));
    let growing = views.clone() + &repeat(30, &|n| format!("CREATE VIEW v{n} AS SELECT x + x AS x FROM v{};", n - 1));
    let deep = views + &repeat(200, &|n| format!("CREATE VIEW v{n} AS SELECT x FROM v{};", n - 1));
    let keys = "CREATE TABLE k0 (a PRIMARY KEY);".to_owned()
        + &repeat(500, &|n| format!("CREATE TABLE k{n} (a PRIMARY KEY REFERENCES k{} ON DELETE CASCADE);", n - 1));
    let circle = repeat(40, &|n| format!("CREATE TABLE c{n} (a);"))
        + &repeat(40, &|n| {
            let inserts = repeat(40, &|to| format!("INSERT INTO c{to} VALUES ({n});"));
            format!("CREATE TRIGGER h{n} AFTER INSERT ON c{n} BEGIN {inserts} END;")
        });
    let generated = |columns: usize, plus: &str| {
        let columns = repeat(columns, &|n| {
            format!(", c{n} AS (c{0}{plus}) VIRTUAL", n - 1, plus = plus.replace('#', &(n - 1).to_string()))
        });
        format!("CREATE TABLE g (c0{columns}); SELECT 1;")
    };
    for (script, object) in [
        (chained, "`t"),
        (doubling, "`v10`"),
        (growing, "the view `v"),
        (deep, "the view `v"),
        (keys, "`k"),
        (circle, "`c"),
        (generated(24, " + c#"), "generated column `c"),
        (generated(200, ""), "generated column `c"),
        (repeat(1_100, &|n| format!("CREATE TABLE many{n} (a);")), "the store"),
        (repeat(70, &|n| format!("CREATE INDEX plain_{n} ON plain (a, {n} + b);")), "the table `plain`"),
        (repeat(600, &|n| format!("CREATE TRIGGER p{n} AFTER INSERT ON plain BEGIN SELECT 1; END;")), "the store"),
        (format!("CREATE TABLE deep (a, CHECK ({}1{}))", "(".repeat(500), ")".repeat(500)), "the table `deep`"),
        (format!("CREATE TRIGGER w AFTER INSERT ON plain BEGIN {}; END", doubled(15)), "the trigger `w`"),
        // Each change is measured before the next statement is compiled with it.
        (
            "CREATE VIEW v0 AS SELECT a AS x FROM plain;".to_owned()
                + &repeat(30, &|n| format!("CREATE VIEW v{n} AS SELECT x || x AS x FROM v{};", n - 1))
                + "ALTER TABLE plain RENAME TO simple; SELECT * FROM v30;",
            "the view `v",
        ),
    ] {
        let sentence = refused(&fixture, &script).await;
        assert!(sentence.contains(object), "{sentence}: {}", script.get(..80).unwrap_or(&script));
        // Nothing of it is left, and the store serves on.
        assert_eq!(fixture.count("plain").await, 2);
        fixture.execute("UPDATE plain SET a = a", vec![]).await.unwrap();
    }
}

#[tokio::test]
async fn a_schema_counts_again_for_each_statement_that_names_it() {
    let fixture = Fixture::new().await;
    // DISTINCT keeps SQLite from making one join of all of them, which has 64 tables at most.
    let views: String =
        (1..9).map(|n| format!("CREATE VIEW v{n} AS SELECT DISTINCT p.x FROM v{0} p, v{0} q;", n - 1)).collect();
    let script = format!(
        "CREATE VIEW v0 AS SELECT a AS x FROM plain; {views} CREATE TABLE log (a);
         CREATE TRIGGER noted AFTER INSERT ON log BEGIN UPDATE plain SET a = 1 WHERE 0 AND a IN (SELECT x FROM v8); END;"
    );
    fixture.store.migrate(&[migration(1, USERS), migration(2, &script)], Policy::Any).await.unwrap();
    assert!(fixture.query("SELECT * FROM v8 LIMIT 0", vec![]).await.is_ok());
    let many = "SELECT 1 FROM v8 a, v8 b, v8 c, v8 d LIMIT 0";
    assert_eq!(limit(fixture.query(many, vec![]).await), "sources");
    assert_eq!(fixture.execute("INSERT INTO log VALUES (1)", vec![]).await, Ok(1));
    let more = "INSERT INTO log SELECT 1 FROM v8 a, v8 b, v8 c WHERE 0";
    assert_eq!(limit(fixture.execute(more, vec![]).await), "sources");
    // A view that grows is measured with those that are made of it.
    let grown = "DROP VIEW v0; CREATE VIEW v0 AS SELECT a.a AS x FROM plain a, plain b, plain c, plain d;";
    let list = [migration(1, USERS), migration(2, &script), migration(3, grown)];
    let refused = fixture.store.migrate(&list, Policy::Any).await;
    assert!(format!("{refused:?}").contains("the view `v8`"), "{refused:?}");
    let grown = "DROP VIEW v0; CREATE VIEW v0 AS SELECT a.a AS x FROM plain a, plain b;";
    let list = [migration(1, USERS), migration(2, &script), migration(3, grown)];
    let twice = "SELECT 1 FROM v8 a, v8 b LIMIT 0";
    assert!(fixture.query(twice, vec![]).await.is_ok());
    fixture.store.migrate(&list, Policy::Any).await.unwrap();
    assert_eq!(limit(fixture.query(&format!("{twice} -- again"), vec![]).await), "sources");
}

#[tokio::test]
async fn what_applications_do_is_not_refused() {
    // Of the host's time limits none is meant here.
    let fixture =
        Fixture::with(SqliteSettings { statement_timeout: soon() - Instant::now(), ..Default::default() }).await;
    let list =
        |count: usize, item: &dyn Fn(usize) -> String, by: &str| (1..=count).map(item).collect::<Vec<_>>().join(by);
    let wide = format!("CREATE TABLE wide ({}); CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree ON DELETE CASCADE, name TEXT, seen TIMESTAMP);
        CREATE TRIGGER touched AFTER UPDATE OF name ON tree BEGIN UPDATE tree SET seen = unixepoch() WHERE id = new.id; END;", list(200, &|n| format!("c{n}"), ", "));
    fixture.store.migrate(&[migration(1, USERS), migration(2, &wide)], Policy::Any).await.unwrap();
    let columns = list(200, &|n| format!("c{n}"), ", ");
    let insert = format!("INSERT INTO wide ({columns}) VALUES ({})", list(200, &|n| format!("?{n}"), ", "));
    assert_eq!(fixture.execute(&insert, (0..200).map(Value::Int64).collect()).await, Ok(1));
    let within = format!("SELECT * FROM plain WHERE a IN ({})", list(50, &|n| format!("?{n}"), ", "));
    assert_eq!(fixture.query(&within, (1..=50).map(Value::Int64).collect()).await.unwrap().len(), 2);
    let joins = list(11, &|n| format!("JOIN plain t{n} ON t{n}.a = t{}.a", n - 1), " ");
    assert_eq!(fixture.query(&format!("SELECT * FROM plain t0 {joins}"), vec![]).await.unwrap().len(), 2);
    let counted =
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000) SELECT count(*) FROM n";
    assert_eq!(fixture.query(counted, vec![]).await.unwrap(), [[Value::Int64(100_000)]]);
    let json = format!("{{\"list\":[{}],\"name\":\"x\"}}", vec!["{\"k\":12345}"; 90_000].join(","));
    assert!(json.len() > 1 << 20);
    for sql in [
        "SELECT length(?1), json_valid(?1), ?1 ->> 'name', json_array_length(?1, '$.list')",
        "SELECT length(json_set(?1, '$.name', 'y')), length(json_remove(?1, '$.list[7]')), length(json(?1))",
        "SELECT length(json_patch(?1, '{\"name\":\"y\",\"new\":[1]}'))",
        "SELECT count(*), sum(value ->> 'k') FROM json_each(?1, '$.list')",
        "SELECT count(*) FROM json_tree(?1)",
        "SELECT length(json_group_array(json_object('v', json(value)))) FROM json_each(?1, '$.list')",
    ] {
        let answer = fixture.query(sql, vec![Value::Text(json.clone())]).await;
        assert!(matches!(answer.as_deref(), Ok([_])), "{sql}: {answer:?}");
    }
    let rows =
        "INSERT INTO tree (id, parent, name) SELECT value, nullif(value - 1, 0), 'n' || value FROM json_each(?1)";
    let numbers = format!("[{}]", list(30, &|n| n.to_string(), ","));
    assert_eq!(fixture.execute(rows, vec![Value::Json(numbers)]).await, Ok(30));
    assert_eq!(fixture.execute("UPDATE tree SET name = upper(name)", vec![]).await, Ok(30));
    fixture.execute("DELETE FROM tree WHERE id = 1", vec![]).await.unwrap();
    assert_eq!(fixture.count("tree").await, 0);
}

/// Every text that looks like SQL in the sources of the shipped plugins, and their migrations.
#[tokio::test]
async fn the_sql_of_the_shipped_plugins_and_of_the_template_is_not_refused() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = |folder: &str, ending: &str| {
        let (mut found, mut open) = (Vec::new(), vec![root.join(folder)]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.to_string_lossy().ends_with(ending) {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
        found
    };
    let mut scripts = files("migrations/sqlite/identity", ".sql");
    scripts.extend(files("host/templates", ".sql"));
    assert!(scripts.len() >= 2, "{scripts:?}");
    for (path, script) in &scripts {
        let folder = tempfile::tempdir().unwrap();
        let stores = stores(folder.path(), SqliteSettings::default());
        let store = stores.store("test").await.unwrap();
        let migrated = store.migrate(&[migration(1, script)], Policy::ExpandOnly).await;
        assert!(migrated.is_ok(), "{path}: {migrated:?}");
    }
    let fixture = Fixture::new().await;
    let mut seen = 0;
    for (path, source) in files("components", ".rs").into_iter().chain(files("host/templates", ".rs")) {
        for text in source.split('"').skip(1).step_by(2) {
            let text = text.replace("\\\n", " ");
            let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
            if verbs.iter().any(|verb| text.trim_start().starts_with(verb)) {
                seen += 1;
                // Its tables are not here; the limits come before SQLite says so.
                let answer = fixture.query(&text, vec![]).await;
                assert!(!matches!(answer, Err(SqlError::Limit { .. })), "{path}: {text}: {answer:?}");
            }
        }
    }
    assert!(seen > 10, "{seen}");
}
