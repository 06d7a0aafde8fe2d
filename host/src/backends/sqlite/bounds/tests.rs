use super::*;

/// The limit that a text exceeds, with these objects in the store.
fn limit_with(schema: &[(&str, &str, &str, &str)], sql: &str) -> Option<&'static str> {
    let object = |(kind, name, on, sql): &(&str, &str, &str, &str)| Object {
        kind: (*kind).to_owned(),
        name: (*name).to_owned(),
        on: (*on).to_owned(),
        sql: (*sql).to_owned(),
    };
    let facts = Facts::new(schema.iter().map(object).collect());
    match check(sql, &facts, &Bounds::default()) {
        Ok(()) => None,
        Err(SqlError::Limit { limit, sentence }) => {
            assert!(sentence.contains("(database.sqlite.limits."), "{sentence}");
            Some(limit)
        }
        Err(error) => panic!("{error}"),
    }
}

fn limit(sql: &str) -> Option<&'static str> {
    limit_with(&[], sql)
}

/// `WITH` and one expression after the other, each made from the one before.
fn chain(steps: usize, first: &str, step: impl Fn(String, String) -> String, last: &str) -> String {
    let steps = (1..steps).map(|at| format!(", {}", step(format!("a{at}"), format!("a{}", at - 1))));
    format!("WITH {first}{} {last}", steps.collect::<String>())
}

