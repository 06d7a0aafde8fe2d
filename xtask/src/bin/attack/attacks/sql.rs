//! Statements.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::client::{Answer, Client, request};
use crate::field::{Attacker, Field, in_words};
use crate::kitchen::address;

/// Runs a statement in the hostile plugin; returns `ok`, the name of the error, or the status of the call.
fn statement(me: &mut Attacker, sql: &str) -> Result<String> {
    let answer = me.call("/test/hostile/sql", &json!({ "sql": sql }))?;
    Ok(outcome(&answer))
}

fn outcome(answer: &Answer) -> String {
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(Value::String(text)) if answer.status == 200 => {
            let name = text.strip_prefix("Error::").unwrap_or(&text);
            name.split(['(', ':', ' ']).next().unwrap_or_default().to_owned()
        }
        _ => in_words(answer),
    }
}

/// A recursive table `n` with the numbers from 1 to `count` in column `i`.
fn numbers(count: u32) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})")
}

/// Several kinds of nesting, deep enough to overflow the compiler's stack.
pub(super) fn nested(field: &mut Field<'_>) -> Result<()> {
    let around = |open: &str, inner: &str, close: &str, times: usize| {
        [open.repeat(times), inner.to_owned(), close.repeat(times)].concat()
    };
    let statements = [
        around("SELECT*FROM(", "SELECT 1", ")", 3000),
        format!("SELECT {}", around("EXISTS(SELECT ", "1", ")", 3000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(3000)),
        around("WITH a AS (", "SELECT 1", ") SELECT*FROM a", 2000),
        around("SELECT*FROM((SELECT 1)JOIN(", "SELECT 1", "))", 2000),
    ];
    field.attackers(4, move |me| {
        let turn = me.turn();
        statement(me, statements.iter().cycle().nth(turn % statements.len()).map_or("", String::as_str))
    });
    Ok(())
}

/// Common table expressions that each use the previous one twice.
pub(super) fn doubling(field: &mut Field<'_>) -> Result<()> {
    let bomb = |steps: u32| {
        let tables: String = (1..steps).map(|at| format!(",a{at} AS(SELECT p.x FROM a{0} p,a{0} q)", at - 1)).collect();
        format!("WITH a0 AS(SELECT 1 x){tables} SELECT*FROM a{}", steps - 1)
    };
    let statements = [bomb(17), bomb(20), bomb(18)];
    field.attackers(4, move |me| {
        let turn = me.turn();
        statement(me, statements.iter().cycle().nth(turn % statements.len()).map_or("", String::as_str))
    });
    Ok(())
}

/// A function whose cost is the product of its arguments' lengths.
pub(super) fn unhex(field: &mut Field<'_>) -> Result<()> {
    let text = |mark: &str| format!("replace(hex(zeroblob(450000)), '0', '{mark}')");
    let sql = format!("SELECT unhex({}, {} || '~')", text("~"), text("!"));
    field.attackers(3, move |me| statement(me, &sql));
    Ok(())
}

/// A function whose cost is the product of its arguments' key counts.
pub(super) fn json_patch(field: &mut Field<'_>) -> Result<()> {
    let object = |prefix: &str| format!("json_group_object('{prefix}' || i, i)");
    let sql = format!("{} SELECT length(json_patch({}, {})) FROM n", numbers(60_000), object("a"), object("b"));
    field.attackers(3, move |me| statement(me, &sql));
    Ok(())
}

/// Sorts and temporary tables of wide rows.
pub(super) fn sorts(field: &mut Field<'_>) -> Result<()> {
    let numbers = numbers(30_000);
    let statements = [
        format!("{numbers} SELECT COUNT(*) FROM (SELECT DISTINCT hex(randomblob(50000)) FROM n)"),
        format!(
            "{numbers} SELECT max(r) FROM (SELECT row_number() OVER (ORDER BY b) AS r FROM (SELECT hex(randomblob(50000)) AS b FROM n))"
        ),
        format!("{numbers} SELECT i FROM n GROUP BY hex(randomblob(50000))"),
        format!("{numbers} SELECT length(group_concat(hex(randomblob(500)))) FROM n"),
    ];
    field.attackers(4, move |me| {
        let turn = me.turn();
        statement(me, statements.iter().cycle().nth(turn % statements.len()).map_or("", String::as_str))
    });
    Ok(())
}

/// Overlapping reads, which keep checkpoints from completing, and large writes.
pub(super) fn log_growth(field: &mut Field<'_>) -> Result<()> {
    // Reads of an empty table would end at once.
    let first = request("POST", "/test/hostile/overwrite", None, Some(&json!({ "bytes": 1 }).to_string()));
    Client::new(field.port, address(205, 0), Duration::from_secs(30)).ask(&first)?;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n, rows";
    field.attackers(5, move |me| {
        if me.number < 3 {
            return statement(me, endless).map(|outcome| format!("read {outcome}"));
        }
        let answer = me.call("/test/hostile/overwrite", &json!({ "bytes": 1_900_000 }))?;
        Ok(format!("write {}", outcome(&answer)))
    });
    Ok(())
}

/// The size of the write-ahead logs.
pub(super) fn log_size(field: &Field<'_>) -> Option<String> {
    Some(format!("write-ahead logs {} MiB", field.bytes_of_files("-wal") >> 20))
}
