use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};

use super::*;

fn settings(memory_kib: u32, iterations: u32, queue: usize) -> PasswordSettings {
    PasswordSettings { memory_kib, iterations, parallelism: 1, concurrency: 1, queue, max_cost: 4 }
}

fn asker(plugin: &str) -> Asker {
    Asker { plugin: plugin.into(), deadline: Instant::now() + Duration::from_secs(3_600) }
}

fn anyone() -> Asker {
    asker("test/plugin")
}

/// RFC 9106, section 5.3.
#[test]
fn rfc_9106_argon2id() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).unwrap())
        .build()
        .unwrap();
    let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut tag = [0; 32];
    argon2.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
    assert_eq!(hex::encode(tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
}

#[tokio::test]
async fn a_password_is_known_again() {
    let passwords = Passwords::new(&settings(64, 2, 8)).unwrap();
    let hash = passwords.hash(&anyone(), "correct horse").await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
    assert_ne!(hash, passwords.hash(&anyone(), "correct horse").await.unwrap());
    assert_eq!(passwords.verify(&anyone(), "correct horse", Some(&hash)).await, Ok(Verdict::Correct));
    assert_eq!(passwords.verify(&anyone(), "correct horsf", Some(&hash)).await, Ok(Verdict::Wrong));
    assert_eq!(passwords.verify(&anyone(), "correct horse", None).await, Ok(Verdict::Wrong));
    assert_eq!(
        passwords.stats(),
        PasswordStats { queued: 0, running: 0, done: 5, rejected: 0, abandoned: 0, too_costly: 0 }
    );

    let stronger = Passwords::new(&settings(128, 2, 8)).unwrap();
    assert_eq!(stronger.verify(&anyone(), "correct horse", Some(&hash)).await, Ok(Verdict::CorrectRehash));
    assert_eq!(stronger.verify(&anyone(), "wrong", Some(&hash)).await, Ok(Verdict::Wrong));
    let weaker = Passwords::new(&settings(32, 1, 8)).unwrap();
    assert_eq!(weaker.verify(&anyone(), "correct horse", Some(&hash)).await, Ok(Verdict::Correct));
}

/// The crate's own way of making a hash, with a password of its documentation.
#[tokio::test]
async fn hashes_of_the_reference_are_understood() {
    use argon2::PasswordHasher as _;
    let hash = Argon2::default().hash_password_with_salt(b"hunter42", b"example-salt").unwrap().to_string();
    let passwords = Passwords::new(&settings(19 << 10, 2, 8)).unwrap();
    assert_eq!(passwords.verify(&anyone(), "hunter42", Some(&hash)).await, Ok(Verdict::Correct));
}

#[tokio::test]
async fn what_is_no_hash_of_ours_is_refused_without_work() {
    let passwords = Passwords::new(&settings(64, 1, 8)).unwrap();
    let tail = "ZXhhbXBsZS1zYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for hash in [
        String::new(),
        "secret".to_owned(),
        format!("$argon2i$v=19$m=64,t=1,p=1${tail}"),
        format!("$argon2id$v=16$m=64,t=1,p=1${tail}"),
        "$argon2id$v=19$m=64,t=1,p=1$ZXhhbXBsZS1zYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=1,p=1$ZXhhbXBsZS1zYWx0c2FsdA$AAAA".to_owned(),
    ] {
        assert_eq!(passwords.verify(&anyone(), "x", Some(&hash)).await, Err(PasswordError::InvalidHash), "{hash}");
    }
    assert_eq!(passwords.hash(&anyone(), &"x".repeat(1025)).await, Err(PasswordError::TooLong));
    assert_eq!(passwords.verify(&anyone(), &"x".repeat(1025), None).await, Err(PasswordError::TooLong));
    assert!(passwords.hash(&anyone(), &"x".repeat(1024)).await.is_ok());
    assert_eq!(passwords.stats().done, 1);
}

#[tokio::test]
async fn a_stored_hash_asks_for_a_few_times_the_work_of_a_new_one_at_most() {
    let passwords = Passwords::new(&settings(64, 2, 8)).unwrap();
    let tail = "ZXhhbXBsZS1zYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let verify = async |m: u64, t: u64| {
        let hash = format!("$argon2id$v=19$m={m},t={t},p=1${tail}");
        passwords.verify(&anyone(), "x", Some(&hash)).await
    };
    for (m, t) in [(64, 2), (64, 8), (256, 2), (8, 64)] {
        assert_eq!(verify(m, t).await, Ok(Verdict::Wrong), "m={m} t={t}");
    }
    for (m, t) in [(64, 9), (256, 3), (257, 1), (8, 65), (256 << 10, 16), (4_194_304, 1), (64, 4_000_000)] {
        assert_eq!(verify(m, t).await, Err(PasswordError::TooCostly), "m={m} t={t}");
    }
    let stats = passwords.stats();
    assert_eq!((stats.done, stats.too_costly), (4, 7));
}

#[tokio::test]
async fn one_plugins_backlog_keeps_no_other_waiting_and_none_is_computed_in_vain() {
    let passwords = Arc::new(Passwords::new(&settings(8 << 10, 4, 6)).unwrap());
    let ask = |asker: Asker| {
        let passwords = Arc::clone(&passwords);
        async move { passwords.hash(&asker, "x").await.map(|_| asker.plugin) }
    };
    let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..6 {
        let (done, work) = (done.clone(), ask(asker("test/many")));
        tokio::spawn(async move { done.send(work.await) });
    }
    while passwords.stats().queued < 5 {
        tokio::task::yield_now().await;
    }
    // The queue is full soon; another plugin finds a place in it, and the next turn.
    tokio::spawn({
        let (done, work) = (done.clone(), ask(asker("test/few")));
        async move { done.send(work.await) }
    });
    let mut answers = Vec::new();
    for _ in 0..7 {
        answers.push(order.recv().await.unwrap());
    }
    let few = answers.iter().position(|answer| answer.as_deref() == Ok("test/few")).unwrap();
    assert!(few <= 2, "{answers:?}");

    let late = Asker { deadline: Instant::now(), ..anyone() };
    assert!(passwords.hash(&late, "x").await.is_err());
    assert_eq!(passwords.stats().abandoned, 1);
}

/// The future is polled once to put the job in, which is all that these two tests need of time.
async fn enqueue(passwords: &Arc<Passwords>) -> tokio::task::JoinHandle<Result<String, PasswordError>> {
    let before = passwords.stats();
    let task = tokio::spawn({
        let passwords = Arc::clone(passwords);
        async move { passwords.hash(&anyone(), "x").await }
    });
    while passwords.stats() == before && !task.is_finished() {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn the_queue_is_bounded_and_those_who_leave_make_room() {
    // One slow computation occupies the only thread while the rest of the test runs.
    let passwords = Arc::new(Passwords::new(&settings(64 << 10, 8, 2)).unwrap());
    let running = enqueue(&passwords).await;
    while passwords.stats().running == 0 {
        tokio::task::yield_now().await;
    }
    let (one, two) = (enqueue(&passwords).await, enqueue(&passwords).await);
    assert_eq!(passwords.verify(&anyone(), "x", None).await, Err(PasswordError::Busy));
    assert_eq!(passwords.stats().rejected, 1);
    for task in [one, two] {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let next = enqueue(&passwords).await;
    assert_eq!(passwords.stats().queued, 1);
    assert!(running.await.unwrap().is_ok());
    assert!(next.await.unwrap().is_ok());
    assert_eq!(passwords.stats().done, 2, "nothing was computed for those who left");
}
