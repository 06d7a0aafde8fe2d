use proptest::prelude::*;

use super::*;

/// Few different characters, so that parts are found and overlap.
fn some_text() -> impl Strategy<Value = String> {
    "[abäß€😀]{0,12}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn replaced_functions_answer_what_sqlites_own_do(
        given in prop::collection::vec((some_text(), "[abä€]{0,3}", some_text()), 50)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let own = rusqlite::Connection::open_in_memory().unwrap();
            let columns = "instr(?1, ?2), instr(CAST(?1 AS BLOB), CAST(?2 AS BLOB)), instr(?1, CAST(?2 AS BLOB)),
                           replace(?1, ?2, ?3), trim(?1, ?2), ltrim(?1, ?2), rtrim(?1, ?2)";
            for (a, b, c) in &given {
                let sql = format!("SELECT {columns}");
                let ours = fixture.query(&sql, vec![text(a), text(b), text(c)]).await.unwrap();
                let theirs = own.query_row(&sql, [a, b, c], |row| {
                    let mut expected = Vec::new();
                    for column in 0..3 {
                        expected.push(Value::Int64(row.get(column)?));
                    }
                    for column in 3..7 {
                        expected.push(Value::Text(row.get(column)?));
                    }
                    Ok(expected)
                });
                assert_eq!(ours, [theirs.unwrap()], "{a:?} {b:?} {c:?}");
            }
        });
    }
}

#[tokio::test]
async fn replaced_functions_take_nulls_and_numbers_as_sqlites_own_do() {
    let fixture = Fixture::new().await;
    let sql = "SELECT instr(NULL, 1), instr(1, NULL), instr(1234, 3), replace(121, 1, 'x'), replace('a', '', NULL),
               replace('a', 'b', NULL), replace(NULL, 'a', 'b'), trim('x', NULL), trim(1231, 1), trim('  a  '),
               instr(x'0102', x'02'), instr('abc', '')";
    let null = Value::Null;
    assert_eq!(
        fixture.query(sql, vec![]).await.unwrap(),
        [[
            null.clone(),
            null.clone(),
            Value::Int64(3),
            text("x2x"),
            text("a"),
            null.clone(),
            null.clone(),
            null,
            text("23"),
            text("a"),
            Value::Int64(2),
            Value::Int64(1),
        ]]
    );
}

/// SQLite's own functions would take the product of the sizes: minutes, in which nothing can stop them.
#[tokio::test]
async fn no_function_takes_the_product_of_its_arguments() {
    let fixture = Fixture::new().await;
    let found =
        fixture.query("SELECT instr(zeroblob(2000000), CAST(zeroblob(1000000) || x'01' AS BLOB))", vec![]).await;
    assert_eq!(found.unwrap(), [[Value::Int64(0)]]);
    let zeros = "hex(zeroblob(500000))";
    for sql in [
        format!("SELECT length(replace({zeros}, substr({zeros}, 1, 400000) || '1', 'x'))"),
        format!("SELECT length(rtrim({zeros} || '1', substr({zeros}, 1, 400000)))"),
    ] {
        assert!(fixture.query(&sql, vec![]).await.is_ok(), "{sql}");
    }
    let grows = format!("SELECT replace({zeros}, '0', {zeros})");
    assert!(matches!(fixture.query(&grows, vec![]).await, Err(SqlError::TooLarge(_))));
}
