//! The cost of warm statements: `cargo test -p arcana --lib measure -- --ignored --nocapture`.

use super::*;

async fn each(name: &str, rounds: u32, mut work: impl AsyncFnMut()) {
    for _ in 0..rounds / 10 {
        work().await;
    }
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            work().await;
        }
        best = best.min(start.elapsed());
    }
    println!("{name}: {} ns", best.as_nanos() / u128::from(rounds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn warm_statements() {
    let fixture = Fixture::new().await;
    let insert = "INSERT INTO users (id, email, age) VALUES (?1, 'ada@example.org', 36)";
    fixture.execute(insert, vec![Value::Uuid(uuid::Uuid::nil())]).await.unwrap();
    let read = "SELECT id, email, age FROM users WHERE email = ?1";
    each("a read of one row, here", 50_000, async || {
        fixture.query(read, vec![text("ada@example.org")]).await.unwrap();
    })
    .await;
    each("a read on a thread", 5_000, async || {
        fixture.query("SELECT count(*) FROM plain", vec![]).await.unwrap();
    })
    .await;
    each("a write", 500, async || {
        fixture.execute("UPDATE plain SET a = a + 1 WHERE b = 'one'", vec![]).await.unwrap();
    })
    .await;
    each("a transaction that reads", 5_000, async || {
        let mut transaction = fixture.store.begin(soon()).await.unwrap();
        transaction.query(read, vec![text("ada@example.org")]).await.unwrap();
        transaction.commit().await.unwrap();
    })
    .await;
}
