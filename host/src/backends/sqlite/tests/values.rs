use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::backends::sqlite::Synchronous;

/// A value and a column of `users` that keeps it as it is.
fn values() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        Just(("email", Value::Null)),
        any::<bool>().prop_map(|value| ("active", Value::Boolean(value))),
        any::<i64>().prop_map(|value| ("age", Value::Int64(value))),
        any::<f64>()
            .prop_filter("NaN is refused", |value| !value.is_nan())
            .prop_map(|value| ("score", Value::Float64(value))),
        any::<String>().prop_map(|value| ("email", Value::Text(value))),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(|value| ("photo", Value::Bytes(value))),
        any::<i64>().prop_map(|value| ("created", Value::Timestamp(value))),
        any::<u128>().prop_map(|value| ("id", Value::Uuid(Uuid::from_u128(value)))),
        any::<String>().prop_map(|value| ("extra", Value::Json(format!("{{\"a\":{value:?}}}")))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_value_survives_a_round_through_its_column(given in prop::collection::vec(values(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = SqliteSettings { synchronous: Synchronous::Normal, ..Default::default() };
            let fixture = Fixture::with(settings).await;
            let table = "CREATE TABLE t (n INTEGER PRIMARY KEY, id UUID, email TEXT, age INTEGER, active BOOLEAN,
                         created TIMESTAMP, extra JSON, photo BLOB, score REAL)";
            fixture.store.migrate(&[migration(1, USERS), migration(2, table)], Policy::Any).await.unwrap();
            for (number, (column, value)) in (0..).zip(&given) {
                let insert = format!("INSERT INTO t (n, {column}) VALUES (?1, ?2)");
                fixture.execute(&insert, vec![Value::Int64(number), value.clone()]).await.unwrap();
                let select = format!("SELECT {column} FROM t WHERE n = ?1");
                let rows = fixture.query(&select, vec![Value::Int64(number)]).await.unwrap();
                assert_eq!(rows, [[value.clone()]]);
            }
        });
    }
}

#[tokio::test]
async fn declared_types_decide_and_what_does_not_fit_is_answered_as_it_is() {
    let fixture = Fixture::new().await;
    let table =
        "CREATE TABLE odd (a BOOL, b DATETIME, c uuid, d json, e Boolean NOT NULL, f VARCHAR(10), g TIMESTAMP(6));
                 INSERT INTO odd VALUES (2, 'yesterday', 'not one', 12, 1, 'x', 7);
                 INSERT INTO odd VALUES (NULL, 1.5, x'00', '[1]', 0, NULL, NULL);";
    fixture.store.migrate(&[migration(1, USERS), migration(2, table)], Policy::Any).await.unwrap();
    let rows = fixture.store.query("SELECT *, a AS renamed, a + 0 FROM odd AS o", vec![], soon()).await.unwrap();
    assert_eq!(*rows.columns, ["a", "b", "c", "d", "e", "f", "g", "renamed", "a + 0"]);
    let (int, json) = (Value::Int64, |text: &str| Value::Json(text.to_owned()));
    assert_eq!(
        rows.rows,
        [
            vec![
                int(2),
                text("yesterday"),
                text("not one"),
                json("12"),
                Value::Boolean(true),
                text("x"),
                Value::Timestamp(7),
                int(2),
                int(2)
            ],
            vec![
                Value::Null,
                Value::Float64(1.5),
                Value::Bytes(vec![0]),
                json("[1]"),
                Value::Boolean(false),
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null
            ],
        ]
    );
}

#[tokio::test]
async fn prepared_statements_follow_the_schema() {
    let fixture = Fixture::new().await;
    let all = "SELECT * FROM plain WHERE a = 1";
    assert_eq!(fixture.query(all, vec![]).await.unwrap(), [[Value::Int64(1), text("one")]]);
    let change = "ALTER TABLE plain ADD COLUMN c BOOLEAN; UPDATE plain SET c = 1;";
    fixture.store.migrate(&[migration(1, USERS), migration(2, change)], Policy::Any).await.unwrap();
    let rows = fixture.store.query(all, vec![], soon()).await.unwrap();
    assert_eq!(*rows.columns, ["a", "b", "c"]);
    assert_eq!(rows.rows, [[Value::Int64(1), text("one"), Value::Boolean(true)]]);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error() {
    let fixture = Fixture::new().await;
    assert!(matches!(fixture.query("SELECT CAST(x'ff' AS TEXT) AS odd", vec![]).await, Err(SqlError::Other(_))));
}

#[tokio::test]
async fn broken_rules_are_told_apart() {
    let fixture = Fixture::new().await;
    let id = || Value::Uuid(Uuid::from_u128(1));
    let insert = "INSERT INTO users (id, email, age) VALUES (?1, ?2, ?3)";
    fixture.execute(insert, vec![id(), text("a@b"), Value::Null]).await.unwrap();
    let other = Value::Uuid(Uuid::from_u128(2));
    assert_eq!(
        fixture.execute(insert, vec![other.clone(), text("a@b"), Value::Null]).await,
        Err(SqlError::UniqueViolation("users.email".to_owned()))
    );
    assert_eq!(
        fixture.execute(insert, vec![id(), text("c@d"), Value::Null]).await,
        Err(SqlError::UniqueViolation("users.id".to_owned()))
    );
    assert_eq!(
        fixture.execute(insert, vec![other.clone(), Value::Null, Value::Null]).await,
        Err(SqlError::ConstraintViolation("users.email".to_owned()))
    );
    assert_eq!(
        fixture.execute(insert, vec![other, text("e@f"), Value::Int64(-1)]).await,
        Err(SqlError::ConstraintViolation("age > 0".to_owned()))
    );
    let orphan = fixture.execute("INSERT INTO notes (email) VALUES ('nobody')", vec![]).await;
    assert!(matches!(orphan, Err(SqlError::ForeignKeyViolation(_))), "{orphan:?}");
    let json = fixture.query("SELECT json('{')", vec![]).await;
    assert!(matches!(json, Err(SqlError::InvalidParameter(_))), "{json:?}");
    assert_eq!(fixture.count("users").await, 1);
}