fn nested(levels: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn what_doubles_at_each_step_is_refused_in_every_spelling() {
    let first = "a0 AS (SELECT 1 AS x)";
    for step in [
        |name: String, last: String| format!("{name} AS (SELECT p.x FROM {last} p, {last} q)"),
        |name, last| format!("{name} AS (SELECT p.x FROM {last} p JOIN {last} q ON p.x = q.x)"),
        |name, last| format!("\"{name}\" /* ( */ AS MATERIALIZED (SELECT 1 AS x FROM [{last}], 'main', `{last}`)"),
        |name, last| format!("{name}(x) AS NOT MATERIALIZED (SELECT * FROM {last} UNION SELECT * FROM {last})"),
        |name, last| format!("{name} AS (SELECT 1 AS x WHERE 1 IN {last} OR EXISTS (SELECT 1 FROM {last}))"),
        |name, last| format!("{name} AS (SELECT 1 AS x FROM ({last} p LEFT JOIN ({last} q)))"),
        |name, last| format!("{name} AS (WITH b AS (SELECT * FROM {last}) SELECT 1 AS x FROM b, b AS c)"),
        |name, last| format!("{name} AS (VALUES ((SELECT x FROM {last})), ((SELECT x FROM {last})))"),
        |name, last| {
            format!("{name} AS (SELECT 1 AS x FROM {last} WHERE 1 IS NOT DISTINCT FROM (SELECT x FROM {last}))")
        },
    ] {
        let upper = |name: String, last: String| step(name, last).to_uppercase();
        assert_eq!(
            limit(&chain(18, first, step, "SELECT * FROM a17")),
            Some("sources"),
            "{}",
            step("n".into(), "m".into())
        );
        assert_eq!(limit(&chain(18, first, upper, "INSERT INTO t SELECT * FROM A17")), Some("sources"));
        assert_eq!(limit(&chain(6, first, step, "SELECT * FROM a5")), None);
        // In any place of any statement.
        let query = chain(18, first, step, "SELECT x FROM a17");
        for sql in [
            format!("SELECT 1 FROM t WHERE a = ({query})"),
            format!("SELECT 1 FROM t ORDER BY ({query})"),
            format!("INSERT INTO t {query} ON CONFLICT DO NOTHING"),
            format!("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = ({query}) RETURNING 1"),
            format!("UPDATE t SET a = 1 FROM ({query}) WHERE 1"),
            format!("DELETE FROM t WHERE a IN ({query}) RETURNING *"),
            format!("SELECT max(1) FILTER (WHERE ({query})) OVER (PARTITION BY ({query}))"),
            format!("SELECT 1 UNION ALL SELECT 1 LIMIT ({query})"),
            format!("CREATE VIEW v AS {query}"),
            format!("; -- ;\n ; {query}"),
        ] {
            // Where each step has a WITH of its own, there are too many of those too.
            assert!(matches!(limit(&sql), Some("sources" | "common_tables")), "{:?}: {sql}", limit(&sql));
        }
    }
}

#[test]
fn columns_that_stand_for_more_each_time_are_refused() {
    let first = "a0 AS (SELECT a AS x FROM t)";
    for step in [
        |name: String, last: String| format!("{name} AS (SELECT x + x AS x FROM {last})"),
        |name, last| format!("{name} AS (SELECT x + x x FROM {last})"),
        |name, last| format!("{name}(x) AS (SELECT p.x || p.x FROM {last} p)"),
        |name, last| format!("{name}(y, x) AS (SELECT 1, CASE WHEN \"X\" THEN [x] END FROM {last})"),
        |name, last| format!("{name} AS (SELECT *, x + x AS \"x\" FROM (SELECT * FROM {last}))"),
        |name, last| format!("{name} AS (SELECT x COLLATE nocase FROM (SELECT (x + x) AS x FROM {last}))"),
        |name, last| format!("{name} AS (SELECT \"- x\" + \"- x\" AS x FROM (SELECT - x FROM {last}))"),
        |name, last| format!("{name} AS (SELECT \"x:1\" + \"x:1\" AS x FROM (SELECT 1 AS x, x FROM {last}))"),
        |name, last| format!("{name} AS (SELECT (SELECT x + x FROM t) AS x FROM {last})"),
    ] {
        assert_eq!(
            limit(&chain(30, first, step, "SELECT * FROM a29")),
            Some("references"),
            "{}",
            step("n".into(), "m".into())
        );
        assert_eq!(limit(&chain(6, first, step, "SELECT * FROM a5")), None);
    }
    assert_eq!(limit(&nested(25, "SELECT x + x AS x FROM (", "SELECT a AS x FROM t", ")")), Some("references"));
    // What only passes through does not grow.
    let passes = |name: String, last: String| {
        format!("{name} AS (SELECT x, y, z, a.x + 1 AS w FROM {last} a WHERE x > y AND y > z)")
    };
    assert_eq!(limit(&chain(60, "a0 AS (SELECT x, y, z FROM t)", passes, "SELECT * FROM a59")), None);
}

#[test]
fn what_is_copied_into_each_term_of_a_compound_query_is_refused() {
    let union = |terms: usize, name: &str| vec![format!("SELECT a AS {name} FROM t"); terms].join(" UNION ALL ");
    let joined = |count: usize, terms: usize| {
        let tables: Vec<String> = (0..count).map(|n| format!("({}) x{n}", union(terms, &format!("q{n}")))).collect();
        format!("SELECT 1 FROM {}", tables.join(", "))
    };
    assert_eq!(limit(&joined(64, 2)), Some("sources"));
    assert_eq!(limit(&joined(3, 60)), Some("sources"));
    assert_eq!(limit(&joined(3, 10)), None);
    let wide = vec![format!("SELECT a FROM ({})", union(60, "a")); 16].join(" UNION ");
    let conditions = vec!["a NOT IN (1, 2, 3, 4, 5, 6, 7, 8, 9)"; 100].join(" AND ");
    assert_eq!(limit(&format!("SELECT * FROM ({wide}) WHERE {conditions}")), Some("references"));
    assert_eq!(limit(&format!("SELECT * FROM ({wide}) WHERE a NOT IN (1, 2, 3)")), None);
    assert_eq!(limit(&format!("SELECT * FROM ({}) WHERE {conditions}", union(8, "a"))), None);
}

#[test]
fn what_is_nested_is_refused_before_anything_recurses_over_it() {
    for (open, inner, close) in [
        ("SELECT*FROM(", "SELECT 1", ")"),
        ("SELECT 1 FROM(", "t", ")"),
        ("SELECT(", "SELECT 1", ")"),
        ("SELECT 1 WHERE EXISTS(", "SELECT 1", ")"),
        ("SELECT 1 IN(", "SELECT 1", ")"),
        ("(", "1", ")"),
        ("abs(", "1", ")"),
        ("WITH a AS(", "SELECT 1", ")SELECT 1 FROM a"),
        ("SELECT 1 FROM t JOIN(", "t", ")"),
    ] {
        for prefix in ["", "SELECT ", "SELECT * FROM ", "UPDATE t SET a="] {
            for levels in [70, 3_000] {
                let sql = format!("{prefix}{}", nested(levels, open, inner, close));
                assert_eq!(limit(&sql), Some("nesting"), "{prefix}{open}");
                let open_only = format!("{prefix}{}", open.repeat(levels));
                assert_eq!(limit(&open_only), Some("nesting"), "{prefix}{open}");
            }
        }
        assert_eq!(limit(&format!("SELECT {}", nested(30, open, inner, close))), None, "{open}");
    }
    // Each one nests a little, and together they nest a lot.
    let step = |name: String, last: String| {
        format!("{name} AS ({})", nested(40, "SELECT*FROM(", &format!("SELECT * FROM {last}"), ")"))
    };
    assert_eq!(limit(&chain(40, "a0 AS (SELECT 1)", step, "SELECT * FROM a39")), Some("nesting"));
    let many = chain(65, "a0 AS (SELECT 1)", |name, _| format!("{name} AS (SELECT 1)"), "SELECT 1");
    assert_eq!(limit(&many), Some("common_tables"));
    assert_eq!(limit(&"WITH a AS (SELECT 1) ".repeat(3_000)), Some("nesting"));
}

#[test]
fn a_schema_counts_for_the_statements_that_name_it() {
    let double: Vec<(String, String)> = (1..30)
        .map(|n| (format!("v{n}"), format!("CREATE VIEW v{n} AS SELECT p.x FROM v{} p, main.v{} q", n - 1, n - 1)))
        .collect();
    let mut schema = vec![("view", "v0", "v0", "CREATE VIEW v0(x) AS SELECT a FROM t")];
    schema.extend(double.iter().map(|(name, sql)| ("view", name.as_str(), name.as_str(), sql.as_str())));
    assert_eq!(limit_with(&schema, "SELECT * FROM V29"), Some("sources"));
    assert_eq!(limit_with(&schema, "SELECT 1 WHERE 1 IN main.\"v20\""), Some("sources"));
    assert_eq!(limit_with(&schema, "SELECT * FROM v8"), None);
    assert_eq!(limit_with(&schema, "SELECT * FROM v8 a, v8 b, v8 c, v8 d"), Some("sources"));
    // A common table expression stands before a view of its name.
    assert_eq!(limit_with(&schema, "WITH v29 AS (SELECT 1) SELECT * FROM v29"), None);
    assert_eq!(limit_with(&schema, "WITH v29 AS (SELECT 1) SELECT * FROM main.v29"), Some("sources"));

    let wide =
        [("table", "g", "g", "CREATE TABLE g (a, b AS (a+a+a+a+a+a+a+a), c AS (b+b+b+b+b+b+b+b), d AS (c+c+c+c+c+c))")];
    assert_eq!(limit_with(&wide, "SELECT d FROM g"), None);
    let many = format!("SELECT {} FROM g", vec!["d"; 100].join(", "));
    assert_eq!(limit_with(&wide, &many), Some("references"));
}

#[test]
fn a_write_counts_for_what_it_sets_off() {
    let triggers: Vec<(String, String, String)> = (0..100)
        .map(|n| {
            let sql = format!("CREATE TRIGGER g{n} AFTER INSERT ON t{n} BEGIN INSERT INTO t{} VALUES (1); END", n + 1);
            (format!("g{n}"), format!("t{n}"), sql)
        })
        .collect();
    let mut schema = vec![("table", "t0", "t0", "CREATE TABLE t0 (a)")];
    schema.extend(triggers.iter().map(|(name, on, sql)| ("trigger", name.as_str(), on.as_str(), sql.as_str())));
    for sql in [
        "INSERT INTO t0 VALUES (1)",
        "REPLACE INTO \"T0\" VALUES (1)",
        "UPDATE OR IGNORE main.t0 SET a = 1",
        "DELETE FROM [t0]",
        "WITH a AS (SELECT 1) INSERT INTO t0 SELECT * FROM a",
    ] {
        assert_eq!(limit_with(&schema, sql), Some("trigger_chain"), "{sql}");
    }
    assert_eq!(limit_with(&schema, "INSERT INTO t50 VALUES (1)"), None);
    assert_eq!(limit_with(&schema, "SELECT * FROM t0"), None);

    let keys: Vec<(String, String)> = (1..100)
        .map(|n| {
            (format!("k{n}"), format!("CREATE TABLE k{n} (a PRIMARY KEY REFERENCES k{} ON DELETE CASCADE)", n - 1))
        })
        .collect();
    let schema: Vec<_> = keys.iter().map(|(name, sql)| ("table", name.as_str(), name.as_str(), sql.as_str())).collect();
    assert_eq!(limit_with(&schema, "DELETE FROM k0"), Some("trigger_chain"));
    assert_eq!(limit_with(&schema, "DELETE FROM k50"), None);
}

#[test]
fn what_applications_do_is_far_from_every_limit() {
    let list = |count: usize, item: fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(", ");
    let joins: String = (1..12).map(|n| format!(" LEFT JOIN t t{n} ON t{n}.a = t{}.b", n - 1)).collect();
    for sql in [
        format!("INSERT INTO w ({}) VALUES ({})", list(200, |n| format!("c{n}")), list(200, |n| format!("?{}", n + 1))),
        format!("SELECT * FROM t WHERE a IN ({})", list(50, |n| format!("?{}", n + 1))),
        format!("SELECT * FROM t t0{joins}"),
        format!("INSERT INTO t VALUES {}", list(10_000, |n| format!("({n})"))),
        format!("SELECT {} FROM t", list(60, |n| format!("sum(a) OVER (PARTITION BY b ORDER BY c{n})"))),
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000) SELECT count(*) FROM n".to_owned(),
        format!("SELECT a FROM t WHERE {}", vec!["(a = 1 OR (b = 2 AND (c = 3 OR d IS NULL)))"; 100].join(" AND ")),
        "WITH RECURSIVE tree AS (SELECT id, parent, name, 0 AS level, name AS path FROM nodes WHERE parent IS NULL
           UNION ALL SELECT n.id, n.parent, n.name, t.level + 1, t.path || '/' || n.name FROM nodes n JOIN tree t ON n.parent = t.id),
         stats AS (SELECT parent, count(*) AS children, sum(CASE WHEN level > 2 THEN 1 ELSE 0 END) AS deep FROM tree GROUP BY parent),
         ranked AS (SELECT tree.*, s.children, s.deep, row_number() OVER (PARTITION BY level ORDER BY path) AS place FROM tree
           LEFT JOIN stats s ON s.parent = tree.id),
         shown AS (SELECT id, coalesce(children, 0) + coalesce(deep, 0) AS weight, CASE WHEN place < 10 THEN path ELSE '' END AS label FROM ranked)
         SELECT id, label, weight, weight * 1.0 / (SELECT max(weight) FROM shown) AS share FROM shown ORDER BY share DESC LIMIT ?1"
            .to_owned(),
    ] {
        assert_eq!(limit(&sql), None, "{sql}");
    }
}

/// Whatever it is, it is read in time and nothing panics.
#[test]
fn any_text_is_measured() {
    for sql in [
        "",
        ";",
        "(",
        ")",
        "SELECT",
        "WITH",
        "WITH RECURSIVE",
        "WITH a",
        "WITH a (",
        "WITH a AS",
        "FROM",
        "SELECT * FROM",
        "IN",
        "SELECT FROM , ,",
        "UPDATE",
        "UPDATE OR",
        "INSERT INTO",
        "DELETE FROM",
        "VALUES",
        "SELECT DISTINCT",
        "UNION",
        "CREATE VIEW",
    ] {
        assert_eq!(limit(sql), None, "{sql}");
        let _ = limit(&format!("{sql} ").repeat(5_000));
        let _ = limit(&format!("{sql}(").repeat(5_000));
    }
}
