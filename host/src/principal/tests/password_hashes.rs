use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};

use super::*;

fn settings(memory_kib: u32, iterations: u32, queue: usize) -> PasswordSettings {
    PasswordSettings { memory_kib, iterations, parallelism: 1, concurrency: 1, queue }
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
    let hash = passwords.hash("correct horse").await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
    assert_ne!(hash, passwords.hash("correct horse").await.unwrap());
    assert_eq!(passwords.verify("correct horse", Some(&hash)).await, Ok(Verdict::Correct));
    assert_eq!(passwords.verify("correct horsf", Some(&hash)).await, Ok(Verdict::Wrong));
    assert_eq!(passwords.verify("correct horse", None).await, Ok(Verdict::Wrong));
    assert_eq!(passwords.stats(), PasswordStats { queued: 0, running: 0, done: 5, rejected: 0 });

    let stronger = Passwords::new(&settings(128, 2, 8)).unwrap();
    assert_eq!(stronger.verify("correct horse", Some(&hash)).await, Ok(Verdict::CorrectRehash));
    assert_eq!(stronger.verify("wrong", Some(&hash)).await, Ok(Verdict::Wrong));
    let weaker = Passwords::new(&settings(32, 1, 8)).unwrap();
    assert_eq!(weaker.verify("correct horse", Some(&hash)).await, Ok(Verdict::Correct));
}

/// The crate's own way of making a hash, with a password of its documentation.
#[tokio::test]
async fn hashes_of_the_reference_are_understood() {
    use argon2::PasswordHasher as _;
    let hash = Argon2::default().hash_password_with_salt(b"hunter42", b"example-salt").unwrap().to_string();
    let passwords = Passwords::new(&settings(64, 1, 8)).unwrap();
    assert_eq!(passwords.verify("hunter42", Some(&hash)).await, Ok(Verdict::Correct));
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
        format!("$argon2id$v=19$m=4194304,t=1,p=1${tail}"),
        format!("$argon2id$v=19$m=64,t=4000000,p=1${tail}"),
        "$argon2id$v=19$m=64,t=1,p=1$ZXhhbXBsZS1zYWx0c2FsdA".to_owned(),
        "$argon2id$v=19$m=64,t=1,p=1$ZXhhbXBsZS1zYWx0c2FsdA$AAAA".to_owned(),
    ] {
        assert_eq!(passwords.verify("x", Some(&hash)).await, Err(PasswordError::InvalidHash), "{hash}");
    }
    assert_eq!(passwords.hash(&"x".repeat(1025)).await, Err(PasswordError::TooLong));
    assert_eq!(passwords.verify(&"x".repeat(1025), None).await, Err(PasswordError::TooLong));
    assert!(passwords.hash(&"x".repeat(1024)).await.is_ok());
    assert_eq!(passwords.stats().done, 1);
}

/// The future is polled once to put the job in, which is all that these two tests need of time.
async fn enqueue(passwords: &Arc<Passwords>) -> tokio::task::JoinHandle<Result<String, PasswordError>> {
    let before = passwords.stats();
    let task = tokio::spawn({
        let passwords = Arc::clone(passwords);
        async move { passwords.hash("x").await }
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
    assert_eq!(passwords.verify("x", None).await, Err(PasswordError::Busy));
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
